//! Where units went, and why: counts by what they were found to be, and by where they were sent, or would have been.
//!
//! A listener in *shadow* sends everything to the primary, and counts what it would have done: so somebody who thinks of splitting reads from writes can look
//! before the first read leaves the primary. The choice is made as always, with two differences. No server of the replica is taken, so nothing proves that it
//! was not restarted in between; and nothing can be refused by a replica.

use crate::session::Session;
use pgherd_route::choose::{Decision, Policy, choose};
use pgherd_route::intent::{Class, Intent, Routing};
use pgherd_route::rule::Rule;
use pgherd_topology::node::NodeId;
use pgherd_topology::snapshot::Snapshot;
use std::sync::atomic::{AtomicU64, Ordering};

/// In the order of their numbers.
const CLASSES: [Class; 4] = [Class::Read, Class::Write, Class::Session, Class::Unknown];

/// In the order of their numbers.
const TARGETS: [&str; 3] = ["primary", "replica", "wait"];

/// Every rule, and none: where texts are not read.
const RULES: usize = Rule::ALL.len() + 1;

/// One number for each class, rule and target, with and without shadow.
const CELLS: usize = 2 * CLASSES.len() * RULES * TARGETS.len();

/// Where a unit would go if its listener were not in shadow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Would {
    /// Where it goes.
    Primary,
    /// To this replica.
    Replica(NodeId),
    /// Nowhere yet: it would wait for a replica.
    Wait,
}

impl Would {
    /// What a choice comes to.
    fn of(decision: &Decision, snapshot: &Snapshot) -> Would {
        match decision {
            Decision::Node { node, .. } if snapshot.primary == Some(*node) => Would::Primary,
            Decision::Node { node, .. } => Would::Replica(*node),
            Decision::Wait(_) | Decision::Refuse(_) => Would::Wait,
        }
    }

    /// The word in tables and labels.
    pub(crate) fn word(self) -> &'static str {
        TARGETS[self.index()]
    }

    fn index(self) -> usize {
        match self {
            Would::Primary => 0,
            Would::Replica(_) => 1,
            Would::Wait => 2,
        }
    }
}

/// What was counted of one kind of unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoutingRow {
    /// What the unit was found to be: `read`, `write`, `session`, or `unknown` (a transaction, or where texts are not read).
    pub class: &'static str,
    /// The rule that decided, or `none` where texts are not read.
    pub rule: &'static str,
    /// `primary`, `replica`, or `wait`: where it went; with `shadow` where it would have gone.
    pub target: &'static str,
    /// Its listener is in shadow: it went to the primary, wherever it would have gone.
    pub shadow: bool,
    /// Units so far; more than none.
    pub count: u64,
}

/// All counts, in a shard for each worker.
#[derive(Debug)]
pub(crate) struct Routed(Vec<Box<[AtomicU64]>>);

impl Routed {
    /// Nothing was counted yet by so many workers.
    pub(crate) fn new(workers: usize) -> Routed {
        let shard = || (0..CELLS).map(|_| AtomicU64::new(0)).collect();
        Routed((0..workers.max(1)).map(|_| shard()).collect())
    }

    /// One unit more. No lock, no allocation, and no cache line that another worker writes to. Only `worker`'s own thread may call it, or counts are lost.
    pub(crate) fn count(&self, worker: usize, class: Class, rule: Option<Rule>, to: Would, shadow: bool) {
        let rule = rule.map_or(0, |rule| rule as usize + 1);
        let cell = ((usize::from(shadow) * CLASSES.len() + class as usize) * RULES + rule) * TARGETS.len();
        let counter = self.0.get(worker % self.0.len()).and_then(|shard| shard.get(cell + to.index()));
        if let Some(counter) = counter {
            // As `Counter::bump_local`: a locked addition would cost sixteen times as much.
            counter.store(counter.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        }
    }

    /// What was counted, without what never happened, in a fixed order.
    pub(crate) fn rows(&self) -> Vec<RoutingRow> {
        let row = |cell: usize| {
            let count = self.0.iter().map(|shard| shard[cell].load(Ordering::Relaxed)).sum();
            let (rest, target) = (cell / TARGETS.len(), TARGETS[cell % TARGETS.len()]);
            let rule = (rest % RULES).checked_sub(1).map_or("none", |rule| Rule::ALL[rule].word());
            let class = CLASSES[rest / RULES % CLASSES.len()].word();
            RoutingRow { class, rule, target, shadow: cell >= CELLS / 2, count }
        };
        (0..CELLS).map(row).filter(|row| row.count > 0).collect()
    }
}

impl Session {
    /// What becomes of a choice: in shadow it is only remembered, and the primary is chosen.
    pub(crate) fn shade(
        &self,
        decision: Decision,
        snapshot: &Snapshot,
        policy: &Policy,
    ) -> (Decision, Option<Would>) {
        if !self.is_shadowed() {
            return (decision, None);
        }
        let primary = choose(snapshot, &Intent::default(), policy, 0, |_| false);
        (primary, Some(Would::of(&decision, snapshot)))
    }

    /// It only counts where its units would go.
    pub(crate) fn is_shadowed(&self) -> bool {
        self.terms.shadow && self.terms.routing == Routing::Any
    }

    /// A unit goes to a node: it is counted, unless pgherd itself gives the answer.
    pub(crate) fn count_unit(&self, node: NodeId, replica: bool) {
        if self.machine.is_lent() {
            return;
        }
        let to = match (self.wish.would, replica) {
            (Some(would), _) => would,
            (None, true) => Would::Replica(node),
            (None, false) => Would::Primary,
        };
        let (class, rule) = (self.wish.class, self.wish.rule);
        self.shared.routed.count(self.worker.home, class, rule, to, self.wish.would.is_some());
    }

    /// In shadow, the replica that a unit would have been read from, if it was alone: what was seen there is what a later choice must heed.
    pub(crate) fn would_have_seen(&self) -> Option<NodeId> {
        match self.wish.would {
            Some(Would::Replica(node)) if self.is_lone_read() => Some(node),
            Some(_) | None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_unit_has_a_place_of_its_own() {
        let routed = Routed::new(2);
        let rules = || Rule::ALL.iter().copied().map(Some).chain([None]);
        let mut kinds = 0;
        for (shadow, class) in
            [false, true].into_iter().flat_map(|shadow| CLASSES.map(|class| (shadow, class)))
        {
            for rule in rules() {
                for to in [Would::Primary, Would::Replica(NodeId(7)), Would::Wait] {
                    routed.count(kinds % 2, class, rule, to, shadow);
                    kinds += 1;
                    let last = routed.rows();
                    let row = RoutingRow {
                        class: class.word(),
                        rule: rule.map_or("none", Rule::word),
                        target: to.word(),
                        shadow,
                        count: 1,
                    };
                    assert_eq!((last.len(), last.contains(&row)), (kinds, true), "{row:?}");
                }
            }
        }
        assert_eq!(kinds, CELLS);
        routed.count(0, Class::Read, Some(Rule::Reads), Would::Primary, false);
        routed.count(5, Class::Read, Some(Rule::Reads), Would::Primary, false);
        let counted = routed.rows().into_iter().find(|row| row.count > 1);
        assert_eq!(counted.map(|row| (row.class, row.rule, row.count)), Some(("read", "reads", 3)));
    }
}
