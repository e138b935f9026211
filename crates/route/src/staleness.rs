//! How old what a replica has may be, in time.
//!
//! What a replica has replayed covers some moments at which the primary was looked at; the newest of them is its proof, and its age is the time since then.
//! While nobody can look at the primary there are no new proofs, so the age grows with time, whatever the replica does.

use crate::choose::Policy;
use pgherd_topology::node::Node;
use pgherd_topology::snapshot::Snapshot;
use std::fmt;
use std::time::Duration;

/// A replica's data is, or may be, older than the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooOld {
    /// How old it is at most; `None`: there is no proof at all.
    pub age: Option<Duration>,
    /// How old it may be.
    pub limit: Duration,
}

impl fmt::Display for TooOld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit = self.limit.as_secs_f64();
        match self.age {
            Some(age) => write!(f, "up to {:.1}s old > max_staleness {limit:.1}s", age.as_secs_f64()),
            None => write!(f, "of unknown age, max_staleness {limit:.1}s"),
        }
    }
}

/// How old data of replicas may be for one choice. `asked`: by the session or the statement; the settings' limit joins in while there is no primary. `None`:
/// as old as it likes, and nothing needs to be reckoned.
pub fn limit(asked: Option<Duration>, snapshot: &Snapshot, policy: &Policy) -> Option<Duration> {
    let alone = policy.max_staleness.filter(|_| snapshot.primary.is_none());
    [asked, alone].into_iter().flatten().min()
}

/// Is this replica's data young enough at `now`? `looked`: a proof that is not published, if there is one.
///
/// # Errors
/// [`TooOld`] when it is not, or when nobody knows.
pub fn check(node: &Node, looked: Option<Duration>, now: Duration, limit: Duration) -> Result<(), TooOld> {
    let age = node.proven_at.max(looked).map(|proven| now.saturating_sub(proven));
    match age {
        Some(age) if age <= limit => Ok(()),
        age => Err(TooOld { age, limit }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choose::tests::{cluster, node};

    #[test]
    fn the_settings_limit_counts_without_a_primary_only() {
        let seconds = |seconds: Option<u64>| seconds.map(Duration::from_secs);
        for (asked, setting, primary, expected) in [
            (None, None, true, None),
            (None, None, false, None),
            (None, Some(5), true, None),
            (None, Some(5), false, Some(5)),
            (Some(2), Some(5), true, Some(2)),
            (Some(2), Some(5), false, Some(2)),
            (Some(9), Some(5), true, Some(9)),
            (Some(9), Some(5), false, Some(5)),
            (Some(0), None, false, Some(0)),
        ] {
            let snapshot = cluster(primary.then_some(0), vec![node(0), node(1)]);
            let policy = Policy { max_staleness: seconds(setting), ..Policy::default() };
            let found = limit(seconds(asked), &snapshot, &policy);
            assert_eq!(found, seconds(expected), "{asked:?} {setting:?} {primary}");
        }
    }

    #[test]
    fn the_newest_proof_counts_and_grows_old_with_time() {
        let millis = |millis: Option<u64>| millis.map(Duration::from_millis);
        for (published, looked, now, limit, young, age) in [
            (None, None, 9_000, 60_000, false, None),
            (Some(8_000), None, 9_000, 1_000, true, Some(1_000)),
            (Some(8_000), None, 9_001, 1_000, false, Some(1_001)),
            (Some(8_000), Some(8_500), 9_001, 1_000, true, Some(501)),
            (Some(8_000), Some(7_000), 9_001, 1_000, false, Some(1_001)),
            (None, Some(9_000), 9_000, 0, true, Some(0)),
            // The coarse clock is a little behind.
            (Some(9_020), None, 9_000, 0, true, Some(0)),
        ] {
            let replica = Node { proven_at: millis(published), ..node(1) };
            let limit = Duration::from_millis(limit);
            let found = check(&replica, millis(looked), Duration::from_millis(now), limit);
            let expected = if young { Ok(()) } else { Err(TooOld { age: millis(age), limit }) };
            assert_eq!(found, expected, "{published:?} {looked:?} {now}");
        }
    }
}
