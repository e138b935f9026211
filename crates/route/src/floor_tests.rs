use super::*;
use pgherd_topology::gauge::{Gauge, Position};
use pgherd_topology::lsn::Timeline;
use pgherd_topology::node::{Address, Node, Role, Tags};
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;

const PRIMARY: NodeId = NodeId(0);

fn node(id: u16) -> Node {
    Node {
        id: NodeId(id),
        name: format!("pg{id}").into(),
        address: Address::Tcp("db".into(), 5432),
        role: if id == 0 { Role::Primary } else { Role::Standby },
        valid_since: 1,
        timeline: Timeline(1),
        received: Lsn(1),
        replayed: Lsn(1),
        lag_bytes: Some(0),
        lag_time: None,
        ineligible: None,
        weight: 100,
        region: "".into(),
        tags: Tags::default(),
        proven_at: None,
        probe_time: None,
        version: 150_000,
    }
}

fn cluster(timeline: u32, primary: u16) -> Snapshot {
    Snapshot {
        epoch: 1,
        primary: Some(NodeId(primary)),
        timeline: Timeline(timeline),
        nodes: (0..3).map(|id| Arc::new(node(id))).collect(),
        ..Snapshot::default()
    }
}

fn look(gauge: &Gauge, primary: bool, lsn: u64) {
    let number = gauge.begin();
    gauge.finish(
        number,
        Duration::ZERO,
        Position { primary, timeline: Timeline(u32::from(primary)), lsn: Lsn(lsn), inserted: Lsn(lsn) },
    );
}

#[test]
fn a_session_that_did_nothing_needs_nothing() {
    let (gauges, snapshot) = (Gauges::default(), cluster(1, 0));
    let need = Floors::default().need(None, true, &snapshot, &gauges);
    assert!(need.is_nothing());
    let proof = need.admits(NodeId(1), &gauges).expect("no floor");
    assert!(proof.holds(NodeId(1), gauges.of(NodeId(1)).opened(), &gauges));
}

#[test]
fn a_write_is_read_where_it_was_replayed() {
    let (gauges, snapshot) = (Gauges::default(), cluster(1, 0));
    let opened = gauges.of(NodeId(1)).opened();
    let mut floors = Floors::default();
    look(&gauges.of(PRIMARY), true, 10);
    floors.wrote(PRIMARY, gauges.of(PRIMARY).now());
    look(&gauges.of(NodeId(1)), false, 99);
    assert_eq!(floors.need(None, true, &snapshot, &gauges).writes, Requirement::Unresolved);
    look(&gauges.of(PRIMARY), true, 100);
    let need = floors.need(None, true, &snapshot, &gauges);
    assert_eq!(need.writes, Requirement::Reached(Lsn(100)));
    assert_eq!(need.admits(NodeId(1), &gauges), None);
    look(&gauges.of(NodeId(1)), false, 100);
    let proof = need.admits(NodeId(1), &gauges).expect("it is there now");
    assert!(proof.holds(NodeId(1), opened, &gauges));
    // A connection opened after the look: the standby may have been restarted in between, and be behind.
    assert!(!proof.holds(NodeId(1), gauges.of(NodeId(1)).opened(), &gauges));
}

#[test]
fn reading_on_where_one_has_read_needs_no_look() {
    let (gauges, snapshot) = (Gauges::default(), cluster(1, 0));
    let replica = gauges.of(NodeId(1));
    let opened = replica.opened();
    let mut floors = Floors::default();
    floors.saw(NodeId(1), replica.now());
    let need = floors.need(None, true, &snapshot, &gauges);
    assert_eq!(need.admits(NodeId(2), &gauges), None);
    assert!(need.admits(NodeId(1), &gauges).expect("the same node").holds(NodeId(1), opened, &gauges));
    // A newer connection proves nothing before a look that is newer still, over a connection that held all the while.
    let newer = replica.opened();
    assert!(!need.admits(NodeId(1), &gauges).expect("the same node").holds(NodeId(1), newer, &gauges));
    look(&replica, false, 5);
    let need = floors.need(None, true, &snapshot, &gauges);
    assert!(need.admits(NodeId(1), &gauges).expect("the same node").holds(NodeId(1), newer, &gauges));
    replica.interrupt();
    let need = floors.need(None, true, &snapshot, &gauges);
    assert_eq!((need.reads, need.admits(NodeId(1), &gauges)), (Requirement::Reached(Lsn(5)), None));
}

