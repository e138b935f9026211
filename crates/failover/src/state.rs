//! What the control plane remembers between two steps.

use crate::conduct::{self, Operation};
use crate::errand::Errand;
use crate::event::{Action, Output};
use crate::journal::{Entry, Kind};
use crate::lag::Trail;
use crate::member::Member;
use crate::phase::{Phase, Trigger};
use crate::plan::{Debt, Plan};
use crate::policy::Policy;
use crate::sync::Quorum;
use pgherd_topology::lsn::Timeline;
use pgherd_topology::node::NodeId;
use pgherd_topology::snapshot::Snapshot;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Nodes a cluster may have.
pub const MAX_MEMBERS: usize = 256;

/// What must survive a restart of pgherd so that an old primary is not taken for the current one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Database system identifier.
    pub system: u64,
    /// Highest timeline that was routed.
    pub timeline: Timeline,
    /// Whose confirmation commits of the last routed primary wait for: without it nobody could tell whether something confirmed is lost.
    pub quorum: Option<Quorum>,
    /// Number of the last plan.
    pub plans: u64,
    /// The plan under way.
    pub plan: Option<Plan>,
    /// What is to be undone, by the name of the server.
    pub debts: BTreeMap<Arc<str>, Debt>,
}

/// The whole state. Changed by [`crate::step::step`] only; everybody else reads.
#[derive(Debug)]
pub struct State {
    pub(crate) policy: Policy,
    pub(crate) members: Vec<Member>,
    pub(crate) next_id: u16,
    pub(crate) system: u64,
    pub(crate) timeline: Timeline,
    /// A primary of this system was routed once (or remembered): the identity is no longer up for discussion.
    pub(crate) settled: bool,
    /// Every node known at the start has been tried once.
    pub(crate) round_done: bool,
    pub(crate) primary: Option<NodeId>,
    pub(crate) primary_since: Duration,
    pub(crate) lost: Option<NodeId>,
    pub(crate) phase: Phase,
    pub(crate) phase_since: Duration,
    pub(crate) trail: Trail,
    /// The standing reason why nothing is routed, so that it is written down once.
    pub(crate) refusal: Option<String>,
    pub(crate) advice: Option<String>,
    /// Whose confirmation the last routed primary's commits waited for.
    pub(crate) quorum: Option<Quorum>,
    /// The plan under way.
    pub(crate) operation: Option<Operation>,
    /// Standbys that are pointed at the primary outside of a plan.
    pub(crate) chores: Vec<Errand>,
    /// Number of the last plan.
    pub(crate) plans: u64,
    /// What is to be undone, by the name of the server.
    pub(crate) debts: BTreeMap<Arc<str>, Debt>,
    /// Plans that were given up since the last that was not.
    pub(crate) failed_plans: u32,
    /// No plan of our own before this.
    pub(crate) not_before: Duration,
    /// An operator wants nothing to be begun.
    pub(crate) paused: bool,
    pub(crate) epoch: u64,
    pub(crate) published: Option<Snapshot>,
    pub(crate) published_at: Duration,
    pub(crate) now: Duration,
    pub(crate) output: Output,
}

impl State {
    /// A state that knows no node yet. `memory` is what an earlier process left behind.
    pub fn new(policy: Policy, memory: Option<Memory>) -> State {
        let known = memory.filter(|memory| memory.system != 0);
        let (plans, plan) = known.as_ref().map_or((0, None), |memory| (memory.plans, memory.plan.clone()));
        let quorum = known.as_ref().and_then(|memory| memory.quorum.clone());
        let debts = known.as_ref().map(|memory| memory.debts.clone()).unwrap_or_default();
        let known = known.as_ref();
        State {
            policy,
            members: Vec::new(),
            next_id: 0,
            system: known.map_or(0, |memory| memory.system),
            timeline: known.map_or(Timeline::default(), |memory| memory.timeline),
            settled: known.is_some(),
            round_done: false,
            primary: None,
            primary_since: Duration::ZERO,
            lost: None,
            phase: plan.as_ref().map_or(Phase::Suspecting, conduct::phase_of),
            phase_since: Duration::ZERO,
            trail: Trail::default(),
            refusal: None,
            advice: None,
            quorum,
            operation: plan.map(conduct::resume),
            chores: Vec::new(),
            plans,
            debts,
            failed_plans: 0,
            not_before: Duration::ZERO,
            paused: false,
            epoch: 0,
            published: None,
            published_at: Duration::ZERO,
            now: Duration::ZERO,
            output: Output::default(),
        }
    }

