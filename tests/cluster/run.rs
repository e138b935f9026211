//! `pgherd run -c FILE` as an operator meets it: the smallest file, the answers over HTTP, the command line, reload, the end.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
use pgherd_lab::lab::Lab;
use pgherd_lab::options::{Database, Options, Role};
use pgherd_lab::port;
use pgherd_tests::stand::executable;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio_postgres::{Client, NoTls};

/// How long anything may take that should come soon.
const PATIENCE: Duration = Duration::from_secs(30);
const PASSWORD: &str = "not in any file";

/// A pgherd started with the smallest settings file of the repository; only names that must be real were replaced.
struct Operated {
    // First, so that the proxy ends before its servers.
    child: Child,
    lab: Lab,
    file: PathBuf,
    log: PathBuf,
    port: u16,
    api: u16,
}

impl Operated {
    async fn start() -> Operated {
        let (user, database) = ("app_user".to_owned(), "production".to_owned());
        let role = Role {
            name: user.clone(),
            password: Some(PASSWORD.to_owned()),
            attributes: "IN ROLE pg_monitor".into(),
        };
        let lab = Lab::start(Options {
            prefix: "pgherd-operated".to_owned(),
            replicas: 1,
            roles: vec![role],
            databases: vec![Database { name: database, owner: user }],
            ..Options::default()
        });
        let lab = lab.await.unwrap();
        let file = lab.directory().join("minimal.toml");
        std::fs::write(&file, minimal(&lab)).unwrap();
        let log = lab.directory().join("operated.log");
        let ports = port::free(4).unwrap();
        let mut command = Command::new(executable().unwrap());
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PGHERD_"))
        {
            command.env_remove(name);
        }
        for (key, port) in
            ["LISTEN__PRIMARY", "LISTEN__REPLICAS", "LISTEN__ANY", "API__LISTEN"].iter().zip(&ports)
        {
            command.env(format!("PGHERD__{key}"), format!("127.0.0.1:{port}"));
        }
        command.env("PGHERD_PASSWORD", PASSWORD).env("PGHERD__POOL__SERVER_CHECK_DELAY", "1ms");
        command.args(["run", "-c"]).arg(&file).stdin(Stdio::null()).kill_on_drop(true);
        command.stdout(Stdio::null()).stderr(std::fs::File::create(&log).unwrap());
        let child = command.spawn().unwrap();
        let operated = Operated { child, lab, file, log, port: ports[0], api: ports[3] };
        operated
            .until("it is ready", async || operated.get("/readiness").await.is_some_and(|(s, _)| s == 200))
            .await;
        operated
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    async fn until(&self, what: &str, is: impl AsyncFn() -> bool) {
        let begun = Instant::now();
        while !is().await {
            assert!(begun.elapsed() < PATIENCE, "waited for: {what}\n{}", self.said());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", self.api)).await.ok()?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes()).await.ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.ok()?;
        let status = text.split(' ').nth(1)?.parse().ok()?;
        Some((status, text.split_once("\r\n\r\n")?.1.to_owned()))
    }

    async fn metric(&self, name: &str) -> Option<f64> {
        exposition(&self.get("/metrics").await?.1).get(name).copied()
    }

    async fn client(&self) -> Client {
        Operated::connect(self.port).await
    }

    async fn connect(port: u16) -> Client {
        let words = format!(
            "host=127.0.0.1 port={port} user=app_user password='{PASSWORD}' dbname=production connect_timeout=10"
        );
        let (client, connection) = tokio_postgres::connect(&words, NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// A command beside the running one. It learns from the same file and environment where the API is.
    async fn command(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(executable().unwrap());
        command.args(arguments).arg("-c").arg(&self.file).stdin(Stdio::null());
        command.env("PGHERD__API__LISTEN", format!("127.0.0.1:{}", self.api)).env("NO_COLOR", "1");
        command.output().await.unwrap()
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    fn rewrite(&self, more: &str) {
        std::fs::write(&self.file, format!("{}{more}", minimal(&self.lab))).unwrap();
        self.signal(Signal::HUP);
    }
}

/// `config/minimal.toml`, with the lab's nodes in place of its examples.
fn minimal(lab: &Lab) -> String {
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/minimal.toml");
    let mut text = std::fs::read_to_string(sample).unwrap();
    for (host, node) in ["primary.db.example.com", "replica1.db.example.com"].iter().zip(lab.nodes()) {
        let there = format!("host = \"{host}\"");
        assert!(text.contains(&there), "the sample names {host}");
        text = text.replace(&there, &format!("host = \"127.0.0.1\"\nport = {}", node.port()));
    }
    text
}

/// Samples of Prometheus's text format 0.0.4 by name and labels; panics at whatever is not that.
fn exposition(text: &str) -> BTreeMap<String, f64> {
    let (mut kinds, mut samples) = (BTreeMap::new(), BTreeMap::new());
    assert!(text.ends_with('\n'), "the last line ends too");
    for line in text.lines() {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert!(["counter", "gauge", "histogram", "summary", "untyped"].contains(&kind), "{line}");
            assert!(kinds.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} is declared twice");
            continue;
        }
        if line.starts_with("# HELP ") {
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
        let name = series.split('{').next().unwrap();
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':'), "{line}");
        let family =
            ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        assert!(kinds.contains_key(name) || kinds.get(family).is_some_and(|k| k == "histogram"), "{line}");
        assert_eq!(series.contains('{'), series.ends_with('}'), "{line}");
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("not a number: {line}"));
        assert!(samples.insert(series.to_owned(), value).is_none(), "twice: {series}");
    }
    samples
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn it_serves_reloads_and_ends_as_the_manual_says() {
    let mut operated = Operated::start().await;
    answers(&operated).await;
    command_line(&operated).await;
    idle_servers_are_checked_and_kept(&operated).await;
    reload(&operated).await;

    operated.signal(Signal::TERM);
    let status = tokio::time::timeout(PATIENCE, operated.child.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(0), "{}", operated.said());
    assert!(!operated.said().contains(PASSWORD), "no secret in the log");
    operated.lab.shutdown().await.unwrap();
}

async fn answers(operated: &Operated) {
    let client = operated.client().await;
    let row = client.query_one("select pg_is_in_recovery(), current_user::text", &[]).await.unwrap();
    assert_eq!((row.get::<_, bool>(0), row.get::<_, &str>(1)), (false, "app_user"));
    for path in ["/liveness", "/readiness", "/cluster", "/history"] {
        assert_eq!(operated.get(path).await.unwrap().0, 200, "{path}");
    }
    let (status, metrics) = operated.get("/metrics").await.unwrap();
    assert_eq!(status, 200);
    let samples = exposition(&metrics);
    assert_eq!(samples["pgherd_cluster_has_primary"], 1.0);
    let build = format!("pgherd_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(samples.get(&build), Some(&1.0), "{metrics}");
    assert_eq!(samples["pgherd_config_last_reload_successful"], 1.0);
}

async fn command_line(operated: &Operated) {
    let check = operated.command(&["config", "check"]).await;
    assert_eq!(check.status.code(), Some(0), "{}", text(&check.stderr));
    let ready = operated.command(&["health", "--ready"]).await;
    assert_eq!(ready.status.code(), Some(0), "{}", text(&ready.stderr));
    // The replica may still be on its way into rotation.
    operated
        .until("a healthy cluster", async || operated.command(&["status"]).await.status.code() == Some(0))
        .await;
    let status = operated.command(&["status"]).await;
    let table = text(&status.stdout);
    assert!(table.starts_with("pgherd  127.0.0.1:"), "{table}");
    assert!(table.contains("is primary for ") && table.contains("Reads on 1 of 1 replica."), "{table}");
    assert!(table.contains("Member") && table.contains("Leader") && table.contains("streaming"), "{table}");
    assert_eq!(table.lines().count(), 4, "a sentence, a head, two nodes:\n{table}");
    let json = operated.command(&["status", "-o", "json"]).await;
    let document: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((&document["health"], &document["scope"]), (&"healthy".into(), &"pgherd".into()));
    let explain = operated.command(&["explain", "-d", "production", "SELECT 1, stranger(2)"]).await;
    let answer = text(&explain.stdout);
    assert_eq!(explain.status.code(), Some(0), "{answer}{}", text(&explain.stderr));
    assert!(answer.starts_with("write: ") && answer.contains("\n              ^^^^^^^^\n"), "{answer}");
    assert!(answer.contains("production for app_user: read") && answer.contains("+ 127.0.0.1:"), "{answer}");
}

/// More transactions than the pool has places, each after an idleness that calls for a check.
async fn idle_servers_are_checked_and_kept(operated: &Operated) {
    let client = operated.client().await;
    for _ in 0..30 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        tokio::time::timeout(PATIENCE, client.simple_query("select 1")).await.expect("a server").unwrap();
    }
    let labels = format!(
        "node=\"127.0.0.1:{}\",database=\"production\",user=\"app_user\"",
        operated.lab.primary().port()
    );
    let open = operated.metric(&format!("pgherd_server_connections{{{labels},state=\"active\"}}")).await;
    assert_eq!(open, Some(0.0), "a server that is on no shelf and in nobody's hands is still counted");
}

async fn listeners_come_and_go(operated: &Operated) {
    let port = port::free(1).unwrap()[0];
    let open = || async move { tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() };
    assert!(!open().await);
    let more = "[[listener]]\nname = \"reports\"\nrouting = \"replicas\"\n";
    operated.rewrite(&format!("\n{more}address = \"127.0.0.1:{port}\"\n"));
    operated.until("the new listener", open).await;
    let reports = Operated::connect(port).await;
    let row = reports.query_one("select pg_is_in_recovery()", &[]).await.unwrap();
    assert!(row.get::<_, bool>(0), "it stands for replicas");
    operated.rewrite("");
    operated.until("it is closed", async || !open().await).await;
    reports.simple_query("select 1").await.expect("whoever is in stays");
}

async fn reload(operated: &Operated) {
    let client = operated.client().await;
    operated.rewrite("\n[pool]\nmax_pool_sise = 3\n");
    let failed = "pgherd_config_last_reload_successful";
    operated.until("the reload fails", async || operated.metric(failed).await == Some(0.0)).await;
    let said = operated.said();
    assert!(
        said.contains("did you mean `max_pool_size`?") && said.contains("the old ones stay in force"),
        "{said}"
    );
    client.simple_query("select 1").await.unwrap();

    operated.rewrite(
        "\n[pool]\nquery_timeout = \"1s\"\n[server]\nlog_connections = true\nlog_disconnections = true\n",
    );
    operated.until("the reload works", async || operated.metric(failed).await == Some(1.0)).await;
    let limited = operated.client().await;
    let error = limited.simple_query("select pg_sleep(20)").await.unwrap_err();
    assert_eq!(error.code().map(|code| code.code()), Some("57014"), "{error}");
    let said = operated.said();
    assert!(said.contains("connection authorized"), "{said}");
    operated.until("the goodbye is logged", async || operated.said().contains("disconnection")).await;
    listeners_come_and_go(operated).await;
    // Terms were drawn up when the first client came in: it was promised no limit.
    client.simple_query("select pg_sleep(1.5)").await.unwrap();
}
