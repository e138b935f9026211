//! What goes into a step and what comes out of it.

use crate::deed::{Deed, Ended};
use crate::journal::Entry;
use crate::observation::Observation;
use crate::policy::{Limits, Policy, Spec};
use pgherd_topology::node::{Address, NodeId, Tags};
use pgherd_topology::snapshot::Snapshot;
use std::sync::Arc;
use std::time::Duration;

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A probe finished.
    Observed(Observation),
    /// The data plane saw something that is worth a probe.
    Hinted(NodeId, Hint),
    /// The time asked for by `wake_at` has come.
    Woke,
    /// A node is to join.
    Added(Spec),
    /// A node is to leave.
    Removed(NodeId),
    /// An operator changes a node.
    Changed(NodeId, Change),
    /// The settings were reloaded.
    Reloaded(Policy),
    /// A deed came to its end.
    Ended(Ended),
    /// An operator asks for something that concerns the whole cluster.
    Asked(Request),
}

/// What an operator may ask for. What cannot be done is refused in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Another primary, while there is one.
    Switchover {
        /// Which; `None`: the best.
        to: Option<NodeId>,
    },
    /// A primary, while there is none; guards against one that may live are passed over.
    Failover {
        /// Which; `None`: the best.
        to: Option<NodeId>,
        /// What nobody has any more may be lost, however much that is.
        allow_loss: bool,
    },
    /// Nothing is begun without an operator, or that again.
    Pause(bool),
    /// The plan under way is given up, if nobody was promoted yet.
    Cancel,
}

/// Evidence of the data plane. It hastens a probe and decides nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hint {
    /// A new connection was refused or timed out.
    Refused,
    /// A server connection broke.
    Reset,
    /// The believed primary answered 25006 (or 0A000 "during recovery").
    ReadOnly,
}

/// What an operator may change about a node at run time.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Share of the reads.
    Weight(u32),
    /// Marks.
    Tags(Tags),
    /// Region.
    Region(Arc<str>),
    /// Own lag limits.
    Limits(Limits),
    /// Another address; everything known about the node is forgotten.
    Address(Address),
    /// Take it out of rotation for reads, or put it back.
    Draining(bool),
    /// Keep clients away from it altogether, or end that.
    Fenced(bool),
}

/// What the driver is asked to do. Each is idempotent.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Start probing a node that has just joined.
    Watch {
        /// The new node.
        node: NodeId,
        /// Its name.
        name: Arc<str>,
        /// Where it listens.
        address: Address,
    },
    /// Stop probing a node that left.
    Forget(NodeId),
    /// Probe a node at this time (at once when it is past); replaces an earlier time.
    Probe {
        /// Whom.
        node: NodeId,
        /// When, since the controller's start.
        at: Duration,
    },
    /// Do something to a server. Only when what [`crate::state::State::memory`] says now is on disk; an answer, even that it failed, is expected as
    /// [`Event::Ended`].
    Do {
        /// Number of the plan it is for; 0: for none.
        plan: u64,
        /// The server.
        node: NodeId,
        /// What.
        deed: Deed,
        /// How long it may take.
        limit: Duration,
    },
}

/// What a step decided.
#[derive(Clone, Debug, Default)]
pub struct Output {
    /// To be published: a higher epoch than before, or the same one with newer positions only.
    pub snapshot: Option<Snapshot>,
    /// To be written down, in order.
    pub journal: Vec<Entry>,
    /// To be done.
    pub actions: Vec<Action>,
    /// When to call again with [`Event::Woke`] if nothing else happens.
    pub wake_at: Option<Duration>,
}
