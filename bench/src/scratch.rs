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
    /// Creates it; with `keep` it stays after the run, for reading logs.
    pub fn create(name: &str, keep: bool) -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("pgherd-{name}-{}", std::process::id()));
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
