use super::*;
use pgherd_topology::lsn::{Lsn, Timeline};
use pgherd_topology::node::{Address, Ineligible, Role, Tags};
use proptest::prelude::*;

pub(crate) fn node(id: u16) -> Node {
    Node {
        id: NodeId(id),
        name: format!("pg{id}").into(),
        address: Address::Tcp("db".into(), 5432),
        role: if id == 0 { Role::Primary } else { Role::Standby },
        valid_since: 1,
        timeline: Timeline(1),
        received: Lsn(1),
        replayed: Lsn(1),
        lag_bytes: Some(0),
        lag_time: Some(Duration::ZERO),
        ineligible: None,
        weight: 100,
        region: "".into(),
        tags: Tags::default(),
        proven_at: None,
        probe_time: None,
        version: 150_000,
    }
}

pub(crate) fn cluster(primary: Option<u16>, nodes: Vec<Node>) -> Snapshot {
    Snapshot {
        epoch: 1,
        primary: primary.map(NodeId),
        nodes: nodes.into_iter().map(Arc::new).collect(),
        ..Snapshot::default()
    }
}

fn down(id: u16) -> Node {
    Node { ineligible: Some(Ineligible::Down("refused".into())), ..node(id) }
}

fn to(node: u16, reason: Reason, read_only: bool) -> Decision {
    Decision::Node { node: NodeId(node), reason, read_only }
}

fn intent(routing: Routing) -> Intent {
    Intent { routing, ..Intent::default() }
}

/// Every draw that can happen, as 64 evenly spaced random numbers.
fn all_draws(snapshot: &Snapshot, intent: &Intent, policy: &Policy) -> Vec<Decision> {
    let mut seen = Vec::new();
    for step in 0..64u64 {
        let decision = choose(snapshot, intent, policy, step << 58, |_| true);
        if !seen.contains(&decision) {
            seen.push(decision);
        }
    }
    seen
}

#[test]
fn before_the_first_snapshot_everybody_waits() {
    for routing in [Routing::Primary, Routing::Replicas, Routing::Any] {
        let decision = choose(&Snapshot::default(), &intent(routing), &Policy::default(), 0, |_| true);
        assert_eq!(decision, Decision::Wait(Want::Topology));
    }
}

#[test]
fn the_primary_port_knows_only_the_primary() {
    let policy = Policy::default();
    let with = cluster(Some(0), vec![node(0), node(1)]);
    let without = cluster(None, vec![node(0), node(1)]);
    for preference in Preference::ALL.map(Some).into_iter().chain([None]) {
        for class in [Class::Read, Class::Write, Class::Session, Class::Unknown] {
            let wish = Intent { preference, class, read_only: true, ..intent(Routing::Primary) };
            assert_eq!(choose(&with, &wish, &policy, u64::MAX, |_| true), to(0, Reason::Primary, false));
            assert_eq!(choose(&without, &wish, &policy, 0, |_| true), Decision::Wait(Want::Primary));
        }
    }
}

#[test]
fn the_replica_port_when_nobody_asked_for_anything() {
    let healthy = cluster(Some(0), vec![node(0), node(1)]);
    let no_replica = cluster(Some(0), vec![node(0), down(1)]);
    let nothing = cluster(None, vec![down(0), down(1)]);
    for default_preference in Preference::ALL {
        let policy = Policy { default_preference, ..Policy::default() };
        let first = if default_preference == Preference::Nearest { Reason::Nearest } else { Reason::Weight };
        let wish = intent(Routing::Replicas);
        assert_eq!(
            choose(&healthy, &wish, &policy, 7, |_| true),
            to(1, first, true),
            "{default_preference:?}"
        );
        let expected = match default_preference {
            Preference::Replica => Decision::Wait(Want::Replica),
            _ => to(0, Reason::NoReplica, true),
        };
        assert_eq!(choose(&no_replica, &wish, &policy, 7, |_| true), expected, "{default_preference:?}");
        assert_eq!(choose(&nothing, &wish, &policy, 7, |_| true), Decision::Wait(Want::Replica));
    }
}

