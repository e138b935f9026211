//! Bounds on the age of what replicas have, and on the length of what is read to send it there.

use crate::support::client::Client;
use crate::support::message::query;
use crate::support::random::Random;
use crate::support::{Settings, Stage, run};
use crate::{HERE, enter};
use pgherd_route::floor::Consistency;
use pgherd_route::intent::Routing;
use std::time::Duration;

fn stage(routing: Routing) -> Stage {
    let settings = Settings {
        routing,
        consistency: Consistency::Eventual,
        max_staleness: Some(Duration::from_secs(5)),
        ..Settings::default()
    };
    Stage::new(settings, 2, &mut Random::new(1))
}

async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[test]
fn a_session_and_a_statement_may_ask_for_a_bound() {
    run(async {
        let stage = stage(Routing::Any);
        let mut client = enter(&stage).await;
        seconds(60).await;
        // The settings' bound does not count while there is a primary.
        assert_eq!(client.value(HERE).await, "n1");
        client.ask("set pgherd.max_staleness to '2s'").await;
        assert_eq!(client.value(HERE).await, "n0");
        stage.look(&[10, 10]);
        assert_eq!(client.value(HERE).await, "n1");
        // It has not all of what was seen since; what it has grows old with time.
        stage.look(&[20, 10]);
        assert_eq!(client.value(HERE).await, "n1");
        seconds(3).await;
        stage.look(&[20, 19]);
        assert_eq!(client.value(HERE).await, "n0");
        assert_eq!(client.value("/* pgherd: max_staleness=1min */ select where_am_i").await, "n1");
        stage.look(&[20, 20]);
        assert_eq!(client.value(HERE).await, "n1");
        seconds(1).await;
        assert_eq!(client.value("/* pgherd: max_staleness=500ms */ select where_am_i").await, "n0");
        client.ask("reset pgherd.max_staleness").await;
        seconds(60).await;
        assert_eq!(client.value(HERE).await, "n1");
        client.leave().await;
        stage.assert_sound().await;
    });
}

#[test]
fn a_bound_that_is_none_is_refused() {
    run(async {
        let stage = stage(Routing::Any);
        let mut client = enter(&stage).await;
        for value in ["soon", "2 parsecs", "-1s", ""] {
            let refused = client.ask(&format!("set pgherd.max_staleness to '{value}'")).await;
            assert_eq!(refused, ["E:22023", "Z:I"], "{value}");
        }
        assert_eq!(client.value(HERE).await, "n1");
        client.leave().await;
        // The same at the door.
        for (name, value) in [("pgherd.max_staleness", "soon"), ("pgherd.consistency", "always")] {
            let refused = Client::with(&stage, "alice", &[(name, value)]).await;
            assert_eq!(refused.err().as_deref(), Some("22023"), "{name}");
        }
        let mut client =
            Client::with(&stage, "alice", &[("pgherd.max_staleness", "2s")]).await.expect("let in");
        stage.look(&[10, 10]);
        assert_eq!(client.value(HERE).await, "n1");
        seconds(60).await;
        assert_eq!(client.value(HERE).await, "n0");
        client.leave().await;
        stage.assert_sound().await;
    });
}

#[test]
fn without_a_primary_replicas_serve_as_long_as_the_settings_say() {
    run(async {
        for routing in [Routing::Any, Routing::Replicas] {
            let stage = stage(routing);
            let mut client = match routing {
                Routing::Any => enter(&stage).await,
                Routing::Primary | Routing::Replicas => Client::enter(&stage, "alice").await,
            };
            seconds(10).await;
            // Proven now; then nobody can look any more.
            stage.publish(Some(0), &[]);
            stage.publish(None, &[0]);
            seconds(4).await;
            assert_eq!(client.value(HERE).await, "n1");
            seconds(2).await;
            client.send(&query(HERE)).await;
            seconds(5).await;
            stage.publish(Some(0), &[]);
            assert_eq!(client.answer().await[1], "D:n1");
            stage.publish(None, &[0]);
            seconds(6).await;
            let begun = tokio::time::Instant::now();
            assert_eq!(client.ask(HERE).await, ["E:57P03", "Z:I"]);
            assert!(begun.elapsed() >= Duration::from_secs(30), "hold_timeout");
            client.leave().await;
            stage.assert_sound().await;
        }
    });
}

#[test]
fn what_is_too_long_to_be_read_is_a_write() {
    run(async {
        let of = |length: usize| format!("/*{}*/ select where_am_i", "x".repeat(length - 30));
        for limit in [1024usize, 64 * 1024, 200_000] {
            let settings = Settings {
                routing: Routing::Any,
                consistency: Consistency::Eventual,
                max_classified: limit,
                ..Settings::default()
            };
            let stage = Stage::new(settings, 2, &mut Random::new(1));
            let mut client = enter(&stage).await;
            assert_eq!(client.value(&of(limit)).await, "n1", "{limit}");
            assert_eq!(client.value(&of(limit + 100)).await, "n0", "{limit}");
            assert_eq!(
                client.value("show pgherd.why").await,
                "node=n0 reason=primary class=write rule=incomplete"
            );
            assert_eq!(client.value(HERE).await, "n1", "{limit}");
            // However long it is, what a replica refuses is shown to the primary.
            let refused = format!("/*{}*/ select unlogged 'x'", "x".repeat(limit - 40));
            assert_eq!(client.ask(&refused).await, ["T", "D:x", "C:SELECT 1", "Z:I"], "{limit}");
            client.leave().await;
            stage.assert_sound().await;
        }
    });
}

#[test]
fn when_nobody_can_look_at_the_primary_age_decides_after_a_window() {
    run(async {
        let settings = Settings { routing: Routing::Any, ..Settings::default() };
        let stage = Stage::new(settings, 2, &mut Random::new(1));
        let mut client = enter(&stage).await;
        client.ask("insert").await;
        // Nobody ever looks: the position of the write stays unknown. Probes see the replica abreast all the time.
        for _ in 0..4 {
            assert_eq!(client.value(HERE).await, "n0");
            seconds(1).await;
            stage.publish(Some(0), &[]);
        }
        seconds(1).await;
        assert_eq!(client.value(HERE).await, "n1");
        // A probe before the write says nothing about it.
        client.ask("insert").await;
        assert_eq!(client.value(HERE).await, "n0");
        seconds(60).await;
        assert_eq!(client.value(HERE).await, "n0");
        stage.publish(Some(0), &[]);
        seconds(1).await;
        assert_eq!(client.value(HERE).await, "n1");
        // Who must see the writes of others has no such way out.
        client.ask("set pgherd.consistency to 'global'").await;
        seconds(60).await;
        stage.publish(Some(0), &[]);
        assert_eq!(client.value(HERE).await, "n0");
        client.leave().await;
        stage.assert_sound().await;
    });
}
