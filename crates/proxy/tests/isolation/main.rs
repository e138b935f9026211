//! Isolation as a property: many random clients share few servers that die, are fenced and come back; each client must see its own tags, settings and statements
//! only, one complete answer per request and in order, or the end of its connection; and when all is quiet again, nothing has leaked.
//!
//! `ISOLATION_SEED` runs one seed, `ISOLATION_ROUNDS` so many of them.
mod act;
mod ear;
mod life;
mod soul;
#[path = "../support/mod.rs"]
mod support;

use act::Muse;
use ear::{Ear, End};
use life::Life;
use pgherd_proxy::terms::Timeouts;
use pgherd_route::intent::Routing;
use soul::Soul;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use support::client::Client;
use support::node::{Fate, Manner};
use support::random::Random;
use support::{Settings, Stage, run};

/// Rounds in an ordinary test run.
const ROUNDS: u64 = 40;

/// Clients of one round.
const CLIENTS: u64 = 12;

/// Times each of them acts.
const ACTS: u64 = 60;

#[test]
fn each_client_sees_its_own_only() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = number("ISOLATION_SEED");
    let rounds = if first.is_some() { 1 } else { number("ISOLATION_ROUNDS").unwrap_or(ROUNDS) };
    let (mut steps, mut losses) = (0, 0);
    for seed in (0..rounds).map(|round| first.unwrap_or(1 + round)) {
        let round = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let mut sums = (0, 0);
            run(async { sums = play(seed).await });
            sums
        }));
        match round {
            Ok(sums) => (steps, losses) = (steps + sums.0, losses + sums.1),
            Err(_) => panic!("failed with ISOLATION_SEED={seed}"),
        }
    }
    println!("{steps} messages checked, {losses} losses told");
    assert!(first.is_some() || steps > rounds * 1000 && losses > rounds, "{steps} steps, {losses} losses");
}

async fn play(seed: u64) -> (u64, u64) {
    let mut random = Random::new(seed);
    let routing = [Routing::Primary, Routing::Any, Routing::Replicas][random.below(3) as usize];
    let size = 2 + random.below(3) as usize;
    let settings = Settings {
        max_size: size,
        routing,
        max_prepared_statements: 2,
        check_after: random.one_in(2).then_some(Duration::from_millis(50)),
        lifetime: random.one_in(2).then_some(Duration::from_secs(2)),
        idle_timeout: random.one_in(2).then_some(Duration::from_secs(1)),
        timeouts: Timeouts {
            query_wait: Duration::from_millis(100 + random.below(3000)),
            hold: Duration::from_millis(100 + random.below(1000)),
            ..Timeouts::default()
        },
        ..Settings::default()
    };
    let stage = Arc::new(Stage::new(settings, 2, &mut random));
    for node in &stage.nodes {
        node.fates(Fate { dies: random.below(4), within: 1 + random.below(6000) });
    }
    let clients: Vec<_> = (0..CLIENTS)
        .map(|at| tokio::spawn(live(stage.clone(), format!("c{at}"), random.fork(), at % 2 == 0)))
        .collect();
    let storm = tokio::spawn(storm(stage.clone(), random.fork()));
    let mut sums = (0, 0);
    for client in clients {
        let (steps, losses) =
            client.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        sums = (sums.0 + steps, sums.1 + losses);
    }
    storm.abort();
    let _ = storm.await;
    calm(&stage, size).await;
    sums
}

