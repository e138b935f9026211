//! The matrix: one program per driver that tells what it sees of every feature, run directly and through pgherd; the two
//! transcripts must be the same, line by line. See README.md.
use crate::{POOL, built, environment, installed, jar, node, output, python, sources};
use pgherd_tests::stand::{PASSWORD, Stand, USER};
use tokio::process::Command;

/// Clients of a program at once, on a pool of three servers; `matrix.sql` has a schema for each.
const CLIENTS: u16 = 10;
/// How many of them LISTEN at once. Fewer than there are servers, as long as LISTEN keeps one.
const LISTENERS: u16 = 2;
/// How many of them keep a statement of SQL's PREPARE. Fewer than there are servers, as long as that keeps one.
const PREPARERS: u16 = 2;

/// What must be the same in both runs, of the driver that is called so in README.md's table.
async fn same(driver: &str, program: impl Fn() -> Command) {
    let stand = Stand::start(&POOL).await.unwrap();
    let direct = transcript(&stand, stand.lab().primary().port(), program()).await;
    let pooled = transcript(&stand, stand.front().ports().primary, program()).await;
    compare(driver, &direct, &pooled);
    stand.shutdown().await.unwrap();
}

/// Makes what the programs find anew, at the primary itself.
async fn prepare(stand: &Stand) {
    let mut psql = Command::new(stand.lab().binaries().tool("psql").unwrap());
    psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", USER, "-d", USER]);
    psql.args(["-p", &stand.lab().primary().port().to_string(), "-f"]).arg(sources().join("matrix.sql"));
    psql.env("PGPASSWORD", PASSWORD);
    output(stand, psql).await;
}

/// One run of the program.
async fn transcript(stand: &Stand, port: u16, mut program: Command) -> String {
    prepare(stand).await;
    environment(stand, &mut program);
    program
        .env("PGHERD_PORT", port.to_string())
        .env("PGHERD_CLIENTS", CLIENTS.to_string())
        .env("PGHERD_LISTENERS", LISTENERS.to_string())
        .env("PGHERD_PREPARERS", PREPARERS.to_string())
        .env("PYTHONPATH", sources())
        .env("PYTHONDONTWRITEBYTECODE", "1");
    output(stand, program).await
}

/// Compares the two, and the features that they tell about with the table.
fn compare(driver: &str, direct: &str, pooled: &str) {
    println!("{direct}");
    let told: Vec<&str> = direct.lines().filter_map(|line| line.split(" | ").next()).collect();
    for (feature, expected) in table(driver) {
        assert_eq!(
            told.contains(&feature.as_str()),
            expected,
            "README.md and the program differ on \"{feature}\""
        );
    }
    let (mut theirs, mut ours) = (direct.lines(), pooled.lines());
    let mut differences = String::new();
    loop {
        match (theirs.next(), ours.next()) {
            (None, None) => break,
            (left, right) if left == right => {}
            (left, right) => {
                differences +=
                    &format!("directly: {}\npgherd:   {}\n", left.unwrap_or("-"), right.unwrap_or("-"));
            }
        }
    }
    assert!(differences.is_empty(), "{driver} sees a difference:\n{differences}");
}

/// The features by README.md's table, and whether the driver's program is to tell about them.
fn table(driver: &str) -> Vec<(String, bool)> {
    let text = std::fs::read_to_string(sources().join("README.md")).unwrap();
    let mut rows = text.lines().filter_map(|line| line.strip_prefix("| ")).map(|line| {
        line.trim_end_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>()
    });
    let header = rows.by_ref().find(|cells| cells[0] == "feature").expect("the table's header");
    let column = header.iter().position(|name| name == driver).expect("the driver's column");
    rows.map(|cells| (cells[0].clone(), cells[column] == "x")).collect()
}

/// The program with one more argument.
fn with(mut program: Command, argument: &str) -> Command {
    program.arg(argument);
    program
}

#[tokio::test]
async fn psycopg() {
    same("psycopg", || python("psycopg/matrix.py")).await;
}

#[tokio::test]
async fn psycopg2() {
    same("psycopg2", || python("psycopg2/matrix.py")).await;
}

#[tokio::test]
async fn asyncpg() {
    same("asyncpg", || python("asyncpg/matrix.py")).await;
}

#[tokio::test]
async fn sqlalchemy_psycopg() {
    same("SQLAlchemy/psycopg", || with(python("sqlalchemy/matrix.py"), "psycopg")).await;
}

#[tokio::test]
async fn sqlalchemy_asyncpg() {
    same("SQLAlchemy/asyncpg", || with(python("sqlalchemy/matrix.py"), "asyncpg")).await;
}

#[tokio::test]
async fn django() {
    same("Django", || python("django/matrix.py")).await;
}

#[tokio::test]
async fn node_postgres() {
    same("node-postgres", || node("node/matrix.mjs")).await;
}

#[tokio::test]
async fn postgres_js() {
    same("postgres.js", || node("node/postgresjs.mjs")).await;
}

#[tokio::test]
async fn jdbc() {
    let source = |name| sources().join(format!("jdbc/matrix/{name}.java"));
    let classes = installed("").join("jdbc");
    let mut javac = Command::new("javac");
    javac.arg("-cp").arg(jar()).arg("-d").arg(&classes);
    javac.args(["Transcript", "Statements", "Sessions", "Matrix"].map(source));
    assert!(javac.status().await.unwrap().success(), "the program does not compile");
    same("JDBC", || {
        let mut java = Command::new("java");
        java.arg("-cp").arg(std::env::join_paths([jar(), classes.clone()]).unwrap()).arg("matrix.Matrix");
        java
    })
    .await;
}

#[tokio::test]
async fn tokio_postgres() {
    same("tokio-postgres", || built("tokio-postgres")).await;
}

#[tokio::test]
async fn sqlx() {
    same("sqlx", || built("sqlx")).await;
}
