//! A controller, servers, a client, and a network between them, all in virtual time.

use crate::dice::Dice;
use crate::hands::Flight;
use crate::server::{Cuts, Record, Server, streams_from, tick};
use pgherd_failover::event::{Action, Event, Output};
use pgherd_failover::observation::{Facts, Failure, FailureKind, Observation, Receiver};
use pgherd_failover::plan::Plan;
use pgherd_failover::policy::{Policy, Spec};
use pgherd_failover::state::{Memory, State};
use pgherd_failover::step::step;
use pgherd_topology::lsn::{Lsn, Timeline};
use pgherd_topology::node::{Address, NodeId};
use pgherd_topology::snapshot::Snapshot;
use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) const TICK: Duration = Duration::from_millis(100);
const SYSTEM: u64 = 7_000_000_000_000_000_001;

/// When the controller is to die, within its handling of one event.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Death {
    /// When the plan is on disk, and nothing was done yet.
    Remembered,
    /// After the first of its actions.
    Acted,
}

pub(crate) struct World {
    pub(crate) servers: Vec<Server>,
    pub(crate) cuts: Cuts,
    pub(crate) now: Duration,
    pub(crate) dice: Dice,
    pub(crate) policy: Policy,
    /// `None`: it is dead.
    pub(crate) state: Option<State>,
    pub(crate) life: u32,
    disk: Option<Memory>,
    pub(crate) death: Option<Death>,
    /// Answers are lost now and then.
    pub(crate) lossy: bool,
    pub(crate) snapshot: Snapshot,
    due: BTreeMap<usize, Duration>,
    wake_at: Option<Duration>,
    pub(crate) flights: Vec<Flight>,
    /// Tells what happens while it happens.
    pub(crate) aloud: bool,
    serial: u64,
    /// Writes that wait for the standbys: the record, on whom, and since when connections to it were valid.
    waiting: Vec<(Record, usize, u64)>,
    /// What clients were told is committed.
    pub(crate) acked: Vec<Record>,
    /// Who was routed on each timeline.
    routed: BTreeMap<u32, usize>,
    epoch: u64,
    pub(crate) promotions: u32,
    pub(crate) synchronous: bool,
    /// Nobody can see whose confirmation commits wait for.
    pub(crate) blind: bool,
}

impl World {
    pub(crate) fn new(seed: u64, policy: Policy, count: usize, synchronous: bool) -> World {
        let mut servers: Vec<Server> = (0..count).map(|index| Server::new(index > 0)).collect();
        if synchronous {
            servers[0].quorum = Some((1, (1..count).collect()));
        }
        let mut world = World {
            servers,
            cuts: Cuts::new(),
            now: Duration::ZERO,
            dice: Dice::of(seed),
            policy,
            state: None,
            life: 0,
            disk: None,
            death: None,
            lossy: false,
            snapshot: Snapshot::default(),
            due: BTreeMap::new(),
            wake_at: None,
            flights: Vec::new(),
            aloud: std::env::var_os("PGHERD_CHAOS_SEED").is_some(),
            serial: 0,
            waiting: Vec::new(),
            acked: Vec::new(),
            routed: BTreeMap::new(),
            epoch: 0,
            promotions: 0,
            synchronous,
            blind: false,
        };
        world.start_controller();
        world
    }

    /// A new process, with what the one before wrote down.
    pub(crate) fn start_controller(&mut self) {
        self.life += 1;
        self.state = Some(State::new(self.policy.clone(), self.disk.clone()));
        // Sessions of the process before are gone, and so is what they waited for.
        (self.snapshot, self.epoch) = (Snapshot::default(), 0);
        self.waiting.clear();
        self.due.clear();
        self.wake_at = None;
        for index in 0..self.servers.len() {
            let spec = Spec::new(&format!("pg{index}"), Address::Tcp("db".into(), 5432 + index as u16));
            self.happens(Event::Added(spec));
            self.due.insert(index, self.now);
        }
    }

    pub(crate) fn say(&self, what: impl FnOnce() -> String) {
        if self.aloud {
            println!("{:8.2} {}", self.now.as_secs_f64(), what());
        }
    }

    pub(crate) fn kill_controller(&mut self) {
        self.state = None;
        self.snapshot = Snapshot::default();
        self.waiting.clear();
    }

    pub(crate) fn happens(&mut self, event: Event) {
        let Some(state) = self.state.as_mut() else { return };
        let output = step(state, self.now, event);
        let memory = state.memory();
        self.obey(output, memory);
    }

    fn obey(&mut self, output: Output, memory: Option<Memory>) {
        for entry in &output.journal {
            self.say(|| format!("{:<10} {} {}", entry.kind.word(), entry.name, entry.text));
        }
        let acts = output.actions.iter().any(|action| matches!(action, Action::Do { .. }));
        if let Some(memory) = memory {
            self.disk = Some(memory);
        }
        if acts && self.death == Some(Death::Remembered) {
            self.death = None;
            return self.kill_controller();
        }
        if let Some(snapshot) = output.snapshot {
            self.publish(snapshot);
        }
        self.wake_at = output.wake_at;
        for action in output.actions {
            match action {
                Action::Probe { node, at } => drop(self.due.insert(usize::from(node.0), at)),
                Action::Do { plan, node, deed, .. } => {
                    self.fly(plan, usize::from(node.0), deed);
                    if self.death.take() == Some(Death::Acted) {
                        return self.kill_controller();
                    }
                }
                Action::Watch { .. } | Action::Forget(_) => {}
            }
        }
    }

