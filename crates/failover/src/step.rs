//! One step of the control plane.

use crate::asked;
use crate::claim;
use crate::conduct;
use crate::eligibility;
use crate::event::{Action, Change, Event, Hint, Output};
use crate::journal::Kind;
use crate::member::{Fence, Member};
use crate::observation::{Facts, Failure, Observation, Peer};
use crate::policy::Spec;
use crate::publish;
use crate::state::{MAX_MEMBERS, State};
use crate::sync::Quorum;
use crate::tend;
use pgherd_topology::node::{Address, Ineligible, NodeId, Role};
use std::time::Duration;

/// The least time between two probes of a node that the data plane complains about.
const HINT_GAP: Duration = Duration::from_millis(100);

/// A node is looked at this often within a limit on replay delay, so that who exceeds it is found out soon after.
const LOOKS_PER_LIMIT: u32 = 5;

/// The least time between two probes for the sake of such a limit, however tight it is.
const LIMIT_GAP: Duration = Duration::from_millis(200);

/// Takes one event in and decides. `now` must not go back.
pub fn step(state: &mut State, now: Duration, event: Event) -> Output {
    state.now = state.now.max(now);
    let mut looked_at = None;
    match event {
        Event::Observed(observation) => looked_at = observed(state, observation),
        Event::Hinted(node, hint) => hinted(state, node, hint),
        Event::Woke => {}
        Event::Added(spec) => added(state, spec, Kind::Added),
        Event::Removed(node) => removed(state, node),
        Event::Changed(node, change) => changed(state, node, change),
        Event::Reloaded(policy) => state.policy = policy,
        Event::Ended(ended) if ended.plan == 0 => tend::ended(state, &ended),
        Event::Ended(ended) => conduct::ended(state, &ended),
        Event::Asked(request) => asked::asked(state, request),
    }
    claim::govern(state);
    tend::tend(state);
    eligibility::judge_all(state);
    publish::publish(state);
    if let Some((node, sent)) = looked_at {
        pace(state, node, sent);
    }
    std::mem::take(&mut state.output)
}

/// Returns whom the observation was about, unless it is late or about nobody, so that the next probe can be set.
fn observed(state: &mut State, observation: Observation) -> Option<(NodeId, Duration)> {
    let index = state.index(observation.node)?;
    let member = &mut state.members[index];
    if member.tried_at.is_some_and(|tried| tried > observation.taken) {
        return None;
    }
    member.tried_at = Some(observation.taken);
    match observation.outcome {
        Ok(facts) => answered(state, index, observation.sent, observation.taken, facts),
        Err(failure) => failed(state, index, observation.taken, failure),
    }
    Some((observation.node, observation.sent))
}

fn failed(state: &mut State, index: usize, at: Duration, failure: Failure) {
    let threshold = state.policy.threshold;
    let routed = state.primary == Some(state.members[index].id);
    let down = |member: &Member| match routed {
        true => member.suspicion.condemns_primary(threshold),
        false => member.suspicion.excludes_replica(threshold),
    };
    let member = &mut state.members[index];
    let before = down(member);
    member.suspicion.note(at, failure);
    if down(member) && !before {
        let (id, text) = (member.id, member.suspicion.text());
        state.note(Kind::Down, Some(id), text.to_string());
    }
}

