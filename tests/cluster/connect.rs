//! Connecting and logging in to a real PostgreSQL: each method, each `sslmode`, each refusal, and a cancel that arrives.

use pgherd_net::keepalive::Keepalive;
use pgherd_net::tls::client::ClientFiles;
use pgherd_pool::connect::credentials::{Credentials, Md5Hash, Password};
use pgherd_pool::connect::error::{ConnectError, Fault};
use pgherd_pool::connect::{Connected, Target, connect, send_cancel};
use pgherd_pool::scram::Keys;
use pgherd_pool::sslmode::{Ssl, SslMode};
use pgherd_topology::node::Address;
use std::num::NonZeroU32;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

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

struct Server {
    process: Child,
    directory: PathBuf,
    port: u16,
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

/// A command that does not run as root.
fn command(program: &str, directory: &Path) -> Command {
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
    fn start() -> Server {
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

    fn psql(&self, script: &str) -> bool {
        let mut psql = command("psql", &self.directory);
        psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", "postgres", "-c", script]);
        psql.env("PGHOST", &self.directory).env("PGPORT", self.port.to_string());
        psql.status().unwrap().success()
    }

    fn target(&self, user: &str, credentials: Credentials) -> Target {
        Target {
            address: Address::Tcp("127.0.0.1".into(), self.port),
            user: user.into(),
            database: "postgres".into(),
            credentials,
            ssl: Ssl::DISABLED,
            connect_timeout: Duration::from_secs(10),
            keepalive: Keepalive::default(),
        }
    }

    fn ssl(&self, mode: SslMode) -> Ssl {
        let verifies = matches!(mode, SslMode::VerifyCa | SslMode::VerifyFull);
        Ssl::load(mode, ClientFiles { roots: verifies.then_some(&*self.root), identity: None }).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
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

fn password(text: &str) -> Credentials {
    Credentials::Password(Password::new(text))
}

fn parameter<'a>(connected: &'a Connected, name: &str) -> Option<&'a str> {
    connected.parameters.iter().find(|(known, _)| &**known == name).map(|(_, value)| &**value)
}

/// Sends a query and returns everything up to ReadyForQuery.
async fn query(connected: &mut Connected, sql: &str) -> Vec<u8> {
    let length = (5 + sql.len()) as u32;
    let message = [b"Q", &length.to_be_bytes()[..], sql.as_bytes(), b"\0"].concat();
    connected.transport.write_all(&message).await.unwrap();
    connected.transport.flush().await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"Z\0\0\0\x05I") {
        assert_ne!(connected.transport.read_buf(&mut answer).await.unwrap(), 0);
    }
    answer
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test]
async fn a_real_server_lets_us_in_or_says_why_not() {
    let server = Server::start();
    methods(&server).await;
    refusals(&server).await;
    encryption(&server).await;
    cancel(&server).await;
}

async fn methods(server: &Server) {
    let settings = [("application_name".into(), "pgherd".into()), ("search_path".into(), "a,b".into())];
    for (user, credentials) in [
        ("trusting", Credentials::None),
        ("plain", password("secret")),
        ("hashed", password("secret")),
        ("salted", password("secret")),
    ] {
        let connected = connect(&server.target(user, credentials), &settings).await;
        let mut connected = connected.unwrap_or_else(|error| panic!("{user}: {error}"));
        assert_eq!(parameter(&connected, "application_name"), Some("pgherd"));
        assert!(parameter(&connected, "server_version").is_some());
        assert!(connected.pid > 0 && connected.secret.len() == 4 && connected.unread.is_empty());
        let answer = query(&mut connected, "select current_user, current_setting('search_path')").await;
        assert!(contains(&answer, user) && contains(&answer, "a,b"));
    }
    let unix = Target {
        address: Address::Unix(server.directory.to_str().unwrap().into(), server.port),
        ssl: server.ssl(SslMode::VerifyFull),
        ..server.target("postgres", Credentials::None)
    };
    let mut connected = connect(&unix, &[]).await.unwrap();
    assert!(!connected.transport.is_tls());

    // What the catalog stores is enough to log in: the md5 hash itself, and the keys behind the SCRAM verifier.
    let answer = query(&mut connected, "select rolpassword from pg_authid where rolname = 'hashed'").await;
    let stored = stored(&answer, "md5", 35);
    connect(&server.target("hashed", Credentials::Md5(Md5Hash(stored.into()))), &[]).await.unwrap();
    let sql = "select encode(decode(substring(rolpassword from ':([^$]*)\\$'), 'base64'), 'hex') || '.' \
               from pg_authid where rolname = 'salted'";
    let answer = query(&mut connected, sql).await;
    let end = answer.iter().position(|&byte| byte == b'.').unwrap();
    let salt: Vec<u8> = answer[end - 32..end]
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect();
    let keys = Keys::derive("secret", &salt, NonZeroU32::new(4096).unwrap());
    connect(&server.target("salted", Credentials::ScramKeys(keys)), &[]).await.unwrap();
    let wrong = Keys::derive("wrong", &salt, NonZeroU32::new(4096).unwrap());
    let error = connect(&server.target("salted", Credentials::ScramKeys(wrong)), &[]).await.unwrap_err();
    assert_eq!(error.sqlstate(), "28P01");
}

fn stored(answer: &[u8], prefix: &str, length: usize) -> String {
    let text = String::from_utf8_lossy(answer).into_owned();
    // The first hit is the value: neither the column's name nor the tag contains the prefix.
    let at = text.find(prefix).unwrap();
    text[at..at + length].to_owned()
}

async fn refusals(server: &Server) {
    for user in ["plain", "hashed", "salted"] {
        let error = connect(&server.target(user, password("wrong")), &[]).await.unwrap_err();
        let ConnectError::Server(told) = &error else { panic!("{error}") };
        assert_eq!(&*told.message, format!("password authentication failed for user \"{user}\""));
        assert_eq!((error.sqlstate(), error.fault(), error.retryable()), ("28P01", Fault::Settings, false));
    }
    let missing = Target { database: "nowhere".into(), ..server.target("trusting", Credentials::None) };
    let error = connect(&missing, &[]).await.unwrap_err();
    assert_eq!(error.sqlstate(), "3D000", "{error}");
    let error = connect(&server.target("salted", Credentials::None), &[]).await.unwrap_err();
    assert!(matches!(error, ConnectError::Auth(_)), "{error}");
    let settings = [("no_such_setting".into(), "1".into())];
    let error = connect(&server.target("trusting", Credentials::None), &settings).await.unwrap_err();
    assert_eq!(error.sqlstate(), "42704", "{error}");
    let closed = Target {
        address: Address::Tcp("127.0.0.1".into(), 1),
        ..server.target("trusting", Credentials::None)
    };
    let error = connect(&closed, &[]).await.unwrap_err();
    assert!(matches!(error, ConnectError::Refused(_)), "{error}");
    let absent = Target {
        address: Address::Unix("/nonexistent".into(), 5432),
        ..server.target("trusting", Credentials::None)
    };
    assert!(matches!(connect(&absent, &[]).await, Err(ConnectError::Refused(_))));
}

async fn encryption(server: &Server) {
    use SslMode::{Allow, Disable, Prefer, Require, VerifyCa, VerifyFull};
    // For each mode and role: whether it gets in, and if so whether encrypted.
    for (mode, host, user, expected) in [
        (Disable, "127.0.0.1", "trusting", Some(false)),
        (Disable, "127.0.0.1", "secure", None),
        (Allow, "127.0.0.1", "trusting", Some(false)),
        (Allow, "127.0.0.1", "secure", Some(true)),
        (Prefer, "127.0.0.1", "trusting", Some(true)),
        (Prefer, "127.0.0.1", "naked", Some(false)),
        (Require, "127.0.0.1", "secure", Some(true)),
        (Require, "127.0.0.1", "naked", None),
        (VerifyCa, "127.0.0.1", "secure", Some(true)),
        (VerifyFull, "127.0.0.1", "secure", None),
        (VerifyFull, "localhost", "secure", Some(true)),
    ] {
        let target = Target {
            address: Address::Tcp(host.into(), server.port),
            ssl: server.ssl(mode),
            ..server.target(user, password("secret"))
        };
        match (connect(&target, &[]).await, expected) {
            (Ok(connected), Some(encrypted)) => {
                assert_eq!(connected.transport.is_tls(), encrypted, "{mode} {user}")
            }
            (Err(ConnectError::Server(error)), None) => {
                assert_eq!(&*error.sqlstate, "28000", "{mode} {user}")
            }
            (Err(ConnectError::Tls(_)), None) => assert_eq!(mode, VerifyFull),
            (other, _) => panic!("{mode} {user}: {other:?}"),
        }
    }
}

async fn cancel(server: &Server) {
    for mode in [SslMode::Disable, SslMode::Prefer, SslMode::VerifyCa] {
        let target = Target { ssl: server.ssl(mode), ..server.target("trusting", Credentials::None) };
        let mut connected = connect(&target, &[]).await.unwrap();
        let (pid, secret) = (connected.pid, connected.secret.clone());
        let begun = Instant::now();
        let (answer, sent) = tokio::join!(query(&mut connected, "select pg_sleep(30)"), async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            send_cancel(&target, pid, &secret).await
        });
        sent.unwrap();
        assert!(contains(&answer, "C57014") && begun.elapsed() < Duration::from_secs(10), "{mode}");
        // Delivered means delivered: the next statement is not hit by it.
        assert!(contains(&query(&mut connected, "select 'alive'").await, "alive"));
    }
    let closed = Target {
        address: Address::Tcp("127.0.0.1".into(), 1),
        ..server.target("trusting", Credentials::None)
    };
    assert!(matches!(send_cancel(&closed, 1, &[0; 4]).await, Err(ConnectError::Refused(_))));
}
