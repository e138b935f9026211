//! What a client meets first: listeners, TLS, authentication, users and databases.

use crate::config::secret::Secret;
use crate::config::words::{
    AuthMethod, ClientCert, ClientTls, ListenerRouting, PoolMode, ReadPreference, TlsVersion,
};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// A host (name or address, without brackets) and a TCP port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// Name or IP address; `0.0.0.0` and `::` listen everywhere.
    pub host: String,
    /// Port; 0 lets the system choose one.
    pub port: u16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// `[listen]`, without the three addresses (they are in [`super::Settings::listeners`]).
#[derive(Clone, Debug, PartialEq)]
pub struct Listen {
    /// Directory in which every listener also has a Unix socket `.s.PGSQL.PORT`.
    pub unix_socket_dir: Option<PathBuf>,
    /// Permission bits of those sockets.
    pub unix_socket_mode: u32,
    /// Length of the kernel's queue of connections not yet accepted.
    pub backlog: u32,
    /// Whether clients may or must use TLS.
    pub client_tls: ClientTls,
    /// PEM chain shown to clients. Present whenever `client_tls` is `require`; with `prefer` and no certificate TLS is
    /// refused politely.
    pub certificate: Option<PathBuf>,
    /// PEM private key of the certificate.
    pub key: Option<PathBuf>,
    /// PEM roots client certificates must chain to; `None` asks for none.
    pub client_ca: Option<PathBuf>,
    /// Lowest TLS version.
    pub tls_min_version: TlsVersion,
    /// From accept to the end of authentication.
    pub login_timeout: Duration,
    /// Connections that may be between accept and the end of authentication at once.
    pub max_unauthenticated_connections: u32,
    /// Idle time before the kernel probes a silent client; `None` = no probes.
    pub tcp_keepalive: Option<Duration>,
    /// Time between two such probes.
    pub tcp_keepalive_interval: Duration,
    /// Unanswered probes before the connection is dead.
    pub tcp_keepalive_count: u32,
}

/// One address clients connect to.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// `primary`, `replicas`, `any`, or the name of a `[[listener]]`.
    pub name: String,
    /// Where it listens.
    pub address: HostPort,
    /// What it stands for.
    pub routing: ListenerRouting,
    /// Where reads prefer to go on this listener; `None` = `routing.default_read_preference`.
    pub read_preference: Option<ReadPreference>,
    /// Only count where statements would go; `None` = `routing.shadow`.
    pub shadow: Option<bool>,
    /// Networks of balancers that put a PROXY header before a client's bytes, in CIDR notation.
    pub proxy_protocol_from: Vec<String>,
}

/// `[auth]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Auth {
    /// How clients prove who they are, unless their `[[user]]` says otherwise.
    pub method: AuthMethod,
    /// PgBouncer's `userlist.txt`, read by the door.
    pub users_file: Option<PathBuf>,
    /// Where users are looked up who are named nowhere.
    pub inquiry: Option<Inquiry>,
    /// What certificate clients that come by TCP must show besides, unless their `[[user]]` says otherwise.
    pub clientcert: ClientCert,
    /// Networks from which `trust` asks for nothing, in CIDR notation, beside this machine.
    pub trusted_networks: Vec<String>,
    /// PostgreSQL's `pg_ident.conf`, read by the door.
    pub ident_file: Option<PathBuf>,
    /// Map for common names of certificates.
    pub cert_map: Option<String>,
    /// Map for users of the operating system.
    pub peer_map: Option<String>,
    /// Refuse databases that have no `[[database]]`.
    pub strict_databases: bool,
    /// Who may do everything on the console.
    pub admin_users: Vec<String>,
    /// Who may look at it.
    pub stats_users: Vec<String>,
}

/// The keys of `[auth]` that begin with `query`: how users are looked up on the servers.
#[derive(Clone, Debug, PartialEq)]
pub struct Inquiry {
    /// One statement; `$1` is the name.
    pub query: String,
    /// Account it runs as.
    pub query_user: String,
    /// That account's password.
    pub query_password: Option<Secret>,
    /// Database it runs in.
    pub query_database: String,
    /// How long a user that was found is remembered.
    pub query_cache: Duration,
    /// How long it is remembered that there is no such user.
    pub query_unknown_cache: Duration,
    /// Limit for one question.
    pub query_timeout: Duration,
}

/// `[[user]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    /// Name as in the startup message.
    pub name: String,
    /// What the client must know: a password, `md5...` or `SCRAM-SHA-256$...`. `None` = only method `trust` lets it in
    /// (or its line in the users file).
    pub password: Option<Secret>,
    /// Overrides `auth.method`.
    pub auth: Option<AuthMethod>,
    /// Overrides `auth.clientcert`.
    pub clientcert: Option<ClientCert>,
    /// Name to log in to servers with; `None` = the same.
    pub server_user: Option<String>,
    /// Password to log in to servers with. Filled from `password` when that is a clear one and nothing else was given.
    pub server_password: Option<Secret>,
    /// Overrides.
    pub pool_mode: Option<PoolMode>,
    /// Overrides.
    pub min_pool_size: Option<u32>,
    /// Overrides.
    pub max_pool_size: Option<u32>,
    /// Overrides.
    pub reserve_pool_size: Option<u32>,
    /// Clients of this user at once; `None` = `pool.max_client_connections_per_user`.
    pub max_client_connections: Option<u32>,
}

/// `[[database]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Database {
    /// Name as in the startup message.
    pub name: String,
    /// Name on the servers; the same as `name` unless given.
    pub dbname: String,
    /// Overrides.
    pub pool_mode: Option<PoolMode>,
    /// Overrides.
    pub min_pool_size: Option<u32>,
    /// Overrides.
    pub max_pool_size: Option<u32>,
    /// Overrides.
    pub reserve_pool_size: Option<u32>,
    /// Clients of this database at once; `None` = `pool.max_client_connections_per_database`.
    pub max_client_connections: Option<u32>,
}
