//! A tiny cluster of real PostgreSQL servers in a temporary directory, for these tests only.
//!
//! The binaries come from `$PGHERD_PG_BIN` or the newest Debian path; without them the tests fail, they do not skip.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

static COUNTER: AtomicU32 = AtomicU32::new(0);

pub(crate) struct Server {
    pub(crate) name: String,
    pub(crate) port: u16,
    data: PathBuf,
    process: Option<Child>,
}

pub(crate) struct Cluster {
    directory: PathBuf,
    pub(crate) servers: Vec<Server>,
}

fn binaries() -> PathBuf {
    if let Some(path) = std::env::var_os("PGHERD_PG_BIN") {
        return path.into();
    }
    let versions = fs::read_dir("/usr/lib/postgresql").map(|entries| {
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).max()
    });
    match versions {
        Ok(Some(version)) => format!("/usr/lib/postgresql/{version}/bin").into(),
        _ => panic!("no PostgreSQL binaries: install PostgreSQL or set PGHERD_PG_BIN"),
    }
}

/// PostgreSQL refuses to run as root; root's tests run it as `postgres`.
fn command(program: &str) -> Command {
    let path = binaries().join(program);
    let uid = fs::metadata("/proc/self").map(|data| data.uid());
    if uid.is_ok_and(|uid| uid == 0) {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(path);
        command
    } else {
        Command::new(path)
    }
}

fn run(mut command: Command) {
    let output = command.output().expect("the program starts");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {text}");
}

fn free_port() -> u16 {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    socket.local_addr().expect("bound").port()
}

impl Cluster {
    /// A primary and `standbys` standbys streaming from it by slots, all running.
    pub(crate) fn start(standbys: usize) -> Cluster {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let directory =
            std::env::temp_dir().join(format!("pgherd-controller-{}-{number}", std::process::id()));
        fs::create_dir_all(&directory).expect("a temporary directory");
        run({
            let mut open = Command::new("chmod");
            open.arg("777").arg(&directory);
            open
        });
        let mut cluster = Cluster { directory, servers: Vec::new() };
        let data = cluster.directory.join("pg1");
        run({
            let mut initdb = command("initdb");
            initdb.args(["-U", "root", "-A", "trust", "--no-sync", "-D"]).arg(&data);
            initdb
        });
        cluster.servers.push(Server { name: "pg1".to_owned(), port: free_port(), data, process: None });
        cluster.start_server(0);
        cluster.sql(0, "CREATE ROLE watcher LOGIN; GRANT pg_monitor TO watcher");
        for index in 1..=standbys {
            cluster.add_standby(index);
        }
        cluster
    }

    fn add_standby(&mut self, index: usize) {
        let name = format!("pg{}", index + 1);
        let data = self.directory.join(&name);
        let source = self.servers[0].port;
        self.sql(0, &format!("SELECT pg_create_physical_replication_slot('{name}')"));
        run({
            let mut backup = command("pg_basebackup");
            backup.args(["-R", "-c", "fast", "--no-sync", "-S", &name, "-D"]).arg(&data);
            backup.args(["-d", &format!("host=127.0.0.1 port={source} user=root application_name={name}")]);
            backup
        });
        self.servers.push(Server { name, port: free_port(), data, process: None });
        self.start_server(index);
    }

    /// Starts a server and waits until it answers.
    pub(crate) fn start_server(&mut self, index: usize) {
        let directory = self.directory.clone();
        let server = &mut self.servers[index];
        let log = directory.join(format!("{}.log", server.name));
        let log = fs::OpenOptions::new().create(true).append(true).open(log).expect("a log file");
        let mut postgres = command("postgres");
        postgres.arg("-D").arg(&server.data).args(["-p", &server.port.to_string()]);
        for setting in [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "fsync=off",
            "wal_retrieve_retry_interval=100ms",
            "shared_buffers=16MB",
            "max_connections=30",
            "wal_log_hints=on",
        ] {
            postgres.args(["-c", setting]);
        }
        postgres.stdout(Stdio::null()).stderr(log);
        server.process = Some(postgres.spawn().expect("postgres starts"));
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.try_sql(index, "SELECT 1").is_none() {
            assert!(Instant::now() < deadline, "{} does not come up", self.servers[index].name);
            sleep(Duration::from_millis(50));
        }
    }

