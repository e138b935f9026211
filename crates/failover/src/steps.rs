//! The steps of a plan: the deeds each wants, and what their end means.

use crate::claim;
use crate::conduct::{Next, Operation};
use crate::deed::{Deed, Report};
use crate::elect::elect;
use crate::errand::{Errand, Progress};
use crate::event::Action;
use crate::journal;
use crate::member::Fence;
use crate::phase::Trigger;
use crate::plan::{Kind, Plan, Step};
use crate::policy::Fencing;
use crate::state::State;
use pgherd_topology::node::{NodeId, Role};
use std::sync::Arc;
use std::time::Duration;

/// Beyond what a quiesce may drain, the time its statements may take.
const QUIESCE_MARGIN: Duration = Duration::from_secs(5);
/// Time the candidate has to receive the last bytes of an old primary at rest.
const CATCH_UP: Duration = Duration::from_secs(10);
/// Time all standbys have to stop receiving. One that does not answer in it is not waited for.
const FREEZE: Duration = Duration::from_secs(3);
/// Time the fence of the old primary is waited for, beyond the freeze that runs at the same time, where it is required.
const FENCE: Duration = Duration::from_secs(5);
/// Time the candidate has to get what another standby has.
const FORWARD: Duration = Duration::from_secs(60);
/// Time the candidate has to be made ready.
const PREPARE: Duration = Duration::from_secs(10);
/// Time the others have to follow; who takes longer is pointed at the new primary when it comes back.
const FOLLOW: Duration = Duration::from_secs(30);
/// Time to undo.
const REVERT: Duration = Duration::from_secs(30);
/// One attempt of anything short.
const SHORT: Duration = Duration::from_secs(2);

/// A deed: whom, what, the limit of one attempt, and how long it is tried; `None`: until it is done.
pub(crate) type Wanted = (NodeId, Deed, Duration, Option<Duration>);

/// The deeds of the plan's step.
pub(crate) fn wanted(state: &State, plan: &Plan) -> Vec<Wanted> {
    let id = |name: &Arc<str>| state.named(name).map(|member| member.id);
    let (old, candidate) = (plan.old.as_ref().and_then(id), plan.candidate.as_ref().and_then(id));
    let mut list: Vec<Wanted> = Vec::new();
    let mut want = |node: Option<NodeId>, deed: Deed, limit: Duration, until: Option<Duration>| {
        list.extend(node.map(|node| (node, deed, limit, until)));
    };
    match plan.step {
        Step::Quiesce => {
            let drain = state.policy.drain_timeout;
            let limit = drain + QUIESCE_MARGIN;
            want(old, Deed::Quiesce { drain }, limit, Some(limit));
        }
        Step::CatchUp => want(candidate, Deed::CatchUp { to: plan.least }, CATCH_UP, Some(CATCH_UP)),
        Step::Freeze => {
            for name in plan.frozen.keys() {
                want(id(name), Deed::Freeze, SHORT, Some(FREEZE));
            }
            if plan.kind == Kind::Failover && state.policy.fencing != Fencing::None {
                want(old, Deed::Fence, SHORT, Some(FENCE));
            }
        }
        Step::Forward => {
            let frozen = plan.candidate.as_ref().and_then(|name| plan.frozen.get(name));
            if let (Some(from), Some(frozen)) = (plan.source.as_ref().and_then(id), frozen) {
                let (to, conninfo) = (plan.least, frozen.conninfo.clone());
                want(candidate, Deed::Forward { from, to, conninfo }, FORWARD, Some(FORWARD));
            }
        }
        Step::Prepare => want(candidate, Deed::Prepare, SHORT, Some(PREPARE)),
        Step::Promote => {
            want(candidate, Deed::Promote { from: plan.timeline }, state.policy.promote_timeout, None);
        }
        Step::Follow => {
            want(candidate, Deed::Settle, FOLLOW, Some(FOLLOW));
            for (name, frozen) in &plan.frozen {
                let (node, conninfo) = (id(name).filter(|node| Some(*node) != candidate), &frozen.conninfo);
                if let Some(to) = candidate {
                    want(node, Deed::Follow { to, conninfo: conninfo.clone() }, SHORT, Some(FOLLOW));
                }
            }
        }
        Step::Revert => {
            for (name, frozen) in &plan.frozen {
                want(id(name), Deed::Thaw { conninfo: frozen.conninfo.clone() }, SHORT, Some(REVERT));
            }
            // Else when it is routed again.
            let back = old.filter(|id| state.member(*id).is_some_and(|member| member.answers()));
            want(back, Deed::Unfence, SHORT, Some(REVERT));
        }
    }
    list
}

