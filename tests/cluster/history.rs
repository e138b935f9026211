//! A history of a real cluster in trouble, judged by what each session was promised: nobody reads what is older than it may be.
//!
//! Every value only rises in the order in which the primary commits, so a read that is too old shows a value that is too small. The order of what each session does
//! and of the faults follows from a seed, which is printed; the moments do not.
//!
//! `PGHERD_TEST_HISTORY_SECONDS` makes it longer, `PGHERD_TEST_HISTORY_SEED` repeats an order.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[path = "history/faults.rs"]
mod faults;
#[path = "history/ledger.rs"]
mod ledger;
#[path = "history/random.rs"]
mod random;
#[path = "history/session.rs"]
mod session;

use ledger::{Breach, Ledger, Level, SESSIONS};
use pgherd_tests::stand::{Stand, USER};
use random::Dice;
use session::Session;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How long the history is when nobody says.
const USUAL_SECONDS: u64 = 36;
/// Least part of the reads that replicas must have served, in hundredths: else the history proves nothing.
const LEAST_SHARE: u64 = 20;

async fn stand() -> Stand {
    let settings = [
        ("pool", "max_pool_size = 8"),
        ("failover", "hold_timeout = \"20s\""),
        // Nobody is to be promoted: the primary comes back by itself.
        ("failover", "failover_strategy = \"manual\""),
        ("health", "lag_check_interval = \"250ms\""),
    ];
    let stand = Stand::start(&settings).await.unwrap();
    stand.lab().primary().sql(USER, &format!("SET ROLE {USER}; {}", session::schema())).await.unwrap();
    stand.lab().wait_replicated().await.unwrap();
    stand
}

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// The seed of this run, printed.
fn seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let seed = variable("PGHERD_TEST_HISTORY_SEED").unwrap_or(now.as_micros() as u64);
    println!("PGHERD_TEST_HISTORY_SEED={seed}");
    seed
}

/// What a session asks for, and what it is held to.
type Asks = (Option<Level>, Level);

/// Starts all sessions, and the one that writes around pgherd.
fn start(
    stand: &Stand,
    ledger: &Arc<Ledger>,
    seed: u64,
    until: Instant,
    asks: fn(usize) -> Asks,
) -> JoinSet<()> {
    let mut sessions = JoinSet::new();
    for number in 0..SESSIONS {
        let (asks, level) = asks(number);
        let session = Session {
            number,
            port: stand.front().ports().any,
            asks,
            level,
            asynchronous: number % 11 == 3,
            ledger: Arc::clone(ledger),
            dice: Dice::of(seed, number as u64),
            until,
            spare: None,
        };
        sessions.spawn(session.run());
    }
    let dice = Dice::of(seed, SESSIONS as u64);
    let port = stand.lab().primary().port();
    sessions.spawn(session::write_directly(port, Arc::clone(ledger), dice, until));
    sessions
}

async fn end(mut sessions: JoinSet<()>) {
    while let Some(done) = sessions.join_next().await {
        done.unwrap();
    }
}

/// Transactions by the reason of their route.
async fn routed(stand: &Stand) -> Vec<(String, u64)> {
    let (_, metrics) = stand.front().get("/metrics").await.unwrap();
    let lines = metrics.lines().filter_map(|line| line.strip_prefix("pgherd_transactions_total{reason=\""));
    let found = lines.filter_map(|line| {
        let (reason, rest) = line.split_once("\"}")?;
        Some((reason.to_owned(), rest.trim().parse().ok()?))
    });
    found.collect()
}

#[tokio::test]
async fn no_session_reads_what_is_older_than_it_may() {
    let seed = seed();
    let stand = stand().await;
    let seconds = variable("PGHERD_TEST_HISTORY_SECONDS").unwrap_or(USUAL_SECONDS);
    let until = Instant::now() + Duration::from_secs(seconds);
    let ledger = Arc::new(Ledger::new());
    let sessions = start(&stand, &ledger, seed, until, |number| match number {
        0..=8 => (None, Level::Own),
        9..=11 => (Some(Level::Own), Level::Own),
        12..=17 => (Some(Level::Global), Level::Global),
        18..=20 => (Some(Level::Strong), Level::Strong),
        _ => (Some(Level::Eventual), Level::Eventual),
    });
    let faults = faults::rage(stand.lab(), &ledger, Dice::of(seed, u64::MAX), until);
    let (faults, ()) = tokio::join!(faults, end(sessions));
    let routed = routed(&stand).await;
    println!("{faults} faults, {}{routed:?}", ledger.summary());
    assert!(ledger.breaches().is_empty(), "seed {seed}: a promise was broken\n{}", ledger.summary());
    let from_replicas = routed.iter().find(|(reason, _)| reason == "weight").map_or(0, |(_, count)| *count);
    let reads = ledger.reads.load(Ordering::Relaxed);
    assert!(
        reads > 100 * seconds && from_replicas * 100 >= reads * LEAST_SHARE,
        "{from_replicas} of {reads} reads on replicas prove nothing: {routed:?}"
    );
    stand.shutdown().await.unwrap();
}

/// The proof that the judge above is awake: without a floor, and with replicas that stand still, it must find what it looks for.
#[tokio::test]
async fn the_judge_finds_stale_reads_where_they_are_allowed() {
    let seed = seed();
    let stand = stand().await;
    let until = Instant::now() + Duration::from_secs(8);
    let ledger = Arc::new(Ledger::new());
    let sessions = start(&stand, &ledger, seed, until, |number| {
        (Some(Level::Eventual), if number % 2 == 0 { Level::Own } else { Level::Global })
    });
    let stop = async {
        // Reads leave the primary once its catalog was read.
        tokio::time::sleep(Duration::from_secs(3)).await;
        faults::run(&stand.lab().replicas()[0], "SELECT pg_wal_replay_pause()").await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        faults::run(&stand.lab().replicas()[0], "SELECT pg_wal_replay_resume()").await;
    };
    tokio::join!(stop, end(sessions));
    println!("{}", ledger.summary());
    let found = ledger.breaches();
    for breach in [Breach::OwnWrite, Breach::WentBack, Breach::OthersWrite] {
        assert!(found.contains_key(&breach), "no {breach:?} was found: {found:?}");
    }
    assert!(!found.contains_key(&Breach::Invented), "{}", ledger.summary());
    stand.shutdown().await.unwrap();
}
