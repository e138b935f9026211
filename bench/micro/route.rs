//! Classifying a statement and choosing a node.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use pgherd_route::choose::{Decision, Policy, choose};
use pgherd_route::classify::classify;
use pgherd_route::intent::{Intent, Routing};
use pgherd_topology::lsn::{Lsn, Timeline};
use pgherd_topology::node::{Address, Node, NodeId, Role, Tags};
use pgherd_topology::snapshot::Snapshot;

use crate::case::Case;

/// Cases of the routing floor.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::hot("route: classify pgbench's select", || {
            black_box(classify(black_box(b"SELECT abalance FROM pgbench_accounts WHERE aid = 123456;")));
        }),
        Case::hot("route: classify pgbench's update", || {
            let update = b"UPDATE pgbench_accounts SET abalance = abalance + -4321 WHERE aid = 123456;";
            black_box(classify(black_box(update)));
        }),
        chooser("route: choose the primary of three nodes", Routing::Primary),
        chooser("route: choose one of two replicas by weight", Routing::Replicas),
    ]
}

fn chooser(name: &'static str, routing: Routing) -> Case {
    let nodes = (0..3).map(|id| Arc::new(node(id))).collect();
    let snapshot = Snapshot { epoch: 1, primary: Some(NodeId(0)), nodes, ..Snapshot::default() };
    let (intent, policy) = (Intent { routing, ..Intent::default() }, Policy::default());
    let mut random = 1_u64;
    Case::hot(name, move || {
        random = random.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
        let decision = choose(black_box(&snapshot), black_box(&intent), &policy, random, |_| true);
        assert!(matches!(decision, Decision::Node { .. }), "no node was chosen");
    })
}

fn node(id: u16) -> Node {
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
        probe_time: None,
        version: 150_000,
    }
}