    /// Stops a server with this signal (`INT` is a fast shutdown) and waits for its end.
    pub(crate) fn stop_server(&mut self, index: usize, signal: &str) {
        if let Some(mut process) = self.servers[index].process.take() {
            let pid = process.id().to_string();
            let sent = Command::new("kill").args(["-s", signal, &pid]).status();
            assert!(sent.is_ok_and(|status| status.success()), "the signal is sent");
            process.wait().expect("the server ends");
        }
    }

    /// Turns a stopped server into a standby of another.
    pub(crate) fn follow(&mut self, index: usize, source: usize) {
        let port = self.servers[source].port;
        let server = &self.servers[index];
        let conninfo = format!(
            "primary_conninfo = 'host=127.0.0.1 port={port} user=root application_name={}'\nprimary_slot_name = ''\n",
            server.name
        );
        let file = server.data.join("postgresql.auto.conf");
        let old = fs::read_to_string(&file).expect("the file is there");
        fs::write(&file, old + &conninfo).expect("the file is written");
        fs::write(server.data.join("standby.signal"), "").expect("the file is written");
    }

    pub(crate) fn sql(&self, index: usize, text: &str) -> String {
        let name = &self.servers[index].name;
        self.try_sql(index, text).unwrap_or_else(|| panic!("{name}: {text} failed"))
    }

    fn try_sql(&self, index: usize, text: &str) -> Option<String> {
        let port = self.servers[index].port.to_string();
        let mut psql = Command::new(binaries().join("psql"));
        psql.args([
            "-XAtq",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            "127.0.0.1",
            "-U",
            "root",
            "-d",
            "postgres",
            "-p",
        ]);
        let output = psql.arg(port).args(["-c", text]).output().expect("psql starts");
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Brings a stopped server's data back to where it parted from another's; after a checkpoint there, or it would see
    /// nothing to do.
    pub(crate) fn rewind(&self, index: usize, source: usize) {
        self.sql(source, "CHECKPOINT");
        let port = self.servers[source].port;
        let kept = self.servers[index].data.join("postgresql.auto.conf");
        let settings = fs::read_to_string(&kept).expect("the file is there");
        run({
            let mut rewind = command("pg_rewind");
            rewind.arg("-D").arg(&self.servers[index].data);
            rewind.args(["--no-sync", "--source-server"]);
            rewind.arg(format!("host=127.0.0.1 port={port} user=root dbname=postgres"));
            rewind
        });
        fs::write(&kept, settings).expect("the file is written");
        fs::write(self.servers[index].data.join("standby.signal"), "").expect("the file is written");
    }

    /// Lets a running server speak TLS with this certificate and key, in PEM.
    pub(crate) fn enable_tls(&self, index: usize, certificate: &str, key: &str) {
        let data = &self.servers[index].data;
        let owner = fs::metadata(data).expect("the data directory is there");
        for (name, text) in [("server.crt", certificate), ("server.key", key)] {
            let path = data.join(name);
            fs::write(&path, text).expect("the file is written");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its owner's alone");
            std::os::unix::fs::chown(&path, Some(owner.uid()), Some(owner.gid())).expect("the server's own");
        }
        self.sql(index, "ALTER SYSTEM SET ssl = on");
        self.sql(index, "SELECT pg_reload_conf()");
    }

    /// Sends a signal to a server and all its children.
    pub(crate) fn signal_all(&self, index: usize, signal: &str) {
        let parent = self.servers[index].process.as_ref().expect("it runs").id();
        let children =
            fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
        let mut kill = Command::new("kill");
        kill.args(["-s", signal, &parent.to_string()]).args(children.split_whitespace());
        let _ = kill.status();
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for server in &mut self.servers {
            if let Some(mut process) = server.process.take() {
                let pid = process.id().to_string();
                let _ = Command::new("kill").args(["-s", "QUIT", &pid]).status();
                let _ = process.wait();
            }
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}
