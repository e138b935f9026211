//! Whom a failover would promote, in which order, and what speaks against it.

use crate::member::Member;
use crate::observation::FailureKind;
use crate::policy::Strategy;
use crate::state::State;
use pgherd_topology::lsn::Lsn;
use pgherd_topology::node::{NodeId, Role};
use std::fmt;
use std::time::Duration;

/// Why a node cannot be promoted. Closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// Its last probe failed.
    Silent,
    /// It is no standby.
    NoStandby,
    /// It belongs to another database system.
    ForeignSystem,
    /// It is on another timeline.
    OtherTimeline,
    /// Tag `nofailover`, or priority 0.
    NoFailover,
    /// Our role must not promote it.
    Forbidden,
    /// It is fenced.
    Fenced,
    /// It lacks more than `maximum_lag_on_failover`: this many bytes.
    Behind(u64),
}

/// What keeps a failover from being started although there may be a candidate. Closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// No node is fit.
    NoCandidate,
    /// Fewer healthy replicas than `min_replicas_for_failover`: there are this many.
    TooFewReplicas(u32),
    /// This standby got WAL from the primary after we lost sight of it.
    StillStreaming(NodeId),
    /// The primary says that it is starting up, within `crash_recovery_grace`.
    CrashRecovery,
    /// The primary says that it is shutting down: what it has yet to send is on its way. Within `crash_recovery_grace`.
    ShuttingDown,
    /// Strategy `manual`.
    Manual,
    /// An operator wants nothing to be begun.
    Paused,
    /// The last attempt or failover was not long enough ago: for so long yet.
    TooSoon(Duration),
}

/// What a failover would do now.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Fit nodes, the best first.
    pub order: Vec<NodeId>,
    /// The others.
    pub unfit: Vec<(NodeId, Unfit)>,
    /// The best, if any.
    pub candidate: Option<NodeId>,
    /// The first guard that stands in the way.
    pub guard: Option<Guard>,
}

/// Compares the standbys: most WAL first, then priority, then the order of configuration.
pub fn plan(state: &State) -> Plan {
    let mut plan = Plan::default();
    let mut fit: Vec<&Member> = Vec::new();
    for member in state.members.iter().filter(|member| Some(member.id) != state.primary.or(state.lost)) {
        match unfit(state, member) {
            Some(reason) => plan.unfit.push((member.id, reason)),
            None => fit.push(member),
        }
    }
    fit.sort_by_key(|member| {
        let priority = member.spec.tags.failover_priority;
        (std::cmp::Reverse(position(member)), std::cmp::Reverse(priority), member.id)
    });
    plan.order = fit.iter().map(|member| member.id).collect();
    plan.candidate = plan.order.first().copied();
    plan.guard = guard(state, &plan);
    plan
}

/// The last position a standby could be promoted at: it replays everything it received first.
fn position(member: &Member) -> Lsn {
    member.facts.as_ref().map_or(Lsn::default(), |facts| facts.received.max(facts.replayed))
}

fn unfit(state: &State, member: &Member) -> Option<Unfit> {
    let tags = &member.spec.tags;
    if !member.answers() {
        return Some(Unfit::Silent);
    }
    if !member.belongs_to(state.system) {
        return Some(Unfit::ForeignSystem);
    }
    // What it is comes before what was done about it.
    if member.role() != Role::Standby {
        return Some(Unfit::NoStandby);
    }
    if member.timeline() != state.timeline {
        return Some(Unfit::OtherTimeline);
    }
    if member.fenced.is_some() {
        return Some(Unfit::Fenced);
    }
    if tags.nofailover || tags.failover_priority == 0 {
        return Some(Unfit::NoFailover);
    }
    if state.policy.acts && !member.facts.as_ref().is_some_and(|facts| facts.promotes) {
        return Some(Unfit::Forbidden);
    }
    let behind = state.trail.newest().map_or(0, |newest| newest.bytes_since(position(member)));
    let minds = state.policy.strategy != Strategy::Automatic;
    let limit = state.policy.maximum_lag_on_failover.filter(|limit| minds && behind > *limit);
    limit.map(|_| Unfit::Behind(behind))
}