#[test]
fn only_writes_wait_for_a_look_that_must_come() {
    let (gauges, snapshot) = (Gauges::default(), cluster(1, 0));
    let mut floors = Floors::default();
    let awaits = |floors: &mut Floors| floors.need(None, true, &snapshot, &gauges).awaits_look();
    assert!(!awaits(&mut floors));
    // What was read is looked up when somebody cares; that may be never.
    floors.saw(PRIMARY, gauges.of(PRIMARY).now());
    assert!(!awaits(&mut floors));
    floors.wrote(PRIMARY, gauges.of(PRIMARY).now());
    assert!(awaits(&mut floors));
    look(&gauges.of(PRIMARY), true, 10);
    assert!(!awaits(&mut floors));
}

#[test]
fn nothing_waits_for_what_was_lost_with_a_primary() {
    let gauges = Gauges::default();
    let mut floors = Floors::default();
    floors.wrote(PRIMARY, gauges.of(PRIMARY).now());
    look(&gauges.of(PRIMARY), true, 1000);
    let old = cluster(1, 0);
    assert_eq!(floors.need(None, true, &old, &gauges).writes, Requirement::Reached(Lsn(1000)));
    let new = cluster(2, 1);
    assert_eq!(floors.need(None, true, &new, &gauges).writes, Requirement::Unresolved);
    let number = gauges.of(NodeId(1)).begin();
    let position = Position { primary: true, timeline: Timeline(2), lsn: Lsn(900), inserted: Lsn(900) };
    gauges.of(NodeId(1)).finish(number, Duration::ZERO, position);
    assert_eq!(floors.need(None, true, &new, &gauges).writes, Requirement::Reached(Lsn(900)));
}

#[test]
fn a_token_raises_the_floor() {
    let (gauges, snapshot) = (Gauges::default(), cluster(1, 0));
    let mut floors = Floors::default();
    floors.token(Timeline(1), Lsn(50));
    floors.token(Timeline(1), Lsn(40));
    assert_eq!(floors.position(&snapshot, &gauges), Requirement::Reached(Lsn(50)));
    floors.token(Timeline(0), Lsn(900));
    assert_eq!(floors.position(&snapshot, &gauges), Requirement::Reached(Lsn(50)));
}

#[test]
fn a_token_counts_beside_a_write_that_was_not_looked_up() {
    let (gauges, snapshot) = (Gauges::default(), cluster(1, 0));
    let primary = gauges.of(PRIMARY);
    let mut floors = Floors::default();
    floors.wrote(PRIMARY, primary.now());
    look(&primary, true, 40);
    // Made after that look, by somebody who wrote later.
    floors.token(Timeline(1), Lsn(50));
    assert_eq!(floors.position(&snapshot, &gauges), Requirement::Reached(Lsn(50)));
    floors.wrote(PRIMARY, primary.now());
    assert_eq!(floors.position(&snapshot, &gauges), Requirement::Unresolved);
    look(&primary, true, 60);
    assert_eq!(floors.position(&snapshot, &gauges), Requirement::Reached(Lsn(60)));
}

#[test]
fn what_was_seen_before_it_was_flushed_counts() {
    let (gauges, snapshot) = (Gauges::default(), cluster(1, 0));
    let primary = gauges.of(PRIMARY);
    let mut floors = Floors::default();
    floors.saw(PRIMARY, primary.now());
    let number = primary.begin();
    let position = Position { primary: true, timeline: Timeline(1), lsn: Lsn(10), inserted: Lsn(12) };
    primary.finish(number, Duration::ZERO, position);
    assert_eq!(floors.need(None, true, &snapshot, &gauges).reads, Requirement::Reached(Lsn(12)));
}

