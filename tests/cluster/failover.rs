//! The primary dies under its clients: another one is promoted, the rest follow, and the clients have only waited.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
use pgherd_lab::front::PROBE_ROLE;
use pgherd_lab::node::Node;
use pgherd_tests::stand::{PASSWORD, Stand, USER};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio_postgres::{Client, Config, NoTls};

/// Clients that write.
const WRITERS: i32 = 8;

struct Scene {
    stand: Stand,
    state: PathBuf,
}

impl Scene {
    async fn set(name: &str) -> Scene {
        let state = std::env::temp_dir().join(format!("pgherd-failover-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&state);
        let directory = format!("state_dir = \"{}\"", state.display());
        let admin = format!("admin_users = [\"{USER}\"]");
        let settings = [
            ("server", &*directory),
            ("auth", &*admin),
            ("failover", "hold_timeout = \"20s\""),
            ("health", "health_check_interval = \"1s\""),
            ("health", "fast_check_interval = \"250ms\""),
        ];
        let stand = Stand::start(&settings).await.unwrap();
        let lab = stand.lab();
        lab.primary().sql("postgres", &rights()).await.unwrap();
        lab.primary()
            .sql(USER, &format!("SET ROLE {USER}; CREATE TABLE ledger (who int, n int)"))
            .await
            .unwrap();
        lab.wait_replicated().await.unwrap();
        // pgherd hears of its rights with its next look.
        tokio::time::sleep(Duration::from_secs(2)).await;
        Scene { stand, state }
    }

    fn state(&self) -> &Path {
        &self.state
    }

    async fn client(&self) -> Client {
        connect(self.stand.front().ports().primary).await.unwrap()
    }

    async fn console(&self) -> Client {
        connect_to(self.stand.front().ports().primary, "pgherd").await.unwrap()
    }

    /// Commits wait for one of the replicas.
    async fn be_synchronous(&self) {
        let lab = self.stand.lab();
        let names: Vec<&str> = lab.replicas().iter().map(Node::name).collect();
        let text = format!("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 ({})'", names.join(", "));
        lab.primary().sql("postgres", &text).await.unwrap();
        lab.primary().reload();
        let wait = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'quorum'";
        self.until(lab.primary(), wait, "2").await;
        // pgherd hears of it with its next look.
        tokio::time::sleep(Duration::from_secs(2)).await;
    }

    /// Waits until this node says so.
    async fn until(&self, node: &Node, sql: &str, expected: &str) {
        let begun = Instant::now();
        loop {
            let said = node.sql(USER, sql).await;
            if said.as_deref().ok() == Some(expected) {
                return;
            }
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "{}: {sql}: {said:?}\n{}",
                node.name(),
                self.stand.front().log_tail()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The timeline of whoever clients are sent to.
    async fn timeline(&self) -> u32 {
        let question = "SELECT pg_walfile_name(pg_current_wal_lsn())";
        let file: String = self.client().await.query_one(question, &[]).await.unwrap().get(0);
        u32::from_str_radix(&file[..8], 16).unwrap()
    }

    async fn end(self) {
        self.stand.shutdown().await.unwrap();
        std::fs::remove_dir_all(&self.state).unwrap();
    }
}

/// What the page tells to grant, to the role that is there already.
fn rights() -> String {
    let page = include_str!("../../docs/failover.md");
    let block = page.split("```sql\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let (create, grants) = block.split_once(";\n").unwrap();
    let roles = create.split_once("IN ROLE ").unwrap().1;
    assert!(create.contains(&format!("CREATE ROLE {PROBE_ROLE} LOGIN REPLICATION ")));
    format!("ALTER ROLE {PROBE_ROLE} REPLICATION; GRANT {roles} TO {PROBE_ROLE};\n{grants}")
}

async fn connect(port: u16) -> Result<Client, tokio_postgres::Error> {
    connect_to(port, USER).await
}

async fn connect_to(port: u16, database: &str) -> Result<Client, tokio_postgres::Error> {
    let mut config = Config::new();
    config.host("127.0.0.1").port(port).user(USER).password(PASSWORD).dbname(database);
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// What one writer saw.
#[derive(Default)]
struct Seen {
    who: i32,
    acknowledged: Vec<i32>,
    doubtful: Vec<i32>,
    longest: Duration,
    lost_connections: u32,
    errors: Vec<String>,
}

/// Inserts numbers one by one until it is told to stop.
async fn write(port: u16, who: i32, over: Arc<AtomicBool>) -> Seen {
    let mut seen = Seen { who, ..Seen::default() };
    let mut client = connect(port).await.unwrap();
    let mut n = 0;
    while !over.load(Ordering::Relaxed) {
        n += 1;
        let begun = Instant::now();
        let done = client.execute("INSERT INTO ledger VALUES ($1, $2)", &[&who, &n]).await;
        seen.longest = seen.longest.max(begun.elapsed());
        match done {
            Ok(_) => seen.acknowledged.push(n),
            Err(error) => {
                seen.doubtful.push(n);
                seen.errors.push(error.as_db_error().map_or_else(
                    || error.to_string(),
                    |error| format!("{} {}", error.code().code(), error.message()),
                ));
                if client.is_closed() {
                    seen.lost_connections += 1;
                    client = connect(port).await.unwrap();
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    seen
}

/// Writers at work.
struct Writers {
    over: Arc<AtomicBool>,
    all: JoinSet<Seen>,
}

impl Writers {
    fn start(port: u16) -> Writers {
        let over = Arc::new(AtomicBool::new(false));
        let mut all = JoinSet::new();
        for who in 0..WRITERS {
            all.spawn(write(port, who, Arc::clone(&over)));
        }
        Writers { over, all }
    }

    async fn end(mut self) -> Vec<Seen> {
        self.over.store(true, Ordering::Relaxed);
        let mut list = Vec::new();
        while let Some(seen) = self.all.join_next().await {
            list.push(seen.unwrap());
        }
        list
    }
}

/// Nobody lost its connection, nothing was done twice, and nobody waited longer than this. `keeps`: all that was acknowledged is there, which without synchronous
/// replication nobody can promise of a primary that dies.
async fn judge(scene: &Scene, all: &[Seen], most_doubtful: usize, longest: Duration, keeps: bool) {
    let errors: Vec<&String> = all.iter().flat_map(|seen| &seen.errors).collect();
    let waited = all.iter().map(|seen| seen.longest).max().unwrap();
    let acknowledged: usize = all.iter().map(|seen| seen.acknowledged.len()).sum();
    println!("longest wait {waited:?}, {acknowledged} acknowledged, errors {errors:?}");
    assert!(waited < longest, "{waited:?}\n{}", scene.stand.front().log_tail());
    assert!(all.iter().all(|seen| seen.lost_connections == 0), "{errors:?}");
    assert!(all.iter().all(|seen| seen.doubtful.len() <= most_doubtful), "{errors:?}");
    let client = scene.client().await;
    let row = client.query_one("SELECT pg_is_in_recovery()", &[]).await.unwrap();
    assert!(!row.get::<_, bool>(0));
    let rows = client.query("SELECT who, n FROM ledger", &[]).await.unwrap();
    let found: HashSet<(i32, i32)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(found.len(), rows.len(), "nothing was done twice");
    for seen in all {
        let lost: Vec<_> = seen.acknowledged.iter().filter(|n| !found.contains(&(seen.who, **n))).collect();
        assert!(lost.is_empty() || !keeps, "acknowledged and lost: {lost:?}");
    }
}

#[tokio::test]
async fn the_primary_is_killed_and_the_clients_only_wait() {
    let scene = Scene::set("kill").await;
    let writers = Writers::start(scene.stand.front().ports().primary);
    tokio::time::sleep(Duration::from_secs(2)).await;
    scene.stand.lab().primary().kill9().await.unwrap();
    tokio::time::sleep(Duration::from_secs(8)).await;
    let all = writers.end().await;
    // One statement of each may have been on its way.
    judge(&scene, &all, 1, Duration::from_secs(8), false).await;
    for replica in scene.stand.lab().replicas() {
        if replica.sql("postgres", "SELECT pg_is_in_recovery()").await.unwrap() == "t" {
            let streams = "SELECT received_tli FROM pg_stat_wal_receiver WHERE status = 'streaming'";
            scene.until(replica, streams, "2").await;
        }
    }
    assert!(scene.state().join("cluster.json").exists());
    // It comes back as a primary of a time that is over, and gets no client.
    scene.stand.lab().primary().start().await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(scene.timeline().await, 2);
    scene.end().await;
}

#[tokio::test]
async fn a_switchover_is_a_pause_and_no_error() {
    let scene = Scene::set("switch").await;
    let writers = Writers::start(scene.stand.front().ports().primary);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let console = scene.console().await;
    let refused = console.simple_query("SWITCHOVER TO pg1").await.unwrap_err();
    assert_eq!(refused.as_db_error().and_then(|error| error.detail()), Some("pg1 is the primary"));
    let begun = Instant::now();
    let done = console.simple_query("SWITCHOVER TO pg3").await;
    println!("{done:?} in {:?}", begun.elapsed());
    println!("{}", scene.stand.front().log_tail());
    done.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let all = writers.end().await;
    judge(&scene, &all, 0, Duration::from_secs(5), true).await;
    let pg3 = &scene.stand.lab().replicas()[1];
    scene.until(pg3, "SELECT pg_is_in_recovery()", "f").await;
    let streams = "SELECT received_tli FROM pg_stat_wal_receiver WHERE status = 'streaming'";
    scene.until(&scene.stand.lab().replicas()[0], streams, "2").await;
    scene.end().await;
}

/// What Patroni's scripts say, and our own command line.
#[tokio::test]
async fn a_change_of_primary_is_asked_for_over_http() {
    let scene = Scene::set("http").await;
    let front = scene.stand.front();
    for (path, body, status, words) in [
        ("/switchover", "{}", 400, "Switchover could be performed only from a specific leader"),
        ("/switchover", r#"{"leader": "pg2"}"#, 412, "leader name does not match"),
        ("/switchover", r#"{"leader": "pg1", "candidate": "pg9"}"#, 412, "node \"pg9\" does not exist"),
        ("/failover", "{}", 400, "Failover could be performed only to a specific candidate"),
        (
            "/switchover",
            r#"{"leader": "pg1", "candidate": "pg2"}"#,
            200,
            "Successfully switched over to \"pg2\"",
        ),
    ] {
        assert_eq!(front.post(path, body).await.unwrap(), (status, words.to_owned()), "{path} {body}");
    }
    assert_eq!(scene.timeline().await, 2);
    let pgherd = pgherd_tests::stand::executable().unwrap();
    let mut command = tokio::process::Command::new(pgherd);
    command.args([
        "failover",
        "--to",
        "pg3",
        "--yes",
        "--api",
        &format!("http://127.0.0.1:{}", front.ports().api),
    ]);
    let mut output = command.output().await.unwrap();
    // The standby that was not promoted needs a moment to be seen on the new timeline; until then it is refused.
    for _ in 0..100 {
        if !String::from_utf8_lossy(&output.stderr).contains("it is on another timeline") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        output = command.output().await.unwrap();
    }
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said, "Successfully failed over to \"pg3\"\n", "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(scene.timeline().await, 3);
    scene.end().await;
}

/// It accepts connections and answers nothing: only patience tells, and when it wakes up nobody must listen to it.
#[tokio::test]
async fn a_primary_that_stands_still_is_replaced_and_stays_out_when_it_wakes() {
    let scene = Scene::set("still").await;
    let writers = Writers::start(scene.stand.front().ports().primary);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let old = scene.stand.lab().primary();
    old.pause();
    tokio::time::sleep(Duration::from_secs(12)).await;
    old.resume();
    tokio::time::sleep(Duration::from_secs(4)).await;
    let all = writers.end().await;
    judge(&scene, &all, 2, Duration::from_secs(15), false).await;
    assert_eq!(scene.timeline().await, 2);
    scene.end().await;
}

/// A server process that dies takes the whole server through a restart of a second: nobody is promoted for that.
#[tokio::test]
async fn a_crash_that_heals_by_itself_is_waited_for() {
    let scene = Scene::set("crash").await;
    let writers = Writers::start(scene.stand.front().ports().primary);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let primary = scene.stand.lab().primary();
    let pid: String = primary
        .sql("postgres", "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'")
        .await
        .unwrap();
    let killed = std::process::Command::new("kill").args(["-9", pid.trim()]).status().unwrap();
    assert!(killed.success());
    tokio::time::sleep(Duration::from_secs(8)).await;
    let all = writers.end().await;
    judge(&scene, &all, 2, Duration::from_secs(10), true).await;
    scene.until(primary, "SELECT pg_is_in_recovery()", "f").await;
    assert_eq!(scene.timeline().await, 1);
    scene.end().await;
}

/// With synchronous replication nothing that was acknowledged is lost, and who cannot prove that does not promote.
#[tokio::test]
async fn what_standbys_confirmed_is_not_lost() {
    let scene = Scene::set("sync").await;
    let lab = scene.stand.lab();
    scene.be_synchronous().await;
    let writers = Writers::start(scene.stand.front().ports().primary);
    tokio::time::sleep(Duration::from_secs(2)).await;
    lab.primary().kill9().await.unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    let all = writers.end().await;
    judge(&scene, &all, 1, Duration::from_secs(8), true).await;
    assert_eq!(scene.timeline().await, 2);
    scene.end().await;
}

/// One of two standbys may be the only one that confirmed: without it nobody is promoted.
#[tokio::test]
async fn who_cannot_prove_that_nothing_is_lost_is_not_promoted() {
    let scene = Scene::set("unproven").await;
    let lab = scene.stand.lab();
    scene.be_synchronous().await;
    lab.replicas()[1].kill9().await.unwrap();
    lab.primary().kill9().await.unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    let left = &lab.replicas()[0];
    assert_eq!(left.sql("postgres", "SELECT pg_is_in_recovery()").await.unwrap(), "t");
    assert!(
        scene.stand.front().log_tail().contains("synchronous standbys could be frozen"),
        "{}",
        scene.stand.front().log_tail()
    );
    // The operator knows better.
    let console = scene.console().await;
    let begun = Instant::now();
    while let Err(refused) = console.simple_query("FAILOVER ALLOW DATA LOSS").await {
        // An attempt of its own may be on its way back.
        assert!(begun.elapsed() < Duration::from_secs(30), "{refused:?}");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert_eq!(scene.timeline().await, 2);
    scene.end().await;
}

/// A clean stop is a death that loses nothing.
#[tokio::test]
async fn a_primary_that_is_shut_down_is_replaced() {
    let scene = Scene::set("stop").await;
    let writers = Writers::start(scene.stand.front().ports().primary);
    tokio::time::sleep(Duration::from_secs(1)).await;
    scene.stand.lab().primary().stop(pgherd_lab::node::Mode::Fast).await.unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    let all = writers.end().await;
    judge(&scene, &all, 1, Duration::from_secs(8), true).await;
    assert_eq!(scene.timeline().await, 2);
    scene.end().await;
}
