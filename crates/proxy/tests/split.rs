//! Reads and writes on a listener for any node: who goes where, and what nobody must notice.
#[path = "split/asked.rs"]
mod asked;
#[path = "split/blocks.rs"]
mod blocks;
#[path = "split/bound.rs"]
mod bound;
#[path = "split/counted.rs"]
mod counted;
mod support;

use pgherd_route::floor::Consistency;
use pgherd_route::intent::Routing;
use pgherd_topology::node::NodeId;
use std::time::Duration;
use support::client::Client;
use support::message::query;
use support::random::Random;
use support::{Settings, Stage, run};

const HERE: &str = "select where_am_i";

fn stage(consistency: Consistency, nodes: usize) -> Stage {
    Stage::new(
        Settings { routing: Routing::Any, consistency, ..Settings::default() },
        nodes,
        &mut Random::new(1),
    )
}

/// A client of a database whose catalog is known.
async fn enter(stage: &Stage) -> Client {
    let client = Client::enter(stage, "alice").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    client
}

#[test]
fn reads_leave_the_primary_and_writes_do_not() {
    run(async {
        let stage = stage(Consistency::Eventual, 2);
        let mut client = enter(&stage).await;
        assert_eq!(client.value(HERE).await, "n1");
        assert_eq!(client.ask("insert").await, ["C:INSERT 0 1", "Z:I"]);
        assert_eq!(client.value(HERE).await, "n1");
        client.ask("begin").await;
        assert_eq!(client.value(HERE).await, "n0");
        assert_eq!(client.ask("insert").await, ["C:INSERT 0 1", "Z:T"]);
        client.ask("commit").await;
        client.ask("begin read only").await;
        assert_eq!(client.value(HERE).await, "n1");
        client.ask("commit").await;
        assert_eq!(client.value("/* pgherd: primary */ select where_am_i").await, "n0");
        client.ask("set pgherd.read_preference to 'primary'").await;
        assert_eq!(client.value(HERE).await, "n0");
        client.leave().await;
        stage.assert_sound().await;
    });
}

#[test]
fn a_comment_asks_for_one_statement() {
    run(async {
        let stage = stage(Consistency::ReadAfterWrite, 2);
        let mut client = enter(&stage).await;
        client.ask("insert").await;
        let here = |hint: &str| format!("/* pgherd: {hint} */ select where_am_i");
        assert_eq!(client.value(HERE).await, "n0");
        assert_eq!(client.value(&here("consistency=eventual")).await, "n1");
        assert_eq!(client.value(&here("eventual, primary_preferred")).await, "n0");
        client.ask("set pgherd.consistency to 'eventual'").await;
        assert_eq!(client.value(&here("strong")).await, "n0");
        assert_eq!(client.value(&here("primary_preferred")).await, "n0");
        assert_eq!(client.value(HERE).await, "n1");
        client.leave().await;
        stage.assert_sound().await;
    });
}

#[test]
fn what_is_pipelined_behind_a_read_goes_its_own_way() {
    run(async {
        let stage = stage(Consistency::Eventual, 2);
        let mut client = enter(&stage).await;
        let both =
            [query(HERE), query("insert"), query(HERE), query("begin read only"), query(HERE)].concat();
        client.send(&[&both[..], &query("commit"), &query("insert")].concat()).await;
        assert_eq!(client.answer().await[1], "D:n1");
        // From here on the primary has it, and what is pipelined behind a write stays there.
        assert_eq!(client.answer().await, ["C:INSERT 0 1", "Z:I"]);
        assert_eq!(client.answer().await[1], "D:n0");
        assert_eq!(client.answer().await, ["C:BEGIN", "Z:T"]);
        assert_eq!(client.answer().await[1], "D:n0");
        assert_eq!(client.answer().await, ["C:COMMIT", "Z:I"]);
        assert_eq!(client.answer().await, ["C:INSERT 0 1", "Z:I"]);
        let block = [query("begin read only"), query(HERE), query("commit"), query("insert")].concat();
        client.send(&block).await;
        assert_eq!(client.answer().await, ["C:BEGIN", "Z:T"]);
        assert_eq!(client.answer().await[1], "D:n1");
        assert_eq!(client.answer().await, ["C:COMMIT", "Z:I"]);
        assert_eq!(client.answer().await, ["C:INSERT 0 1", "Z:I"]);
        client.leave().await;
        stage.assert_sound().await;
    });
}

