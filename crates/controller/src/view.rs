//! Everything an operator may want to see, as one immutable value.

use crate::clock::Clock;
use crate::ledger::Line;
use pgherd_failover::candidate::{self, Plan};
use pgherd_failover::member::Member;
use pgherd_failover::phase::Phase;
use pgherd_failover::policy::Strategy;
use pgherd_failover::state::State;
use pgherd_topology::lsn::{Lsn, Timeline};
use pgherd_topology::node::{Address, NodeId};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The control plane's whole knowledge at one moment.
#[derive(Clone, Debug)]
pub struct View {
    /// When it was taken, since the controller's start; all other times in here count from the same start.
    pub now: Duration,
    /// Turns those times into wall-clock time.
    pub clock: Clock,
    /// Number of the published snapshot; 0 before the first.
    pub epoch: u64,
    /// What the control plane is doing.
    pub phase: Phase,
    /// Since when.
    pub phase_since: Duration,
    /// The routed primary.
    pub primary: Option<NodeId>,
    /// Since when it is routed, or since when there is none.
    pub primary_since: Duration,
    /// Database system identifier; 0 while unknown.
    pub system: u64,
    /// The cluster's timeline.
    pub timeline: Timeline,
    /// Why nothing is routed, when that has a reason.
    pub refusal: Option<String>,
    /// All nodes with everything remembered about them: last facts, failures, eligibility and since when, slots, peers.
    pub nodes: Arc<[Member]>,
    /// The change of primary under way, in words, and its step.
    pub change: Option<(String, &'static str)>,
    /// A lost primary is replaced by itself, where no guard stands in the way.
    pub acts: bool,
    /// An operator wants nothing to be begun.
    pub paused: bool,
    /// What a failover would do now, and why not.
    pub plan: Plan,
    /// The newest journal lines, oldest first.
    pub journal: Arc<[Arc<Line>]>,
}

impl View {
    pub(crate) fn take(state: &State, clock: Clock, journal: Arc<[Arc<Line>]>) -> View {
        let (phase, phase_since) = state.phase();
        View {
            now: clock.now(),
            clock,
            epoch: state.epoch(),
            phase,
            phase_since,
            primary: state.primary(),
            primary_since: state.primary_since(),
            system: state.system(),
            timeline: state.timeline(),
            refusal: state.refusal().map(str::to_owned),
            nodes: state.members().into(),
            change: state.plan().map(|plan| (plan.sentence(), plan.step.word())),
            acts: state.policy().acts && state.policy().strategy != Strategy::Manual,
            paused: state.is_paused(),
            plan: candidate::plan(state),
            journal,
        }
    }

    /// The node with this name.
    pub fn named(&self, name: &str) -> Option<&Member> {
        self.nodes.iter().find(|node| &*node.spec.name == name)
    }

    /// The node with this id.
    pub fn node(&self, id: NodeId) -> Option<&Member> {
        self.nodes.iter().find(|node| node.id == id)
    }

    /// How long ago `at` was when the view was taken.
    pub fn ago(&self, at: Duration) -> Duration {
        self.now.saturating_sub(at)
    }

    /// `at` as wall-clock time.
    pub fn time(&self, at: Duration) -> SystemTime {
        self.clock.wall(at)
    }

    /// Place among the candidates of a failover, 1 is the first.
    pub fn place(&self, id: NodeId) -> Option<usize> {
        self.plan.order.iter().position(|candidate| *candidate == id).map(|index| index + 1)
    }

    /// Whom a standby streams from: a node's name where the sender is one of ours, else `host:port`.
    pub fn upstream(&self, node: &Member) -> Option<Arc<str>> {
        let receiver = node.facts.as_ref()?.receiver.as_ref()?;
        let (host, port) = (receiver.sender_host.as_ref()?, receiver.sender_port?);
        let is_sender = |member: &&Member| match &member.spec.address {
            Address::Tcp(name, at) => {
                let address = member.facts.as_ref().and_then(|facts| facts.server_address.as_ref());
                *at == port && (name == host || address == Some(host))
            }
            Address::Unix(directory, at) => *at == port && directory == host,
        };
        match self.nodes.iter().find(is_sender) {
            Some(member) => Some(member.spec.name.clone()),
            None => Some(Address::Tcp(host.clone(), port).to_string().into()),
        }
    }

    /// The slot a standby uses on its upstream, and how many bytes of WAL that slot keeps there.
    pub fn slot(&self, node: &Member) -> Option<(Arc<str>, Option<u64>)> {
        let name = node.facts.as_ref()?.receiver.as_ref()?.slot.clone().filter(|name| !name.is_empty())?;
        let upstream = self.upstream(node).and_then(|upstream| self.named(&upstream));
        let facts = upstream.and_then(|upstream| upstream.facts.as_ref());
        let kept = facts.and_then(|facts| {
            let restart: Lsn = facts.slots.iter().find(|slot| slot.name == name)?.restart?;
            Some(facts.received.bytes_since(restart))
        });
        Some((name, kept))
    }
}
