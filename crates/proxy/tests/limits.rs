//! Deadlines and limits, on a clock that stands still.
mod support;

use pgherd_pool::pool::Hint;
use pgherd_proxy::card::Bell;
use pgherd_proxy::terms::Timeouts;
use pgherd_route::intent::Routing;
use std::time::Duration;
use support::client::Client;
use support::message::query;
use support::node::Manner;
use support::random::Random;
use support::{Settings, Stage, run};
use tokio::time::Instant;

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn timeouts(query_wait: u64, hold: u64) -> Timeouts {
    Timeouts { query_wait: seconds(query_wait), hold: seconds(hold), ..Timeouts::default() }
}

fn stage(settings: Settings, nodes: usize) -> Stage {
    Stage::new(settings, nodes, &mut Random::new(1))
}

const SELECT_X: [&str; 4] = ["T", "D:x", "C:SELECT 1", "Z:I"];

/// What has passed since, in seconds.
fn since(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64()
}

#[test]
fn the_wait_in_line_ends_with_53300_and_the_session_lives_on() {
    run(async {
        let stage = stage(Settings { max_size: 1, timeouts: timeouts(20, 30), ..Settings::default() }, 1);
        let mut holder = Client::enter(&stage, "alice").await;
        let mut waiter = Client::enter(&stage, "alice").await;
        assert_eq!(holder.ask("begin; select 'x'").await.last().map(String::as_str), Some("Z:T"));
        let begun = Instant::now();
        // The notice comes after 5 seconds, the error after 20.
        waiter.send(&query("select 'y'")).await;
        assert_eq!(waiter.next().await.map(|(tag, _)| tag), Some(b'N'));
        assert!((5.0..5.2).contains(&since(begun)), "{}", since(begun));
        assert_eq!(waiter.answer().await, ["E:53300", "Z:I"]);
        assert!((20.0..20.2).contains(&since(begun)), "{}", since(begun));
        assert_eq!(holder.ask("commit").await, ["C:COMMIT", "Z:I"]);
        assert_eq!(waiter.ask("select 'x'").await, SELECT_X);
        assert_eq!(stage.pool(0, "alice").stats().waiting, 0);
    });
}

#[test]
fn without_a_primary_a_request_is_held_and_then_refused() {
    run(async {
        let stage = stage(Settings { timeouts: timeouts(120, 10), ..Settings::default() }, 2);
        let mut client = Client::enter(&stage, "alice").await;
        stage.publish(None, &[0]);
        let begun = Instant::now();
        assert_eq!(client.ask("select 'x'").await, ["E:57P03", "Z:I"]);
        assert!((10.0..10.1).contains(&since(begun)), "{}", since(begun));
        client.send(&query("node")).await;
        tokio::time::sleep(seconds(3)).await;
        stage.publish(Some(1), &[0, 1]);
        assert_eq!(client.answer().await, ["T", "D:n1", "C:SELECT 1", "Z:I"]);
    });
}

#[test]
fn running_out_of_descriptors_fails_nobody_and_blames_nobody() {
    run(async {
        let stage = stage(Settings { max_size: 1, timeouts: timeouts(60, 30), ..Settings::default() }, 1);
        let mut client = Client::enter(&stage, "alice").await;
        stage.publish(Some(0), &[0]);
        for errno in [24, 23, 105] {
            stage.nodes[0].treats(Manner::Errno(errno));
            tokio::time::sleep(seconds(1)).await;
        }
        client.send(&query("select 'x'")).await;
        tokio::time::sleep(seconds(8)).await;
        stage.nodes[0].treats(Manner::Serves);
        // The wait was long enough for a notice.
        assert_eq!(client.answer().await[1..], SELECT_X);
        assert!(!stage.hints.lock().contains(&Hint::Refused));
    });
}