#[test]
fn a_replicas_refusal_is_never_seen() {
    run(async {
        let stage = stage(Consistency::Eventual, 2);
        let mut client = enter(&stage).await;
        assert_eq!(client.ask("select unlogged 'x'").await, ["T", "D:x", "C:SELECT 1", "Z:I"]);
        let dials = stage.nodes[1].dials();
        // It is remembered: the replica is not asked again.
        assert_eq!(client.ask("select unlogged 'x'").await, ["T", "D:x", "C:SELECT 1", "Z:I"]);
        assert_eq!(stage.nodes[1].dials(), dials);
        client.ask("begin read only").await;
        assert_eq!(client.ask("select unlogged 'y'").await, ["T", "D:y", "C:SELECT 1", "Z:T"]);
        assert_eq!(client.value(HERE).await, "n0");
        client.ask("commit").await;
        assert_eq!(client.value(HERE).await, "n1");
        client.leave().await;
        stage.assert_sound().await;
    });
}

#[test]
fn a_read_is_not_lost_with_its_server() {
    run(async {
        let stage = stage(Consistency::ReadAfterWrite, 2);
        let mut client = enter(&stage).await;
        client.ask("insert").await;
        // On the primary, because no replica is known to have the write.
        client.send(&query("select where_am_i slowly")).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        stage.nodes[0].cut_all();
        assert_eq!(client.answer().await, ["T", "D:n0", "C:SELECT 1", "Z:I"]);
        // A write is.
        client.send(&query("insert; select where_am_i slowly")).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        stage.nodes[0].cut_all();
        assert_eq!(client.answer().await, ["E:08007", "Z:I"]);
        client.leave().await;
        stage.assert_sound().await;
    });
}

#[test]
fn a_session_reads_what_it_wrote() {
    run(async {
        let stage = stage(Consistency::ReadAfterWrite, 2);
        let mut client = enter(&stage).await;
        assert_eq!(client.value(HERE).await, "n1");
        stage.look(&[10, 10]);
        client.ask("insert").await;
        // Nobody looked since: the primary.
        assert_eq!(client.value(HERE).await, "n0");
        stage.look(&[20, 15]);
        assert_eq!(client.value(HERE).await, "n0");
        stage.look(&[20, 20]);
        assert_eq!(client.value(HERE).await, "n1");
        // Another session wrote nothing and saw nothing.
        stage.look(&[30, 20]);
        let mut other = Client::enter(&stage, "alice").await;
        assert_eq!(other.value(HERE).await, "n1");
        client.leave().await;
        other.leave().await;
        stage.assert_sound().await;
    });
}

#[test]
fn a_read_that_waits_for_a_replica_goes_on_at_once_when_one_has_caught_up() {
    run(async {
        let settings = Settings {
            routing: Routing::Any,
            fresh_wait: Duration::from_secs(10),
            max_size: 1,
            ..Settings::default()
        };
        let stage = Stage::new(settings, 2, &mut Random::new(1));
        let mut client = enter(&stage).await;
        assert_eq!(client.value(HERE).await, "n1");
        client.ask("insert").await;
        client.send(&query(HERE)).await;
        for lsns in [[10, 5], [20, 9]] {
            tokio::time::sleep(Duration::from_millis(1023)).await;
            stage.look(&lsns);
        }
        tokio::time::sleep(Duration::from_millis(1023)).await;
        let begun = tokio::time::Instant::now();
        stage.look(&[20, 10]);
        assert_eq!(client.answer().await[1], "D:n1");
        assert_eq!(begun.elapsed(), Duration::ZERO);
        // None comes: the primary, after the time that was given.
        client.ask("insert").await;
        let begun = tokio::time::Instant::now();
        assert_eq!(client.value(HERE).await, "n0");
        assert_eq!(begun.elapsed(), Duration::from_secs(10));
        client.leave().await;
        stage.assert_sound().await;
    });
}

