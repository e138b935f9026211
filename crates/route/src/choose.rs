//! From an intent and a snapshot to one node, with the reason.

use crate::intent::{Class, Intent, Preference, Routing};
use pgherd_topology::node::{Node, NodeId};
use pgherd_topology::snapshot::Snapshot;
use std::sync::Arc;
use std::time::Duration;

/// The settings a choice depends on.
#[derive(Clone, Debug)]
pub struct Policy {
    /// `default_read_preference`: for transactions that ask for nothing themselves.
    pub default_preference: Preference,
    /// READ ONLY transactions leave the primary on a listener for any node (`split_in_transactions`).
    pub split_read_only: bool,
    /// Where this pgherd stands; its own region's replicas are preferred. Empty: no preference.
    pub region: Arc<str>,
    /// Without a primary, replicas are read from while what they have is at most this old (`max_staleness`); `None`: as long as they are eligible.
    pub max_staleness: Option<Duration>,
    /// A session's reads stay on the primary this long while no look tells the position of its last write (`read_after_write_window`); then the age of what a
    /// replica has decides ([`crate::floor::Need::awaits_look`]).
    pub write_window: Duration,
    /// Bytes of a unit that are read to find out what it is (`max_classified_query`). A longer one is not waited for: it counts as a write.
    pub max_classified: usize,
    /// Functions declared volatile that may run on replicas all the same (`volatile_functions`), by their names in the catalog.
    pub vouched: Arc<[String]>,
    /// Nodes whose probe took at most this much longer than the fastest count as equally near.
    pub nearest_tolerance: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            default_preference: Preference::ReplicaPreferred,
            split_read_only: true,
            region: Arc::from(""),
            max_staleness: None,
            write_window: Duration::from_secs(5),
            max_classified: 64 * 1024,
            vouched: Arc::from([]),
            nearest_tolerance: Duration::from_millis(2),
        }
    }
}

/// Why a node was chosen. Closed set: it is also a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Only the primary will do.
    Primary,
    /// The read preference asks for the primary.
    PrimaryPreferred,
    /// No replica is eligible, the preference allows the primary.
    NoReplica,
    /// Replicas are eligible, but none is known to have what the session must not miss.
    NotFresh,
    /// A replica refused the statement.
    Rerun,
    /// A replica, drawn by weight.
    Weight,
    /// A replica of our own region, drawn by weight.
    Region,
    /// Among the fastest to answer.
    Nearest,
    /// There is no primary, the preference allows a replica.
    NoPrimary,
}

impl Reason {
    /// Every reason, for registering one counter each.
    pub const ALL: [Reason; 9] = [
        Reason::Primary,
        Reason::PrimaryPreferred,
        Reason::NoReplica,
        Reason::NotFresh,
        Reason::Rerun,
        Reason::Weight,
        Reason::Region,
        Reason::Nearest,
        Reason::NoPrimary,
    ];

    /// The word used as metric label and in tables.
    pub fn word(self) -> &'static str {
        match self {
            Reason::Primary => "primary",
            Reason::PrimaryPreferred => "primary_preferred",
            Reason::NoReplica => "no_replica",
            Reason::NotFresh => "not_fresh",
            Reason::Rerun => "rerun",
            Reason::Weight => "weight",
            Reason::Region => "region",
            Reason::Nearest => "nearest",
            Reason::NoPrimary => "no_primary",
        }
    }
}

/// What a parked transaction waits for. Closed set: it is also a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Want {
    /// The first probes have not come back yet.
    Topology,
    /// No node may be written to now.
    Primary,
    /// No replica is eligible now and the preference excludes the primary, or there is none either.
    Replica,
    /// Replicas are eligible, but none is known to have what the session must not miss, and the primary is excluded or away.
    Fresh,
}