#[test]
fn what_was_seen_before_a_standby_died_is_not_looked_up_on_it() {
    let (gauges, snapshot) = (Gauges::default(), cluster(1, 0));
    let mut without_primary = cluster(1, 0);
    without_primary.primary = None;
    let standby = gauges.of(NodeId(1));
    let mut floors = Floors::default();
    let taken = standby.now();
    standby.interrupt();
    // The answer was on its way when the node died.
    floors.saw_on_standby(NodeId(1), taken, &standby);
    look(&standby, false, 5);
    assert_eq!(floors.need(None, true, &without_primary, &gauges).reads, Requirement::Unresolved);
    assert_eq!(floors.need(None, true, &snapshot, &gauges).reads, Requirement::Unresolved);
    look(&gauges.of(PRIMARY), true, 9);
    assert_eq!(floors.need(None, true, &snapshot, &gauges).reads, Requirement::Reached(Lsn(9)));
}

/// One step of the little world below.
#[derive(Clone, Copy, Debug)]
enum Act {
    Write(usize),
    /// By somebody whose commits are acknowledged before they are flushed.
    ForeignWrite,
    Flush,
    /// A read is answered.
    Ask(usize, u16),
    /// The answer is heard.
    Hear(usize),
    /// There is no primary any more, as far as is known; or there is again.
    Hide(bool),
    Replay(u16, u64),
    Begin(u16),
    Finish(u16),
    Crash(u16),
    Notice(u16),
    Open(u16),
}

fn acts() -> impl Strategy<Value = Act> {
    let replica = || 1..3u16;
    prop_oneof![
        2 => (0..2usize).prop_map(Act::Write),
        1 => Just(Act::ForeignWrite),
        2 => Just(Act::Flush),
        6 => (0..2usize, 0..3u16).prop_map(|(session, node)| Act::Ask(session, node)),
        6 => (0..2usize).prop_map(Act::Hear),
        1 => any::<bool>().prop_map(Act::Hide),
        4 => (replica(), 1..4u64).prop_map(|(node, far)| Act::Replay(node, far)),
        3 => (0..3u16).prop_map(Act::Begin),
        3 => (0..3u16).prop_map(Act::Finish),
        1 => replica().prop_map(Act::Crash),
        1 => (0..3u16).prop_map(Act::Notice),
        2 => (0..3u16).prop_map(Act::Open),
    ]
}

/// A standby (or the primary, number 0) of the little world.
#[derive(Clone, Copy, Default)]
struct Standby {
    at: u64,
    /// Where it starts again after a crash.
    safe: u64,
    life: u32,
    /// The look under way: its number, and in which life it was begun.
    look: Option<(u64, u32)>,
    /// Life in which the looking connection was opened.
    looks_in: u32,
    /// The pool's connection: life and moment of its opening.
    connection: Option<(u32, Moment)>,
}

/// What is left out of the rules, to show that the world notices.
#[derive(Clone, Copy, PartialEq)]
enum Without {
    Nothing,
    Floors,
    Proof,
}

#[derive(Default)]
struct World {
    gauges: Gauges,
    nodes: [Standby; 3],
    floors: [Floors; 2],
    /// What each session wrote last, and the newest it has seen.
    wrote: [u64; 2],
    saw: [u64; 2],
    /// What the primary has flushed.
    flushed: u64,
    hidden: bool,
    /// The answer that each session has not heard yet: from which node, and the moment its connection was taken.
    asked: [Option<(NodeId, Moment)>; 2],
    reads_on_replicas: u32,
}

