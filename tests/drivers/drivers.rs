//! Every driver's smoke program through pgherd's three ports, and its program of the matrix directly and through pgherd:
//! ten clients on a pool of three servers.
//!
//! `tests/run` installs the drivers below `target/drivers`; a driver that is missing is a failure, not a skip.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
mod matrix;
mod rust;

use pgherd_tests::stand::{PASSWORD, Stand, USER};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::process::Command;

/// How long one driver's program may take.
const PATIENCE: Duration = Duration::from_secs(180);

/// Servers per pool: fewer than the ten clients of each program.
const POOL: [(&str, &str); 1] = [("pool", "max_pool_size = 3")];

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("drivers")
}

/// Where `tests/run` put what it installed.
fn installed(what: &str) -> PathBuf {
    let directory = std::env::var_os("PGHERD_DRIVERS_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/drivers"), PathBuf::from);
    let path = directory.join(what);
    assert!(path.exists(), "{} is missing; tests/run installs it", path.display());
    path
}

/// Runs one program against a stand of its own and shows what it said when it failed.
async fn smoke(command: Command) {
    smoke_with(&POOL, command).await;
}

/// The same with these settings.
async fn smoke_with(settings: &[(&str, &str)], mut command: Command) {
    let stand = Stand::start(settings).await.unwrap();
    let ports = stand.front().ports();
    environment(&stand, &mut command);
    command
        .env("PGHERD_PRIMARY_PORT", ports.primary.to_string())
        .env("PGHERD_REPLICAS_PORT", ports.replicas.to_string())
        .env("PGHERD_ANY_PORT", ports.any.to_string());
    println!("{}", output(&stand, command).await);
    stand.shutdown().await.unwrap();
}

/// Tells the program where the servers are, but for the port.
fn environment(stand: &Stand, command: &mut Command) {
    command
        .env("PGHERD_HOST", "127.0.0.1")
        .env("PGHERD_USER", USER)
        .env("PGHERD_PASSWORD", PASSWORD)
        .env("PGHERD_DATABASE", USER)
        .env("PGHERD_PSQL", stand.lab().binaries().tool("psql").unwrap());
}

/// Runs a program to its end and gives what it printed; a failure is shown with all it said.
async fn output(stand: &Stand, mut command: Command) -> String {
    command.kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output())
        .await
        .unwrap_or_else(|_| {
            panic!("not done in {PATIENCE:?}; pgherd's log ends:\n{}", stand.front().log_tail())
        })
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{}\n{said}\n{}\npgherd's log ends:\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr),
        stand.front().log_tail()
    );
    said
}

fn python(program: &str) -> Command {
    let mut command = Command::new(installed("venv/bin/python"));
    command.arg(sources().join(program));
    command
}

/// The driver: Debian's, unless another one is named.
fn jar() -> PathBuf {
    let jar = std::env::var_os("PGHERD_JDBC_JAR").unwrap_or_else(|| "/usr/share/java/postgresql.jar".into());
    assert!(Path::new(&jar).exists(), "{} is missing; tests/run installs it", jar.display());
    jar.into()
}

fn node(program: &str) -> Command {
    let mut command = Command::new("node");
    command.arg("--no-deprecation").arg(sources().join(program));
    command.env("PGHERD_NODE_MODULES", installed("node/node_modules").parent().unwrap());
    command
}

/// A program of the package in `rust/`, which `tests/run` builds.
fn built(program: &str) -> Command {
    Command::new(installed("rust/debug").join(program))
}

#[tokio::test]
async fn psql() {
    smoke(Command::new(sources().join("psql/smoke.sh"))).await;
}

#[tokio::test]
async fn psycopg() {
    smoke(python("psycopg/smoke.py")).await;
}

#[tokio::test]
async fn asyncpg() {
    smoke(python("asyncpg/smoke.py")).await;
}

#[tokio::test]
async fn sqlalchemy() {
    smoke(python("sqlalchemy/smoke.py")).await;
}

/// The console, and the exporter for PgBouncer that reads it: `tests/run` installs that, too.
#[tokio::test]
async fn console() {
    installed("venv/bin/pgbouncer-exporter");
    // Two users that no server knows: the console asks none.
    let users = std::env::temp_dir().join(format!("pgherd-console-users-{}", std::process::id()));
    std::fs::write(&users, format!("\"watcher\" \"{PASSWORD}\"\n\"stranger\" \"{PASSWORD}\"\n")).unwrap();
    let auth = format!(
        "admin_users = [\"{USER}\"]\nstats_users = [\"watcher\"]\nusers_file = \"{}\"",
        users.display()
    );
    smoke_with(&[POOL[0], ("auth", &auth)], python("console/smoke.py")).await;
    std::fs::remove_file(&users).unwrap();
}

#[tokio::test]
async fn node_postgres() {
    smoke(node("node/smoke.mjs")).await;
}

#[tokio::test]
async fn jdbc() {
    let mut java = Command::new("java");
    java.arg("-cp").arg(jar()).arg(sources().join("jdbc/Smoke.java"));
    smoke(java).await;
}

#[tokio::test]
async fn tokio_postgres() {
    let stand = Stand::start(&POOL).await.unwrap();
    let smoke = tokio::time::timeout(PATIENCE, rust::smoke(stand.front().ports()));
    if smoke.await.is_err() {
        panic!("not done in {PATIENCE:?}; pgherd's log ends:\n{}", stand.front().log_tail());
    }
    stand.shutdown().await.unwrap();
}