#[test]
fn what_was_seen_does_not_disappear() {
    run(async {
        let stage = stage(Consistency::ReadAfterWrite, 3);
        let mut client = enter(&stage).await;
        stage.look(&[10, 10, 5]);
        let first = client.value(HERE).await;
        for _ in 0..20 {
            assert_eq!(client.value(HERE).await, first);
        }
        client.leave().await;
        stage.assert_sound().await;
    });
}

#[test]
fn a_write_counts_although_its_server_died_with_the_answer() {
    run(async {
        let stage = stage(Consistency::ReadAfterWrite, 2);
        let mut client = enter(&stage).await;
        stage.look(&[10, 10]);
        assert_eq!(client.value(HERE).await, "n1");
        stage.look(&[10, 10]);
        assert_eq!(client.ask("insert 'last'").await, ["C:INSERT 0 1", "Z:I"]);
        assert_eq!(client.value(HERE).await, "n0");
        client.leave().await;
        stage.assert_sound().await;
    });
}

#[test]
fn global_reads_see_the_writes_of_all_and_strong_ones_stay() {
    run(async {
        let stage = stage(Consistency::Global, 2);
        let (mut writer, mut reader) = (enter(&stage).await, Client::enter(&stage, "alice").await);
        // A connection that is younger than the last look proves nothing: here is one that is older.
        reader.ask("set pgherd.consistency to 'eventual'").await;
        assert_eq!(reader.value(HERE).await, "n1");
        reader.ask("reset pgherd.consistency").await;
        assert_eq!(reader.value(HERE).await, "n0");
        // Nobody took notes before: what was committed until now may not even be flushed.
        stage.look(&[10, 10]);
        assert_eq!(reader.value(HERE).await, "n0");
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(reader.value(HERE).await, "n0");
        stage.look(&[10, 10]);
        assert_eq!(reader.value(HERE).await, "n1");
        writer.ask("insert").await;
        assert_eq!(reader.value(HERE).await, "n0");
        stage.look(&[20, 20]);
        assert_eq!(reader.value(HERE).await, "n1");
        reader.ask("set pgherd.consistency to 'strong'").await;
        stage.look(&[20, 20]);
        assert_eq!(reader.value(HERE).await, "n0");
        reader.leave().await;
        writer.leave().await;
        stage.assert_sound().await;
    });
}

/// A stage for two sessions of `global`, the second of which has read from the replica.
async fn global_pair() -> (Stage, Client, Client) {
    let stage = stage(Consistency::Global, 2);
    let (writer, mut reader) = (enter(&stage).await, Client::enter(&stage, "alice").await);
    assert_eq!(reader.value("/* pgherd: consistency=eventual */ select where_am_i").await, "n1");
    assert_eq!(reader.value(HERE).await, "n0");
    tokio::time::sleep(Duration::from_secs(1)).await;
    stage.look(&[5, 5]);
    assert_eq!(reader.value(HERE).await, "n0");
    stage.look(&[10, 10]);
    assert_eq!(reader.value(HERE).await, "n1");
    (stage, writer, reader)
}

#[test]
fn global_reads_wait_for_commits_that_may_not_be_flushed() {
    run(async {
        let (stage, mut writer, mut reader) = global_pair().await;
        writer.ask("set synchronous_commit to 'off'").await;
        writer.ask("insert").await;
        stage.look(&[20, 20]);
        assert_eq!(reader.value(HERE).await, "n0");
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(reader.value(HERE).await, "n0");
        stage.look(&[30, 30]);
        assert_eq!(reader.value(HERE).await, "n1");
        writer.leave().await;
        reader.leave().await;
        stage.assert_sound().await;
    });
}

