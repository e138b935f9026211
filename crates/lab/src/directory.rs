//! The lab's directory: created private, owned by the server's account, marked as in use, removed at the end.
use crate::account::Account;
use crate::error::LabError;
use std::fs::{File, TryLockError};
use std::hash::BuildHasher;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Held locked for as long as the lab lives; a directory whose lock is free is a leftover.
pub(crate) const LOCK: &str = "lab.lock";
/// Its presence says that the directory was left behind on purpose.
pub(crate) const KEPT: &str = "lab.kept";

/// Attempts at a name nobody uses.
const NAMES: u32 = 100;
/// Attempts at removing the directory, and the time between them.
const REMOVALS: u32 = 20;
const REMOVAL_PAUSE: Duration = Duration::from_millis(50);

/// The directory everything of one lab lives in.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    keep: bool,
    _lock: File,
}

impl Directory {
    /// Makes `parent/prefix-XXXXXXXX` with mode 0700 for `account` and locks it.
    ///
    /// # Errors
    /// [`LabError::Io`] when it cannot be made.
    pub fn create(parent: &Path, prefix: &str, account: &Account, keep: bool) -> Result<Self, LabError> {
        let path = fresh(parent, prefix)?;
        let what = format!("lock {}", path.display());
        let lock = File::create(path.join(LOCK)).map_err(LabError::io(&what))?;
        lock.try_lock().map_err(|error| LabError::Io {
            what,
            source: match error {
                TryLockError::Error(source) => source,
                TryLockError::WouldBlock => std::io::Error::from(std::io::ErrorKind::WouldBlock),
            },
        })?;
        if keep {
            File::create(path.join(KEPT)).map_err(LabError::io("mark the directory as kept"))?;
        }
        account.own(&path)?;
        Ok(Self { path, keep, _lock: lock })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Creates a private subdirectory that belongs to `account`.
    ///
    /// # Errors
    /// [`LabError::Io`] when it cannot be made.
    pub fn subdirectory(&self, name: &str, account: &Account) -> Result<PathBuf, LabError> {
        let path = self.path.join(name);
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(LabError::io(format!("create {}", path.display())))?;
        account.own(&path)?;
        Ok(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        // A program that was just killed may still have a child that writes its last file.
        for _ in 1..REMOVALS {
            match std::fs::remove_dir_all(&self.path) {
                Ok(()) => return,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
                Err(_) => std::thread::sleep(REMOVAL_PAUSE),
            }
        }
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            tracing::warn!(directory = %self.path.display(), %error, "could not remove the lab's directory");
        }
    }
}

fn fresh(parent: &Path, prefix: &str) -> Result<PathBuf, LabError> {
    let names = std::collections::hash_map::RandomState::new();
    for attempt in 0..NAMES {
        let number = names.hash_one(attempt) & 0xffff_ffff;
        let path = parent.join(format!("{prefix}-{number:08x}"));
        match std::fs::DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(LabError::Io { what: format!("create {}", path.display()), source }),
        }
    }
    let source = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
    Err(LabError::Io { what: format!("find a free name in {}", parent.display()), source })
}

/// Copies a directory with everything below it, keeping modes and giving each copy to `account`.
///
/// # Errors
/// [`LabError::Io`] at the first file that cannot be copied.
pub fn copy(from: &Path, to: &Path, account: &Account) -> Result<(), LabError> {
    let what = || format!("copy {} to {}", from.display(), to.display());
    let mode = std::fs::metadata(from).map_err(LabError::io(what()))?.permissions().mode();
    std::fs::DirBuilder::new().mode(mode & 0o777).create(to).map_err(LabError::io(what()))?;
    account.own(to)?;
    for entry in std::fs::read_dir(from).map_err(LabError::io(what()))? {
        let entry = entry.map_err(LabError::io(what()))?;
        let target = to.join(entry.file_name());
        let kind = entry.file_type().map_err(LabError::io(what()))?;
        if kind.is_dir() {
            copy(&entry.path(), &target, account)?;
        } else if kind.is_file() {
            std::fs::copy(entry.path(), &target).map_err(LabError::io(what()))?;
            account.own(&target)?;
        }
    }
    Ok(())
}

/// Writes a file only the lab's account (and root) can read.
///
/// # Errors
/// [`LabError::Io`] when it cannot be written.
pub fn write_private(path: &Path, text: impl AsRef<[u8]>, account: &Account) -> Result<(), LabError> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let what = format!("write {}", path.display());
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(LabError::io(&what))?;
    file.write_all(text.as_ref()).map_err(LabError::io(what))?;
    account.own(path)
}