/// Looks at what came of them.
pub(crate) fn next(state: &mut State, operation: &mut Operation) -> Next {
    let errands = operation.errands.take().unwrap_or_default();
    let next = match operation.plan.step {
        Step::Quiesce => quiesce(state, &mut operation.plan, &errands),
        Step::CatchUp => only(&errands, "the candidate did not get the last bytes", Step::Freeze),
        Step::Freeze => freeze(state, &mut operation.plan, &errands),
        Step::Forward => only(&errands, "the candidate did not get what another standby has", Step::Prepare),
        Step::Prepare => only(&errands, "the candidate could not be made ready", Step::Promote),
        Step::Promote => promote(state, operation, &errands),
        Step::Follow => follow(state, &operation.plan, &errands),
        Step::Revert => match errands.iter().all(Errand::is_settled) {
            true => Next::End,
            false => Next::Stay,
        },
    };
    operation.errands = Some(errands);
    match next {
        Next::Stay if operation.plan.step.can_revert() => overtaken(state, operation),
        next => next,
    }
}

/// A step with one deed.
fn only(errands: &[Errand], failed: &str, then: Step) -> Next {
    match errands.first().map(|errand| &errand.state) {
        Some(Progress::Done(_)) => Next::Go(then),
        Some(Progress::GivenUp(text)) => Next::Revert(format!("{failed}: {text}")),
        Some(Progress::Due(_) | Progress::Asked(_)) => Next::Stay,
        None => Next::Revert(format!("{failed}: it is no node any more")),
    }
}

fn quiesce(state: &mut State, plan: &mut Plan, errands: &[Errand]) -> Next {
    let next = only(errands, "the primary did not come to rest", Step::CatchUp);
    if let Some(Report::At(lsn)) = errands.first().and_then(Errand::report) {
        plan.least = *lsn;
        // Who still holds a connection to it is cut.
        if let Some(member) = plan.old.as_ref().and_then(|name| state.named_mut(name)) {
            member.renew = true;
        }
    }
    next
}

fn freeze(state: &State, plan: &mut Plan, errands: &[Errand]) -> Next {
    let fences = |errand: &&Errand| errand.deed == Deed::Fence;
    if !errands.iter().filter(|errand| !fences(errand)).all(Errand::is_settled) {
        return Next::Stay;
    }
    let fence = errands.iter().find(fences).map(|errand| &errand.state);
    if state.policy.fencing == Fencing::Required {
        match fence {
            Some(Progress::Due(_) | Progress::Asked(_)) => return Next::Stay,
            Some(Progress::GivenUp(text)) => {
                return Next::Revert(format!(
                    "the old primary could not be fenced, which fencing = \"required\" asks for: {text}"
                ));
            }
            Some(Progress::Done(_)) | None => {}
        }
    }
    for errand in errands {
        let name = state.member(errand.node).map(|member| member.spec.name.clone());
        if let (Some(name), Some(Report::At(at))) = (name, errand.report())
            && let Some(frozen) = plan.frozen.get_mut(&name)
        {
            frozen.at = Some(*at);
        }
    }
    match elect(state, plan) {
        Err(why) => Next::Revert(why),
        Ok(elected) => {
            plan.candidate = Some(elected.candidate);
            plan.least = plan.least.max(elected.least);
            plan.source = elected.source;
            Next::Go(if plan.source.is_some() { Step::Forward } else { Step::Prepare })
        }
    }
}

