//! pgbench through pgherd's ports, in front of a real primary with two streaming replicas.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
use pgherd_tests::stand::{Stand, USER, number, reads};

const PROCESSED: &str = "number of transactions actually processed:";

/// More clients than servers, in every query mode pgbench has.
#[tokio::test]
async fn writes_through_5000_lose_and_invent_nothing() {
    let stand = Stand::start(&[("pool", "max_pool_size = 3")]).await.unwrap();
    stand.fill(2).await.unwrap();
    let mut acknowledged = 0;
    // A thread per client: pgbench prepares with blocking calls, and a thread that waits for a server on behalf of one client
    // cannot end the transaction of another that holds it.
    for mode in ["simple", "extended", "prepared"] {
        let port = stand.front().ports().primary;
        let report = stand
            .pgbench(port, &["-n", "-b", "tpcb-like", "-M", mode, "-c", "8", "-j", "8", "-T", "4"])
            .await;
        let report = report.unwrap();
        let processed = number(&report, PROCESSED).unwrap();
        assert!(processed > 0, "{mode}: {report}");
        acknowledged += processed;
    }
    let balance = "SELECT count(*), sum(delta) = (SELECT sum(abalance) FROM pgbench_accounts), \
                   sum(delta) = (SELECT sum(tbalance) FROM pgbench_tellers), \
                   sum(delta) = (SELECT sum(bbalance) FROM pgbench_branches) FROM pgbench_history";
    let found = stand.lab().primary().sql(USER, balance).await.unwrap();
    assert_eq!(found, format!("{acknowledged}|t|t|t"));
    let servers = format!("SELECT count(*) <= 3 FROM pg_stat_activity WHERE usename = '{USER}'");
    assert_eq!(stand.lab().primary().sql(USER, &servers).await.unwrap(), "t", "the pool's limit was passed");
    stand.shutdown().await.unwrap();
}

#[tokio::test]
async fn reads_through_5001_spread_over_both_replicas() {
    let stand = Stand::start(&[("pool", "max_pool_size = 4")]).await.unwrap();
    stand.fill(1).await.unwrap();
    let before = stand.reads().await.unwrap();
    let port = stand.front().ports().replicas;
    let report =
        stand.pgbench(port, &["-n", "-S", "-M", "prepared", "-c", "8", "-j", "2", "-T", "4"]).await.unwrap();
    let processed = number(&report, PROCESSED).unwrap();
    let (status, metrics) = stand.front().get("/metrics").await.unwrap();
    assert_eq!(status, 200);
    for node in stand.lab().replicas() {
        let label = format!("node=\"{}\"", node.name());
        assert!(metrics.contains(&label), "no metric with {label}");
    }
    let lab = stand.close().await.unwrap();
    let after = reads(&lab).await.unwrap();
    let added: Vec<u64> = after.iter().zip(&before).map(|(a, b)| a - b).collect();
    // Equal weights: each replica's share is near a half; a fifth is far outside what chance does to thousands of reads.
    assert!(added.iter().all(|n| *n > processed / 5), "{processed} reads, by replica {added:?}");
    assert!(
        added.iter().sum::<u64>() >= processed,
        "{processed} reads, by replica {added:?}: some went elsewhere"
    );
    lab.shutdown().await.unwrap();
}
