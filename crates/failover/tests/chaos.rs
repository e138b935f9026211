//! A simulated world in which servers die, hang, fork and come back, links break, answers are lost and the controller itself is killed between any two steps. After each event
//! the promises are checked; at the end everything is repaired, and the cluster must find back by itself.
//!
//! `PGHERD_CHAOS_SEEDS` says how many worlds are played, `PGHERD_CHAOS_SEED` plays one and tells its journal.

#[path = "chaos/dice.rs"]
mod dice;
#[path = "chaos/hands.rs"]
mod hands;
#[path = "chaos/server.rs"]
mod server;
#[path = "chaos/world.rs"]
mod world;

use pgherd_failover::event::{Event, Request};
use pgherd_failover::policy::{Fencing, Policy, Strategy};
use pgherd_topology::node::NodeId;
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use world::{Death, TICK, World};

/// Worlds of an ordinary run.
const SEEDS: u64 = 600;
/// Faults in one world.
const FAULTS: u64 = 25;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn policy(world: u64) -> Policy {
    Policy {
        acts: true,
        strategy: if world.is_multiple_of(5) { Strategy::Automatic } else { Strategy::Supervised },
        fencing: [Fencing::BestEffort, Fencing::None][(world % 2) as usize],
        health_check_interval: Duration::from_secs(1),
        fast_check_interval: Duration::from_millis(250),
        lag_check_interval: Duration::from_secs(1),
        failover_block: Duration::from_secs(5),
        drain_timeout: Duration::from_secs(1),
        promote_timeout: Duration::from_secs(5),
        crash_recovery_grace: Duration::from_secs(2),
        ..Policy::default()
    }
}

fn strike(world: &mut World) {
    let count = world.servers.len();
    let (one, other) = (world.dice.pick(count), world.dice.pick(count + 1));
    let what = world.dice.below(24);
    world.say(|| format!("-- fault {what} on pg{one}, {other}"));
    match what {
        0..=2 => world.servers[one].alive = false,
        3..=5 => start(world, one),
        6 => world.servers[one].hung = true,
        7..=8 => world.servers[one].hung = false,
        9 => drop(world.cuts.insert((one, other), ())),
        10..=11 => world.cuts.clear(),
        12 => world.kill_controller(),
        13 => world.death = Some(Death::Remembered),
        14 => world.death = Some(Death::Acted),
        15 => world.lossy = !world.lossy,
        // Somebody who does not go through pgherd.
        16 => drop(world.write(one)),
        17..=18 => {
            let to = world.dice.once_in(2).then_some(NodeId(one as u16));
            world.happens(Event::Asked(Request::Switchover { to }));
        }
        19 => world.happens(Event::Asked(Request::Cancel)),
        20 => rejoin(world, one),
        21 => {
            // Head and tail of the cluster at once.
            let routed = world.snapshot.primary.map(|id| usize::from(id.0));
            world.servers[routed.unwrap_or(one)].alive = false;
            world.death = Some(Death::Acted);
        }
        _ => {}
    }
    let pause = world.dice.below(80);
    world.ticks(pause);
    if world.state.is_none() && world.dice.once_in(2) {
        world.start_controller();
    }
}

fn start(world: &mut World, index: usize) {
    let server = &mut world.servers[index];
    if !server.alive {
        (server.alive, server.hung, server.promoting) = (true, false, None);
        server.life += 1;
    }
}

/// An operator takes a dead node for a standby of the routed primary: rewound, or copied anew.
fn rejoin(world: &mut World, index: usize) {
    let Some(head) = world.snapshot.primary.map(|id| usize::from(id.0)).filter(|head| *head != index) else {
        return;
    };
    if world.servers[index].alive || !world.servers[head].works() || world.servers[head].standby {
        return;
    }
    copy(world, index, head);
}

fn copy(world: &mut World, index: usize, head: usize) {
    let (log, timeline) = (world.servers[head].log.clone(), world.servers[head].timeline);
    let server = &mut world.servers[index];
    (server.log, server.timeline, server.standby) = (log, timeline, true);
    (server.upstream, server.read_only, server.quorum) = (Some(head), false, None);
    start(world, index);
}

/// Everything is repaired; what only an operator can do is done, and the rest must come by itself.
fn settle(world: &mut World) {
    world.cuts.clear();
    (world.lossy, world.death) = (false, None);
    for index in 0..world.servers.len() {
        world.servers[index].hung = false;
        start(world, index);
    }
    if world.state.is_none() {
        world.start_controller();
    }
    let minutes = |count: u64| count * 60 * 1000 / u64::try_from(TICK.as_millis()).expect("small");
    world.ticks(minutes(3));
    let state = world.state.as_ref().expect("nobody kills it any more");
    assert_eq!(state.plan(), None, "a plan does not end");
    let routed = state.primary().map(|id| usize::from(id.0));
    let Some(head) = routed else {
        let primaries = world.servers.iter().filter(|server| !server.standby).count();
        // Two that took writes on timelines nobody can compare, or none of which is known that it may: said, and left to an operator.
        assert!(state.refusal().is_some(), "nobody is routed, and nobody says why");
        assert!(primaries != 1, "{:?} {:?}", state.refusal(), world.servers);
        return;
    };
    assert!(!world.servers[head].standby && world.servers[head].works());
    assert!(world.write(head), "the routed primary takes writes");
    for index in 0..world.servers.len() {
        let (server, primary) = (&world.servers[index], &world.servers[head]);
        // One with records of its own needs a rewind, which only an operator can do.
        if index != head && server.standby && server.is_behind(primary) {
            // By way of other standbys, perhaps.
            let end = (0..world.servers.len())
                .try_fold(index, |at, _| if at == head { Some(at) } else { world.servers[at].upstream });
            assert_eq!(end, Some(head), "pg{index} follows another: {:#?}", world.servers);
        }
    }
}

fn play(seed: u64, blind: bool) -> World {
    let count = 2 + (seed % 3) as usize;
    let mut world = World::new(seed, policy(seed), count, seed.is_multiple_of(2));
    world.blind = blind;
    world.ticks(40);
    for _ in 0..FAULTS {
        strike(&mut world);
    }
    settle(&mut world);
    world
}

#[test]
fn the_promises_hold_in_a_world_of_faults() {
    if let Some(seed) = number("PGHERD_CHAOS_SEED") {
        let world = play(seed, false);
        return println!("{} promotions, {} confirmed writes", world.promotions, world.acked.len());
    }
    let (mut promotions, mut acked) = (0, 0);
    for seed in 1..=number("PGHERD_CHAOS_SEEDS").unwrap_or(SEEDS) {
        match std::panic::catch_unwind(AssertUnwindSafe(|| play(seed, false))) {
            Ok(world) => (promotions, acked) = (promotions + world.promotions, acked + world.acked.len()),
            Err(_) => panic!("failed with PGHERD_CHAOS_SEED={seed}"),
        }
    }
    println!("{promotions} promotions, {acked} confirmed writes");
    assert!(promotions > 200, "{promotions} promotions prove little");
}

/// The proof that the eyes above are open: where nobody sees whose confirmation commits wait for, confirmed writes are lost, and that is noticed.
#[test]
fn a_loss_is_noticed() {
    let noticed = |seed: &u64| {
        std::panic::catch_unwind(AssertUnwindSafe(|| play(*seed, true))).is_err_and(|panic| {
            panic.downcast_ref::<String>().is_some_and(|text| text.contains("a confirmed write is not on"))
        })
    };
    assert!((1..400).any(|seed| noticed(&seed)), "nothing was noticed");
}
