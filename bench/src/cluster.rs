//! A throw-away PostgreSQL primary on the loopback interface, tuned so that the disk is not what is measured.

use std::ffi::OsStr;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::daemon::{self, Daemon, Stop};

/// Database that the benchmarks use.
pub const DATABASE: &str = "bench";
/// Role that may log in without a password.
pub const USER: &str = "bench";
/// Role that must log in with SCRAM-SHA-256.
pub const SCRAM_USER: &str = "bench_scram";
/// Password of [`SCRAM_USER`]; it guards nothing.
pub const SCRAM_PASSWORD: &str = "benchmark";

/// One primary; stopped on drop. Its files are left to the owner of the directory.
#[derive(Debug)]
pub struct Cluster {
    server: Daemon,
    bin: PathBuf,
    port: u16,
}

impl Cluster {
    /// Runs initdb and starts a primary below `directory` with the programs of `bin`.
    pub fn start(bin: &Path, directory: &Path) -> io::Result<Self> {
        let user = daemon::unprivileged_user();
        let home = directory.join("postgresql");
        std::fs::create_dir_all(&home)?;
        if let Some(user) = user {
            daemon::give_to(&home, user)?;
        }
        let data = home.join("data");
        let mut initdb = daemon::as_user(user, &[])?;
        initdb.arg("--").arg(bin.join("initdb")).arg("-D").arg(&data);
        initdb.args(["-A", "trust", "-U", "postgres", "--no-sync", "--locale=C", "-E", "UTF8"]);
        checked(&mut initdb)?;
        std::fs::write(
            data.join("pg_hba.conf"),
            format!("host all {SCRAM_USER} 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n"),
        )?;
        let port = daemon::free_port()?;
        let mut server = run_server(bin, &data, &home, port, user)?;
        server.wait_for(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
        let cluster = Self { server, bin: bin.to_owned(), port };
        cluster.wait_until_it_answers()?;
        cluster.psql("postgres", &format!("CREATE ROLE {USER} SUPERUSER LOGIN"))?;
        cluster.psql(
            "postgres",
            &format!("CREATE ROLE {SCRAM_USER} SUPERUSER LOGIN PASSWORD '{SCRAM_PASSWORD}'"),
        )?;
        cluster.psql("postgres", &format!("CREATE DATABASE {DATABASE} OWNER {USER}"))?;
        Ok(cluster)
    }

    /// Port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Process id of the postmaster.
    pub fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// Runs one statement directly and returns its output, unaligned and without a header.
    pub fn psql(&self, database: &str, statement: &str) -> io::Result<String> {
        let mut psql = Command::new(self.bin.join("psql"));
        psql.args(["-X", "-q", "-A", "-t", "-h", "127.0.0.1", "-U", "postgres", "-d", database]);
        psql.args(["-v", "ON_ERROR_STOP=1", "-p", &self.port.to_string(), "-c", statement]);
        checked(&mut psql)
    }

    fn wait_until_it_answers(&self) -> io::Result<()> {
        let mut last = Ok(String::new());
        for _ in 0..100 {
            last = self.psql("postgres", "SELECT 1");
            if last.is_ok() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        last.map(|_| ())
    }
}

fn run_server(bin: &Path, data: &Path, home: &Path, port: u16, user: Option<&str>) -> io::Result<Daemon> {
    let settings = [
        format!("port={port}"),
        "listen_addresses=127.0.0.1".to_owned(),
        "unix_socket_directories=".to_owned(),
        "fsync=off".to_owned(),
        "max_connections=300".to_owned(),
        "shared_buffers=256MB".to_owned(),
        // Neither a checkpoint nor a vacuum may fall into one target's turn and not into another's.
        "max_wal_size=8GB".to_owned(),
        "checkpoint_timeout=1h".to_owned(),
        "autovacuum=off".to_owned(),
    ];
    let mut arguments = vec![OsStr::new("-D"), data.as_os_str()];
    for setting in &settings {
        arguments.extend([OsStr::new("-c"), OsStr::new(setting.as_str())]);
    }
    Daemon::start(&bin.join("postgres"), &arguments, user, Stop::Interrupt, &home.with_extension("log"))
}

/// Runs a program to its end; its standard output, or an error with what it said.
pub fn checked(command: &mut Command) -> io::Result<String> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let program = command.get_program().to_string_lossy().into_owned();
    Err(io::Error::other(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim())))
}