/// The candidate is the primary when it is seen to be.
fn promote(state: &mut State, operation: &mut Operation, errands: &[Errand]) -> Next {
    let plan = &operation.plan;
    let Some(member) = plan.candidate.as_ref().and_then(|name| state.named(name)) else {
        // Whether it was promoted nobody can tell any more.
        return Next::Drop("the candidate was removed".to_owned());
    };
    let id = member.id;
    let leads = member.answers() && member.claims(state.system) && sole_on_top(state, plan, id);
    if leads {
        state.trigger(Trigger::Done);
        claim::route(state, id);
        // It is nobody's standby any more.
        state.owe(id, |debt| debt.conninfo = None);
        return Next::Go(Step::Follow);
    }
    if matches!(errands.first().and_then(Errand::report), Some(Report::Promoted { .. })) && !leads {
        let at = state.now;
        if member.tried_at.is_none_or(|tried| at.saturating_sub(tried) >= LOOK) {
            state.act(Action::Probe { node: id, at });
        }
        state.wake(at + LOOK);
    }
    if member_given_up(state, id) {
        return instead(state, &mut operation.plan);
    }
    Next::Stay
}

/// It is on a timeline of its own above the plan's.
fn sole_on_top(state: &State, plan: &Plan, id: NodeId) -> bool {
    state.member(id).is_some_and(|member| member.timeline() > plan.timeline) && claim::sole(state, id)
}

/// Pace of the looks at a candidate that says it is promoted.
const LOOK: Duration = Duration::from_millis(50);

/// Only an operator can say of a candidate that does not answer that it will not be the primary after all.
fn member_given_up(state: &State, id: NodeId) -> bool {
    state.member(id).is_some_and(|member| member.fenced == Some(Fence::Operator))
}

/// Another candidate, because an operator has fenced the one before.
fn instead(state: &mut State, plan: &mut Plan) -> Next {
    let before = plan.candidate.take();
    if let Some(before) = &before {
        plan.frozen.remove(before);
    }
    match elect(state, plan) {
        Ok(elected) => {
            state.note(
                journal::Kind::Plan,
                None,
                format!("{} instead, because an operator fenced the candidate", elected.candidate),
            );
            plan.candidate = Some(elected.candidate);
            plan.source = elected.source;
            Next::Go(if plan.source.is_some() { Step::Forward } else { Step::Prepare })
        }
        Err(why) => Next::Revert(why),
    }
}

fn follow(state: &mut State, plan: &Plan, errands: &[Errand]) -> Next {
    let candidate = plan.candidate.as_ref().and_then(|name| state.named(name));
    if state.primary.is_none() {
        // After a restart of pgherd, or the new primary is lost as well.
        let Some(member) = candidate else { return Next::Drop("the new primary was removed".to_owned()) };
        let (id, threshold) = (member.id, state.policy.threshold);
        if member.answers() && member.claims(state.system) && sole_on_top(state, plan, id) {
            claim::route(state, id);
        } else if member.suspicion.condemns_primary(threshold) || member.role() == Role::Standby {
            state.lost = Some(id);
            return Next::Drop("the new primary is lost as well".to_owned());
        }
        return Next::Stay;
    }
    if state.primary != candidate.map(|member| member.id) {
        return Next::Drop("another primary is routed".to_owned());
    }
    if !errands.iter().all(Errand::is_settled) {
        return Next::Stay;
    }
    for errand in errands {
        if let Progress::GivenUp(text) = &errand.state {
            let text = format!("{} was not done: {text}", errand.deed.word());
            state.note(journal::Kind::Plan, Some(errand.node), text);
        }
    }
    Next::End
}

/// Before anybody was promoted by us: somebody else may have been, or the old primary is back.
fn overtaken(state: &State, operation: &Operation) -> Next {
    let plan = &operation.plan;
    let other = state
        .members
        .iter()
        .find(|member| member.answers() && member.claims(state.system) && member.timeline() > plan.timeline);
    if let Some(member) = other {
        return Next::Revert(format!("{} was promoted by somebody else", member.spec.name));
    }
    let old = plan.old.as_ref().and_then(|name| state.named(name));
    let is_back = old.is_some_and(|member| {
        member.answers() && member.role() == Role::Primary && member.timeline() == plan.timeline
    });
    if plan.kind == Kind::Failover && is_back {
        return Next::Revert("the old primary answers again".to_owned());
    }
    Next::Stay
}
