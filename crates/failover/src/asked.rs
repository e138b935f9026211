//! What an operator asks for.

use crate::candidate;
use crate::conduct;
use crate::event::Request;
use crate::journal::Kind;
use crate::member::Member;
use crate::plan;
use crate::state::State;
use pgherd_topology::node::NodeId;
use std::sync::Arc;

/// Does it, or says why not.
pub(crate) fn asked(state: &mut State, request: Request) {
    let refused = match request {
        Request::Pause(paused) => {
            if state.paused != paused {
                state.paused = paused;
                let text = if paused { "paused by an operator" } else { "resumed by an operator" };
                state.note(Kind::Changed, None, text);
            }
            None
        }
        Request::Cancel => conduct::cancel(state),
        Request::Switchover { to } => switchover(state, to).err(),
        Request::Failover { to, allow_loss } => failover(state, to, allow_loss).err(),
    };
    if let Some(text) = refused {
        state.note(Kind::Refused, None, text);
    }
}

fn is_free(state: &State) -> Result<(), String> {
    if !state.policy.acts {
        return Err("this pgherd only advises".to_owned());
    }
    match state.plan() {
        Some(plan) => Err(format!("a plan is under way: {}", plan.sentence())),
        None => Ok(()),
    }
}

/// The one that was asked for, or the best; it must be fit.
fn choose(state: &State, to: Option<NodeId>, minds_lag: bool) -> Result<Arc<str>, String> {
    let plan = candidate::plan(state);
    let name = |id| state.member(id).map_or_else(|| "?".into(), |member: &Member| member.spec.name.clone());
    let Some(wanted) = to else {
        return plan.candidate.map(name).ok_or_else(|| plan.sentence(state));
    };
    let unfit = plan.unfit.iter().find(|(id, _)| *id == wanted);
    match unfit {
        _ if plan.order.contains(&wanted) => Ok(name(wanted)),
        Some((_, candidate::Unfit::Behind(_))) if !minds_lag => Ok(name(wanted)),
        Some((_, why)) => Err(format!("{} cannot be promoted: it {why}", name(wanted))),
        None => Err(format!("{} is the primary", name(wanted))),
    }
}

fn switchover(state: &mut State, to: Option<NodeId>) -> Result<(), String> {
    is_free(state)?;
    let primary = state.primary.and_then(|id| state.member(id)).filter(|member| member.answers());
    let Some(primary) = primary else {
        return Err("there is no primary that answers: that would be a failover".to_owned());
    };
    let old = primary.spec.name.clone();
    let candidate = choose(state, to, true)?;
    let streams = state
        .named(&candidate)
        .and_then(|member| member.facts.as_ref())
        .is_some_and(|facts| facts.receiver.as_ref().is_some_and(|receiver| receiver.streams()));
    if !streams {
        return Err(format!("{candidate} does not receive from {old}"));
    }
    let reason = "asked for by an operator".to_owned();
    conduct::begin(state, plan::Kind::Switchover, Some(candidate), false, reason);
    Ok(())
}

fn failover(state: &mut State, to: Option<NodeId>, allow_loss: bool) -> Result<(), String> {
    is_free(state)?;
    if let Some(primary) = state.primary.and_then(|id| state.member(id)) {
        return Err(format!("{} is the primary and answers: that would be a switchover", primary.spec.name));
    }
    let candidate = match to {
        Some(_) => Some(choose(state, to, !allow_loss)?),
        None => None,
    };
    let reason = "asked for by an operator".to_owned();
    conduct::begin(state, plan::Kind::Failover, candidate, allow_loss, reason);
    Ok(())
}
