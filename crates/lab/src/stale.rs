//! Leftovers of labs whose process was killed.
use crate::directory::{KEPT, LOCK};
use crate::error::LabError;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The directory of a lab that nobody owns any more.
#[derive(Debug)]
pub struct Leftover {
    path: PathBuf,
    /// Held, so that two processes do not clean the same directory.
    _lock: File,
}

/// Finds leftovers of labs with this prefix in `parent`. Directories that are in use, were kept on purpose, or belong to a user
/// that is neither us nor (when we are root) the servers' account are not among them.
#[must_use]
pub fn find(parent: &Path, prefix: &str, servers_uid: u32) -> Vec<Leftover> {
    let Ok(entries) = std::fs::read_dir(parent) else { return Vec::new() };
    let ours = [rustix::process::getuid().as_raw(), servers_uid];
    entries
        .flatten()
        .filter(|e| e.file_name().to_string_lossy().strip_prefix(prefix).is_some_and(|r| r.starts_with('-')))
        .filter_map(|e| {
            let path = e.path();
            // symlink_metadata: a link planted in a world-writable directory is nobody's lab.
            let meta = std::fs::symlink_metadata(&path).ok()?;
            if !meta.is_dir() || !ours.contains(&meta.uid()) || path.join(KEPT).exists() {
                return None;
            }
            let lock = File::open(path.join(LOCK)).ok()?;
            lock.try_lock().ok()?;
            Some(Leftover { path, _lock: lock })
        })
        .collect()
}

impl Leftover {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Kills postmasters that still run in the directory (there are some only where no parent-death signal exists) and removes it.
    ///
    /// # Errors
    /// [`LabError::Io`] when it cannot be removed.
    pub fn remove(self) -> Result<(), LabError> {
        let nodes = std::fs::read_dir(&self.path).map_err(LabError::io("look into a leftover directory"))?;
        for node in nodes.flatten() {
            let Ok(text) = std::fs::read_to_string(node.path().join("postmaster.pid")) else { continue };
            let pid = text.lines().next().and_then(|l| l.trim().parse().ok()).and_then(Pid::from_raw);
            if let Some(pid) = pid
                && serves(pid, &node.path())
            {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        std::fs::remove_dir_all(&self.path).map_err(LabError::io(format!("remove {}", self.path.display())))
    }
}

/// True when the process is a server of this data directory: a number in an old file may be anybody's by now.
fn serves(pid: Pid, directory: &Path) -> bool {
    let output = std::process::Command::new("ps")
        .args(["-o", "args=", "-p", &pid.as_raw_nonzero().to_string()])
        .output();
    output.is_ok_and(|o| {
        let line = String::from_utf8_lossy(&o.stdout).into_owned();
        line.contains("postgres") && line.contains(&*directory.to_string_lossy())
    })
}
