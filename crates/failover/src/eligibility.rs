//! Which node may be read from, and if not, why not.

use crate::journal::Kind;
use crate::member::Member;
use crate::state::State;
use pgherd_topology::node::{Ineligible, Role};
use std::time::Duration;

/// Judges every node anew and writes down what changed.
pub(crate) fn judge_all(state: &mut State) {
    // Before everybody was tried once nobody knows which database system is ours, and nothing is published.
    if !state.round_done {
        return;
    }
    for index in 0..state.members.len() {
        let over = exceeded(state, &state.members[index]);
        state.members[index].lagging = over.is_some();
        let verdict = judge(state, &state.members[index], over);
        settle(state, index, verdict);
    }
}

fn settle(state: &mut State, index: usize, verdict: Option<Ineligible>) {
    let now = state.now;
    let by_itself = verdict.as_ref().is_some_and(leaves_by_itself);
    let hold = !state.policy.auto_remediate && by_itself;
    let member = &mut state.members[index];
    let before = member.ineligible.as_ref().map(Ineligible::word);
    let after = verdict.as_ref().map(Ineligible::word);
    if hold && before.is_none() {
        member.held = true;
    }
    let id = member.id;
    if before == after {
        member.ineligible = verdict;
        return;
    }
    let text = match &verdict {
        Some(reason) => member.told(reason),
        None if state.primary == Some(id) => "is the routed primary".to_owned(),
        None => "eligible for reads".to_owned(),
    };
    member.ineligible = verdict;
    member.judged_since = now;
    if after.is_some() {
        state.note(Kind::Ineligible, Some(id), text);
    } else if state.primary != Some(id) {
        state.note(Kind::Eligible, Some(id), text);
    }
}

/// Reasons that come and go without an operator; with `auto_remediate` off the way back is an operator's.
fn leaves_by_itself(reason: &Ineligible) -> bool {
    match reason {
        Ineligible::Down(_)
        | Ineligible::NotStreaming
        | Ineligible::OtherTimeline
        | Ineligible::LagTime(..)
        | Ineligible::LagBytes(..) => true,
        Ineligible::Unprobed
        | Ineligible::NotInRecovery
        | Ineligible::ForeignSystem
        | Ineligible::NoLoadBalance
        | Ineligible::Draining
        | Ineligible::Fenced
        | Ineligible::ZeroWeight => false,
    }
}

/// The first reason against reads from this node, the gravest first.
fn judge(state: &State, member: &Member, over: Option<Ineligible>) -> Option<Ineligible> {
    if state.primary == Some(member.id) {
        return member.draining.then_some(Ineligible::Draining);
    }
    let Some(facts) = &member.facts else {
        return Some(if member.suspicion.is_empty() {
            Ineligible::Unprobed
        } else {
            Ineligible::Down(member.suspicion.text())
        });
    };
    let tags = &member.spec.tags;
    if member.suspicion.excludes_replica(state.policy.threshold) {
        Some(Ineligible::Down(member.suspicion.text()))
    } else if facts.system != state.system {
        Some(Ineligible::ForeignSystem)
    } else if member.fenced.is_some() {
        Some(Ineligible::Fenced)
    } else if member.role() != Role::Standby {
        Some(Ineligible::NotInRecovery)
    } else if member.draining || member.held {
        Some(Ineligible::Draining)
    } else if tags.noloadbalance {
        Some(Ineligible::NoLoadBalance)
    } else if member.spec.weight == 0 {
        Some(Ineligible::ZeroWeight)
    } else if state.primary.is_some() && !facts.receiver.as_ref().is_some_and(|receiver| receiver.streams()) {
        // Without a primary there is nothing to stream: what was read before may be read on.
        Some(Ineligible::NotStreaming)
    } else if facts.timeline != state.timeline {
        Some(Ineligible::OtherTimeline)
    } else {
        over
    }
}

/// The lag limit this node exceeds. Once it did, it must fall below `return_percent` of every limit.
fn exceeded(state: &State, member: &Member) -> Option<Ineligible> {
    let policy = &state.policy;
    let percent = if member.lagging { policy.return_percent.min(100) } else { 100 };
    if let (Some(lag), Some(limit)) = (member.lag_time, member.spec.limits.max_lag.or(policy.max_lag))
        && lag > limit.saturating_mul(percent) / 100
    {
        return Some(Ineligible::LagTime(lag, limit));
    }
    if let (Some(lag), Some(limit)) =
        (member.lag_bytes, member.spec.limits.max_lag_bytes.or(policy.max_lag_bytes))
        && u128::from(lag) * 100 > u128::from(limit) * u128::from(percent)
    {
        return Some(Ineligible::LagBytes(lag, limit));
    }
    None
}

/// The latest moment at which the primary was seen to have nothing that this standby has not replayed: also by looks at the primary that are newer than
/// the standby's answer, because what it replayed it has.
pub(crate) fn proven_at(state: &State, member: &Member) -> Option<Duration> {
    let facts = member.facts.as_ref()?;
    let ours = facts.in_recovery && facts.system == state.system;
    state.trail.covered_at(facts.replayed).filter(|_| ours)
}

/// Measures a standby that has just answered. `at` is when its answer was there.
pub(crate) fn measure(state: &mut State, index: usize, at: Duration) {
    let Some(facts) = state.members[index].facts.as_ref() else { return };
    let (received, replayed) = (facts.received, facts.replayed);
    let ours = facts.in_recovery && facts.system == state.system;
    let leader = state.trail.position(at).filter(|_| ours);
    let member = &mut state.members[index];
    member.lag_time = state.trail.delay(received, replayed, at).filter(|_| ours);
    // What it received itself is there, whether or not we saw the primary write it.
    member.lag_bytes = leader.map(|leader| leader.max(received).bytes_since(replayed));
    member.receive_lag = leader.map(|leader| leader.bytes_since(received));
}
