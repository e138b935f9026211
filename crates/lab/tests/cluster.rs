//! The lab against the real PostgreSQL of this machine. Without one these tests fail: a skipped test is no test.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
use pgherd_lab::lab::Lab;
use pgherd_lab::node::Mode;
use pgherd_lab::options::{Auth, Database, Options, Role};
use std::path::Path;
use std::time::Duration;

fn options() -> Options {
    Options {
        roles: vec![Role { name: "app".into(), password: Some("it's".into()), attributes: String::new() }],
        databases: vec![Database { name: "app".into(), owner: "app".into() }],
        prefix: "pgherd-labtest".into(),
        ..Options::default()
    }
}

fn alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next());
    Path::new("/proc/self/stat").exists() && state.is_some_and(|s| s != "Z")
}

#[tokio::test]
async fn a_cluster_streams_survives_faults_and_leaves_nothing() {
    let lab = Lab::start(options()).await.unwrap();
    let directory = lab.directory().to_path_buf();
    let pids: Vec<u32> = lab.nodes().iter().map(|n| n.pid().unwrap()).collect();
    assert_eq!(pids.len(), 3);

    lab.primary().sql("app", "CREATE TABLE t AS SELECT 7 AS n").await.unwrap();
    lab.wait_replicated().await.unwrap();
    for replica in lab.replicas() {
        assert_eq!(replica.sql("app", "SELECT n, pg_is_in_recovery() FROM t").await.unwrap(), "7|t");
        let refused = replica.sql("app", "INSERT INTO t VALUES (8)").await.unwrap_err();
        assert!(refused.to_string().contains("read-only transaction"), "{refused}");
    }

    let victim = &lab.replicas()[0];
    victim.kill9().await.unwrap();
    assert_eq!(victim.pid(), None);
    assert!(victim.sql("app", "SELECT 1").await.is_err());
    lab.primary().sql("app", "INSERT INTO t VALUES (9)").await.unwrap();
    victim.start().await.unwrap();
    lab.wait_replicated().await.unwrap();
    assert_eq!(victim.sql("app", "SELECT count(*) FROM t").await.unwrap(), "2");

    lab.primary().stop(Mode::Fast).await.unwrap();
    lab.primary().start().await.unwrap();
    lab.wait_replicated().await.unwrap();

    let candidate = &lab.replicas()[1];
    lab.primary().kill9().await.unwrap();
    candidate.promote().await.unwrap();
    candidate.sql("app", "INSERT INTO t VALUES (10)").await.unwrap();
    assert_eq!(candidate.sql("app", "SELECT count(*) FROM t").await.unwrap(), "3");

    lab.shutdown().await.unwrap();
    assert!(!directory.exists());
    assert!(pids.into_iter().all(|pid| !alive(pid)));
}

#[tokio::test]
async fn a_paused_node_hangs_and_goes_on() {
    let lab =
        Lab::start(Options { replicas: 0, patience: Duration::from_secs(5), ..options() }).await.unwrap();
    lab.primary().pause();
    let hung = tokio::time::timeout(Duration::from_millis(500), lab.primary().sql("app", "SELECT 1")).await;
    assert!(hung.is_err(), "a paused server answered: {hung:?}");
    lab.primary().resume();
    assert_eq!(lab.primary().sql("app", "SELECT 1").await.unwrap(), "1");
}

#[tokio::test]
async fn dropping_a_paused_lab_leaves_nothing() {
    let lab = Lab::start(Options { replicas: 1, ..options() }).await.unwrap();
    let directory = lab.directory().to_path_buf();
    let pids: Vec<u32> = lab.nodes().iter().map(|n| n.pid().unwrap()).collect();
    lab.replicas()[0].pause();
    drop(lab);
    assert!(!directory.exists());
    assert!(pids.into_iter().all(|pid| !alive(pid)));
}

#[tokio::test]
async fn md5_trust_and_settings_are_honoured() {
    for (auth, stored) in [(Auth::Md5, "md5"), (Auth::ScramSha256, "SCR"), (Auth::Trust, "SCR")] {
        let settings = vec!["work_mem = '7MB'".to_owned()];
        let lab = Lab::start(Options { replicas: 0, auth, settings, ..options() }).await.unwrap();
        let seen = lab.primary().sql(
            "postgres",
            "SELECT left(rolpassword, 3), current_setting('work_mem') FROM pg_authid WHERE rolname='app'",
        );
        assert_eq!(seen.await.unwrap(), format!("{stored}|7MB"));
        lab.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn a_lab_in_use_is_no_leftover_and_an_abandoned_directory_is() {
    let prefix = format!("pgherd-stale{}", std::process::id());
    let lab = Lab::start(Options { replicas: 0, prefix: prefix.clone(), ..options() }).await.unwrap();
    let parent = lab.directory().parent().unwrap().to_path_buf();
    let uid = lab.nursery().account().uid();
    assert!(pgherd_lab::stale::find(&parent, &prefix, uid).is_empty());

    let abandoned = parent.join(format!("{prefix}-deadbeef"));
    std::fs::create_dir(&abandoned).unwrap();
    std::fs::write(abandoned.join("lab.lock"), "").unwrap();
    let found = pgherd_lab::stale::find(&parent, &prefix, uid);
    assert_eq!(found.len(), 1);
    found.into_iter().for_each(|leftover| leftover.remove().unwrap());
    assert!(!abandoned.exists());
    assert!(lab.directory().exists());
}
