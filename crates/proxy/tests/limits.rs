//! Deadlines and limits, on a clock that stands still.
mod support;

use pgherd_proxy::terms::Timeouts;
use std::time::Duration;
use support::client::Client;
use support::random::Random;
use support::{Settings, Stage, run};
use tokio::time::Instant;

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn timeouts(query_wait: u64, hold: u64) -> Timeouts {
    Timeouts { query_wait: seconds(query_wait), hold: seconds(hold), ..Timeouts::default() }
}

/// A stage with `nodes` nodes.
fn stage(settings: Settings, nodes: usize) -> Stage {
    Stage::new(settings, nodes, &mut Random::new(1))
}

#[test]
fn a_query_is_answered() {
    run(async {
        let stage = stage(Settings::default(), 1);
        let mut client = Client::enter(&stage, "alice").await;
        assert_eq!(client.ask("select 'x'").await, ["T", "D:x", "C:SELECT 1", "Z:I"]);
        client.leave().await;
        stage.assert_sound().await;
        assert_eq!(stage.pool(0, "alice").stats().idle, 1);
    });
}

#[test]
fn the_wait_in_line_ends_with_53300_and_the_session_lives_on() {
    run(async {
        let stage = stage(Settings { max_size: 1, timeouts: timeouts(20, 30), ..Settings::default() }, 1);
        let mut holder = Client::enter(&stage, "alice").await;
        let mut waiter = Client::enter(&stage, "alice").await;
        assert_eq!(holder.ask("begin; select 'x'").await.last().map(String::as_str), Some("Z:T"));
        let begun = Instant::now();
        assert_eq!(waiter.ask("select 'y'").await, ["N:00000", "E:53300", "Z:I"]);
        assert!((20.0..20.2).contains(&begun.elapsed().as_secs_f64()), "{:?}", begun.elapsed());
        assert_eq!(holder.ask("commit").await, ["C:COMMIT", "Z:I"]);
        assert_eq!(waiter.ask("select 'y'").await, ["T", "D:y", "C:SELECT 1", "Z:I"]);
        assert_eq!(stage.pool(0, "alice").stats().waiting, 0);
    });
}