    fn publish(&mut self, snapshot: Snapshot) {
        assert!(snapshot.epoch >= self.epoch, "an epoch fell");
        self.epoch = snapshot.epoch;
        if let Some(node) = snapshot.primary_node() {
            let (index, timeline) = (usize::from(node.id.0), snapshot.timeline.0);
            let highest = self.routed.keys().max().copied().unwrap_or(0);
            assert!(timeline >= highest, "timeline {timeline} is routed after {highest}");
            let before = self.routed.insert(timeline, index);
            assert!(before.is_none_or(|before| before == index), "two primaries on timeline {timeline}");
            if self.synchronous && before.is_none() {
                let lost = self.acked.iter().find(|record| !self.servers[index].has(record));
                assert_eq!(lost, None, "a confirmed write is not on pg{index}, which is routed now");
            }
        }
        self.snapshot = snapshot;
    }

    pub(crate) fn tick(&mut self) {
        self.now += TICK;
        tick(&mut self.servers, &self.cuts);
        self.client();
        self.deliver();
        if self.wake_at.is_some_and(|at| at <= self.now) {
            self.wake_at = None;
            self.happens(Event::Woke);
        }
        let due: Vec<usize> =
            self.due.iter().filter(|(_, at)| **at <= self.now).map(|(node, _)| *node).collect();
        for node in due {
            self.due.remove(&node);
            self.probe(node);
        }
    }

    pub(crate) fn ticks(&mut self, count: u64) {
        (0..count).for_each(|_| self.tick());
    }

    /// The controller and the data plane stand in the same place.
    pub(crate) fn reaches(&self, node: usize) -> bool {
        let own = self.servers.len();
        !self.cuts.contains_key(&(own, node)) && !self.cuts.contains_key(&(node, own))
    }

    fn client(&mut self) {
        if let Some(node) = self.snapshot.primary_node() {
            let (index, valid) = (usize::from(node.id.0), node.valid_since);
            if self.reaches(index) && self.write(index) {
                let record = *self.servers[index].log.last().expect("just written");
                self.waiting.push((record, index, valid));
            }
        }
        let waiting = std::mem::take(&mut self.waiting);
        for (record, index, valid) in waiting {
            let node = self.snapshot.node(NodeId(index as u16));
            if self.snapshot.phase != "switching"
                && self.snapshot.primary.map(|id| usize::from(id.0)) != Some(index)
                || node.is_none_or(|node| node.valid_since != valid)
            {
                // Cut: the client is told that it is not known.
                continue;
            }
            if self.reaches(index) && self.servers[index].works() && self.is_confirmed(record, index) {
                self.acked.push(record);
            } else {
                self.waiting.push((record, index, valid));
            }
        }
    }

    /// Somebody writes on a server. False: it does not take writes.
    pub(crate) fn write(&mut self, index: usize) -> bool {
        let server = &mut self.servers[index];
        if !server.works() || server.standby || server.read_only {
            return false;
        }
        self.serial += 1;
        server.log.push((server.timeline, self.serial, server.log.len()));
        true
    }

    fn is_confirmed(&self, record: Record, index: usize) -> bool {
        let Some((needed, members)) = &self.servers[index].quorum else { return true };
        let has = |member: &&usize| {
            streams_from(&self.servers, **member, &self.cuts) == Some(index)
                && self.servers[**member].has(&record)
        };
        members.iter().filter(has).count() >= *needed
    }

    pub(crate) fn plan(&self) -> Option<&Plan> {
        self.state.as_ref().and_then(|state| state.plan())
    }

    fn probe(&mut self, index: usize) {
        let server = &self.servers[index];
        let outcome = if !self.reaches(index) || server.alive && server.hung {
            Err(FailureKind::Timeout)
        } else if !server.alive {
            Err(FailureKind::Refused)
        } else {
            Ok(self.facts(index))
        };
        let failure = |kind: FailureKind| Failure { kind, text: kind.word().into(), broke: false };
        let (node, now) = (NodeId(index as u16), self.now);
        let observation = Observation { node, sent: now, taken: now, outcome: outcome.map_err(failure) };
        self.happens(Event::Observed(observation));
    }

    fn facts(&self, index: usize) -> Facts {
        let server = &self.servers[index];
        let lsn = Lsn(server.lsn());
        let streams = streams_from(&self.servers, index, &self.cuts).is_some();
        let receiver = streams.then(|| Receiver {
            status: Some("streaming".into()),
            silent: Some(Duration::ZERO),
            ..Receiver::default()
        });
        let names = |(needed, members): &(usize, Vec<usize>)| {
            let names: Vec<String> = members.iter().map(|member| format!("pg{member}")).collect();
            format!("ANY {needed} ({})", names.join(", "))
        };
        Facts {
            in_recovery: server.standby,
            system: SYSTEM,
            timeline: Timeline(server.timeline),
            received: lsn,
            replayed: lsn,
            replay_paused: false,
            started: server.life,
            read_only: server.read_only,
            receiver,
            promotes: true,
            conninfo: server.upstream.map_or_else(String::new, |upstream| format!("pg{upstream}")).into(),
            synchronous: server
                .quorum
                .as_ref()
                .filter(|_| !self.blind)
                .map_or_else(String::new, names)
                .into(),
            version: 150_000,
            round_trip: Duration::from_millis(1),
            server_address: None,
            peers: [].into(),
            slots: [].into(),
        }
    }
}
