//! Counts of where units went, and of where they would have gone.

use crate::support::client::Client;
use crate::support::message::query;
use crate::support::random::Random;
use crate::support::{Settings, Stage, run};
use crate::{HERE, enter};
use pgherd_proxy::routed::RoutingRow;
use pgherd_route::floor::Consistency;
use pgherd_route::intent::Routing;

fn stage(consistency: Consistency, shadow: bool) -> Stage {
    let settings = Settings { routing: Routing::Any, consistency, shadow, ..Settings::default() };
    Stage::new(settings, 2, &mut Random::new(1))
}

/// Class, rule, target and count of each row; all are in shadow, or none is.
fn counted(stage: &Stage, shadow: bool) -> Vec<(&'static str, &'static str, &'static str, u64)> {
    let rows = stage.shared.routing_rows();
    assert!(rows.iter().all(|row| row.shadow == shadow), "{rows:?}");
    rows.into_iter()
        .map(|RoutingRow { class, rule, target, count, .. }| (class, rule, target, count))
        .collect()
}

/// Reads, writes, a block and a question.
async fn work(client: &mut Client) {
    for text in [HERE, HERE, "insert", "select where_am_i, vol()", "/* pgherd: primary */ select where_am_i"]
    {
        client.ask(text).await;
    }
    for text in ["begin read only", HERE, "commit", "begin", HERE, "commit", "show pgherd.why"] {
        client.ask(text).await;
    }
}

#[test]
fn what_would_go_where_is_what_goes_there() {
    run(async {
        let mut counts = Vec::new();
        for shadow in [false, true] {
            let stage = stage(Consistency::Eventual, shadow);
            let mut client = enter(&stage).await;
            work(&mut client).await;
            client.leave().await;
            counts.push(counted(&stage, shadow));
            stage.assert_sound().await;
        }
        let expected = [("read", "reads", "replica", 2), ("write", "hint", "primary", 1)];
        for row in expected {
            assert!(counts[0].contains(&row), "{row:?} {counts:?}");
        }
        // The welcome took a server before anything was asked.
        assert_eq!(counts[0], counts[1]);
        assert_eq!(counts[0].iter().map(|row| row.3).sum::<u64>(), 8, "{counts:?}");
    });
}

#[test]
fn in_shadow_everything_runs_on_the_primary() {
    run(async {
        let stage = stage(Consistency::ReadAfterWrite, true);
        let mut client = enter(&stage).await;
        let why = "show pgherd.why";
        assert_eq!(client.value(HERE).await, "n0");
        // It would have gone on reading there.
        assert_eq!(client.value(HERE).await, "n0");
        assert_eq!(client.value(why).await, "node=n0 reason=primary class=read rule=reads shadow=replica");
        client.ask("insert").await;
        assert_eq!(client.value(HERE).await, "n0");
        assert_eq!(client.value(why).await, "node=n0 reason=primary class=read rule=reads shadow=primary");
        stage.look(&[20, 20]);
        assert_eq!(client.value(HERE).await, "n0");
        assert_eq!(client.value(why).await, "node=n0 reason=primary class=read rule=reads shadow=replica");
        client.ask("set pgherd.read_preference to 'replica'").await;
        client.ask("begin read only").await;
        assert_eq!(client.value(HERE).await, "n0");
        client.ask("commit").await;
        assert_eq!(stage.nodes[1].dials(), 0, "no replica was ever asked for anything");
        client.leave().await;
        stage.assert_sound().await;
    });
}

#[test]
fn in_shadow_reads_wait_for_a_primary_as_writes_do() {
    run(async {
        let stage = stage(Consistency::Eventual, true);
        let mut client = enter(&stage).await;
        stage.publish(None, &[0]);
        client.send(&query(HERE)).await;
        tokio::time::sleep(std::time::Duration::from_secs(5)).await;
        stage.publish(Some(0), &[]);
        assert_eq!(client.answer().await[1], "D:n0");
        client.leave().await;
        stage.assert_sound().await;
    });
}

#[test]
fn where_texts_are_not_read_there_is_no_rule() {
    run(async {
        let settings = Settings { routing: Routing::Replicas, shadow: true, ..Settings::default() };
        let stage = Stage::new(settings, 2, &mut Random::new(1));
        let mut client = Client::enter(&stage, "alice").await;
        assert_eq!(client.value(HERE).await, "n1");
        client.leave().await;
        let rows = counted(&stage, false);
        assert!(rows.iter().all(|row| (row.0, row.1, row.2) == ("unknown", "none", "replica")), "{rows:?}");
        stage.assert_sound().await;
    });
}
