//! Who is the routed primary. Roles are discovered; in doubt nobody is routed, with the reason written down.

use crate::candidate;
use crate::conduct::{self, conduct};
use crate::eligibility;
use crate::event::Action;
use crate::journal::Kind;
use crate::member::{Fence, Member};
use crate::phase::{Phase, Trigger};
use crate::plan;
use crate::state::State;
use pgherd_topology::lsn::Timeline;
use pgherd_topology::node::{NodeId, Role};

/// Brings the route in line with what was observed.
pub(crate) fn govern(state: &mut State) {
    state.round_done |=
        !state.members.is_empty() && state.members.iter().all(|member| member.tried_at.is_some());
    if !state.round_done {
        return;
    }
    let phase = state.phase;
    identify(state);
    witness(state);
    unfence(state);
    hold(state);
    set_out(state);
    conduct(state);
    if state.primary.is_none() && state.system != 0 && state.operation.is_none() {
        seek(state);
    }
    fence_rivals(state);
    suspect(state);
    if state.phase != phase && state.phase != Phase::Steady {
        look_around(state);
    }
}

/// Which database system this cluster is, as long as nothing has ever been routed: the one that all agree on.
fn identify(state: &mut State) {
    if state.settled {
        return;
    }
    let known = || state.members.iter().filter_map(|member| member.facts.as_ref());
    let Some(first) = known().next().map(|facts| facts.system) else {
        return state.refuse("no node has answered yet".to_owned());
    };
    if known().all(|facts| facts.system == first) {
        state.timeline = known().map(|facts| facts.timeline).max().unwrap_or_default();
        state.system = first;
    } else {
        state.system = 0;
        state.refuse("the nodes belong to different database systems, none is routed".to_owned());
    }
}

/// Remembers who was seen as a standby of the current timeline: what it may promote itself to descends from ours.
fn witness(state: &mut State) {
    let (system, timeline) = (state.system, state.timeline);
    for member in &mut state.members {
        if member.role() == Role::Standby && member.belongs_to(system) && member.timeline() == timeline {
            member.stood_by = Some(timeline);
        }
    }
}

/// A rival seen as a standby of the current timeline is a rival no more.
fn unfence(state: &mut State) {
    for index in 0..state.members.len() {
        let member = &state.members[index];
        let joined = member.fenced == Some(Fence::Rival)
            && member.answers()
            && member.role() == Role::Standby
            && member.belongs_to(state.system)
            && member.timeline() == state.timeline;
        if joined {
            let id = member.id;
            state.members[index].fenced = None;
            state.note(Kind::Unfenced, Some(id), format!("is a standby of timeline {} now", state.timeline));
        }
    }
}

/// The primary is lost, and no guard stands in the way: a plan of our own.
fn set_out(state: &mut State) {
    let free = state.policy.acts && state.operation.is_none() && !state.paused;
    let Some(lost) = state.lost.filter(|_| free && state.primary.is_none()) else { return };
    if state.now < state.not_before {
        return state.wake(state.not_before);
    }
    if candidate::plan(state).guard.is_some() || heir(state) {
        return;
    }
    let text = state.member(lost).map_or_else(
        || "the primary was removed".to_owned(),
        |member| format!("{} does not answer: {}", member.spec.name, member.suspicion.text()),
    );
    conduct::begin(state, plan::Kind::Failover, None, false, text);
}

/// Somebody is there who may be routed without our doing anything.
fn heir(state: &State) -> bool {
    state
        .members
        .iter()
        .any(|member| member.answers() && member.claims(state.system) && member.timeline() >= state.timeline)
}

/// Nobody else takes writes on a timeline as new as this node's.
pub(crate) fn sole(state: &State, id: NodeId) -> bool {
    let timeline = state.member(id).map_or(Timeline::default(), |member| member.timeline());
    let rival =
        |member: &Member| member.id != id && member.claims(state.system) && member.timeline() >= timeline;
    !state.members.iter().any(rival)
}

