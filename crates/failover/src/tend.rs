//! Small repairs that need no plan: a standby that receives nothing is pointed at the primary, a primary is relieved of a fence that was put up for a plan given up.

use crate::conduct;
use crate::deed::{Deed, Ended};
use crate::errand::{Errand, Progress, Taken};
use crate::event::Action;
use crate::journal::Kind;
use crate::state::State;
use pgherd_topology::lsn::Timeline;
use pgherd_topology::node::{NodeId, Role};
use std::time::Duration;

/// A standby must have received nothing for so long: it may be just starting.
const STRAY: Duration = Duration::from_secs(5);
/// One attempt.
const LIMIT: Duration = Duration::from_secs(5);
/// Pause between two attempts of one that does not help.
const AGAIN: Duration = Duration::from_secs(30);

/// Notes who receives nothing, and repairs what can be.
pub(crate) fn tend(state: &mut State) {
    note_strays(state);
    if !state.policy.acts || state.paused || state.operation.is_some() {
        state.chores.clear();
        return;
    }
    let now = state.now;
    state.chores.retain(|errand| match &errand.state {
        Progress::Done(_) | Progress::GivenUp(_) => errand.until.is_some_and(|until| now < until),
        Progress::Due(_) | Progress::Asked(_) => true,
    });
    for (node, deed) in needs(state) {
        if !state.chores.iter().any(|errand| errand.node == node) {
            state.note(Kind::Plan, Some(node), format!("{}, outside of a plan", deed.word()));
            state.chores.push(Errand::new(node, deed, LIMIT, Some(now + AGAIN), now));
        }
    }
    let mut chores = std::mem::take(&mut state.chores);
    for errand in &mut chores {
        errand.age(now);
        if errand.is_due(now) {
            let (node, deed) = (errand.node, errand.deed.clone());
            state.act(Action::Do { plan: 0, node, deed, limit: LIMIT });
        }
        if let Some(at) = errand.wakes_at() {
            state.wake(at);
        }
    }
    state.chores = chores;
}

/// The end of a chore's attempt.
pub(crate) fn ended(state: &mut State, ended: &Ended) {
    let now = state.now;
    let mut chores = state.chores.iter_mut();
    if chores.any(|errand| matches!(errand.take(now, ended), Taken::Failed)) {
        conduct::complain(state, ended);
    }
    conduct::pay(state, ended);
}

fn note_strays(state: &mut State) {
    let (now, system) = (state.now, state.system);
    // Where there is a primary nobody stays on an older timeline by itself, unless it receives from somebody who does.
    let least = state.primary.map_or(Timeline::default(), |_| state.timeline);
    for member in &mut state.members {
        let receives = member
            .facts
            .as_ref()
            .is_some_and(|facts| facts.receiver.as_ref().is_some_and(|receiver| receiver.streams()));
        let ours = member.answers() && member.role() == Role::Standby && member.belongs_to(system);
        let strays = ours && (!receives || member.timeline() < least);
        member.stray_since = strays.then(|| member.stray_since.unwrap_or(now));
    }
}

fn needs(state: &State) -> Vec<(NodeId, Deed)> {
    let Some(primary) = state.primary.and_then(|id| state.member(id)).filter(|member| member.answers())
    else {
        return Vec::new();
    };
    let stray = |since: Duration| state.now.saturating_sub(since) >= STRAY;
    let mut list: Vec<(NodeId, Deed)> = Vec::new();
    if state.debt(primary.id).is_some_and(|debt| debt.held_down) {
        list.push((primary.id, Deed::Unfence));
    }
    for member in &state.members {
        let owed = state.debt(member.id).and_then(|debt| debt.conninfo.clone());
        // One that was never told where to receive from does not want to.
        let conninfo = owed.or_else(|| Some(member.conninfo.clone()).filter(|told| !told.is_empty()));
        if let Some(conninfo) =
            conninfo.filter(|_| member.stray_since.is_some_and(stray) && member.fenced.is_none())
        {
            list.push((member.id, Deed::Follow { to: primary.id, conninfo }));
        }
    }
    list
}
