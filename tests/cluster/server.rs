//! One PostgreSQL server in a directory of its own, with roles and access rules for every way to log in.
#![allow(dead_code, reason = "each test uses its part of it")]

use pgherd_net::keepalive::Keepalive;
use pgherd_net::tls::client::ClientFiles;
use pgherd_pool::connect::Target;
use pgherd_pool::connect::credentials::Credentials;
use pgherd_pool::sslmode::{Ssl, SslMode};
use pgherd_topology::node::Address;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// PostgreSQL refuses to run as root; this is "nobody" on every Linux.
const NOBODY: u32 = 65534;

const ACCESS: &str = "\
local all postgres trust
host all trusting 127.0.0.1/32 trust
host all plain 127.0.0.1/32 password
host all hashed 127.0.0.1/32 md5
host all salted 127.0.0.1/32 scram-sha-256
hostssl all secure 127.0.0.1/32 scram-sha-256
hostnossl all naked 127.0.0.1/32 trust
";

const ROLES: &str = "\
create role trusting login;
create role naked login;
create role plain login password 'secret';
create role salted login password 'secret';
create role secure login password 'secret';
set password_encryption = 'md5';
create role hashed login password 'secret';
";

/// The server; stopped and removed on drop.
pub(crate) struct Server {
    process: Child,
    /// Its directory, with the Unix socket.
    pub(crate) directory: PathBuf,
    /// Its port.
    pub(crate) port: u16,
    root: PathBuf,
}

fn binaries() -> PathBuf {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.flatten().map(|entry| entry.path().join("bin")).collect())
        .unwrap_or_default();
    found.extend(std::env::var_os("PATH").iter().flat_map(std::env::split_paths));
    found.retain(|path| path.join("initdb").exists());
    found.into_iter().next().expect("PostgreSQL's server programs are installed")
}

/// A PostgreSQL program, not as root.
pub(crate) fn command(program: &str, directory: &Path) -> Command {
    let mut command = Command::new(binaries().join(program));
    command.current_dir(directory).stdout(Stdio::null()).stderr(Stdio::null());
    if is_root(directory) {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

fn is_root(directory: &Path) -> bool {
    chown(directory, Some(NOBODY), Some(NOBODY)).is_ok()
}

impl Server {
    /// Starts one.
    pub(crate) fn start() -> Server {
        let directory = std::env::temp_dir().join(format!("pgherd-connect-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let data = directory.join("data");
        let made = command("initdb", &directory)
            .args(["-N", "-A", "trust", "-U", "postgres", "-D"])
            .arg(&data)
            .status()
            .unwrap();
        assert!(made.success(), "initdb");
        let root = certificate(&directory, &data);
        std::fs::write(data.join("pg_hba.conf"), ACCESS).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = command("postgres", &directory)
            .arg("-D")
            .arg(&data)
            .args(["-c", "listen_addresses=127.0.0.1", "-c", "ssl=on", "-c", "fsync=off"])
            .arg("-c")
            .arg(format!("unix_socket_directories={}", directory.display()))
            .args(["-p", &port.to_string()])
            .spawn()
            .unwrap();
        let server = Server { process, directory, port, root };
        let begun = Instant::now();
        while !server.psql("select 1") {
            assert!(begun.elapsed() < Duration::from_secs(30), "PostgreSQL does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(server.psql(ROLES));
        server
    }

    /// Runs a script as superuser.
    pub(crate) fn psql(&self, script: &str) -> bool {
        let mut psql = command("psql", &self.directory);
        psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", "postgres", "-c", script]);
        psql.env("PGHOST", &self.directory).env("PGPORT", self.port.to_string());
        psql.status().unwrap().success()
    }

    /// A target in it, in clear.
    pub(crate) fn target(&self, user: &str, credentials: Credentials) -> Target {
        Target {
            address: Address::Tcp("127.0.0.1".into(), self.port),
            user: user.into(),
            database: "postgres".into(),
            credentials,
            ssl: Ssl::DISABLED,
            connect_timeout: Duration::from_secs(10),
            keepalive: Keepalive::default(),
            dialer: None,
        }
    }

    /// TLS for it.
    pub(crate) fn ssl(&self, mode: SslMode) -> Ssl {
        let verifies = matches!(mode, SslMode::VerifyCa | SslMode::VerifyFull);
        Ssl::load(mode, ClientFiles { roots: verifies.then_some(&*self.root), identity: None }).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Not killed outright: that would leave its shared memory behind.
        let data = self.directory.join("data");
        let stopped =
            command("pg_ctl", &self.directory).args(["-m", "immediate", "stop", "-D"]).arg(&data).status();
        if !stopped.is_ok_and(|status| status.success()) {
            let _ = self.process.kill();
        }
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// A self-signed certificate that names "localhost", in the server's directory; a copy to verify by.
fn certificate(directory: &Path, data: &Path) -> PathBuf {
    let issued = rcgen::generate_simple_self_signed(["localhost".to_string()]).unwrap();
    let root = directory.join("root.crt");
    std::fs::write(&root, issued.cert.pem()).unwrap();
    for (name, text) in
        [("server.crt", issued.cert.pem()), ("server.key", issued.signing_key.serialize_pem())]
    {
        let path = data.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        let _ = chown(&path, Some(NOBODY), Some(NOBODY));
    }
    root
}