impl World {
    fn act(&mut self, act: Act, without: Without) -> Result<(), String> {
        match act {
            Act::Write(session) if self.hidden || self.asked[session].is_some() => {}
            Act::Write(session) => {
                self.nodes[0].at += 1;
                self.flushed = self.nodes[0].at;
                (self.wrote[session], self.saw[session]) = (self.nodes[0].at, self.nodes[0].at);
                self.floors[session].wrote(PRIMARY, self.gauges.of(PRIMARY).now());
            }
            Act::ForeignWrite => self.nodes[0].at += 1,
            Act::Flush => self.flushed = self.nodes[0].at,
            Act::Hide(hidden) => self.hidden = hidden,
            Act::Replay(node, far) => {
                let to = (self.nodes[usize::from(node)].at + far).min(self.flushed);
                let standby = &mut self.nodes[usize::from(node)];
                standby.at = to;
                // Now and then it makes a restart point.
                standby.safe = if to.is_multiple_of(3) { to } else { standby.safe };
            }
            Act::Begin(node) => {
                let standby = &mut self.nodes[usize::from(node)];
                if standby.look.is_none() && standby.looks_in == standby.life {
                    standby.look = Some((self.gauges.of(NodeId(node)).begin(), standby.life));
                }
            }
            Act::Finish(node) => {
                let standby = &mut self.nodes[usize::from(node)];
                if let Some((number, life)) = standby.look.take_if(|(_, life)| *life == standby.life) {
                    debug_assert_eq!(life, standby.looks_in);
                    let (primary, inserted) = (node == 0, Lsn(standby.at));
                    let lsn = if primary { Lsn(self.flushed) } else { inserted };
                    let position =
                        Position { primary, timeline: Timeline(u32::from(primary)), lsn, inserted };
                    self.gauges.of(NodeId(node)).finish(number, Duration::ZERO, position);
                }
            }
            Act::Crash(node) => {
                let standby = &mut self.nodes[usize::from(node)];
                (standby.at, standby.life, standby.connection) = (standby.safe, standby.life + 1, None);
            }
            Act::Notice(node) => {
                let standby = &mut self.nodes[usize::from(node)];
                (standby.look, standby.looks_in) = (None, standby.life);
                self.gauges.of(NodeId(node)).interrupt();
            }
            Act::Open(node) => {
                let opened = self.gauges.of(NodeId(node)).opened();
                let standby = &mut self.nodes[usize::from(node)];
                standby.connection = Some((standby.life, opened));
            }
            Act::Ask(session, node) => return self.ask(session, node, without),
            Act::Hear(session) => self.hear(session),
        }
        Ok(())
    }

    fn ask(&mut self, session: usize, node: u16, without: Without) -> Result<(), String> {
        if self.asked[session].is_some() || node == 0 && self.hidden {
            return Ok(());
        }
        let mut snapshot = cluster(1, 0);
        snapshot.primary = Some(PRIMARY).filter(|_| !self.hidden);
        let id = NodeId(node);
        if node != 0 {
            let need = self.floors[session].need(None, true, &snapshot, &self.gauges);
            let Some((_, opened)) = self.nodes[usize::from(node)].connection else { return Ok(()) };
            let holds = match need.admits(id, &self.gauges) {
                None => without == Without::Floors,
                Some(proof) => without == Without::Proof || proof.holds(id, opened, &self.gauges),
            };
            if !holds {
                return Ok(());
            }
            self.reads_on_replicas += 1;
        }
        let found = self.nodes[usize::from(node)].at;
        if found < self.wrote[session] || found < self.saw[session] {
            return Err(format!(
                "session {session} read {found} on node {node}, wrote {}, saw {}",
                self.wrote[session], self.saw[session]
            ));
        }
        self.saw[session] = found;
        self.asked[session] = Some((id, self.gauges.of(id).now()));
        Ok(())
    }

    fn hear(&mut self, session: usize) {
        let (Some((node, taken)), floors) = (self.asked[session].take(), &mut self.floors[session]) else {
            return;
        };
        match node {
            PRIMARY => floors.saw(node, self.gauges.of(node).now()),
            _ => floors.saw_on_standby(node, taken, &self.gauges.of(node)),
        }
    }
}

fn play(acts: &[Act], without: Without) -> Result<u32, String> {
    let mut world = World::default();
    for act in acts {
        world.act(*act, without)?;
    }
    Ok(world.reads_on_replicas)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn no_session_reads_what_is_older_than_what_it_wrote_or_saw(acts in prop::collection::vec(acts(), 1..300)) {
        prop_assert_eq!(play(&acts, Without::Nothing).err(), None);
    }
}

/// Without a rule the same world finds a stale read, so it can find one at all; with the rules replicas still get reads.
#[test]
fn the_world_notices_when_a_rule_is_left_out() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let (mut stale, mut served) = ([0, 0], 0);
    for _ in 0..400 {
        let acts = prop::collection::vec(acts(), 300).new_tree(&mut runner).expect("a tree").current();
        stale[0] += u32::from(play(&acts, Without::Floors).is_err());
        stale[1] += u32::from(play(&acts, Without::Proof).is_err());
        served += play(&acts, Without::Nothing).expect("sound");
    }
    assert!(stale[0] > 100, "floors: {stale:?}");
    assert!(stale[1] > 0, "proof: {stale:?}");
    assert!(served > 100, "{served} reads on replicas");
}