#[test]
fn a_refused_connection_hastens_a_probe_and_is_retried() {
    run(async {
        let stage = stage(Settings { timeouts: timeouts(60, 5), ..Settings::default() }, 1);
        let mut client = Client::enter(&stage, "alice").await;
        stage.publish(Some(0), &[0]);
        stage.nodes[0].treats(Manner::Errno(111));
        client.send(&query("select 'x'")).await;
        tokio::time::sleep(seconds(2)).await;
        assert!(stage.hints.lock().contains(&Hint::Refused));
        stage.nodes[0].treats(Manner::Serves);
        assert_eq!(client.answer().await, SELECT_X);
        stage.publish(Some(0), &[0]);
        stage.nodes[0].treats(Manner::Errno(111));
        let begun = Instant::now();
        assert_eq!(client.ask("select 'x'").await, ["E:57P03", "Z:I"]);
        assert!((5.0..5.5).contains(&since(begun)), "{}", since(begun));
    });
}

#[test]
fn no_more_connects_at_once_than_the_ramp_and_no_more_servers_than_the_pool() {
    run(async {
        let stage = stage(Settings { max_size: 8, connect_ramp: 3, ..Settings::default() }, 1);
        stage.nodes[0].treats(Manner::Slow(Duration::from_millis(500)));
        let mut clients = Vec::new();
        for _ in 0..20 {
            clients.push(Client::enter(&stage, "alice").await);
        }
        for client in &mut clients {
            client.send(&query("sleep 3000 'x'")).await;
        }
        for client in &mut clients {
            assert_eq!(client.answer().await.last().map(String::as_str), Some("Z:I"));
        }
        assert_eq!((stage.nodes[0].most_dialing(), stage.nodes[0].most()), (3, 8));
    });
}

#[test]
fn the_reserve_serves_those_who_waited_long() {
    run(async {
        let settings =
            Settings { max_size: 1, reserve_size: 1, reserve_after: seconds(3), ..Settings::default() };
        let stage = stage(settings, 1);
        let mut holder = Client::enter(&stage, "alice").await;
        let mut waiter = Client::enter(&stage, "alice").await;
        holder.ask("begin; select 'x'").await;
        let begun = Instant::now();
        assert_eq!(waiter.ask("select 'x'").await, SELECT_X);
        assert!((3.0..3.2).contains(&since(begun)), "{}", since(begun));
        // Nobody waits any more: the reserve is given up.
        tokio::time::sleep(seconds(1)).await;
        assert_eq!(stage.nodes[0].live(), 1);
    });
}

#[test]
fn idle_servers_end_down_to_the_minimum_and_old_ones_at_their_release() {
    run(async {
        let settings = Settings {
            min_size: 1,
            max_size: 3,
            idle_timeout: Some(seconds(60)),
            lifetime: Some(seconds(1000)),
            ..Settings::default()
        };
        let stage = stage(settings, 1);
        let mut clients = Vec::new();
        for _ in 0..3 {
            let mut client = Client::enter(&stage, "alice").await;
            client.ask("begin; select 'x'").await;
            clients.push(client);
        }
        assert_eq!(stage.nodes[0].live(), 3);
        for client in &mut clients {
            client.ask("commit").await;
        }
        // Give or take 10 %.
        tokio::time::sleep(seconds(53)).await;
        assert_eq!(stage.nodes[0].live(), 3);
        tokio::time::sleep(seconds(14)).await;
        assert_eq!(stage.nodes[0].live(), 1);
        let first = clients[0].value("pid").await;
        tokio::time::sleep(seconds(1100)).await;
        clients[0].value("pid").await;
        assert_ne!(clients[0].value("pid").await, first);
    });
}

#[test]
fn a_server_that_was_idle_for_long_is_asked_whether_it_lives() {
    run(async {
        let stage = stage(Settings { check_after: Some(seconds(30)), ..Settings::default() }, 1);
        let mut client = Client::enter(&stage, "alice").await;
        let before = client.value("statements").await;
        assert_eq!(client.value("statements").await, (before.parse::<u64>().unwrap() + 1).to_string());
        tokio::time::sleep(seconds(60)).await;
        // One more than this query: the check.
        assert_eq!(client.value("statements").await, (before.parse::<u64>().unwrap() + 3).to_string());
    });
}

