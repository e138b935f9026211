//! What can go wrong when a lab is built or handled.
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// A failure of the lab. None of these ever reaches a client of pgherd, so none has an SQLSTATE.
///
/// Whose fault: [`LabError::is_machine`] tells a machine that lacks something from PostgreSQL or the lab misbehaving.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// No directory with `postgres` and `initdb` was found (of the major version asked for).
    #[error("no PostgreSQL server binaries{} found; looked in {}", wanted(*major), places(tried))]
    NoBinaries {
        /// The major version asked for, if one was.
        major: Option<u32>,
        /// Where the search looked.
        tried: Vec<PathBuf>,
    },
    /// A client program that belongs to PostgreSQL is in none of the installations found.
    #[error("PostgreSQL program \"{name}\" not found beside the server binaries nor in PATH")]
    NoTool {
        /// The program's name, such as `psql`.
        name: &'static str,
    },
    /// We are root and there is neither a user `postgres` nor `nobody` to run the server as.
    #[error("PostgreSQL refuses to run as root and there is no user \"postgres\" or \"nobody\" to run it as")]
    NoAccount,
    /// The operating system refused something.
    #[error("could not {what}: {source}")]
    Io {
        /// What was attempted, as an infinitive with its object.
        what: String,
        /// The system's reason.
        source: io::Error,
    },
    /// A program ended with a failure.
    #[error("{what} failed: {output}")]
    Program {
        /// Which program, and for what.
        what: String,
        /// The end of what it wrote.
        output: String,
    },
    /// A postmaster ended while it was expected to start.
    #[error("node {node} ended while starting; the end of its log:\n{log}")]
    Died {
        /// The node's name.
        node: String,
        /// The last lines of its log.
        log: String,
    },
    /// Something took longer than the lab's patience.
    #[error("{what} not done after {after:?}{detail}")]
    TimedOut {
        /// What was waited for.
        what: String,
        /// How long.
        after: Duration,
        /// What was seen last, or empty.
        detail: String,
    },
    /// The node is not in the state the request needs.
    #[error("node {node} is {state}")]
    WrongState {
        /// The node's name.
        node: String,
        /// What it is, such as `not running`.
        state: &'static str,
    },
}

impl LabError {
    /// True when the machine lacks something an operator can install or create; false when something misbehaved.
    #[must_use]
    pub fn is_machine(&self) -> bool {
        matches!(self, Self::NoBinaries { .. } | Self::NoTool { .. } | Self::NoAccount)
    }

    /// True when the same request may succeed if simply made again (a port was taken, a deadline passed).
    #[must_use]
    pub fn may_retry(&self) -> bool {
        matches!(self, Self::Died { .. } | Self::TimedOut { .. })
    }

    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

fn wanted(major: Option<u32>) -> String {
    major.map(|m| format!(" of version {m}")).unwrap_or_default()
}

fn places(tried: &[PathBuf]) -> String {
    if tried.is_empty() {
        return "no place at all".to_owned();
    }
    tried.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ")
}