impl Want {
    /// The word used as metric label and in tables.
    pub fn word(self) -> &'static str {
        match self {
            Want::Topology => "topology",
            Want::Primary => "primary",
            Want::Replica => "replica",
            Want::Fresh => "fresh_replica",
        }
    }
}

/// Why no snapshot could ever satisfy an intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// A known write came through a replica listener: SQLSTATE 25006 (PostgreSQL documentation, appendix A).
    WriteOnReplicas,
}

impl Refusal {
    /// The word used as metric label and in tables.
    pub fn word(self) -> &'static str {
        match self {
            Refusal::WriteOnReplicas => "write_on_replicas",
        }
    }

    /// The SQLSTATE a client should see.
    pub fn sqlstate(self) -> &'static str {
        match self {
            Refusal::WriteOnReplicas => "25006",
        }
    }
}

/// Where a transaction goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// To this node.
    Node {
        /// The node.
        node: NodeId,
        /// Why this one.
        reason: Reason,
        /// The session promises to be read only although the node could write (the primary standing in on a replica
        /// listener): the server session must say `default_transaction_read_only = on`.
        read_only: bool,
    },
    /// Nowhere yet: park until the snapshot changes or the deadline passes.
    Wait(Want),
    /// Nowhere ever.
    Refuse(Refusal),
}

/// Chooses a node. `random` decides among equals and should be uniform over all of `u64`; `fresh` says whether a replica has what the session must
/// not miss, and is not too old ([`crate::staleness`]).
///
/// Two passes over the nodes at most, no allocation.
pub fn choose(
    snapshot: &Snapshot,
    intent: &Intent,
    policy: &Policy,
    random: u64,
    fresh: impl Fn(NodeId) -> bool,
) -> Decision {
    if snapshot.epoch == 0 {
        return Decision::Wait(Want::Topology);
    }
    let cluster = View { snapshot, intent, policy, random, fresh };
    match intent.routing {
        Routing::Primary => cluster.primary(Reason::Primary).unwrap_or(Decision::Wait(Want::Primary)),
        Routing::Replicas if intent.class == Class::Write => Decision::Refuse(Refusal::WriteOnReplicas),
        Routing::Replicas => match intent.preference {
            Some(preference) => cluster.read(preference),
            // The listener already says "replicas"; the default only decides what happens when there is none.
            None => cluster.read(match policy.default_preference {
                Preference::Primary | Preference::PrimaryPreferred => Preference::ReplicaPreferred,
                other => other,
            }),
        },
        Routing::Any if intent.may_leave_primary() && cluster.may_split() => {
            cluster.read(intent.preference.unwrap_or(policy.default_preference))
        }
        Routing::Any => cluster.primary(Reason::Primary).unwrap_or(Decision::Wait(Want::Primary)),
    }
}

struct View<'a, F> {
    snapshot: &'a Snapshot,
    intent: &'a Intent,
    policy: &'a Policy,
    random: u64,
    fresh: F,
}