#[test]
fn a_session_may_ask_on_the_replica_port() {
    let healthy = cluster(Some(0), vec![node(0), node(1)]);
    let orphaned = cluster(None, vec![down(0), node(1)]);
    let ask = |preference| Intent { preference: Some(preference), ..intent(Routing::Replicas) };
    let policy = Policy::default();
    for (snapshot, preference, expected) in [
        (&healthy, Preference::Primary, to(0, Reason::PrimaryPreferred, true)),
        (&healthy, Preference::PrimaryPreferred, to(0, Reason::PrimaryPreferred, true)),
        (&healthy, Preference::Replica, to(1, Reason::Weight, true)),
        (&orphaned, Preference::Primary, Decision::Wait(Want::Primary)),
        (&orphaned, Preference::PrimaryPreferred, to(1, Reason::NoPrimary, true)),
        (&orphaned, Preference::ReplicaPreferred, to(1, Reason::Weight, true)),
    ] {
        assert_eq!(choose(snapshot, &ask(preference), &policy, 3, |_| true), expected, "{preference:?}");
    }
    let write = Intent { class: Class::Write, ..intent(Routing::Replicas) };
    assert_eq!(choose(&healthy, &write, &policy, 0, |_| true), Decision::Refuse(Refusal::WriteOnReplicas));
}

#[test]
fn the_any_port_lets_only_read_only_transactions_go() {
    let policy = Policy::default();
    let healthy = cluster(Some(0), vec![node(0), node(1)]);
    let orphaned = cluster(None, vec![down(0), node(1)]);
    let any = intent(Routing::Any);
    let read_only = Intent { read_only: true, ..any };
    let serializable = Intent { serializable: true, ..read_only };
    for (snapshot, wish, expected) in [
        (&healthy, any, to(0, Reason::Primary, false)),
        (&healthy, read_only, to(1, Reason::Weight, false)),
        (&healthy, serializable, to(0, Reason::Primary, false)),
        (&orphaned, any, Decision::Wait(Want::Primary)),
        (&orphaned, read_only, to(1, Reason::Weight, false)),
        (&orphaned, serializable, Decision::Wait(Want::Primary)),
    ] {
        assert_eq!(choose(snapshot, &wish, &policy, 3, |_| true), expected, "{wish:?}");
    }
    let primary = Policy { default_preference: Preference::Primary, ..Policy::default() };
    assert_eq!(choose(&healthy, &read_only, &primary, 3, |_| true), to(0, Reason::PrimaryPreferred, false));
    let whole = Policy { split_read_only: false, ..Policy::default() };
    assert_eq!(choose(&healthy, &read_only, &whole, 3, |_| true), to(0, Reason::Primary, false));
    let read = Intent { class: Class::Read, ..any };
    assert_eq!(
        choose(&healthy, &read, &whole, 3, |_| true),
        to(1, Reason::Weight, false),
        "statements still go"
    );
}

#[test]
fn our_own_region_comes_first_and_others_when_it_is_empty() {
    let at = |id, region: &str| Node { region: region.into(), ..node(id) };
    let policy = Policy { region: "west".into(), ..Policy::default() };
    let mixed = cluster(Some(0), vec![node(0), at(1, "east"), at(2, "west"), at(3, "west")]);
    let wish = intent(Routing::Replicas);
    let seen = all_draws(&mixed, &wish, &policy);
    assert_eq!(seen, [to(2, Reason::Region, true), to(3, Reason::Region, true)]);
    let far = cluster(Some(0), vec![node(0), at(1, "east"), Node { weight: 0, ..at(2, "west") }]);
    assert_eq!(all_draws(&far, &wish, &policy), [to(1, Reason::Weight, true)]);
}

#[test]
fn nearest_is_who_answers_within_the_tolerance() {
    let at = |id, millis| Node { probe_time: Some(Duration::from_millis(millis)), ..node(id) };
    let policy = Policy { default_preference: Preference::Nearest, ..Policy::default() };
    let snapshot = cluster(Some(0), vec![at(0, 1), at(1, 2), at(2, 50), node(3)]);
    let read_only = Intent { read_only: true, ..intent(Routing::Any) };
    let near = [to(0, Reason::Nearest, false), to(1, Reason::Nearest, false)];
    assert_eq!(all_draws(&snapshot, &read_only, &policy), near);
    assert_eq!(
        all_draws(&snapshot, &intent(Routing::Replicas), &policy),
        [to(1, Reason::Nearest, true)],
        "the primary only stands in"
    );
    let unmeasured = cluster(Some(0), vec![down(0), node(1)]);
    assert_eq!(all_draws(&unmeasured, &read_only, &policy), [to(1, Reason::Nearest, false)]);
}