    /// The settings in force.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// All nodes, in order of their ids.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The node with this id.
    pub fn member(&self, id: NodeId) -> Option<&Member> {
        self.members.iter().find(|member| member.id == id)
    }

    /// The node with this name.
    pub fn named(&self, name: &str) -> Option<&Member> {
        self.members.iter().find(|member| &*member.spec.name == name)
    }

    /// The routed primary.
    pub fn primary(&self) -> Option<NodeId> {
        self.primary
    }

    /// Since when it has been routed (or since when there has been none).
    pub fn primary_since(&self) -> Duration {
        self.primary_since
    }

    /// The phase, and since when.
    pub fn phase(&self) -> (Phase, Duration) {
        (self.phase, self.phase_since)
    }

    /// The number of the last published snapshot.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Why nothing is routed, when that is so for a reason.
    pub fn refusal(&self) -> Option<&str> {
        self.refusal.as_deref()
    }

    /// What must be on disk before the next snapshot is published; `None` while nothing is settled.
    pub fn memory(&self) -> Option<Memory> {
        self.settled.then(|| Memory {
            system: self.system,
            timeline: self.timeline,
            quorum: self.quorum.clone(),
            plans: self.plans,
            plan: self.plan().cloned(),
            debts: self.debts.clone(),
        })
    }

    /// The plan under way.
    pub fn plan(&self) -> Option<&Plan> {
        self.operation.as_ref().map(|operation| &operation.plan)
    }

    /// An operator wants nothing to be begun.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Database system identifier of the cluster; 0 while unknown.
    pub fn system(&self) -> u64 {
        self.system
    }

    /// The cluster's timeline.
    pub fn timeline(&self) -> Timeline {
        self.timeline
    }

    pub(crate) fn named_mut(&mut self, name: &str) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| &*member.spec.name == name)
    }

    /// What is to be undone at this server.
    pub(crate) fn debt(&self, id: NodeId) -> Option<&Debt> {
        self.debts.get(&self.member(id)?.spec.name)
    }

    /// Changes what is to be undone at this server.
    pub(crate) fn owe(&mut self, id: NodeId, change: impl FnOnce(&mut Debt)) {
        let Some(name) = self.member(id).map(|member| member.spec.name.clone()) else { return };
        let debt = self.debts.entry(name.clone()).or_default();
        change(debt);
        if *debt == Debt::default() {
            self.debts.remove(&name);
        }
    }

    /// Something changes by time alone at this moment.
    pub(crate) fn wake(&mut self, at: Duration) {
        self.output.wake_at = Some(self.output.wake_at.map_or(at, |before| before.min(at)));
    }

    pub(crate) fn index(&self, id: NodeId) -> Option<usize> {
        self.members.iter().position(|member| member.id == id)
    }

    pub(crate) fn note(&mut self, kind: Kind, node: Option<NodeId>, text: impl Into<String>) {
        let name =
            node.and_then(|id| self.member(id)).map_or_else(|| "".into(), |member| member.spec.name.clone());
        let text = text.into();
        let entry = Entry { at: self.now, phase: self.phase, kind, node, name, text, ended: None };
        self.output.journal.push(entry);
    }

    pub(crate) fn act(&mut self, action: Action) {
        self.output.actions.push(action);
    }

    pub(crate) fn trigger(&mut self, trigger: Trigger) {
        let next = self.phase.after(trigger);
        if next != self.phase {
            let text = format!("{} -> {}", self.phase.word(), next.word());
            self.phase = next;
            self.phase_since = self.now;
            self.note(Kind::Phase, None, text);
        }
    }

    /// Writes a refusal down unless it stands already.
    pub(crate) fn refuse(&mut self, text: String) {
        if self.refusal.as_deref() != Some(&*text) {
            self.note(Kind::Refused, None, text.clone());
            self.refusal = Some(text);
        }
    }
}