fn answered(state: &mut State, index: usize, sent: Duration, taken: Duration, mut facts: Facts) {
    let member = &mut state.members[index];
    let id = member.id;
    let silent = std::mem::take(&mut member.suspicion);
    let old = member.facts.take();
    if let Some(old) = &old {
        keep_timeline(old, &mut facts);
    }
    let mut lines: Vec<(Kind, String)> = Vec::new();
    let role = if facts.in_recovery { "standby" } else { "primary" };
    match &old {
        None => lines.push((Kind::Up, format!("answers: {role} on timeline {}", facts.timeline))),
        Some(old) => {
            if silent.failures > 0 {
                lines.push((Kind::Up, format!("answers again after {} failed probes", silent.failures)));
            }
            if old.in_recovery != facts.in_recovery {
                lines.push((Kind::Role, format!("is a {role} now")));
            }
            if old.started != facts.started {
                lines.push((Kind::Restarted, "its postmaster was started anew".to_owned()));
            }
            if old.timeline != facts.timeline {
                lines.push((Kind::Timeline, format!("timeline {} -> {}", old.timeline, facts.timeline)));
            }
            let other = old.system != facts.system;
            // A restart ends every older connection by itself, and whoever connected since must not pay for our noticing it late.
            // A timeline changes in the middle of a life only by following a promotion, which loses nothing anybody has read, or by
            // being promoted, which its role tells: once is enough.
            member.renew |= other || old.in_recovery != facts.in_recovery;
        }
    }
    let (flushed, peers) = (facts.received, facts.peers.clone());
    let leads = state.primary == Some(id) && !facts.in_recovery;
    if facts.in_recovery && !facts.conninfo.is_empty() {
        member.conninfo = facts.conninfo.clone();
    }
    if leads {
        state.quorum = Quorum::read(&facts.synchronous);
    }
    member.facts = Some(facts);
    member.answered_at = Some(taken);
    for (kind, text) in lines {
        state.note(kind, Some(id), text);
    }
    if leads {
        state.trail.note(sent, flushed);
        if state.policy.auto_discover && state.round_done {
            discover(state, &peers);
        }
    }
    eligibility::measure(state, index, taken);
}

/// A standby that is not streaming tells the timeline of its last restart point, which may be older than what it
/// already followed. Within one life of the server the timeline does not fall.
fn keep_timeline(old: &Facts, new: &mut Facts) {
    let streams = new.receiver.as_ref().is_some_and(|receiver| receiver.streams());
    if new.in_recovery
        && old.in_recovery
        && !streams
        && old.started == new.started
        && old.system == new.system
    {
        new.timeline = new.timeline.max(old.timeline);
    }
}

/// Standbys seen at the primary that are no nodes yet.
fn discover(state: &mut State, peers: &[Peer]) {
    for peer in peers {
        if state.members.len() >= MAX_MEMBERS {
            return;
        }
        let Some(host) =
            peer.address.as_ref().filter(|_| !peer.logical && peer.state.as_ref() == "streaming")
        else {
            continue;
        };
        // Base backups and WAL archivers stream too, and are no nodes.
        if peer.name.starts_with("pg_") {
            continue;
        }
        let port = state.policy.discovery_port;
        let known = state.members.iter().any(|member| {
            let here = member.facts.as_ref().and_then(|facts| facts.server_address.as_ref()) == Some(host);
            let Address::Tcp(name, at) = &member.spec.address else { return member.spec.name == peer.name };
            member.spec.name == peer.name || ((here || name == host) && *at == port)
        });
        if !known {
            let generic = peer.name.is_empty() || &*peer.name == "walreceiver";
            let address = Address::Tcp(host.clone(), port);
            let name = if generic { address.to_string() } else { peer.name.to_string() };
            added(state, Spec::new(&name, address), Kind::Discovered);
        }
    }
}

/// Evidence of the data plane counts as "look now", at most once per [`HINT_GAP`]; a node already under suspicion is
/// looked at fast enough.
fn hinted(state: &mut State, node: NodeId, _hint: Hint) {
    let now = state.now;
    let Some(index) = state.index(node) else { return };
    let member = &mut state.members[index];
    member.hinted_at = Some(now);
    if member.suspicion.is_empty() {
        let at = member.tried_at.map_or(now, |tried| now.max(tried + HINT_GAP));
        state.act(Action::Probe { node, at });
    }
}