#[test]
fn a_replica_that_just_failed_is_avoided() {
    let snapshot = cluster(Some(0), vec![node(0), node(1), node(2)]);
    let wish = Intent { avoid: Some(NodeId(1)), ..intent(Routing::Replicas) };
    assert_eq!(all_draws(&snapshot, &wish, &Policy::default()), [to(2, Reason::Weight, true)]);
    let alone = cluster(Some(0), vec![node(0), node(1)]);
    assert_eq!(all_draws(&alone, &wish, &Policy::default()), [to(0, Reason::NoReplica, true)]);
}

proptest! {
    /// Drawing with evenly spaced random numbers gives each replica exactly its share, give or take one draw.
    #[test]
    fn weights_are_honoured(weights in proptest::collection::vec(0u32..5000, 1..8)) {
        let mut nodes = vec![node(0)];
        for (index, weight) in weights.iter().enumerate() {
            nodes.push(Node { weight: *weight, ..node(index as u16 + 1) });
        }
        let snapshot = cluster(Some(0), nodes);
        let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        let draws = 4096u64;
        let mut hits = vec![0u64; weights.len() + 1];
        for step in 0..draws {
            let random = step * (u64::MAX / draws) + u64::MAX / draws / 2;
            match choose(&snapshot, &intent(Routing::Replicas), &Policy::default(), random, |_| true) {
                Decision::Node { node, .. } => hits[usize::from(node.0)] += 1,
                other => prop_assert!(false, "{other:?}"),
            }
        }
        if total == 0 {
            prop_assert_eq!(hits[0], draws);
        } else {
            prop_assert_eq!(hits[0], 0);
            for (index, weight) in weights.iter().enumerate() {
                let share = draws as f64 * f64::from(*weight) / total as f64;
                prop_assert!((hits[index + 1] as f64 - share).abs() <= 1.0 + 1e-6, "{} for {share}", hits[index + 1]);
            }
        }
    }

    /// Whatever the cluster looks like: unproven statements never leave the primary, nobody lands on an ineligible
    /// replica, and extreme weights do not panic.
    #[test]
    fn never_anywhere_it_must_not(
        kinds in proptest::collection::vec((any::<bool>(), any::<u32>()), 0..6),
        primary in proptest::option::of(0u16..6),
        read_only: bool,
        port in 0..3u8,
        random: u64,
    ) {
        let nodes: Vec<Node> = kinds.iter().enumerate().map(|(index, (up, weight))| {
            let base = if *up { node(index as u16) } else { down(index as u16) };
            Node { weight: *weight, ..base }
        }).collect();
        let snapshot = cluster(primary, nodes);
        let routing = [Routing::Primary, Routing::Replicas, Routing::Any][usize::from(port)];
        let wish = Intent { read_only, ..intent(routing) };
        if let Decision::Node { node, .. } = choose(&snapshot, &wish, &Policy::default(), random, |_| true) {
            let found = snapshot.node(node).expect("chosen from the snapshot");
            prop_assert!(snapshot.primary == Some(node) || (found.ineligible.is_none() && found.weight > 0));
            if routing == Routing::Primary || (routing == Routing::Any && !read_only) {
                prop_assert_eq!(snapshot.primary, Some(node));
            }
        }
    }
}

#[test]
fn a_replica_that_is_not_fresh_gets_no_read() {
    let policy = Policy::default();
    let all = cluster(Some(0), vec![node(0), node(1), node(2)]);
    let orphaned = cluster(None, vec![down(0), node(1)]);
    let read = Intent { class: Class::Read, ..intent(Routing::Any) };
    let only_second = |id| id == NodeId(2);
    let ask = |snapshot, preference: Preference, fresh: &dyn Fn(NodeId) -> bool| {
        let wish = Intent { preference: Some(preference), ..read };
        choose(snapshot, &wish, &policy, 0, fresh)
    };
    for preference in [Preference::ReplicaPreferred, Preference::Replica] {
        assert_eq!(ask(&all, preference, &only_second), to(2, Reason::Weight, false));
    }
    assert_eq!(ask(&all, Preference::ReplicaPreferred, &|_| false), to(0, Reason::NotFresh, false));
    assert_eq!(ask(&all, Preference::Nearest, &|_| false), to(0, Reason::Nearest, false));
    assert_eq!(ask(&all, Preference::Replica, &|_| false), Decision::Wait(Want::Fresh));
    assert_eq!(ask(&orphaned, Preference::ReplicaPreferred, &|_| false), Decision::Wait(Want::Fresh));
}
