//! What the controller must be told. Passive: whoever reads a settings file fills it in.

use pgherd_failover::policy::{Policy, Spec};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Everything the controller is configured with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The nodes known at the start, in the order of the file.
    pub nodes: Vec<NodeSettings>,
    /// How to log in to a node that was discovered rather than configured.
    pub login: Login,
    /// The cluster's policy.
    pub policy: Policy,
    /// Where the journal and what must survive a restart are kept; `None` keeps nothing.
    pub state_dir: Option<PathBuf>,
}

/// One configured node.
#[derive(Clone, Debug)]
pub struct NodeSettings {
    /// Name, address, weight, region, tags, limits.
    pub spec: Spec,
    /// How to log in to it.
    pub login: Login,
}

/// How the controller logs in. The role needs `pg_monitor` and nothing more.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// Role.
    pub user: Arc<str>,
    /// Password, if there is one.
    pub password: Option<Arc<str>>,
    /// Database; `postgres` when nothing else is known.
    pub database: Arc<str>,
    /// TLS.
    pub ssl: SslMode,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let password = self.password.as_ref().map(|_| "(hidden)");
        f.debug_struct("Login")
            .field("user", &self.user)
            .field("password", &password)
            .field("database", &self.database)
            .field("ssl", &self.ssl.word())
            .finish()
    }
}

/// libpq's words for TLS (PostgreSQL documentation, chapter 34.19.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SslMode {
    /// Never.
    Disable,
    /// Only if the server insists.
    Allow,
    /// If the server can.
    #[default]
    Prefer,
    /// Always, whoever it is.
    Require,
    /// Always, and the certificate must be issued by a known authority.
    VerifyCa,
    /// Always, and the certificate must be the host's.
    VerifyFull,
}

impl SslMode {
    /// All modes, weakest first.
    pub const ALL: [SslMode; 6] = [
        SslMode::Disable,
        SslMode::Allow,
        SslMode::Prefer,
        SslMode::Require,
        SslMode::VerifyCa,
        SslMode::VerifyFull,
    ];

    /// The word in settings.
    pub fn word(self) -> &'static str {
        match self {
            SslMode::Disable => "disable",
            SslMode::Allow => "allow",
            SslMode::Prefer => "prefer",
            SslMode::Require => "require",
            SslMode::VerifyCa => "verify-ca",
            SslMode::VerifyFull => "verify-full",
        }
    }

    /// The mode with this word.
    pub fn from_word(word: &str) -> Option<SslMode> {
        SslMode::ALL.into_iter().find(|mode| mode.word() == word)
    }

    /// A connection without TLS is out of the question.
    pub fn insists(self) -> bool {
        match self {
            SslMode::Disable | SslMode::Allow | SslMode::Prefer => false,
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        let password = Some("geheim".into());
        let login = Login { user: "u".into(), password, database: "d".into(), ssl: SslMode::Require };
        let text = format!("{login:?}");
        assert!(!text.contains("geheim") && text.contains("hidden"), "{text}");
    }

    #[test]
    fn ssl_words_come_back() {
        for mode in SslMode::ALL {
            assert_eq!(SslMode::from_word(mode.word()), Some(mode));
        }
        assert_eq!(SslMode::from_word("true"), None);
    }
}