fn added(state: &mut State, spec: Spec, kind: Kind) {
    let taken = state
        .members
        .iter()
        .find(|member| member.spec.name == spec.name || member.spec.address == spec.address);
    let refusal = match taken {
        Some(member) => Some(format!("{} at {} is {} already", spec.name, spec.address, member.spec.name)),
        None if state.members.len() >= MAX_MEMBERS || state.next_id == u16::MAX => {
            Some(format!("{} is one node too many", spec.name))
        }
        None => None,
    };
    if let Some(text) = refusal {
        return state.note(Kind::Refused, None, text);
    }
    let id = NodeId(state.next_id);
    state.next_id += 1;
    let (name, address) = (spec.name.clone(), spec.address.clone());
    state.members.push(Member::new(id, spec, state.now));
    state.note(kind, Some(id), format!("joins at {address}"));
    state.act(Action::Watch { node: id, name, address });
}

fn removed(state: &mut State, node: NodeId) {
    if let Some(index) = state.index(node) {
        state.note(Kind::Removed, Some(node), "leaves");
        state.members.remove(index);
        state.act(Action::Forget(node));
    }
}

fn changed(state: &mut State, node: NodeId, change: Change) {
    let now = state.now;
    let Some(index) = state.index(node) else { return };
    let member = &mut state.members[index];
    let text = match change {
        Change::Weight(weight) => {
            member.spec.weight = weight;
            format!("weight {weight}")
        }
        Change::Tags(tags) => {
            member.spec.tags = tags;
            format!("tags {:?}", member.spec.tags)
        }
        Change::Region(region) => {
            member.spec.region = region;
            format!("region {:?}", member.spec.region)
        }
        Change::Limits(limits) => {
            member.spec.limits = limits;
            format!("limits {limits:?}")
        }
        Change::Address(address) => {
            member.forget();
            member.spec.address = address;
            format!("address {}", member.spec.address)
        }
        Change::Draining(draining) => {
            member.draining = draining;
            member.held &= draining;
            if draining { "draining".to_owned() } else { "back in rotation".to_owned() }
        }
        Change::Fenced(fenced) => {
            member.fenced = fenced.then_some(Fence::Operator);
            member.renew |= fenced;
            if fenced { "fenced by an operator".to_owned() } else { "unfenced by an operator".to_owned() }
        }
    };
    state.note(Kind::Changed, Some(node), text);
    state.act(Action::Probe { node, at: now });
}

/// How often a node must be looked at for the sake of limits on replay delay: a standby for its own, the primary for the
/// tightest of all. Delay is measured between two samples of the primary's position, so that a burst after a quiet time
/// would look as old as the quiet time was long. The bound on staleness without a primary asks for the same: what was proven before the primary was lost
/// is all there is then.
fn watchfulness(state: &State, node: NodeId) -> Duration {
    let limit = |member: &Member| member.spec.limits.max_lag.or(state.policy.max_lag);
    let watched = state.members.iter().filter(|member| member.id == node || state.primary == Some(node));
    let tightest = watched.filter_map(limit).chain(state.policy.max_staleness).min().unwrap_or(Duration::MAX);
    (tightest / LOOKS_PER_LIMIT).max(LIMIT_GAP)
}

/// When a node that has just been looked at is looked at again.
fn pace(state: &mut State, node: NodeId, sent: Duration) {
    let Some(member) = state.member(node) else { return };
    let policy = &state.policy;
    let mending = matches!(
        member.ineligible,
        Some(
            Ineligible::LagTime(..)
                | Ineligible::LagBytes(..)
                | Ineligible::NotStreaming
                | Ineligible::OtherTimeline
                | Ineligible::Fenced
                | Ineligible::NotInRecovery
        )
    );
    let calm = state.phase == crate::phase::Phase::Steady
        && state.round_done
        && member.suspicion.is_empty()
        && !mending
        && member.role() != Role::Unknown;
    let missed_hint = member.suspicion.is_empty() && member.hinted_at.is_some_and(|hinted| hinted > sent);
    let wait = match (missed_hint, calm) {
        (true, _) => HINT_GAP,
        (false, true) => policy.calm_interval().min(watchfulness(state, node)),
        (false, false) => policy.fast_check_interval.min(policy.calm_interval()),
    };
    let at = state.now + wait;
    state.act(Action::Probe { node, at });
}