#[test]
fn global_reads_see_what_was_acknowledged_in_the_middle_of_a_pipeline() {
    run(async {
        let (stage, mut writer, mut reader) = global_pair().await;
        writer.send(&[query("insert"), query("sleep 5000 'x'")].concat()).await;
        assert_eq!(writer.answer().await, ["C:INSERT 0 1", "Z:I"]);
        assert_eq!(reader.value(HERE).await, "n0");
        writer.answer().await;
        writer.leave().await;
        reader.leave().await;
        stage.assert_sound().await;
    });
}

#[test]
fn global_reads_wait_for_a_primary_that_may_have_written() {
    run(async {
        let (stage, mut writer, mut reader) = global_pair().await;
        writer.ask("insert").await;
        stage.publish(None, &[0]);
        reader.send(&query(HERE)).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        stage.publish(Some(0), &[]);
        assert_eq!(reader.answer().await[1], "D:n0");
        writer.leave().await;
        reader.leave().await;
        stage.assert_sound().await;
    });
}

#[test]
fn without_a_primary_reads_go_on() {
    run(async {
        let stage = stage(Consistency::Eventual, 2);
        let mut client = enter(&stage).await;
        stage.publish(None, &[0]);
        assert_eq!(client.value(HERE).await, "n1");
        client.send(&query("insert")).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        stage.publish(Some(0), &[]);
        assert_eq!(client.answer().await, ["C:INSERT 0 1", "Z:I"]);
        client.leave().await;
        stage.assert_sound().await;
    });
}

#[test]
fn a_volatile_function_leaves_the_primary_when_somebody_vouches_for_it() {
    run(async {
        let of = |vouched: &[&str]| Settings {
            routing: Routing::Any,
            consistency: Consistency::Eventual,
            vouched: vouched.iter().map(ToString::to_string).collect(),
            ..Settings::default()
        };
        let stage = Stage::new(of(&["vol"]), 2, &mut Random::new(1));
        let mut client = enter(&stage).await;
        let calls = "select where_am_i, vol()";
        assert_eq!(client.value(calls).await, "n1");
        assert_eq!(client.value("select where_am_i, other()").await, "n0");
        stage.reload(of(&["other"]));
        assert_eq!(client.value(calls).await, "n0");
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(client.value(calls).await, "n0");
        assert_eq!(client.value("select where_am_i, other()").await, "n0");
        assert_eq!(client.value(HERE).await, "n1");
        client.leave().await;
        stage.assert_sound().await;
    });
}

#[test]
fn a_session_that_only_reads_does_not_stay_on_the_primary() {
    run(async {
        let stage = stage(Consistency::ReadAfterWrite, 2);
        let mut client = enter(&stage).await;
        assert_eq!(client.value(HERE).await, "n1");
        client.ask("insert").await;
        let is_wanted = async || {
            let gauge = stage.shared.pools.common().gauges.of(NodeId(0));
            tokio::time::timeout(Duration::from_millis(1), gauge.wanted()).await.is_ok()
        };
        client.send(&query("select where_am_i slowly")).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        // The look it asks for is older than what it sees.
        assert!(is_wanted().await);
        stage.look(&[10, 10]);
        assert_eq!(client.answer().await[1], "D:n0");
        // So it asks for another.
        assert!(is_wanted().await);
        stage.look(&[10, 10]);
        assert_eq!(client.value(HERE).await, "n1");
        assert!(!is_wanted().await);
        // What concerns the session alone is no write.
        client.ask("set a.b to 'c'").await;
        client.ask("show a.b").await;
        assert_eq!(client.value(HERE).await, "n1");
        client.leave().await;
        stage.assert_sound().await;
    });
}
