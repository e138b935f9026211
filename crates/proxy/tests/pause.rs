//! What an operator does to a database: pausing it, asking for new connections, letting nobody in, sending somebody away.
mod support;

use pgherd_proxy::card::Bell;
use pgherd_proxy::tally::Sums;
use pgherd_proxy::terms::Timeouts;
use std::time::Duration;
use support::client::Client;
use support::message::query;
use support::random::Random;
use support::{Settings, Stage, run};

const SELECT_X: [&str; 4] = ["T", "D:x", "C:SELECT 1", "Z:I"];

fn stage(nodes: usize) -> Stage {
    let second = Duration::from_secs(1);
    let timeouts = Timeouts { query_wait: second, hold: second, ..Timeouts::default() };
    Stage::new(Settings { max_size: 2, timeouts, ..Settings::default() }, nodes, &mut Random::new(1))
}

async fn seconds(n: u64) {
    tokio::time::sleep(Duration::from_secs(n)).await;
}

#[test]
fn a_pause_lets_go_of_every_server_and_fails_nobody() {
    run(async {
        let stage = stage(1);
        let pools = stage.shared.pools.clone();
        let (mut busy, mut idle) =
            (Client::enter(&stage, "alice").await, Client::enter(&stage, "alice").await);
        assert_eq!(busy.ask("begin; select 'x'").await.last().map(String::as_str), Some("Z:T"));
        assert_eq!(idle.ask("select 'x'").await, SELECT_X);
        assert!(pools.pause(Some("app")) && !pools.pause(Some("app")));
        assert!(pools.is_paused("app") && !pools.is_paused("other"));
        assert_eq!(pools.connections(Some("app")), 1, "the one of the open transaction");
        // Far beyond both limits in time: an operator's pause is not held against a client.
        idle.send(&query("select 'x'")).await;
        seconds(30).await;
        assert_eq!(busy.ask("commit").await, ["C:COMMIT", "Z:I"]);
        assert_eq!(pools.connections(None), 0);
        // Whoever comes now waits, too, and for the primary to come back no less.
        stage.publish(None, &[0]);
        busy.send(&query("select 'x'")).await;
        seconds(30).await;
        assert_eq!(pools.connections(None), 0);
        stage.publish(Some(0), &[0]);
        assert!(pools.resume(Some("app")) && !pools.resume(Some("app")));
        assert_eq!(idle.answer().await, SELECT_X);
        assert_eq!(busy.answer().await, SELECT_X);
    });
}

#[test]
fn after_a_pause_everybody_goes_to_the_node_that_is_right_then() {
    run(async {
        let stage = stage(2);
        let mut client = Client::enter(&stage, "alice").await;
        assert_eq!(client.value("node").await, "n0");
        stage.shared.pools.pause(None);
        client.send(&query("node")).await;
        seconds(3).await;
        stage.publish(None, &[0]);
        stage.publish(Some(1), &[1]);
        assert!(stage.shared.pools.is_all_paused());
        assert!(stage.shared.pools.resume(None));
        assert_eq!(client.answer().await, ["T", "D:n1", "C:SELECT 1", "Z:I"]);
    });
}

#[test]
fn a_client_that_waits_in_a_pause_can_leave_and_be_sent_away() {
    run(async {
        let stage = stage(1);
        let (mut killed, mut gone) =
            (Client::enter(&stage, "alice").await, Client::enter(&stage, "alice").await);
        let mut drained = Client::enter(&stage, "alice").await;
        stage.shared.pools.pause(None);
        for client in [&mut killed, &mut gone, &mut drained] {
            client.send(&query("select 'x'")).await;
        }
        seconds(1).await;
        let first = std::cell::Cell::new(true);
        stage.shared.cards.each(|card| {
            if first.replace(false) {
                card.ring(Bell::Kill);
            }
        });
        assert_eq!(killed.answer().await, ["E:57P01", "gone"]);
        drop(gone);
        seconds(1).await;
        assert_eq!(stage.shared.cards.count(), 1);
        pgherd_proxy::sweep::drain(&stage.shared, false);
        assert_eq!(drained.answer().await, ["E:57P01", "gone"]);
        stage.assert_sound().await;
    });
}

#[test]
fn old_connections_are_closed_as_they_become_free() {
    run(async {
        let stage = stage(1);
        let pools = &stage.shared.pools;
        let (mut busy, mut idle) =
            (Client::enter(&stage, "alice").await, Client::enter(&stage, "alice").await);
        busy.ask("begin; select 'x'").await;
        idle.ask("select 'x'").await;
        pools.reconnect(Some("other"));
        assert_eq!((pools.outdated(None), pools.connections(None)), (0, 2));
        pools.reconnect(Some("app"));
        assert_eq!((pools.outdated(Some("app")), pools.connections(None)), (1, 1));
        assert_eq!(idle.ask("select 'x'").await, SELECT_X);
        assert_eq!(pools.outdated(None), 1);
        busy.ask("commit").await;
        assert_eq!((pools.outdated(None), pools.connections(None)), (0, 1));
    });
}

#[test]
fn a_disabled_database_lets_nobody_in_and_nobody_go() {
    run(async {
        let stage = stage(1);
        let mut inside = Client::enter(&stage, "alice").await;
        stage.shared.disabled.write().insert("app".into());
        assert_eq!(Client::with(&stage, "alice", &[]).await.err().as_deref(), Some("55000"));
        assert_eq!(inside.ask("select 'x'").await, SELECT_X);
        stage.shared.disabled.write().clear();
        Client::enter(&stage, "alice").await;
    });
}

#[test]
fn what_a_database_does_is_counted() {
    run(async {
        let stage = stage(1);
        let mut client = Client::enter(&stage, "alice").await;
        client.ask("select 'x'").await;
        client.ask("begin").await;
        client.ask("select 'x'").await;
        client.ask("commit").await;
        let (name, sums) = stage.shared.tallies.all().pop().expect("one database");
        assert_eq!(&*name, "app");
        let expected = Sums {
            assignments: sums.assignments,
            transactions: 2,
            queries: 4,
            logins: 1,
            received: sums.received,
            sent: sums.sent,
            ..Sums::default()
        };
        assert_eq!(sums, expected);
        let asked: usize =
            ["select 'x'", "begin", "select 'x'", "commit"].iter().map(|sql| query(sql).len()).sum();
        assert_eq!(sums.received, asked as u64);
        assert!(sums.sent > 0 && sums.assignments >= 2);
    });
}
