//! From the state to the snapshot, and the decision whether it deserves a new epoch.

use crate::eligibility;
use crate::member::Member;
use crate::state::State;
use pgherd_topology::lsn::Lsn;
use pgherd_topology::node::{Ineligible, Node};
use pgherd_topology::snapshot::Snapshot;
use std::sync::Arc;

/// Publishes a new epoch when anything that routing looks at has changed, renews positions and lag inside the same epoch
/// when they are old enough, and otherwise says when that will be.
pub(crate) fn publish(state: &mut State) {
    if !state.round_done {
        return;
    }
    let renewed = state.members.iter().any(|member| member.renew);
    let fresh = build(state, state.epoch);
    let due = state.published_at + state.policy.refresh_interval;
    match &state.published {
        Some(old) if !renewed && same_route(old, &fresh) => {
            if same_positions(old, &fresh) {
                return;
            }
            if state.now < due && old.phase == fresh.phase {
                return state.wake(due);
            }
        }
        _ => return rise(state),
    }
    state.published_at = state.now;
    state.published = Some(fresh.clone());
    state.output.snapshot = Some(fresh);
}

fn rise(state: &mut State) {
    state.epoch += 1;
    for member in &mut state.members {
        if std::mem::take(&mut member.renew) {
            member.valid_since = state.epoch;
        }
    }
    let snapshot = build(state, state.epoch);
    state.published_at = state.now;
    state.published = Some(snapshot.clone());
    state.output.snapshot = Some(snapshot);
}

fn build(state: &State, epoch: u64) -> Snapshot {
    Snapshot {
        epoch,
        primary: state.primary,
        timeline: state.timeline,
        system: state.system,
        nodes: state.members.iter().map(|member| Arc::new(node(state, member))).collect(),
        phase: state.phase.word(),
    }
}

fn node(state: &State, member: &Member) -> Node {
    let facts = member.facts.as_ref();
    Node {
        id: member.id,
        name: member.spec.name.clone(),
        address: member.spec.address.clone(),
        role: member.role(),
        valid_since: member.valid_since,
        timeline: member.timeline(),
        received: facts.map_or(Lsn::default(), |facts| facts.received),
        replayed: facts.map_or(Lsn::default(), |facts| facts.replayed),
        lag_bytes: member.lag_bytes,
        lag_time: member.lag_time,
        proven_at: eligibility::proven_at(state, member),
        ineligible: member.ineligible.clone(),
        weight: member.spec.weight,
        region: member.spec.region.clone(),
        tags: member.spec.tags.clone(),
        probe_time: facts.map(|facts| facts.round_trip),
        version: facts.map_or(0, |facts| facts.version),
    }
}

/// Nothing that a router, a pool or a waiting client would act upon differs.
fn same_route(old: &Snapshot, new: &Snapshot) -> bool {
    old.primary == new.primary
        && old.timeline == new.timeline
        && old.system == new.system
        && old.nodes.len() == new.nodes.len()
        && old.nodes.iter().zip(&new.nodes).all(|(old, new)| same_node(old, new))
}

fn same_node(old: &Node, new: &Node) -> bool {
    let word = |node: &Node| node.ineligible.as_ref().map(Ineligible::word);
    old.id == new.id
        && old.name == new.name
        && old.address == new.address
        && old.role == new.role
        && old.timeline == new.timeline
        && word(old) == word(new)
        && old.weight == new.weight
        && old.region == new.region
        && old.tags == new.tags
        && old.version == new.version
}

fn same_positions(old: &Snapshot, new: &Snapshot) -> bool {
    old.phase == new.phase
        && old.nodes.iter().zip(&new.nodes).all(|(old, new)| {
            old.received == new.received
                && old.replayed == new.replayed
                && old.lag_bytes == new.lag_bytes
                && old.lag_time == new.lag_time
                && old.proven_at == new.proven_at
                && old.ineligible == new.ineligible
                && old.probe_time == new.probe_time
        })
}
