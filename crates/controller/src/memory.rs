//! The one small file that keeps an old primary from being taken for the current one after a restart of pgherd.

use crate::memory_json;
use pgherd_failover::state::Memory;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Name of the file under `state_dir`.
const NAME: &str = "cluster.json";

/// Reads what an earlier process left behind; `None` when there is nothing.
///
/// # Errors
/// When the file exists but cannot be read or understood: the operator must look, nothing is assumed.
pub fn load(directory: &Path) -> io::Result<Option<Memory>> {
    let path = directory.join(NAME);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, format!("{} is damaged", path.display()));
    memory_json::read(&text).map(Some).ok_or_else(damaged)
}

/// Writes it so that it is whole on disk, or the old one is, whatever happens.
///
/// # Errors
/// Whatever the file system says.
pub fn save(directory: &Path, memory: &Memory) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let (path, draft): (PathBuf, PathBuf) = (directory.join(NAME), directory.join(format!("{NAME}.new")));
    let text = memory_json::write(memory).to_string();
    // It may hold a password of standbys.
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&draft, &path)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgherd_topology::lsn::Timeline;

    #[test]
    fn remembers_and_refuses_damage() {
        let directory = std::env::temp_dir().join(format!("pgherd-memory-{}", std::process::id()));
        assert_eq!(load(&directory).unwrap(), None);
        let memory = Memory { system: u64::MAX, timeline: Timeline(7), ..Memory::default() };
        save(&directory, &memory).unwrap();
        assert_eq!(load(&directory).unwrap(), Some(memory));
        fs::write(directory.join(NAME), "{\"system\": 1}").unwrap();
        assert_eq!(load(&directory).unwrap_err().kind(), io::ErrorKind::InvalidData);
        fs::remove_dir_all(&directory).unwrap();
    }
}
