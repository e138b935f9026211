//! A hand to write stories with: a state, a clock, and facts that are easy to state.
#![allow(dead_code, reason = "each test file uses its part")]

use pgherd_failover::event::{Event, Output};
use pgherd_failover::journal::{Entry, Kind};
use pgherd_failover::observation::{Facts, Failure, FailureKind, Observation, Receiver};
use pgherd_failover::policy::{Policy, Spec};
use pgherd_failover::state::State;
use pgherd_failover::step::step;
use pgherd_topology::lsn::{Lsn, Timeline};
use pgherd_topology::node::{Address, Ineligible, NodeId};
use pgherd_topology::snapshot::Snapshot;
use std::time::Duration;

pub(crate) const SYSTEM: u64 = 7_000_000_000_000_000_001;

pub(crate) fn standby(timeline: u32, lsn: u64) -> Facts {
    Facts {
        in_recovery: true,
        receiver: Some(Receiver { status: Some("streaming".into()), ..Receiver::default() }),
        ..primary(timeline, lsn)
    }
}

pub(crate) fn primary(timeline: u32, lsn: u64) -> Facts {
    Facts {
        in_recovery: false,
        system: SYSTEM,
        timeline: Timeline(timeline),
        received: Lsn(lsn),
        replayed: Lsn(lsn),
        replay_paused: false,
        started: 1,
        read_only: false,
        receiver: None,
        promotes: true,
        conninfo: "".into(),
        synchronous: "".into(),
        version: 150_000,
        round_trip: Duration::from_millis(1),
        server_address: None,
        peers: [].into(),
        slots: [].into(),
    }
}

pub(crate) struct Story {
    pub(crate) state: State,
    pub(crate) now: Duration,
    pub(crate) snapshot: Snapshot,
    pub(crate) journal: Vec<Entry>,
}

impl Story {
    /// Nodes pg0, pg1, ... that have not been probed.
    pub(crate) fn new(policy: Policy, nodes: u16) -> Story {
        let mut story = Story {
            state: State::new(policy, None),
            now: Duration::ZERO,
            snapshot: Snapshot::default(),
            journal: Vec::new(),
        };
        for id in 0..nodes {
            story.happens(Event::Added(Spec::new(&format!("pg{id}"), Address::Tcp("db".into(), 5432 + id))));
        }
        story
    }

    /// One primary and standbys, all seen at the same position.
    pub(crate) fn steady(nodes: u16) -> Story {
        let mut story = Story::new(Policy::default(), nodes);
        story.sees(0, primary(1, 1000));
        for id in 1..nodes {
            story.sees(id, standby(1, 1000));
        }
        story
    }

    pub(crate) fn happens(&mut self, event: Event) -> Output {
        let mut output = step(&mut self.state, self.now, event);
        if let Some(snapshot) = output.snapshot.clone() {
            assert!(snapshot.epoch >= self.snapshot.epoch, "an epoch fell");
            self.snapshot = snapshot;
        }
        self.journal.append(&mut output.journal);
        output
    }

    pub(crate) fn sees(&mut self, node: u16, facts: Facts) -> Output {
        self.now += Duration::from_millis(10);
        let (sent, taken) = (self.now, self.now);
        self.happens(Event::Observed(Observation { node: NodeId(node), sent, taken, outcome: Ok(facts) }))
    }

    pub(crate) fn misses(&mut self, node: u16, kind: FailureKind) -> Output {
        self.now += Duration::from_millis(10);
        let (sent, taken) = (self.now, self.now);
        let failure = Failure { kind, text: kind.word().into(), broke: false };
        self.happens(Event::Observed(Observation { node: NodeId(node), sent, taken, outcome: Err(failure) }))
    }

    pub(crate) fn later(&mut self, seconds: u64) -> &mut Story {
        self.now += Duration::from_secs(seconds);
        self
    }

    pub(crate) fn routed(&self) -> Option<u16> {
        self.snapshot.primary.map(|id| id.0)
    }

    pub(crate) fn ineligible(&self, node: u16) -> Option<&'static str> {
        let node = self.snapshot.node(NodeId(node)).expect("the node is published");
        node.ineligible.as_ref().map(Ineligible::word)
    }

    pub(crate) fn valid_since(&self, node: u16) -> u64 {
        self.snapshot.node(NodeId(node)).expect("the node is published").valid_since
    }

    /// The newest journal line of this kind.
    pub(crate) fn last(&self, kind: Kind) -> &str {
        self.journal.iter().rev().find(|entry| entry.kind == kind).map_or("", |entry| &entry.text)
    }

    pub(crate) fn count(&self, kind: Kind) -> usize {
        self.journal.iter().filter(|entry| entry.kind == kind).count()
    }
}
