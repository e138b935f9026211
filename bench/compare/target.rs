//! The three ways to a server: direct, through PgBouncer, through pgherd. Both proxies are configured alike:
//! transaction mode, the same pool, trust for everybody but the SCRAM user, no TLS, quiet logs.

use std::ffi::OsStr;
use std::fs::Permissions;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use pgherd_bench::cluster::{Cluster, DATABASE, SCRAM_PASSWORD, SCRAM_USER, USER};
use pgherd_bench::daemon::{self, Daemon, Stop};
use pgherd_bench::machine;

/// Clients that a proxy must admit beyond the idle ones.
const SPARE_CLIENTS: u32 = 300;

/// What to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Direct,
    PgBouncer { program: PathBuf },
    Pgherd { name: String, program: PathBuf, workers: u32 },
}

/// What every proxy is given alike.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) directory: &'a Path,
    /// Server connections per pool.
    pub(crate) pool: u32,
    pub(crate) idle_clients: u32,
    /// The stored secret of the SCRAM user, as the server keeps it.
    pub(crate) verifier: &'a str,
}

/// Something that listens.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) label: String,
    pub(crate) port: u16,
    /// Whether protocol-level prepared statements work in transaction mode.
    pub(crate) prepares: bool,
    /// The proxy process; none when direct.
    daemon: Option<Daemon>,
}

impl Kind {
    /// The name in tables; `pgherd/2` is pgherd with two workers.
    pub(crate) fn label(&self) -> String {
        match self {
            Self::Direct => "direct".to_owned(),
            Self::PgBouncer { .. } => "pgbouncer".to_owned(),
            Self::Pgherd { name, workers, .. } => format!("{name}/{workers}"),
        }
    }

    /// Starts it and waits until it listens.
    pub(crate) fn start(&self, frame: Frame<'_>) -> io::Result<Target> {
        let (port, daemon) = match self {
            Self::Direct => (frame.cluster.port(), None),
            Self::PgBouncer { program } => {
                let port = daemon::free_port()?;
                (port, Some(start_pgbouncer(program, frame, port)?))
            }
            Self::Pgherd { program, workers, .. } => {
                let port = daemon::free_port()?;
                (port, Some(start_pgherd(program, *workers, frame, port)?))
            }
        };
        let mut target = Target { label: self.label(), port, prepares: self.prepares(), daemon };
        if let Some(daemon) = &mut target.daemon {
            daemon.wait_for(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
        }
        Ok(target)
    }

    fn prepares(&self) -> bool {
        match self {
            Self::Direct | Self::Pgherd { .. } => true,
            Self::PgBouncer { program } => pgbouncer_prepares(&machine::version(program)),
        }
    }
}

impl Target {
    /// Process id of the proxy.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.daemon.as_ref().map(Daemon::pid)
    }

    /// What a proxy said last, for an error message.
    pub(crate) fn last_words(&self) -> String {
        self.daemon.as_ref().map(Daemon::last_words).unwrap_or_default()
    }
}

/// Whether "PgBouncer 1.21.0" or newer: the first that keeps prepared statements in transaction mode.
fn pgbouncer_prepares(version: &str) -> bool {
    let mut numbers =
        version.rsplit(' ').next().unwrap_or("").split('.').map(|n| n.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (1, 21)
}

fn start_pgbouncer(program: &Path, frame: Frame<'_>, port: u16) -> io::Result<Daemon> {
    let home = home(frame.directory, "pgbouncer", port)?;
    let prepared =
        if pgbouncer_prepares(&machine::version(program)) { "max_prepared_statements = 200" } else { "" };
    let clients = frame.idle_clients + SPARE_CLIENTS;
    let (server, pool) = (frame.cluster.port(), frame.pool);
    let (hba, users, ini) = (home.join("hba"), home.join("users"), home.join("pgbouncer.ini"));
    std::fs::write(
        &hba,
        format!("host all {SCRAM_USER} 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n"),
    )?;
    std::fs::write(&users, format!("\"{USER}\" \"\"\n\"{SCRAM_USER}\" \"{}\"\n", frame.verifier))?;
    std::fs::write(
        &ini,
        format!(
            "[databases]\n{DATABASE} = host=127.0.0.1 port={server} dbname={DATABASE}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = hba\nauth_hba_file = {hba}\nauth_file = {users}\n\
             pool_mode = transaction\ndefault_pool_size = {pool}\nmax_client_conn = {clients}\n\
             server_tls_sslmode = disable\nclient_tls_sslmode = disable\n\
             log_connections = 0\nlog_disconnections = 0\nlog_stats = 0\n{prepared}\n",
            hba = hba.display(),
            users = users.display(),
        ),
    )?;
    let user = daemon::unprivileged_user();
    Daemon::start(program, &[OsStr::new("-q"), ini.as_os_str()], user, Stop::Kill, &home.join("log"))
}

fn start_pgherd(program: &Path, workers: u32, frame: Frame<'_>, port: u16) -> io::Result<Daemon> {
    let home = home(frame.directory, "pgherd", port)?;
    let settings = home.join("pgherd.toml");
    std::fs::write(&settings, pgherd_settings(&home, workers, frame, port)?)?;
    // It holds a password, and pgherd would say so.
    std::fs::set_permissions(&settings, Permissions::from_mode(0o600))?;
    let arguments = [OsStr::new("run"), OsStr::new("-c"), settings.as_os_str()];
    Daemon::start(program, &arguments, None, Stop::Kill, &home.join("log"))
}

fn pgherd_settings(home: &Path, workers: u32, frame: Frame<'_>, port: u16) -> io::Result<String> {
    let (server, pool, clients) = (frame.cluster.port(), frame.pool, frame.idle_clients + SPARE_CLIENTS);
    let (home, verifier, api) = (home.display(), frame.verifier, daemon::free_port()?);
    Ok(format!(
        r#"
[server]
workers = {workers}
state_dir = "{home}"
log_level = "warn"

[cluster]
name = "bench"
database = "{DATABASE}"
user = "{USER}"

[listen]
primary = "127.0.0.1:{port}"
replicas = "off"
any = "off"
client_tls = "off"

[[node]]
name = "pg1"
host = "127.0.0.1"
port = {server}
ssl = "disable"
max_pool_size = {pool}
min_pool_size = 0

[pool]
mode = "transaction"
max_client_connections = {clients}

[[user]]
name = "{USER}"
auth = "trust"

[[user]]
name = "{SCRAM_USER}"
auth = "scram-sha-256"
password = "{verifier}"
server_password = "{SCRAM_PASSWORD}"

[api]
listen = "127.0.0.1:{api}"
"#
    ))
}

/// A directory that the proxy can write into when it does not run as root.
fn home(directory: &Path, name: &str, port: u16) -> io::Result<PathBuf> {
    let home = directory.join(format!("{name}-{port}"));
    std::fs::create_dir_all(&home)?;
    if let Some(user) = daemon::unprivileged_user() {
        daemon::give_to(&home, user)?;
    }
    Ok(home)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_pgbouncers_do_not_prepare() {
        assert!(!pgbouncer_prepares("PgBouncer 1.18.0"));
        assert!(pgbouncer_prepares("PgBouncer 1.21.0"));
        assert!(pgbouncer_prepares("PgBouncer 1.25.2"));
        assert!(!pgbouncer_prepares("unknown"));
    }
}
