//! Carrying a plan out: which deeds its step needs, and where it goes when they are done.

use crate::deed::{Deed, Ended};
use crate::errand::{Errand, Taken};
use crate::event::Action;
use crate::journal;
use crate::member::Member;
use crate::phase::{Phase, Trigger};
use crate::plan::{Frozen, Kind, Plan, Step};
use crate::state::State;
use crate::steps;
use pgherd_topology::node::{Address, Role};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Pause before the next attempt of its own after a plan was given up; each further one waits as much longer.
const PAUSE: Duration = Duration::from_secs(10);

/// Attempts after which the pause does not grow any more.
const MAX_PAUSES: u32 = 6;

/// A plan at work.
#[derive(Debug)]
pub(crate) struct Operation {
    pub(crate) plan: Plan,
    /// When the present step began, for this process.
    pub(crate) since: Duration,
    /// What the present step asks for; `None` until it was entered.
    pub(crate) errands: Option<Vec<Errand>>,
}

/// Where a step leads.
pub(crate) enum Next {
    /// Nothing to do but wait.
    Stay,
    /// To another step.
    Go(Step),
    /// Back to how it was, because of this.
    Revert(String),
    /// It has become pointless, because of this; what it did stays.
    Drop(String),
    /// It is over.
    End,
}

/// A plan that an earlier process left behind goes on.
pub(crate) fn resume(plan: Plan) -> Operation {
    Operation { plan, since: Duration::ZERO, errands: None }
}

/// The phase in which a plan is at its step.
pub(crate) fn phase_of(plan: &Plan) -> Phase {
    match plan.step {
        Step::Quiesce | Step::CatchUp => Phase::Switching,
        Step::Freeze | Step::Forward => Phase::Electing,
        Step::Prepare | Step::Promote => Phase::Promoting,
        Step::Follow => Phase::Following,
        Step::Revert => Phase::Halted,
    }
}

/// Begins a plan; its first deed is asked for when it is on disk.
pub(crate) fn begin(
    state: &mut State,
    kind: Kind,
    candidate: Option<Arc<str>>,
    allow_loss: bool,
    reason: String,
) {
    let old = state.lost.or(state.primary).and_then(|id| state.member(id));
    let plan = Plan {
        id: state.plans + 1,
        kind,
        step: if kind == Kind::Switchover { Step::Quiesce } else { Step::Freeze },
        old: old.map(|member| member.spec.name.clone()),
        candidate,
        source: None,
        timeline: state.timeline,
        known: state.trail.newest().unwrap_or_default(),
        least: Default::default(),
        frozen: BTreeMap::new(),
        allow_loss,
        reason,
    };
    state.plans += 1;
    state.refusal = None;
    state.note(journal::Kind::Plan, None, format!("{} begins", plan.sentence()));
    state.trigger(Trigger::Asked);
    match kind {
        Kind::Failover => state.trigger(Trigger::Done),
        // New transactions wait; those that are open go on where they are.
        Kind::Switchover => {
            state.lost = state.primary.take();
            state.primary_since = state.now;
        }
    }
    state.operation = Some(Operation { plan, since: state.now, errands: None });
}

/// Takes the plan as far as it goes now.
pub(crate) fn conduct(state: &mut State) {
    // Each step is left at most once in a turn.
    for _ in Step::ALL {
        let Some(mut operation) = state.operation.take() else { return };
        if operation.errands.is_none() {
            enter(state, &mut operation);
        }
        let now = state.now;
        operation.errands.iter_mut().flatten().for_each(|errand| errand.age(now));
        let next = steps::next(state, &mut operation);
        match next {
            Next::Stay => return ask(state, operation),
            Next::Go(step) => go(state, operation, step),
            Next::Revert(why) => revert(state, operation, &why),
            Next::Drop(why) => {
                let text = format!("{} ends: {why}", operation.plan.sentence());
                return state.note(journal::Kind::Plan, None, text);
            }
            Next::End => return end(state, operation.plan),
        }
    }
}

/// An operator gives it up. `Some`: why that cannot be.
pub(crate) fn cancel(state: &mut State) -> Option<String> {
    let Some(operation) = state.operation.take() else { return Some("no plan is under way".to_owned()) };
    if !operation.plan.step.can_revert() {
        let step = operation.plan.step.word();
        state.operation = Some(operation);
        return Some(format!("the plan cannot be given up any more: {step}"));
    }
    revert(state, operation, "an operator gave it up");
    None
}

/// The end of a deed. One that nobody waits for any more changes nothing.
pub(crate) fn ended(state: &mut State, ended: &Ended) {
    let now = state.now;
    pay(state, ended);
    let Some(operation) = state.operation.as_mut().filter(|operation| operation.plan.id == ended.plan) else {
        return;
    };
    let mut errands = operation.errands.iter_mut().flatten();
    let failed = errands.any(|errand| match errand.take(now, ended) {
        Taken::Failed => true,
        Taken::NotMine | Taken::Quietly => false,
    });
    if failed {
        complain(state, ended);
    }
}