#[test]
fn a_fenced_server_is_cut_and_never_used_again() {
    run(async {
        let stage = stage(Settings::default(), 2);
        let mut idle = Client::enter(&stage, "alice").await;
        let mut open = Client::enter(&stage, "alice").await;
        let mut lone = Client::enter(&stage, "alice").await;
        assert_eq!(idle.value("node").await, "n0");
        open.ask("begin").await;
        assert_eq!(open.value("node").await, "n0");
        lone.send(&query("sleep 60000 'x'")).await;
        tokio::time::sleep(seconds(1)).await;
        let begun = Instant::now();
        stage.publish(Some(1), &[0, 1]);
        assert_eq!(lone.answer().await, ["E:08007", "Z:I"]);
        assert!(since(begun) < 0.1);
        assert_eq!(open.ask("select 'x'").await, ["E:40001", "Z:E"]);
        assert_eq!(open.ask("select 'x'").await, ["E:25P02", "Z:E"]);
        assert_eq!(open.ask("rollback").await, ["C:ROLLBACK", "Z:I"]);
        assert_eq!((idle.value("node").await, open.value("node").await), ("n1".into(), "n1".into()));
        // The fake server finds out when its sleep is over.
        tokio::time::sleep(seconds(60)).await;
        assert_eq!(stage.nodes[0].live(), 0);
    });
}

#[test]
fn a_commit_after_a_silent_loss_is_an_error() {
    run(async {
        let stage = stage(Settings::default(), 1);
        let mut client = Client::enter(&stage, "alice").await;
        client.ask("begin; select 'x'").await;
        stage.nodes[0].cut_all();
        tokio::time::sleep(seconds(1)).await;
        assert_eq!(client.ask("commit").await, ["E:40001", "Z:I"]);
        assert_eq!(client.ask("select 'x'").await, SELECT_X);
    });
}

#[test]
fn a_lost_read_on_a_replica_is_run_again() {
    run(async {
        let stage = stage(Settings { routing: Routing::Replicas, ..Settings::default() }, 3);
        let mut client = Client::enter(&stage, "alice").await;
        client.send(&query("sleep 2000 'x'")).await;
        tokio::time::sleep(seconds(1)).await;
        stage.publish(Some(0), &[1, 2]);
        assert_eq!(client.answer().await, SELECT_X);
    });
}

#[test]
fn clients_are_limited_in_all_and_by_user_and_database() {
    run(async {
        for (settings, third) in [
            (Settings { max_clients: 2, ..Settings::default() }, "bob"),
            (Settings { max_clients_of_user: 2, ..Settings::default() }, "alice"),
            (Settings { max_clients_of_database: 2, ..Settings::default() }, "bob"),
        ] {
            let stage = stage(settings, 1);
            let first = Client::enter(&stage, "alice").await;
            let _second = Client::enter(&stage, "alice").await;
            assert_eq!(Client::with(&stage, third, &[]).await.err().as_deref(), Some("53300"));
            first.leave().await;
            tokio::time::sleep(seconds(1)).await;
            assert!(Client::with(&stage, third, &[]).await.is_ok());
        }
    });
}

#[test]
fn a_drain_lets_transactions_end() {
    run(async {
        let stage = stage(Settings::default(), 1);
        let mut idle = Client::enter(&stage, "alice").await;
        let mut open = Client::enter(&stage, "alice").await;
        open.ask("begin; select 'x'").await;
        pgherd_proxy::sweep::drain(&stage.shared, false);
        assert_eq!(idle.answer().await, ["E:57P01", "gone"]);
        assert_eq!(open.ask("select 'x'").await.last().map(String::as_str), Some("Z:T"));
        assert_eq!(open.ask("commit").await[..2], ["C:COMMIT", "Z:I"]);
        assert_eq!(open.answer().await, ["E:57P01", "gone"]);
        assert_eq!(Client::with(&stage, "alice", &[]).await.err().as_deref(), Some("57P01"));
        stage.assert_sound().await;
    });
}

#[test]
fn a_kill_ends_a_session_at_once_and_cancels_what_it_does() {
    run(async {
        let stage = stage(Settings::default(), 1);
        let mut client = Client::enter(&stage, "alice").await;
        client.send(&query("sleep 60000 'x'")).await;
        tokio::time::sleep(seconds(1)).await;
        stage.shared.cards.each(|card| card.ring(Bell::Kill));
        assert_eq!(client.answer().await, ["E:57P01", "gone"]);
        tokio::time::sleep(seconds(1)).await;
        assert_eq!(stage.nodes[0].cancels().len(), 1);
        assert_eq!(stage.nodes[0].live(), 0);
    });
}

