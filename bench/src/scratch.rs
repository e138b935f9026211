//! A directory below the system's temporary directory that is removed on drop.

use std::io;
use std::path::{Path, PathBuf};

/// The directory; declare it before the daemons that write into it, so that it is dropped after them.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    keep: bool,
}

impl Scratch {
    /// Creates it, and removes those of earlier runs that were killed; with `keep` it stays after the run and is
    /// never removed, for reading logs.
    pub fn create(name: &str, keep: bool) -> io::Result<Self> {
        let (place, prefix) = (std::env::temp_dir(), format!("pgherd-{name}-"));
        remove_orphans(&place, &prefix)?;
        let kept = if keep { "kept-" } else { "" };
        let path = place.join(format!("{prefix}{kept}{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self { path, keep })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.keep {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// Removes `PREFIX` + process id below `place` when there is no such process any more.
fn remove_orphans(place: &Path, prefix: &str) -> io::Result<()> {
    for entry in std::fs::read_dir(place)? {
        let entry = entry?;
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(prefix)?.parse::<u32>().ok());
        if process.is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists()) {
            // Somebody else's, perhaps; then it is not ours to remove.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_directories_of_dead_runs_go() {
        let scratch = Scratch::create("scratch-test", false).expect("a temporary directory");
        let names =
            [format!("x-{}", std::process::id()), "x-4294967295".to_owned(), "x-kept-4294967295".to_owned()];
        for name in &names {
            std::fs::create_dir(scratch.path().join(name)).expect("a new directory");
        }
        remove_orphans(scratch.path(), "x-").expect("readable");
        let stays = names.map(|name| scratch.path().join(name).exists());
        assert_eq!(stays, [true, false, true]);
    }
}