/// Is the routed primary still the one?
fn hold(state: &mut State) {
    let Some(id) = state.primary else { return };
    let reason = match state.member(id) {
        None => "was removed".to_owned(),
        Some(member) => match &member.facts {
            _ if member.fenced.is_some() => "was fenced".to_owned(),
            None => "has another address".to_owned(),
            _ if member.suspicion.condemns_primary(state.policy.threshold) => {
                format!(
                    "{} failed probes in a row, last: {}",
                    member.suspicion.failures,
                    member.suspicion.text()
                )
            }
            Some(facts) if facts.in_recovery => "is in recovery".to_owned(),
            Some(facts) if facts.system != state.system => "belongs to another database system".to_owned(),
            Some(facts) if facts.timeline < state.timeline => {
                format!("fell back to timeline {} from {}", facts.timeline, state.timeline)
            }
            Some(facts) => {
                let timeline = facts.timeline;
                match successor(state, id, timeline) {
                    None => return advance(state, timeline),
                    Some((heir, newer)) => format!("{heir} was promoted to timeline {newer}"),
                }
            }
        },
    };
    lose(state, id, &reason);
}

/// The same primary on a newer timeline (it was restored and recovered in place).
fn advance(state: &mut State, timeline: Timeline) {
    if timeline > state.timeline {
        state.timeline = timeline;
        state.trail.clear();
    }
}

/// A node that answers out of recovery on a newer timeline and was seen by us as a standby of the current one: it was
/// promoted by somebody else, and its timeline descends from ours.
fn successor(state: &State, primary: NodeId, timeline: Timeline) -> Option<(String, Timeline)> {
    state
        .members
        .iter()
        .filter(|member| member.id != primary && member.claims(state.system) && member.answers())
        .filter(|member| member.timeline() > timeline && member.stood_by == Some(state.timeline))
        .max_by_key(|member| member.timeline())
        .map(|member| (member.spec.name.to_string(), member.timeline()))
}

pub(crate) fn lose(state: &mut State, id: NodeId, reason: &str) {
    state.primary = None;
    state.primary_since = state.now;
    state.lost = Some(id);
    state.advice = None;
    state.refusal = None;
    state.trigger(Trigger::Lost);
    state.note(Kind::Lost, Some(id), reason);
}

/// Looks for the one node that may be routed.
fn seek(state: &mut State) {
    // Somebody following a newer timeline proves that its primary exists, though we may not see it.
    let floor = state
        .members
        .iter()
        .filter(|member| member.fenced.is_none() && member.belongs_to(state.system) && member.answers())
        .map(|member| member.timeline())
        .fold(state.timeline, Timeline::max);
    let claims = state.members.iter().filter(|member| member.claims(state.system));
    let top: Vec<_> = claims.filter(|member| member.timeline() >= floor).collect();
    // A claimant may be newer than the floor only by not answering now; the newest counts all the same.
    let newest = top.iter().map(|member| member.timeline()).max();
    let mut heirs = top.iter().filter(|member| Some(member.timeline()) == newest);
    match (heirs.next(), heirs.next()) {
        (None, _) => {
            let below = state.members.iter().find(|member| member.claims(state.system));
            let text = match below {
                Some(member) => format!(
                    "{} is out of recovery on timeline {}, but timeline {floor} exists",
                    member.spec.name,
                    member.timeline()
                ),
                None => nobody(state),
            };
            stay_without(state, text);
        }
        (Some(only), None) if only.answers() => {
            let id = only.id;
            route(state, id);
        }
        (Some(only), None) => {
            let text = format!("{} does not answer: {}", only.spec.name, only.suspicion.text());
            stay_without(state, text);
        }
        (Some(one), Some(other)) => {
            let text = format!(
                "{} and {} are both out of recovery on timeline {}; none is routed until one is a standby or fenced",
                one.spec.name,
                other.spec.name,
                one.timeline()
            );
            stay_without(state, text);
        }
    }
}

