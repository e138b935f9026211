//! The published topology: an immutable value with a number that only rises.

use crate::lsn::Timeline;
use crate::node::{Node, NodeId};
use std::sync::Arc;

/// What the data plane routes by. Built by the control plane, read once per transaction.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Number of this snapshot; strictly rising.
    pub epoch: u64,
    /// The only node that may be written to, if there is one.
    pub primary: Option<NodeId>,
    /// Timeline of the primary (the last known one while there is none).
    pub timeline: Timeline,
    /// PostgreSQL's database system identifier of this cluster; 0 while unknown.
    pub system: u64,
    /// All nodes, in order of their ids.
    pub nodes: Vec<Arc<Node>>,
    /// One word for what the control plane is doing (its phase), shown to clients that wait and to operators.
    pub phase: &'static str,
}

impl Snapshot {
    /// The node with this id, if it is still part of the cluster.
    pub fn node(&self, id: NodeId) -> Option<&Arc<Node>> {
        self.nodes.iter().find(|node| node.id == id)
    }

    /// The routed primary.
    pub fn primary_node(&self) -> Option<&Arc<Node>> {
        self.primary.and_then(|id| self.node(id))
    }

    /// Replicas that may be read from now.
    pub fn eligible_replicas(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.iter().filter(|node| node.ineligible.is_none() && self.primary != Some(node.id))
    }
}
