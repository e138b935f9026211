//! Replay delay of real replicas: what a replica that is behind is excluded for, since when, and how it comes back.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
use pgherd_lab::node::Mode;
use pgherd_tests::stand::{PASSWORD, Stand, USER};
use serde_json::Value;
use std::time::{Duration, Instant};

/// Above it a replica leaves rotation.
const LIMIT: Duration = Duration::from_secs(4);

/// `recovery_min_apply_delay` of the slow replica.
const APPLY_DELAY: Duration = Duration::from_secs(2);

/// What a measured delay may be beside the true one: nodes are looked at five times within the limit, and the machine is busy.
const SLACK: f64 = 1.5;

/// The longest time any expected change may take.
const PATIENCE: Duration = Duration::from_secs(40);

async fn connect(port: u16) -> tokio_postgres::Client {
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(port).user(USER).password(PASSWORD).dbname(USER);
    let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// One member of `/cluster`.
async fn member(stand: &Stand, name: &str) -> Value {
    let (_, body) = stand.front().get("/cluster").await.unwrap();
    let cluster: Value = serde_json::from_str(&body).unwrap();
    let members = cluster["members"].as_array().unwrap();
    members.iter().find(|member| member["name"] == name).unwrap().clone()
}

/// Its replay delay in seconds.
async fn lag(stand: &Stand, name: &str) -> f64 {
    member(stand, name).await["lag_seconds"].as_f64().unwrap_or(f64::INFINITY)
}

/// Asks until the member is as it should be; gives it.
async fn until(stand: &Stand, name: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let member = member(stand, name).await;
        if is(&member) {
            return member;
        }
        assert!(begun.elapsed() < PATIENCE, "{name} never {what}: {member}\n{}", stand.front().log_tail());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn write(stand: &Stand) {
    stand.lab().primary().sql(USER, "INSERT INTO beat DEFAULT VALUES").await.unwrap();
}

#[tokio::test]
async fn delay_is_measured_without_anybodys_clock_and_replicas_come_back_by_themselves() {
    let stand = Stand::start(&[("health", "max_lag_threshold = \"4s\"")]).await.unwrap();
    stand
        .lab()
        .primary()
        .sql(USER, "CREATE TABLE beat (at timestamptz DEFAULT now()); GRANT ALL ON beat TO app")
        .await
        .unwrap();
    stand.lab().wait_replicated().await.unwrap();
    an_idle_primary_means_no_delay(&stand).await;
    a_bound_keeps_reads_off_what_is_too_old(&stand).await;
    paused_replay_ages_as_the_clock_on_the_wall(&stand).await;
    a_delayed_replica_is_as_late_as_it_was_told_to_be(&stand).await;
    stand.shutdown().await.unwrap();
}

async fn an_idle_primary_means_no_delay(stand: &Stand) {
    for name in ["pg2", "pg3"] {
        until(stand, name, "caught up", |member| member["lag_seconds"] == 0.0).await;
    }
    let (begun, mut highest) = (Instant::now(), 0.0f64);
    while begun.elapsed() < LIMIT + Duration::from_secs(2) {
        for name in ["pg2", "pg3"] {
            highest = highest.max(lag(stand, name).await);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    println!("idle primary: at most {highest} s behind in {:?}", begun.elapsed());
    // The server itself writes a record now and then, which is replayed within a look.
    assert!(highest < SLACK, "{highest}");
    assert_eq!(member(stand, "pg2").await["read"], "ok");
}

/// Reads until one is routed as it should be: the node's name and the reason.
async fn routed(client: &tokio_postgres::Client, what: &str, is: impl Fn(&str) -> bool) -> String {
    let begun = Instant::now();
    loop {
        client.simple_query("SELECT count(*) FROM beat").await.unwrap();
        let answer = client.simple_query("SHOW pgherd.why").await.unwrap();
        let row = answer.iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        let why = row.unwrap().to_owned();
        if is(&why) {
            return why;
        }
        assert!(begun.elapsed() < PATIENCE, "never {what}: {why}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn a_bound_keeps_reads_off_what_is_too_old(stand: &Stand) {
    let client = connect(stand.front().ports().any).await;
    client
        .batch_execute("SET pgherd.consistency = 'eventual'; SET pgherd.max_staleness = '1s'")
        .await
        .unwrap();
    let on_replica = |why: &str| why.contains("node=pg2") || why.contains("node=pg3");
    // Nothing is written, and yet a proof must be younger than the bound: looks come for it.
    println!("bound, idle: {}", routed(&client, "on a replica", on_replica).await);
    let mut stayed = 0;
    for _ in 0..20 {
        stayed += usize::from(on_replica(&routed(&client, "routed", |_| true).await));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    println!("bound, idle: {stayed} of 20 reads on replicas");
    assert!(stayed >= 15, "{stayed}");
    let (_, metrics) = stand.front().get("/metrics").await.unwrap();
    let series = "pgherd_routed_total{class=\"read\",rule=\"reads\",target=\"replica\",shadow=\"false\"} ";
    let counted = metrics.lines().find_map(|line| line.strip_prefix(series)).expect("counted");
    assert!(counted.parse::<usize>().unwrap() >= stayed, "{counted}");
    for replica in stand.lab().replicas() {
        replica.sql("postgres", "SELECT pg_wal_replay_pause()").await.unwrap();
    }
    write(stand).await;
    let written = Instant::now();
    let why = routed(&client, "on the primary", |why| why.contains("node=pg1")).await;
    println!("bound, replay paused: {why} after {:?}", written.elapsed());
    assert!(written.elapsed() < Duration::from_secs(2), "{:?}", written.elapsed());
    let asked = serde_json::json!({ "statements": ["/* pgherd: eventual, max_staleness=1s */ SELECT count(*) FROM beat"],
        "database": USER, "user": USER });
    let (_, body) = stand.front().post("/explain", &asked.to_string()).await.unwrap();
    assert!(body.contains("old > max_staleness 1.0s"), "{body}");
    for replica in stand.lab().replicas() {
        replica.sql("postgres", "SELECT pg_wal_replay_resume()").await.unwrap();
    }
    println!("bound, resumed: {}", routed(&client, "on a replica again", on_replica).await);
}

async fn paused_replay_ages_as_the_clock_on_the_wall(stand: &Stand) {
    let replica = &stand.lab().replicas()[0];
    assert_eq!(replica.name(), "pg2");
    replica.sql("postgres", "SELECT pg_wal_replay_pause()").await.unwrap();
    let written = Instant::now();
    write(stand).await;
    let seconds = |member: &Value| member["lag_seconds"].as_f64().unwrap_or(0.0);
    // One write and then silence: nothing but time makes it older.
    until(stand, "pg2", "was behind", |member| seconds(member) > 0.5).await;
    let out = until(stand, "pg2", "left rotation", |member| member["read"] == "no").await;
    println!("paused replay: {} after {:?}", out["read_reason"], written.elapsed());
    assert!(out["read_reason"].as_str().unwrap().contains("max_lag_seconds 4.0s"), "{out}");
    assert!(out["read_reason_since"].is_string(), "{out}");
    let mut found = 0.0;
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        found = lag(stand, "pg2").await;
        let truth = written.elapsed().as_secs_f64();
        // What is shown was measured some time ago, and the replica may have been up to date until a look before the write.
        assert!(found > truth - 2.0 * SLACK && found < truth + SLACK, "{found} s at {truth} s");
    }
    assert_eq!(member(stand, "pg2").await["read_reason_since"], out["read_reason_since"]);
    assert_eq!(member(stand, "pg3").await["read"], "ok");
    replica.sql("postgres", "SELECT pg_wal_replay_resume()").await.unwrap();
    let resumed = Instant::now();
    let back = until(stand, "pg2", "came back", |member| member["read"] == "ok").await;
    println!("paused replay: {found} s at last, back {:?} after it went on", resumed.elapsed());
    assert_eq!(seconds(&back), 0.0);
}

async fn a_delayed_replica_is_as_late_as_it_was_told_to_be(stand: &Stand) {
    let replica = &stand.lab().replicas()[1];
    assert_eq!(replica.name(), "pg3");
    let delay = |value: &str| format!("ALTER SYSTEM SET recovery_min_apply_delay = '{value}'");
    replica.sql("postgres", &delay("2s")).await.unwrap();
    replica.reload();
    let begun = Instant::now();
    let mut found = Vec::new();
    while begun.elapsed() < Duration::from_secs(12) {
        write(stand).await;
        if begun.elapsed() > APPLY_DELAY + Duration::from_secs(4) {
            found.push(lag(stand, "pg3").await);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    found.sort_by(f64::total_cmp);
    let (least, middle, most) = (found[0], found[found.len() / 2], found[found.len() - 1]);
    println!("a delay of {APPLY_DELAY:?}: {least} to {most} s, {middle} s in the middle");
    assert!((middle - APPLY_DELAY.as_secs_f64()).abs() < SLACK, "{found:?}");
    assert!(lag(stand, "pg2").await < SLACK, "the other one is not delayed");
    replica.sql("postgres", &delay("0")).await.unwrap();
    replica.reload();
    until(stand, "pg3", "caught up", |member| member["lag_seconds"] == 0.0 && member["read"] == "ok").await;
}

#[tokio::test]
async fn without_a_primary_replicas_serve_for_as_long_as_their_freshness_was_proven() {
    let settings = [
        ("routing", "max_staleness = \"4s\""),
        ("failover", "hold_timeout = \"1s\""),
        ("failover", "failover_strategy = \"manual\""),
    ];
    let stand = Stand::start(&settings).await.unwrap();
    stand
        .lab()
        .primary()
        .sql(USER, "CREATE TABLE beat (at timestamptz); GRANT ALL ON beat TO app")
        .await
        .unwrap();
    stand.lab().wait_replicated().await.unwrap();
    let ports = stand.front().ports();
    let (replicas, any) = (connect(ports.replicas).await, connect(ports.any).await);
    any.batch_execute("SET pgherd.consistency = 'eventual'").await.unwrap();
    let read = async |client: &tokio_postgres::Client| {
        client.simple_query("SELECT count(*) FROM beat").await.map(drop)
    };
    for client in [&replicas, &any] {
        read(client).await.unwrap();
    }
    stand.lab().primary().stop(Mode::Fast).await.unwrap();
    let lost = Instant::now();
    // A little less than the bound: the last proof was before the end.
    let mut last = [Duration::ZERO; 2];
    while lost.elapsed() < Duration::from_secs(10) {
        for (client, last) in [&replicas, &any].into_iter().zip(&mut last) {
            match read(client).await {
                Ok(()) => *last = lost.elapsed(),
                Err(error) => assert_eq!(error.code().unwrap().code(), "57P03", "{error:?}"),
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!("no primary: replicas served for {last:?}");
    for last in last {
        assert!(last > Duration::from_millis(500) && last < Duration::from_secs(6), "{last:?}");
    }
    stand.lab().primary().start().await.unwrap();
    for client in [&replicas, &any] {
        let begun = Instant::now();
        while read(client).await.is_err() {
            assert!(begun.elapsed() < PATIENCE, "reads never came back");
        }
    }
    stand.shutdown().await.unwrap();
}
