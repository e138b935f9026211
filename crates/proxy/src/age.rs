//! The age of what a replica has, where a session or the lack of a primary bounds it.

use crate::shared::Shared;
use pgherd_pool::janitor::INTERVAL;
use pgherd_route::choose::Policy;
use pgherd_route::staleness::{self, TooOld};
use pgherd_topology::node::NodeId;
use pgherd_topology::snapshot::Snapshot;
use std::num::NonZeroU32;
use std::time::Duration;

/// The limit of one choice; `asked` in milliseconds.
pub(crate) fn limit(asked: Option<NonZeroU32>, snapshot: &Snapshot, policy: &Policy) -> Option<Duration> {
    staleness::limit(asked.map(|asked| Duration::from_millis(asked.get().into())), snapshot, policy)
}

/// Is what this replica has young enough? Without a limit it is, and nothing is looked up. Newer looks are asked for before they are needed, so that a bound
/// much tighter than the pace of probes can be kept.
///
/// # Errors
/// [`TooOld`] when it is not, or when nobody knows.
pub(crate) fn check(
    replica: NodeId,
    limit: Option<Duration>,
    snapshot: &Snapshot,
    shared: &Shared,
) -> Result<(), TooOld> {
    let Some(limit) = limit else { return Ok(()) };
    let Some(node) = snapshot.node(replica) else { return Err(TooOld { age: None, limit }) };
    // The clock shows a time that has passed.
    let now = Duration::from_millis(shared.now()) + INTERVAL;
    let gauges = &shared.pools.common().gauges;
    let looked = snapshot.primary.and_then(|primary| gauges.proven_at(primary, snapshot.timeline, replica));
    if let Some(primary) = snapshot.primary
        && staleness::check(node, looked, now, limit / 2).is_err()
    {
        gauges.of(primary).want();
        gauges.of(replica).want();
    }
    staleness::check(node, looked, now, limit)
}