/// A reason is written down once, however often it comes.
pub(crate) fn complain(state: &mut State, ended: &Ended) {
    if let Err(text) = &ended.outcome {
        state.note(journal::Kind::Plan, Some(ended.node), format!("{} failed: {text}", ended.word));
    }
}

/// What a deed that succeeded has undone is owed no more.
pub(crate) fn pay(state: &mut State, ended: &Ended) {
    let undoes = |deed: &str| ended.outcome.is_ok() && ended.word == deed;
    if undoes("unfence") || undoes("prepare") {
        state.owe(ended.node, |debt| debt.held_down = false);
    }
    if undoes("thaw") || undoes("follow") {
        state.owe(ended.node, |debt| debt.conninfo = None);
        // It may be read from again, as soon as that is seen.
        let at = state.now;
        state.act(Action::Probe { node: ended.node, at });
    }
}

fn enter(state: &mut State, operation: &mut Operation) {
    operation.since = state.now;
    if operation.plan.step == Step::Freeze {
        name_standbys(state, &mut operation.plan);
    }
    let wanted = steps::wanted(state, &operation.plan);
    let now = state.now;
    let errand = |(node, deed, limit, until): steps::Wanted| {
        Errand::new(node, deed, limit, until.map(|time| now + time), now)
    };
    operation.errands = Some(wanted.into_iter().map(errand).collect());
}

/// It receives from another standby, and will go on to, whoever that receives from.
fn is_cascaded(state: &State, member: &Member) -> bool {
    let receiver = member.facts.as_ref().and_then(|facts| facts.receiver.as_ref());
    let Some((host, port)) =
        receiver.and_then(|receiver| receiver.sender_host.clone().zip(receiver.sender_port))
    else {
        return false;
    };
    let from = match host.starts_with('/') {
        true => Address::Unix(host, port),
        false => Address::Tcp(host, port),
    };
    let sends = |other: &&Member| other.role() == Role::Standby && other.spec.address == from;
    state.members.iter().filter(|other| other.id != member.id).any(|other| sends(&other))
}

/// All standbys that answer: to be written down, with where they receive from, before they are touched.
fn name_standbys(state: &mut State, plan: &mut Plan) {
    for member in state.members.iter().filter(|member| member.answers()) {
        if member.role() != Role::Standby || !member.belongs_to(state.system) || is_cascaded(state, member) {
            continue;
        }
        let debt = state.debts.entry(member.spec.name.clone()).or_default();
        let before = debt.conninfo.get_or_insert_with(|| member.conninfo.clone());
        let frozen = plan.frozen.entry(member.spec.name.clone());
        frozen.or_insert_with(|| Frozen { at: None, conninfo: before.clone() });
    }
}

fn go(state: &mut State, mut operation: Operation, step: Step) {
    operation.plan.step = step;
    operation.errands = None;
    state.note(journal::Kind::Plan, None, format!("{}: {}", operation.plan.kind.word(), step.word()));
    if step == Step::Prepare && state.phase == Phase::Electing {
        state.trigger(Trigger::Done);
    }
    state.operation = Some(operation);
}

fn revert(state: &mut State, operation: Operation, why: &str) {
    state.note(journal::Kind::Refused, None, format!("{} given up: {why}", operation.plan.kind.word()));
    if operation.plan.kind == Kind::Failover {
        state.failed_plans = (state.failed_plans + 1).min(MAX_PAUSES);
        state.not_before = state.now + PAUSE * state.failed_plans;
    }
    go(state, operation, Step::Revert);
}

fn end(state: &mut State, plan: Plan) {
    let done = plan.step == Step::Follow;
    if done {
        state.failed_plans = 0;
        state.not_before = state.now + state.policy.failover_block;
        state.trigger(Trigger::Done);
        state.note(journal::Kind::Plan, None, format!("{} is complete", plan.sentence()));
    } else {
        state.trigger(Trigger::Failed);
        state.note(journal::Kind::Plan, None, format!("{} is undone", plan.sentence()));
    }
}

fn ask(state: &mut State, mut operation: Operation) {
    let now = state.now;
    let plan = operation.plan.id;
    for errand in operation.errands.iter_mut().flatten() {
        if errand.is_due(now) {
            let (node, deed, limit) = (errand.node, errand.deed.clone(), errand.limit);
            if matches!(deed, Deed::Fence | Deed::Quiesce { .. }) {
                state.owe(node, |debt| debt.held_down = true);
            }
            state.act(Action::Do { plan, node, deed, limit });
        }
        if let Some(at) = errand.wakes_at() {
            state.wake(at);
        }
    }
    state.operation = Some(operation);
}