fn guard(state: &State, plan: &Plan) -> Option<Guard> {
    if plan.order.is_empty() {
        return Some(Guard::NoCandidate);
    }
    let healthy = plan.order.len() as u32
        + plan.unfit.iter().filter(|(_, why)| matches!(why, Unfit::NoFailover | Unfit::Behind(_))).count()
            as u32;
    if healthy < state.policy.min_replicas_for_failover && state.policy.strategy != Strategy::Automatic {
        return Some(Guard::TooFewReplicas(healthy));
    }
    if let Some(id) = still_streaming(state) {
        return Some(Guard::StillStreaming(id));
    }
    let graced = |since: Duration| state.now.saturating_sub(since) < state.policy.crash_recovery_grace;
    let suspicion = state.lost.and_then(|id| state.member(id)).map(|lost| &lost.suspicion);
    if suspicion.and_then(|suspicion| suspicion.starting_since).is_some_and(graced) {
        return Some(Guard::CrashRecovery);
    }
    let stops = suspicion.filter(|suspicion| {
        suspicion.last.as_ref().is_some_and(|failure| failure.kind == FailureKind::ShuttingDown)
    });
    if stops.and_then(|suspicion| suspicion.first).is_some_and(graced) {
        return Some(Guard::ShuttingDown);
    }
    if state.policy.strategy == Strategy::Manual {
        return Some(Guard::Manual);
    }
    if state.paused {
        return Some(Guard::Paused);
    }
    let left = state.not_before.saturating_sub(state.now);
    (!left.is_zero()).then_some(Guard::TooSoon(left))
}

/// A standby whose receiver heard from its sender after our first failure: the primary lives, only we do not see it.
fn still_streaming(state: &State) -> Option<NodeId> {
    let lost = state.lost.and_then(|id| state.member(id))?;
    let since = lost.suspicion.first?;
    let heard = |member: &&Member| {
        let receiver = member.facts.as_ref().and_then(|facts| facts.receiver.as_ref());
        let (Some(receiver), Some(at)) = (receiver, member.answered_at) else { return false };
        receiver.status.as_deref() == Some("streaming")
            && receiver.silent.is_some_and(|silent| at.saturating_sub(silent) > since)
    };
    state.members.iter().filter(|member| member.answers()).find(heard).map(|member| member.id)
}

impl Plan {
    /// What would be done, in one sentence.
    pub fn sentence(&self, state: &State) -> String {
        let name = |id| state.member(id).map_or("?", |member| &*member.spec.name);
        let Some(candidate) = self.candidate else {
            let reasons: Vec<_> = self.unfit.iter().map(|(id, why)| format!("{} {why}", name(*id))).collect();
            return format!("no candidate for a failover ({})", reasons.join(", "));
        };
        let member = state.member(candidate);
        let at = member.map(position).unwrap_or_default();
        let missing = state.trail.newest().map_or(0, |newest| newest.bytes_since(at));
        let would =
            format!("would promote {} (received {at}, {missing} bytes may be missing)", name(candidate));
        match self.guard {
            None if state.policy.acts => would,
            None => format!("{would}; this pgherd only advises"),
            Some(Guard::NoCandidate) => would,
            Some(Guard::TooFewReplicas(count)) => format!(
                "{would}, but {count} healthy replicas are fewer than min_replicas_for_failover {}",
                state.policy.min_replicas_for_failover
            ),
            Some(Guard::StillStreaming(id)) => {
                format!("{would}, but {} still receives WAL from the primary", name(id))
            }
            Some(Guard::CrashRecovery) => format!("{would}, but the primary is starting up"),
            Some(Guard::ShuttingDown) => format!("{would}, but the primary is still shutting down"),
            Some(Guard::Manual) => format!("{would}, but failover_strategy is manual"),
            Some(Guard::Paused) => format!("{would}, but failover is paused"),
            Some(Guard::TooSoon(_)) => {
                format!("{would}, but waits, because the last attempt or failover was just now")
            }
        }
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfit::Silent => f.write_str("does not answer"),
            Unfit::NoStandby => f.write_str("is no standby"),
            Unfit::ForeignSystem => f.write_str("belongs to another database system"),
            Unfit::OtherTimeline => f.write_str("is on another timeline"),
            Unfit::NoFailover => f.write_str("has tag nofailover"),
            Unfit::Forbidden => f.write_str("lets our role not execute pg_promote"),
            Unfit::Fenced => f.write_str("is fenced"),
            Unfit::Behind(bytes) => write!(f, "lacks {bytes} bytes"),
        }
    }
}
