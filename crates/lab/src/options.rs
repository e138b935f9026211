//! What a lab should look like.
use std::path::PathBuf;
use std::time::Duration;

/// How `pg_hba.conf` asks TCP clients to prove who they are (PostgreSQL documentation, chapter "Client Authentication").
///
/// The Unix socket inside the lab's private directory is always `trust`: the lab's own `psql` uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Auth {
    /// Everybody who reaches the loopback port is let in.
    Trust,
    /// The MD5 challenge; passwords are stored as MD5 hashes so that the challenge really is MD5.
    Md5,
    /// SCRAM-SHA-256, PostgreSQL's default.
    #[default]
    ScramSha256,
}

impl Auth {
    /// The word used in `pg_hba.conf`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Trust => "trust",
            Self::Md5 => "md5",
            Self::ScramSha256 => "scram-sha-256",
        }
    }

    /// The `password_encryption` that makes stored passwords fit the method.
    #[must_use]
    pub fn password_encryption(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Trust | Self::ScramSha256 => "scram-sha-256",
        }
    }
}

/// A server certificate; the files are copied into each node's data directory.
#[derive(Debug, Clone)]
pub struct Tls {
    /// PEM certificate chain.
    pub certificate: PathBuf,
    /// PEM private key.
    pub key: PathBuf,
}

/// A role to create on the primary before [`crate::lab::Lab::start`] returns.
#[derive(Debug, Clone)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// Its password, stored as `password_encryption` says; `None` for a role without one.
    pub password: Option<String>,
    /// `CREATE ROLE` attributes besides `LOGIN` and `PASSWORD`, such as `SUPERUSER` or `IN ROLE pg_monitor`; may be empty.
    pub attributes: String,
}

/// A database to create on the primary before [`crate::lab::Lab::start`] returns.
#[derive(Debug, Clone)]
pub struct Database {
    /// Its name.
    pub name: String,
    /// Its owner, which must exist or be among [`Options::roles`].
    pub owner: String,
}

/// What [`crate::lab::Lab::start`] builds. The default is a primary with two standbys and SCRAM.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many streaming standbys; 0 gives a lone primary.
    pub replicas: usize,
    /// Use exactly this major version; `None` means the newest found.
    pub major: Option<u32>,
    /// Use the server binaries of this directory and search no further.
    pub bin_dir: Option<PathBuf>,
    /// How TCP clients authenticate.
    pub auth: Auth,
    /// Lines appended to every node's `postgresql.conf`; a later line wins over the lab's own.
    pub settings: Vec<String>,
    /// Serve TLS with this certificate.
    pub tls: Option<Tls>,
    /// Roles to create.
    pub roles: Vec<Role>,
    /// Databases to create.
    pub databases: Vec<Database>,
    /// Leave the directory behind when the lab ends.
    pub keep: bool,
    /// Where the lab's directory is made; `None` means the system's directory for temporary files.
    pub parent: Option<PathBuf>,
    /// How the directory's name begins; labs of one prefix find each other's leftovers ([`crate::stale`]).
    pub prefix: String,
    /// How long starting a node, stopping one, or the first replicated row may take.
    pub patience: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            replicas: 2,
            major: None,
            bin_dir: None,
            auth: Auth::default(),
            settings: Vec::new(),
            tls: None,
            roles: Vec::new(),
            databases: Vec::new(),
            keep: false,
            parent: None,
            prefix: "pgherd-lab".to_owned(),
            patience: Duration::from_secs(30),
        }
    }
}
