//! Finding PostgreSQL's programs on this machine.
use crate::error::LabError;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The environment variable that names a directory with server binaries and ends the search.
pub const BIN_VARIABLE: &str = "PGHERD_PG_BIN";

/// A directory that holds `postgres` and `initdb`, and what version they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    directory: PathBuf,
    major: u32,
    version: String,
    /// Other installations seen: some server packages come without `psql` or `pgbench`.
    others: Vec<PathBuf>,
}

impl Binaries {
    /// Looks for server binaries: `explicit`, else the variable [`BIN_VARIABLE`], else `pg_config`, `PATH`, the places of Debian,
    /// Red Hat, Homebrew, Postgres.app and source builds; the newest major version wins, or exactly `major`.
    ///
    /// # Errors
    /// [`LabError::NoBinaries`] with every place that was looked at.
    pub fn find(explicit: Option<&Path>, major: Option<u32>) -> Result<Self, LabError> {
        let named =
            explicit.map(Path::to_path_buf).or_else(|| std::env::var_os(BIN_VARIABLE).map(PathBuf::from));
        let tried = match named {
            Some(directory) => vec![directory],
            None => candidates(),
        };
        let mut found: Vec<Self> = tried.iter().filter_map(|directory| Self::inspect(directory)).collect();
        // A stable sort: of two directories with the same version the one looked at first stays first.
        found.sort_by_key(|b| std::cmp::Reverse(b.major));
        let others: Vec<PathBuf> = found.iter().map(|b| b.directory.clone()).collect();
        let chosen = found.into_iter().find(|b| major.is_none_or(|m| b.major == m));
        match chosen {
            Some(mut binaries) => {
                binaries.others = others;
                Ok(binaries)
            }
            None => Err(LabError::NoBinaries { major, tried }),
        }
    }

    fn inspect(directory: &Path) -> Option<Self> {
        if !directory.join("initdb").is_file() {
            return None;
        }
        let output = Command::new(directory.join("postgres")).arg("--version").output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let version = version_word(&text)?;
        let major = leading_number(&version)?;
        Some(Self { directory: directory.to_path_buf(), major, version, others: Vec::new() })
    }

    /// The major version, such as 15.
    #[must_use]
    pub fn major(&self) -> u32 {
        self.major
    }

    /// The whole version, such as `15.20`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The directory of the server binaries.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The path of a PostgreSQL program: beside the server, else in another installation, else in `PATH`.
    ///
    /// # Errors
    /// [`LabError::NoTool`] when it is nowhere.
    pub fn tool(&self, name: &'static str) -> Result<PathBuf, LabError> {
        let beside = std::iter::once(&self.directory).chain(&self.others).map(PathBuf::as_path);
        beside
            .map(|d| d.join(name))
            .find(|p| p.is_file())
            .or_else(|| in_path(name))
            .ok_or(LabError::NoTool { name })
    }
}

/// `postgres (PostgreSQL) 15.20 (Debian 15.20-1)` -> `15.20`.
fn version_word(text: &str) -> Option<String> {
    let after = text.split("(PostgreSQL)").nth(1)?;
    after.split_whitespace().next().map(str::to_owned)
}

/// `18beta2` -> 18.
fn leading_number(version: &str) -> Option<u32> {
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// A program of this name in `PATH`, if there is one.
#[must_use]
pub fn in_path(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|d| d.join(name)).find(|p| p.is_file())
}

fn candidates() -> Vec<PathBuf> {
    let mut list: Vec<PathBuf> = Vec::new();
    if let Some(directory) = from_pg_config() {
        list.push(directory);
    }
    // In Debian's PATH there are only wrappers; a real server directory has `initdb` beside `postgres`.
    if let Some(directory) = in_path("initdb").as_deref().and_then(Path::parent) {
        list.push(directory.to_path_buf());
    }
    for (root, tail) in [
        ("/usr/lib/postgresql", "bin"), // Debian, Ubuntu: /usr/lib/postgresql/15/bin
        ("/usr/lib64", "bin"),          // openSUSE: /usr/lib64/postgresql15/bin
        ("/usr", "bin"),                // PGDG on Red Hat: /usr/pgsql-15/bin
        ("/opt/homebrew/opt", "bin"),   // Homebrew, Apple silicon: postgresql@15
        ("/usr/local/opt", "bin"),      // Homebrew, Intel
        ("/Applications/Postgres.app/Contents/Versions", "bin"), // Postgres.app
        ("/usr/local", "bin"),          // source build: /usr/local/pgsql/bin
        ("/usr/libexec", ""),           // Alpine: /usr/libexec/postgresql15
    ] {
        list.extend(below(Path::new(root), tail));
    }
    let mut seen = std::collections::HashSet::new();
    list.retain(|d| seen.insert(d.canonicalize().unwrap_or_else(|_| d.clone())));
    list
}

fn from_pg_config() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let line = text.lines().next()?.trim();
    (!line.is_empty()).then(|| PathBuf::from(line))
}

/// Directories `root/X/tail` whose X looks like a PostgreSQL installation, in the order of their names.
fn below(root: &Path, tail: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(root) else { return Vec::new() };
    let always = root.ends_with("postgresql") || root.ends_with("Versions");
    let mut list: Vec<PathBuf> = entries
        .flatten()
        .filter(|e| {
            let name = e.file_name();
            let name = name.to_string_lossy();
            always || name.starts_with("postgresql") || name.starts_with("pgsql")
        })
        .map(|e| if tail.is_empty() { e.path() } else { e.path().join(tail) })
        .filter(|d| d.is_dir())
        .collect();
    list.sort();
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_version_banner() {
        let debian = "postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)\n";
        assert_eq!(version_word(debian).as_deref(), Some("15.20"));
        assert_eq!(version_word("postgres (PostgreSQL) 18beta2\n").as_deref(), Some("18beta2"));
        assert_eq!(leading_number("18beta2"), Some(18));
        assert_eq!(version_word("something else"), None);
    }

    #[test]
    fn a_directory_without_binaries_is_named_in_the_error() {
        let nowhere = Path::new("/nonexistent/postgres/bin");
        let error = Binaries::find(Some(nowhere), Some(15)).expect_err("there is nothing there");
        assert!(error.is_machine());
        assert!(error.to_string().contains("/nonexistent/postgres/bin"), "{error}");
        assert!(error.to_string().contains("version 15"), "{error}");
    }
}
