//! Classifying a statement and choosing a node.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use pgherd_route::choose::{Decision, Policy, choose};
use pgherd_route::classify::{Context, classify};
use pgherd_route::digest::{Digest, Row};
use pgherd_route::intent::{Intent, Routing};
use pgherd_topology::lsn::{Lsn, Timeline};
use pgherd_topology::node::{Address, Node, NodeId, Role, Tags};
use pgherd_topology::snapshot::Snapshot;

use crate::case::Case;

/// Cases of the routing floor.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        classifier("route: classify pgbench's select", SELECT),
        classifier("route: classify pgbench's update", UPDATE),
        classifier("route: classify a join of 400 bytes", JOIN),
        classifier("route: classify an INSERT of one row", INSERT),
        Case::hot("route: classify an IN list of 1000", {
            let list: Vec<_> = (0..1000).map(|id| (id * 7919).to_string()).collect();
            let text = format!("SELECT a, b FROM t WHERE id IN ({})", list.join(", "));
            let digest = digest();
            move || {
                black_box(classify(black_box(text.as_bytes()), &Context::new(&digest)));
            }
        }),
        chooser("route: choose the primary of three nodes", Routing::Primary),
        chooser("route: choose one of two replicas by weight", Routing::Replicas),
    ]
}

const SELECT: &str = "SELECT abalance FROM pgbench_accounts WHERE aid = 123456;";

const UPDATE: &str = "UPDATE pgbench_accounts SET abalance = abalance + -4321 WHERE aid = 123456;";

const INSERT: &str = "INSERT INTO \"orders\" (\"customer_id\", \"state\", \"total\", \"created_at\", \"note\") VALUES \
    (12345, 'pending', 99.95, '2024-05-01 12:00:00', 'please ring twice') RETURNING \"id\"";

/// As object mappers write it.
const JOIN: &str = "SELECT \"orders\".\"id\" AS t0_r0, \"orders\".\"customer_id\" AS t0_r1, \"orders\".\"state\" AS t0_r2, \
    \"orders\".\"created_at\" AS t0_r3, \"customers\".\"id\" AS t1_r0, \"customers\".\"name\" AS t1_r1 FROM \"orders\" \
    LEFT OUTER JOIN \"customers\" ON \"customers\".\"id\" = \"orders\".\"customer_id\" WHERE \"orders\".\"state\" = 'pending' AND \
    lower(\"customers\".\"name\") = 'smith' ORDER BY \"orders\".\"created_at\" DESC LIMIT 25 OFFSET 50";

/// A database with a few hundred names of its own.
fn digest() -> Digest {
    let names: Vec<_> = (0..300).map(|number| format!("function_{number}")).collect();
    let rows = names.iter().enumerate().map(|(number, name)| Row {
        name,
        kind: "function",
        reason: if number % 3 == 0 { "volatile" } else { "harmless" },
    });
    Digest::new(1, rows)
}

fn classifier(name: &'static str, text: &'static str) -> Case {
    let digest = digest();
    Case::hot(name, move || {
        black_box(classify(black_box(text.as_bytes()), &Context::new(&digest)));
    })
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
        proven_at: None,
        probe_time: None,
        version: 150_000,
    }
}
