//! Servers that die and come back under clients that must not notice.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
use pgherd_lab::node::Mode;
use pgherd_tests::stand::{PASSWORD, Stand, USER, number};
use std::time::{Duration, Instant};
use tokio_postgres::{Client, Config, NoTls};

/// How long pgherd lets clients of the primary's port wait for a primary.
const HOLD: Duration = Duration::from_secs(20);

async fn stand() -> Stand {
    let settings = [
        ("pool", "max_pool_size = 4"),
        ("failover", "hold_timeout = \"20s\""),
        // The primary comes back by itself here; nobody is to be promoted meanwhile.
        ("failover", "failover_strategy = \"manual\""),
    ];
    Stand::start(&settings).await.unwrap()
}

async fn connect(port: u16) -> Client {
    let mut config = Config::new();
    config.host("127.0.0.1").port(port).user(USER).password(PASSWORD).dbname(USER);
    let (client, connection) = config.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

#[tokio::test]
async fn a_replica_killed_and_restarted_loses_no_read() {
    let stand = stand().await;
    stand.fill(1).await.unwrap();
    let port = stand.front().ports().replicas;
    let arguments = ["-n", "-S", "-c", "8", "-j", "2", "-T", "16", "--max-tries", "1"];
    let load = stand.pgbench(port, &arguments);
    let faults = async {
        for victim in stand.lab().replicas() {
            tokio::time::sleep(Duration::from_secs(2)).await;
            victim.kill9().await.unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
            victim.start().await.unwrap();
            // The other replica must be eligible again before it is the only one.
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        stand.reads().await.unwrap()
    };
    let (report, middle) = tokio::join!(load, faults);
    let report = report.unwrap();
    assert!(number(&report, "number of transactions actually processed:").unwrap() > 0, "{report}");
    assert_eq!(number(&report, "number of failed transactions:"), Some(0), "{report}");
    let after = stand.reads().await.unwrap();
    assert!(
        after.iter().zip(&middle).all(|(a, m)| a > m),
        "a restarted replica got no reads: {middle:?} {after:?}"
    );
    stand.shutdown().await.unwrap();
}

#[tokio::test]
async fn clients_of_5000_wait_for_a_restarting_primary_and_go_on() {
    let stand = stand().await;
    let port = stand.front().ports().primary;
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(connect(port).await);
    }
    clients[0].batch_execute("CREATE TABLE survivor (n int)").await.unwrap();
    for client in &clients {
        client.execute("INSERT INTO survivor VALUES ($1)", &[&1_i32]).await.unwrap();
    }
    stand.lab().primary().stop(Mode::Fast).await.unwrap();

    // All of them ask while there is no primary, and one that was not there before knocks at the door.
    let begin = Instant::now();
    let mut waiting = tokio::task::JoinSet::new();
    for client in clients {
        waiting.spawn(async move {
            let done = client.execute("INSERT INTO survivor VALUES ($1)", &[&2_i32]).await;
            done.map(|_| begin.elapsed())
        });
    }
    let newcomer = async {
        connect(port).await.execute("INSERT INTO survivor VALUES (3)", &[]).await.map(|_| begin.elapsed())
    };
    let restart = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        stand.lab().primary().start().await.unwrap();
        begin.elapsed()
    };
    let (waited, newcomer, restarted) = tokio::join!(waiting.join_all(), newcomer, restart);
    for wait in waited.into_iter().chain([newcomer]) {
        let wait = wait.expect("a client of port 5000 must not see the restart");
        assert!(wait < HOLD, "waited {wait:?}");
    }
    assert!(restarted >= Duration::from_secs(2));
    let rows =
        stand.lab().primary().sql(USER, "SELECT n, count(*) FROM survivor GROUP BY n ORDER BY n").await;
    assert_eq!(rows.unwrap(), "1|8\n2|8\n3|1");
    stand.shutdown().await.unwrap();
}