fn nobody(state: &State) -> String {
    let mut known = state.members.iter().filter_map(|member| member.facts.as_ref());
    match known.clone().next() {
        Some(first) if known.all(|facts| facts.system != state.system) => format!(
            "every node that answers belongs to another database system ({}) than the one that was routed before ({})",
            first.system, state.system
        ),
        _ => "no node is out of recovery".to_owned(),
    }
}

pub(crate) fn route(state: &mut State, id: NodeId) {
    let Some(index) = state.index(id) else { return };
    let Some(facts) = &state.members[index].facts else { return };
    // The question left before the answer came; a proof of freshness must not be younger than that.
    let answered_at = state.members[index].answered_at.unwrap_or(state.now);
    let (timeline, flushed, at) =
        (facts.timeline, facts.received, answered_at.saturating_sub(facts.round_trip));
    let ended = (state.settled && timeline > state.timeline)
        .then(|| (state.timeline, state.trail.newest().unwrap_or_default()));
    if state.lost != Some(id) || timeline != state.timeline {
        state.trail.clear();
    }
    state.trail.note(at, flushed);
    state.members[index].held = false;
    // Standbys seen before their primary get their lag now.
    for index in 0..state.members.len() {
        let at = state.members[index].answered_at.unwrap_or(state.now);
        eligibility::measure(state, index, at);
    }
    state.timeline = timeline;
    state.settled = true;
    state.primary = Some(id);
    state.primary_since = state.now;
    state.lost = None;
    state.refusal = None;
    state.advice = None;
    state.trigger(Trigger::Found);
    state.note(Kind::Routed, Some(id), format!("routed primary on timeline {timeline}"));
    if let Some(line) = state.output.journal.last_mut() {
        line.ended = ended;
    }
}

/// Nobody is routed: says why, and what would be done if this pgherd acted.
fn stay_without(state: &mut State, text: String) {
    state.refuse(text);
    if state.lost.is_some() {
        let plan = candidate::plan(state);
        let advice = plan.sentence(state);
        if state.advice.as_deref() != Some(&*advice) {
            state.note(Kind::Advice, plan.candidate, advice.clone());
            state.advice = Some(advice);
        }
    }
    state.trigger(Trigger::Refused);
}

/// Whoever is out of recovery without being routed is kept from clients until it is seen as a standby. While nothing is
/// routed only those on an older timeline are: among the others the true one may be.
fn fence_rivals(state: &mut State) {
    if !state.settled {
        return;
    }
    for index in 0..state.members.len() {
        let member = &state.members[index];
        let rival = state.primary != Some(member.id) && member.claims(state.system);
        if !rival || (state.primary.is_none() && member.timeline() >= state.timeline) {
            continue;
        }
        let (id, timeline) = (member.id, member.timeline());
        let text = if timeline < state.timeline {
            format!("out of recovery on timeline {timeline}, the cluster is on {}", state.timeline)
        } else if timeline == state.timeline {
            format!("a second node out of recovery on timeline {timeline}")
        } else {
            format!(
                "out of recovery on timeline {timeline}, which is not known to descend from {}",
                state.timeline
            )
        };
        state.members[index].fenced = Some(Fence::Rival);
        state.members[index].renew = true;
        state.note(Kind::Fenced, Some(id), text);
    }
}

fn suspect(state: &mut State) {
    let Some(member) = state.primary.and_then(|id| state.member(id)) else { return };
    let accused = member.suspicion.last.as_ref().is_some_and(|failure| failure.kind.accuses_primary());
    state.trigger(if accused { Trigger::Missed } else { Trigger::Answered });
}

/// Trouble with the primary: everybody is asked now.
fn look_around(state: &mut State) {
    let (at, primary) = (state.now, state.primary);
    let others = state.members.iter().map(|member| member.id).filter(|id| Some(*id) != primary);
    state.output.actions.extend(others.map(|node| Action::Probe { node, at }));
}
