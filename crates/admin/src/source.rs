//! What this crate shows, and where it comes from.

use crate::action::{Asking, Denied, Doing, Order};
use crate::explain::{Explanation, Question};
use pgherd_topology::lsn::{Lsn, Timeline};
use pgherd_topology::node::{Role, Tags};
use pgherd_topology::snapshot::Snapshot;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// An explanation that is being made; the error is a sentence about what is wrong with the question.
pub type Explaining = Pin<Box<dyn Future<Output = Result<Explanation, String>> + Send>>;

/// The view of the running process; the binary implements it. No method may wait: they are called on the control
/// thread (except [`Source::metrics`]).
pub trait Source: Send + Sync + 'static {
    /// The topology that clients are routed by at this moment.
    fn snapshot(&self) -> Arc<Snapshot>;

    /// Whether clients can be let in: the listeners are bound and the topology has been seen once. It never means
    /// "there is a primary": a proxy without one makes its clients wait, and must stay in its load balancer for that.
    fn ready(&self) -> bool;

    /// Whether the control loop turns.
    fn alive(&self) -> bool;

    /// The cluster's name and what is known beyond the snapshot.
    fn facts(&self) -> Facts;

    /// All nodes as an operator sees them.
    fn members(&self) -> Vec<Member>;

    /// The metrics in the Prometheus text format. Called on a thread of its own, because it may be long.
    fn metrics(&self) -> String;

    /// The changes of primary that the journal holds, oldest first.
    fn history(&self) -> Vec<Change>;

    /// May this visitor change something?
    ///
    /// # Errors
    /// [`Denied`]: why not.
    fn admits(&self, asking: &Asking) -> Result<(), Denied>;

    /// Does something. What is given back may wait, for less than [`crate::guard::ACTION_TIME`].
    fn act(&self, order: Order) -> Doing;

    /// Where statements would go, and why. What is given back may wait, for less than
    /// [`crate::guard::REQUEST_TIME`].
    fn explain(&self, question: Question) -> Explaining;
}

/// What there is to say about the cluster as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The cluster's configured name.
    pub scope: String,
    /// When the present primary was first routed to; `None` without a primary.
    pub primary_since: Option<SystemTime>,
    /// Whether pgherd acts on a lost primary, or only tells what it would do.
    pub auto_failover: bool,
    /// An operator told pgherd to keep its hands off.
    pub paused: bool,
}

/// One node as an operator sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// The node's name.
    pub name: Arc<str>,
    /// What it is in the cluster.
    pub role: MemberRole,
    /// What its last answered probe showed: another primary than the routed one is a replica in Patroni's words only.
    pub seen: Role,
    /// In Patroni's words: `running`, `streaming`, `in archive recovery`, `starting`, `stopped`, `unknown`.
    pub state: String,
    /// Where its REST interface answers, when it has one.
    pub api_url: Option<String>,
    /// Host name, address, or socket directory.
    pub host: String,
    /// PostgreSQL's port.
    pub port: u16,
    /// Last seen timeline.
    pub timeline: Option<Timeline>,
    /// Last WAL position it received; `None` when unknown.
    pub received: Option<Lsn>,
    /// Last WAL position it replayed; `None` when unknown.
    pub replayed: Option<Lsn>,
    /// Bytes not received yet when it last answered; `None` when unknown.
    pub receive_lag: Option<u64>,
    /// Bytes not replayed yet when it last answered; `None` when unknown.
    pub replay_lag: Option<u64>,
    /// Replay delay; `None` when unknown.
    pub replay_delay: Option<Duration>,
    /// Operator's marks.
    pub tags: Tags,
    /// Which statements it gets.
    pub read: Read,
    /// Whether it may become primary.
    pub failover: Failover,
    /// Time since it last answered a probe; `None` when it never did.
    pub check_age: Option<Duration>,
    /// Server connections pgherd holds to it.
    pub connections: u32,
    /// The limit of those; `None` when there is none.
    pub connections_limit: Option<u32>,
}

/// What a member is in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberRole {
    /// The routed primary.
    Leader,
    /// Streams from another cluster and feeds this one.
    StandbyLeader,
    /// A commit waits for it.
    SyncStandby,
    /// A commit waits for some of these.
    QuorumStandby,
    /// Any other node.
    Replica,
}

/// Which statements a member gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// Reads and writes: the routed primary.
    Write,
    /// Reads.
    Eligible,
    /// Nothing.
    No {
        /// The first reason that applies, one clause.
        reason: String,
        /// Since when.
        since: Option<SystemTime>,
    },
}

/// Whether a member may become primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failover {
    /// It is the primary.
    Leader,
    /// It may; its place among the candidates, from 1.
    Candidate(u32),
    /// It may not, and why.
    No(String),
}

/// One change of primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The timeline that ended.
    pub timeline: Timeline,
    /// Where it ended.
    pub at: Lsn,
    /// Why, one clause.
    pub reason: String,
    /// When, if known.
    pub time: Option<SystemTime>,
    /// The primary afterwards, if known.
    pub leader: Option<String>,
}
