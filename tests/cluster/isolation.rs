//! Isolation as a property, on a real PostgreSQL: many clients with marked rows, settings, statements, channels, locks, temporary tables and cancel requests over few
//! servers that are killed under them. No client may see a mark, a setting, a notification or a cancellation that is not its own, no answer is missing or out of order, no
//! lock outlives its owner or is lost while it lives.
//!
//! `PGHERD_TEST_ISOLATION_SECONDS` makes it longer, `PGHERD_TEST_ISOLATION_SEED` repeats what the clients do.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[path = "isolation/acts.rs"]
mod acts;
#[path = "isolation/deeds.rs"]
mod deeds;
#[path = "torture/house.rs"]
#[allow(dead_code, reason = "others need the rest of it")]
mod house;
#[path = "history/random.rs"]
#[allow(dead_code, reason = "others need the rest of it")]
mod random;
#[path = "isolation/soul.rs"]
mod soul;
#[path = "isolation/world.rs"]
mod world;

use house::House;
use pgherd_tests::raw::Message;
use random::Dice;
use soul::Soul;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use world::World;

/// Length of an ordinary run, in seconds.
const USUAL_SECONDS: u64 = 20;

/// More than the pool has servers.
const CLIENTS: u64 = 24;

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

fn start() -> House {
    let house = House::start(&[
        ("pool", "max_pool_size = 8"),
        ("pool", "query_wait_timeout = \"500ms\""),
        ("auth", "admin_users = [\"app\"]"),
    ]);
    house.direct("SET ROLE app; CREATE TABLE journal (who bigint, tag text)");
    house
}

#[test]
fn nobody_sees_what_is_not_its_own() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let seed = variable("PGHERD_TEST_ISOLATION_SEED").unwrap_or(now.as_micros() as u64);
    println!("PGHERD_TEST_ISOLATION_SEED={seed}");
    let seconds = variable("PGHERD_TEST_ISOLATION_SECONDS").unwrap_or(USUAL_SECONDS);
    let house = start();
    let world = Arc::new(World::at(house.port()));
    std::thread::scope(|scope| {
        for number in 1..=CLIENTS {
            let mut soul = Soul::new(number, Dice::of(seed, number), Arc::clone(&world));
            scope.spawn(move || {
                while !soul.world.is_over() {
                    if soul.act().is_err() {
                        soul.world.count("connections lost");
                    }
                    soul.make_room();
                }
            });
        }
        rage(&house, &world, Dice::of(seed, 0), Duration::from_secs(seconds));
        world.over.store(true, Ordering::Relaxed);
    });
    let counts = world.counts();
    println!("{} servers killed, {counts:#?}", world.kills());
    assert!(world.breaches().is_empty(), "seed {seed}: {:#?}", world.breaches());
    let acts = counts.values().sum::<u64>();
    assert!(acts > 500 * seconds, "{acts} acts prove little");
    for least in ["rows", "own notifications", "cancelled", "timed out"] {
        assert!(counts.get(least).copied().unwrap_or(0) > 0, "there were no {least}: {counts:#?}");
    }
    house.nothing_left();
    assert_eq!(house.direct("SELECT count(*) FROM journal WHERE who = -1"), "0", "what was broken off");
    house.close();
}

/// Kills servers, one or many, and now and then has all connections replaced.
fn rage(house: &House, world: &World, mut dice: Dice, time: Duration) {
    let until = Instant::now() + time;
    let mut console = None;
    while Instant::now() < until {
        std::thread::sleep(Duration::from_millis(dice.below(400)));
        let (part, which) = match dice.below(8) {
            0 => (1, 0),
            1..=5 => (6, dice.below(6)),
            _ => {
                let console = console.get_or_insert_with(|| {
                    let settings = [("user", "app"), ("database", "pgherd")];
                    pgherd_tests::raw::Raw::connect(house.port(), &settings, "").unwrap()
                });
                let events = console.query("RECONNECT");
                assert_eq!(pgherd_tests::raw::sqlstate(&events), "", "{events:?}");
                continue;
            }
        };
        // Before, so that nobody who looks in between believes that nothing happens.
        world.kills.fetch_add(1, Ordering::SeqCst);
        let killed = house.direct(&format!(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'app' AND pid % {part} = {which}"
        ));
        world.kills.fetch_add(killed.parse().unwrap(), Ordering::SeqCst);
    }
}

/// The proof that the eyes above are open.
#[test]
fn foreign_marks_are_seen() {
    let world = Arc::new(World::default());
    let mut soul = Soul::new(7, Dice::of(1, 7), Arc::clone(&world));
    let message = |tag: u8, body: &[u8]| Message { tag, body: body.to_vec() };
    soul.judge(&message(b'D', b"\0\x01\0\0\0\x05<7:1>"));
    soul.memory.channels.insert("c1".into());
    soul.judge(&message(b'A', b"\0\0\0\x01c1\0<9:1>c1\0"));
    assert_eq!(world.breaches(), Vec::<String>::new());
    for (tag, body) in [
        (b'D', &b"\0\x01\0\0\0\x06<17:1>"[..]),
        (b'E', b"SERROR\0Mno <8:2> here\0\0"),
        (b'A', b"\0\0\0\x01c2\0<9:1>c2\0"),
        (b'A', b"\0\0\0\x01c1\0<9:1>c2\0"),
        (b'S', b"application_name\0nobody\0"),
    ] {
        let before = world.breaches().len();
        soul.judge(&message(tag, body));
        assert_eq!(world.breaches().len(), before + 1, "{}", char::from(tag));
    }
}