/// One client, session after session.
async fn live(stage: Arc<Stage>, me: String, mut random: Random, cancels: bool) -> (u64, u64) {
    let (mut steps, mut losses, mut left) = (0, 0, ACTS);
    let mut serial = 0;
    while left > 0 {
        serial += 1;
        // A name for each session: what an earlier one of the same client left is foreign, too.
        let name = format!("{me}s{serial}");
        let startup = [("application_name", format!("{name}.0"))];
        let startup: Vec<(&str, &str)> = match random.one_in(2) {
            true => startup.iter().map(|(n, v)| (*n, &**v)).collect(),
            false => Vec::new(),
        };
        left -= 1;
        let Ok(client) = Client::with(&stage, "alice", &startup).await else { continue };
        let mut ear = Ear::new(&name, random.fork());
        ear.cancels = cancels;
        let mut life = Life {
            muse: Muse::new(&name, random.fork()),
            soul: Soul::new(&startup),
            stream: client.stream,
            ear,
        };
        while left > 0 {
            left -= 1;
            if cancels && random.one_in(4) {
                let (stage, key, wait) = (stage.clone(), client.key.clone(), random.below(30));
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(wait)).await;
                    let key = key.expect("every client has a key");
                    pgherd_proxy::cancel::cancel(&stage.shared, &stage.worker, &stage.cancels, &key).await;
                });
            }
            if random.one_in(5) {
                tokio::time::sleep(Duration::from_millis(random.below(200))).await;
            }
            let acted = {
                let act = AssertUnwindSafe(life.act());
                futures_catch(act).await
            };
            match acted {
                Ok(Ok(())) => {}
                Ok(Err(End::Left | End::Ended)) => {
                    life.ear.over = true;
                    break;
                }
                Err(panic) => {
                    let story = &life.ear.heard[life.ear.heard.len().saturating_sub(24)..];
                    eprintln!("{name}: {story:#?}");
                    std::panic::resume_unwind(panic);
                }
            }
        }
        steps += life.ear.steps;
        losses += life.ear.losses;
        life.leave().await;
    }
    (steps, losses)
}

/// Polls a future and hands a panic back as a value.
async fn futures_catch<T>(
    future: AssertUnwindSafe<impl Future<Output = T>>,
) -> Result<T, Box<dyn std::any::Any + Send>> {
    let mut future = std::pin::pin!(future.0);
    std::future::poll_fn(|cx| match std::panic::catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => std::task::Poll::Ready(Err(panic)),
    })
    .await
}

/// What happens to the cluster meanwhile.
async fn storm(stage: Arc<Stage>, mut random: Random) {
    loop {
        tokio::time::sleep(Duration::from_millis(random.below(400))).await;
        let node = &stage.nodes[random.below(2) as usize];
        match random.below(8) {
            0 => node.cut_all(),
            1 => stage.publish(Some(0), &[0]),
            2 => stage.publish(Some(random.below(2) as u16), &[0, 1]),
            3 => stage.publish(None, &[0]),
            4 => node.treats(Manner::Errno(if random.one_in(2) { 24 } else { 111 })),
            5 => node.treats(Manner::Refuses("57P03")),
            6 => node.treats(Manner::Slow(Duration::from_millis(random.below(100)))),
            _ => {
                node.treats(Manner::Serves);
                stage.publish(Some(0), &[]);
            }
        }
        if random.one_in(2) {
            node.treats(Manner::Serves);
            stage.publish(Some(0), &[]);
        }
    }
}

/// All clients are gone: the counts must be true, and every place in the pool can be had again.
async fn calm(stage: &Stage, size: usize) {
    stage.assert_sound().await;
    for node in &stage.nodes {
        node.treats(Manner::Serves);
        node.fates(Fate::default());
    }
    stage.publish(Some(0), &[0, 1]);
    tokio::time::sleep(Duration::from_secs(20)).await;
    for (at, node) in stage.nodes.iter().enumerate() {
        let stats = stage.pool(at as u16, "alice").stats();
        assert_eq!((stats.active, stats.connecting, stats.waiting), (0, 0, 0), "node {at}: {stats:?}");
        assert_eq!(node.live(), stats.idle, "node {at}");
    }
    let mut holders = Vec::new();
    for _ in 0..size {
        let mut holder = Client::enter(stage, "alice").await;
        assert_eq!(holder.ask("begin").await, ["C:BEGIN", "Z:T"]);
        assert_eq!(holder.value("select 'x'").await, "x");
        holders.push(holder);
    }
    drop(holders);
    stage.assert_sound().await;
}