#[test]
fn a_cancel_in_flight_never_hits_the_next_user_of_a_server() {
    run(async {
        let stage = stage(Settings { max_size: 1, ..Settings::default() }, 1);
        let mut victim = Client::enter(&stage, "alice").await;
        let mut next = Client::enter(&stage, "alice").await;
        *stage.nodes[0].cancel_delay.lock() = seconds(5);
        let first = victim.value("pid").await;
        victim.send(&query("sleep 1000 'x'")).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let key = victim.key.clone().expect("a key");
        let cancel = pgherd_proxy::cancel::cancel(&stage.shared, &stage.worker, &stage.cancels, &key);
        let (_, answer, after) = tokio::join!(cancel, victim.answer(), async {
            tokio::time::sleep(seconds(1)).await;
            next.ask("sleep 20000 'x'").await
        });
        // The cancel came after the answer; the server it was meant for went to nobody.
        assert_eq!(answer, SELECT_X);
        assert_eq!(after[after.len() - 4..], SELECT_X);
        assert_ne!(next.value("pid").await, first);
        assert_eq!(stage.nodes[0].cancels(), [first.parse::<i32>().expect("a number")]);
    });
}

#[test]
fn a_session_that_is_torn_down_leaves_no_place_of_its_pool_behind() {
    run(async {
        let stage = stage(Settings { max_size: 1, ..Settings::default() }, 1);
        let mut torn = Client::enter(&stage, "alice").await;
        torn.ask("begin; select 'x'").await;
        stage.abort_sessions().await;
        assert_eq!(stage.shared.cards.count(), 0);
        let mut next = Client::enter(&stage, "alice").await;
        assert_eq!(next.ask("select 'x'").await, SELECT_X);
        assert_eq!(stage.pool(0, "alice").stats().active, 0);
        drop(next);
        stage.assert_sound().await;
    });
}

#[test]
fn session_mode_shows_the_servers_own_process_and_cancels_it() {
    run(async {
        let settings = Settings { mode: pgherd_proxy::terms::Mode::Session, ..Settings::default() };
        let stage = stage(settings, 1);
        let mut client = Client::enter(&stage, "alice").await;
        let key = client.key.clone().expect("a key");
        assert_eq!(client.value("pid").await, key.pid.to_string());
        client.send(&query("sleep 60000 'x'")).await;
        tokio::time::sleep(seconds(1)).await;
        pgherd_proxy::cancel::cancel(&stage.shared, &stage.worker, &stage.cancels, &key).await;
        assert_eq!(client.answer().await, ["E:57014", "Z:I"]);
        client.leave().await;
        stage.assert_sound().await;
        assert!(stage.shared.cards.find(key.pid, &key.secret).is_none());
    });
}

#[test]
fn statement_mode_refuses_a_transaction_block() {
    run(async {
        let settings = Settings { mode: pgherd_proxy::terms::Mode::Statement, ..Settings::default() };
        let stage = stage(settings, 1);
        let mut client = Client::enter(&stage, "alice").await;
        assert_eq!(client.ask("select 'x'").await, SELECT_X);
        client.ask("begin; select 'x'").await;
        let heard = format!("{:?}", client.answer().await);
        assert!(heard.contains("08P01"), "{heard}");
        assert_eq!(stage.nodes[0].live(), 0);
    });
}

#[test]
fn a_connection_made_for_a_new_primary_is_not_thrown_away_as_an_old_one() {
    run(async {
        let stage = stage(Settings::default(), 2);
        let mut client = Client::enter(&stage, "alice").await;
        let pool = stage.pool(1, "alice");
        // Whoever waits is woken by the snapshot at once, perhaps before the pools have looked at it: here they never do.
        stage.stop_sweep();
        stage.publish(Some(1), &[0, 1]);
        assert_eq!(client.value("node").await, "n1");
        let identities = stage.shared.pools.common().identities.lock();
        let made: Vec<_> = identities.values().filter(|one| one.node == pool.key.node).collect();
        assert_eq!(made.iter().map(|one| one.epoch).collect::<Vec<_>>(), [stage.cell.load().epoch]);
    });
}
