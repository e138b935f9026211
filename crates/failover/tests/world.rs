//! A small world of nodes that live, die, lag and are promoted at random; after each step the promises are checked.
//! proptest prints and keeps the shortest failing schedule.

mod story;

use pgherd_failover::event::{Action, Change, Event, Hint, Output};
use pgherd_failover::observation::FailureKind;
use pgherd_failover::phase::Phase;
use pgherd_failover::policy::Policy;
use pgherd_topology::lsn::Timeline;
use pgherd_topology::node::{NodeId, Role};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;
use story::{Story, primary, standby};

const NODES: u16 = 3;
const TICK: Duration = Duration::from_millis(100);
const MEGABYTE: u64 = 1 << 20;

#[derive(Clone, Debug)]
enum Fault {
    Write(u64),
    Kill(u16),
    Start(u16),
    Cut(u16),
    Heal(u16),
    /// Promoted to a timeline of its own choosing: the next free one, or just one more than it had; its timeline may be
    /// seen before its role.
    Promote(u16, bool, u8),
    /// Rewound and restarted as a standby of the node with the newest timeline.
    Rejoin(u16),
    Pause(u16),
    Resume(u16),
    Hint(u16),
    Wait(u8),
}

fn fault() -> impl Strategy<Value = Fault> {
    let node = 0..NODES;
    prop_oneof![
        4 => (0..400 * MEGABYTE).prop_map(Fault::Write),
        2 => node.clone().prop_map(Fault::Kill),
        3 => node.clone().prop_map(Fault::Start),
        1 => node.clone().prop_map(Fault::Cut),
        2 => node.clone().prop_map(Fault::Heal),
        1 => (node.clone(), any::<bool>(), 0..2u8)
            .prop_map(|(node, free, late)| Fault::Promote(node, free, late)),
        3 => node.clone().prop_map(Fault::Rejoin),
        1 => node.clone().prop_map(Fault::Pause),
        2 => node.clone().prop_map(Fault::Resume),
        1 => node.prop_map(Fault::Hint),
        6 => (1u8..80).prop_map(Fault::Wait),
    ]
}

#[derive(Clone, Debug)]
struct Server {
    alive: bool,
    reachable: bool,
    standby: bool,
    paused: bool,
    timeline: u32,
    /// Looks at which it is still in recovery, though already on the timeline it promotes itself to.
    leaving: u8,
    received: u64,
    replayed: u64,
    started: i64,
}

struct World {
    servers: Vec<Server>,
    due: BTreeMap<u16, Duration>,
    story: Story,
    seen_epoch: u64,
    seen_valid: BTreeMap<u16, u64>,
    /// The routed primary, and since when connections to it were valid when it was first seen routed.
    routed_valid: Option<(u16, u64)>,
    highest_routed: u32,
    starts: i64,
}

impl World {
    fn new() -> World {
        let server = |standby| Server {
            alive: true,
            reachable: true,
            standby,
            paused: false,
            timeline: 1,
            leaving: 0,
            received: 1000,
            replayed: 1000,
            started: 1,
        };
        World {
            servers: (0..NODES).map(|id| server(id > 0)).collect(),
            due: (0..NODES).map(|id| (id, Duration::ZERO)).collect(),
            story: Story::new(Policy::default(), NODES),
            seen_epoch: 0,
            seen_valid: BTreeMap::new(),
            routed_valid: None,
            highest_routed: 0,
            starts: 1,
        }
    }

    /// The living server with the newest timeline that takes writes.
    fn head(&self) -> Option<usize> {
        (0..self.servers.len())
            .filter(|index| self.servers[*index].alive && !self.servers[*index].standby)
            .max_by_key(|index| self.servers[*index].timeline)
    }

    fn strikes(&mut self, fault: &Fault) {
        match *fault {
            Fault::Write(bytes) => {
                if let Some(head) = self.head() {
                    self.servers[head].received += bytes;
                    self.servers[head].replayed = self.servers[head].received;
                }
            }
            Fault::Kill(node) => self.servers[usize::from(node)].alive = false,
            Fault::Start(node) => self.start(usize::from(node)),
            Fault::Cut(node) => self.servers[usize::from(node)].reachable = false,
            Fault::Heal(node) => self.servers[usize::from(node)].reachable = true,
            Fault::Promote(node, free, late) => {
                let next = self.servers.iter().map(|server| server.timeline).max().unwrap_or(0);
                let server = &mut self.servers[usize::from(node)];
                if server.alive && server.standby {
                    server.standby = false;
                    server.leaving = late;
                    server.replayed = server.received;
                    server.timeline = if free { next } else { server.timeline } + 1;
                }
            }
            Fault::Rejoin(node) => {
                if let Some(head) = self.head().filter(|head| *head != usize::from(node)) {
                    let (timeline, received) = (self.servers[head].timeline, self.servers[head].received);
                    let server = &mut self.servers[usize::from(node)];
                    *server =
                        Server { standby: true, timeline, received, replayed: received, ..server.clone() };
                    server.alive = false;
                    self.start(usize::from(node));
                }
            }
            Fault::Pause(node) => self.servers[usize::from(node)].paused = true,
            Fault::Resume(node) => self.servers[usize::from(node)].paused = false,
            Fault::Hint(node) => {
                let output = self.story.happens(Event::Hinted(NodeId(node), Hint::Reset));
                self.obeys(&output);
            }
            Fault::Wait(ticks) => (0..ticks).for_each(|_| self.tick()),
        }
    }

