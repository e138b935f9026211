//! The user PostgreSQL runs as: never root.
use crate::error::LabError;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Names tried, in this order, when we are root.
const ACCOUNTS: [&str; 2] = ["postgres", "nobody"];

/// An unprivileged user that PostgreSQL is run as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    name: String,
    uid: u32,
    gid: u32,
    /// True when we are root and children must change to this user.
    drop: bool,
}

impl Account {
    /// The present user, or when that is root the first of `postgres` and `nobody` that exists.
    ///
    /// # Errors
    /// [`LabError::NoAccount`] when we are root and neither exists.
    pub fn choose() -> Result<Self, LabError> {
        let uid = rustix::process::getuid().as_raw();
        if uid != 0 {
            let name = std::env::var("USER").unwrap_or_else(|_| uid.to_string());
            return Ok(Self { name, uid, gid: rustix::process::getgid().as_raw(), drop: false });
        }
        let passwd = std::fs::read_to_string("/etc/passwd").map_err(LabError::io("read /etc/passwd"))?;
        ACCOUNTS
            .iter()
            .find_map(|name| entry(&passwd, name))
            .map(|(name, uid, gid)| Self { name, uid, gid, drop: true })
            .ok_or(LabError::NoAccount)
    }

    /// The user's name, for messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// True when we are root and servers are run as somebody else.
    #[must_use]
    pub fn is_dropped(&self) -> bool {
        self.drop
    }

    /// The user's numeric id.
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// Makes a command run as this user.
    pub fn apply(&self, command: &mut Command) {
        if self.drop {
            // As root the standard library also clears the supplementary groups when a uid is set.
            command.gid(self.gid).uid(self.uid);
        }
    }

    /// Gives one file or directory to this user when we are root; does nothing otherwise.
    ///
    /// # Errors
    /// [`LabError::Io`] when the file cannot be given away.
    pub fn own(&self, path: &Path) -> Result<(), LabError> {
        if !self.drop {
            return Ok(());
        }
        std::os::unix::fs::lchown(path, Some(self.uid), Some(self.gid)).map_err(LabError::io(format!(
            "give {} to user {}",
            path.display(),
            self.name
        )))
    }
}

/// Finds `name:x:uid:gid:` in the text of a passwd file. Uid 0 under another name is still root and is passed over.
fn entry(passwd: &str, name: &str) -> Option<(String, u32, u32)> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != name {
            return None;
        }
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        (uid != 0).then(|| (name.to_owned(), uid, gid))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_an_unprivileged_entry() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\npostgres:x:101:104::/var/lib/postgresql:/bin/bash\ntoor:x:0:0::/:\n";
        assert_eq!(entry(passwd, "postgres"), Some(("postgres".to_owned(), 101, 104)));
        assert_eq!(entry(passwd, "nobody"), None);
        assert_eq!(entry(passwd, "toor"), None);
        assert_eq!(entry("postgres:x", "postgres"), None);
    }
}