impl<F: Fn(NodeId) -> bool> View<'_, F> {
    /// Statements that are classified as reads may always leave; transactions only if the settings let them.
    fn may_split(&self) -> bool {
        self.intent.class == Class::Read || self.policy.split_read_only
    }

    fn read(&self, preference: Preference) -> Decision {
        match preference {
            Preference::Primary => {
                self.primary(Reason::PrimaryPreferred).unwrap_or(Decision::Wait(Want::Primary))
            }
            Preference::PrimaryPreferred => self
                .primary(Reason::PrimaryPreferred)
                .or_else(|| self.replica(Some(Reason::NoPrimary)))
                .unwrap_or(Decision::Wait(Want::Primary)),
            Preference::Replica => self.replica(None).unwrap_or_else(|| self.no_replica()),
            Preference::ReplicaPreferred => self.replica(None).unwrap_or_else(|| self.stand_in()),
            Preference::Nearest => self.nearest().unwrap_or_else(|| self.stand_in()),
        }
    }

    /// No replica will do: the primary, if there is one.
    fn stand_in(&self) -> Decision {
        let reason = if self.are_all_stale() { Reason::NotFresh } else { Reason::NoReplica };
        self.primary(reason).unwrap_or_else(|| self.no_replica())
    }

    fn no_replica(&self) -> Decision {
        Decision::Wait(if self.are_all_stale() { Want::Fresh } else { Want::Replica })
    }

    /// Replicas would be eligible if they were fresh.
    fn are_all_stale(&self) -> bool {
        self.eligible().any(|node| self.snapshot.primary != Some(node.id))
    }

    fn primary(&self, reason: Reason) -> Option<Decision> {
        self.snapshot.primary_node().map(|node| self.decide(node, reason))
    }

    /// An eligible replica by weight, our own region's first. `reason` replaces the reason when it is given.
    fn replica(&self, reason: Option<Reason>) -> Option<Decision> {
        let home = &*self.policy.region;
        let (mut all, mut near) = (0, 0);
        for node in self.replicas() {
            all += u64::from(node.weight);
            if !home.is_empty() && *node.region == *home {
                near += u64::from(node.weight);
            }
        }
        let (total, own) = if near > 0 { (near, true) } else { (all, false) };
        let node = draw(self.replicas().filter(|node| !own || *node.region == *home), total, self.random)?;
        Some(self.decide(node, reason.unwrap_or(if own { Reason::Region } else { Reason::Weight })))
    }

    /// A node by weight among those that answer about as fast as the fastest. On a replica listener the primary is
    /// only a stand-in, however near it is, unless the session itself asked for `nearest`.
    fn nearest(&self) -> Option<Decision> {
        let stand_in = self.intent.routing == Routing::Replicas && self.intent.preference.is_none();
        let readable =
            || self.readable().filter(|node| !(stand_in && self.snapshot.primary == Some(node.id)));
        // A node without a measurement is as far away as can be, yet better than none.
        let distance = |node: &Node| node.probe_time.unwrap_or(Duration::MAX);
        let fastest = readable().map(distance).min()?;
        let reach = fastest.saturating_add(self.policy.nearest_tolerance);
        let total =
            readable().filter(|node| distance(node) <= reach).map(|node| u64::from(node.weight)).sum();
        let node = draw(readable().filter(|node| distance(node) <= reach), total, self.random)?;
        Some(self.decide(node, Reason::Nearest))
    }

    /// All nodes that may be read from, the routed primary among them, and that have what is to be read.
    fn readable(&self) -> impl Iterator<Item = &Node> {
        self.eligible().filter(|node| self.snapshot.primary == Some(node.id) || (self.fresh)(node.id))
    }

    fn eligible(&self) -> impl Iterator<Item = &Node> {
        self.snapshot
            .nodes
            .iter()
            .map(|node| &**node)
            .filter(|node| node.ineligible.is_none() && node.weight > 0 && self.intent.avoid != Some(node.id))
    }

    fn replicas(&self) -> impl Iterator<Item = &Node> {
        self.readable().filter(|node| self.snapshot.primary != Some(node.id))
    }

    fn decide(&self, node: &Node, reason: Reason) -> Decision {
        Decision::Node { node: node.id, reason, read_only: self.intent.routing == Routing::Replicas }
    }
}

/// Draws one node with probability weight / total. The multiplication maps `random` onto `0..total` without a
/// division and with a bias below total / 2^64.
fn draw<'a>(nodes: impl Iterator<Item = &'a Node>, total: u64, random: u64) -> Option<&'a Node> {
    let mut ticket = ((u128::from(random) * u128::from(total)) >> 64) as u64;
    for node in nodes {
        match ticket.checked_sub(u64::from(node.weight)) {
            Some(rest) => ticket = rest,
            None => return Some(node),
        }
    }
    None
}

#[cfg(test)]
#[path = "choose_tests.rs"]
pub(crate) mod tests;