    fn start(&mut self, index: usize) {
        if !self.servers[index].alive {
            self.starts += 1;
            self.servers[index].alive = true;
            self.servers[index].started = self.starts;
        }
    }

    fn tick(&mut self) {
        self.story.now += TICK;
        if let Some(head) = self.head() {
            let (timeline, flushed) = (self.servers[head].timeline, self.servers[head].received);
            for server in self.servers.iter_mut().filter(|server| server.alive && server.standby) {
                if server.timeline == timeline {
                    server.received = flushed.max(server.received);
                }
                if !server.paused {
                    server.replayed = server.received;
                }
            }
        }
        let now = self.story.now;
        let due: Vec<u16> = self.due.iter().filter(|(_, at)| **at <= now).map(|(node, _)| *node).collect();
        for node in due {
            self.probe(node);
        }
    }

    fn probe(&mut self, node: u16) {
        self.due.remove(&node);
        let streams = self.head().map(|head| self.servers[head].timeline);
        let server = self.servers[usize::from(node)].clone();
        let output = if !server.reachable {
            self.story.misses(node, FailureKind::Timeout)
        } else if !server.alive {
            self.story.misses(node, FailureKind::Refused)
        } else {
            let leaving = &mut self.servers[usize::from(node)].leaving;
            let stays = std::mem::replace(leaving, leaving.saturating_sub(1)) > 0;
            let mut facts = if server.standby || stays {
                standby(server.timeline, server.received)
            } else {
                primary(server.timeline, server.received)
            };
            facts.replayed = pgherd_topology::lsn::Lsn(server.replayed);
            facts.started = server.started;
            if stays || streams != Some(server.timeline) {
                facts.receiver = None;
            }
            self.story.sees(node, facts)
        };
        self.obeys(&output);
        assert!(self.due.contains_key(&node), "nobody looks at pg{node} any more");
    }

    fn obeys(&mut self, output: &Output) {
        for action in &output.actions {
            if let Action::Probe { node, at } = action {
                self.due.insert(node.0, *at);
            }
        }
        self.check(output.snapshot.is_some());
    }

    fn check(&mut self, published: bool) {
        let snapshot = &self.story.snapshot;
        if snapshot.epoch == 0 || !published {
            return;
        }
        assert!(snapshot.epoch == self.seen_epoch || snapshot.epoch == self.seen_epoch + 1);
        self.seen_epoch = snapshot.epoch;
        for node in &snapshot.nodes {
            let before = self.seen_valid.insert(node.id.0, node.valid_since).unwrap_or(0);
            assert!(node.valid_since >= before && node.valid_since <= snapshot.epoch);
            if node.ineligible.is_none() && snapshot.primary != Some(node.id) {
                assert_eq!((node.role, node.timeline), (Role::Standby, snapshot.timeline));
                assert!(node.lag_bytes.is_none_or(|lag| lag <= 100 * MEGABYTE));
                assert!(node.lag_time.is_none_or(|lag| lag <= Duration::from_secs(5)));
            }
        }
        if let Some(node) = snapshot.primary_node() {
            assert_eq!(node.role, Role::Primary, "only who is out of recovery is routed");
            assert_eq!(node.timeline, snapshot.timeline);
            assert!(node.timeline.0 >= self.highest_routed, "an old timeline is routed again");
            self.highest_routed = node.timeline.0;
            let valid = (node.id.0, node.valid_since);
            let same = self.routed_valid.filter(|before| before.0 == valid.0);
            assert!(same.is_none_or(|before| before == valid), "connections to a primary became stale twice");
            self.routed_valid = Some(valid);
        } else {
            self.routed_valid = None;
        }
    }

    /// Everything is repaired; then the cluster must find itself without being told.
    fn settles(&mut self) {
        for node in 0..NODES {
            self.strikes(&Fault::Heal(node));
            self.strikes(&Fault::Resume(node));
            self.strikes(&Fault::Start(node));
        }
        self.strikes(&Fault::Wait(100));
        let chosen = self.story.state.primary().map(|id| usize::from(id.0));
        let head = chosen.or_else(|| self.head()).unwrap_or(0);
        // Where nobody could be routed an operator decides: this one, on a timeline above all others.
        if chosen.is_none() || self.servers[head].standby {
            let newest = self.servers.iter().map(|server| server.timeline).max().unwrap_or(0);
            self.servers[head].standby = false;
            self.servers[head].timeline = newest.max(self.story.state.timeline().0) + 1;
            self.strikes(&Fault::Wait(60));
            let output = self.story.happens(Event::Changed(NodeId(head as u16), Change::Fenced(false)));
            self.obeys(&output);
        }
        let (timeline, received) = (self.servers[head].timeline, self.servers[head].received);
        for index in (0..self.servers.len()).filter(|index| *index != head) {
            let server = &mut self.servers[index];
            *server = Server { standby: true, timeline, received, replayed: received, ..server.clone() };
        }
        self.strikes(&Fault::Wait(200));
        let state = &self.story.state;
        assert_eq!(state.primary(), Some(NodeId(head as u16)), "{:?} {:?}", state.refusal(), self.servers);
        assert_eq!(state.phase().0, Phase::Steady);
        assert_eq!(state.timeline(), Timeline(timeline));
        for node in 0..NODES {
            assert_eq!(self.story.ineligible(node), None, "pg{node}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_promises_hold_in_a_random_world(faults in proptest::collection::vec(fault(), 1..60)) {
        let mut world = World::new();
        world.tick();
        for fault in &faults {
            world.strikes(fault);
            world.tick();
        }
        world.settles();
    }
}
