//! What the machine knows of a server connection; it travels with the connection from session to session.

use crate::params::Settings;
use crate::pin::Pin;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Hashes statement numbers: they are ours and already distinct, so one multiplication is enough.
#[derive(Debug, Default)]
pub struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &b in bytes {
            self.write_u64(u64::from(b));
        }
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = (self.0 ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(26);
    }
}

/// Whether a statement is prepared on a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Yes,
    /// Its Parse is on its way in an earlier batch, which may fail before it comes to it.
    Perhaps,
    No,
}

/// A Parse on its way.
#[derive(Debug)]
struct Unsure {
    id: u64,
    /// Number of its batch.
    batch: u64,
    /// An earlier Parse of the same statement succeeded: should this one (and the Close before it) never run, the statement is still there.
    stood: bool,
}

/// State of one server connection.
#[derive(Debug, Default)]
pub struct ServerState {
    /// Settings applied to it, beyond what it started with.
    pub applied: Settings,
    /// Session and serial of the Parse that made its unnamed statement.
    pub unnamed: Option<(u64, u64)>,
    /// Something is left on it that only DISCARD ALL takes away.
    pub dirty: Option<Pin>,
    statements: HashMap<u64, u64, BuildHasherDefault<NumberHasher>>,
    clock: u64,
    /// Statements whose Parse was not answered yet, oldest first: when an earlier request of its batch fails, it never runs.
    unsure: Vec<Unsure>,
    /// Statements to be closed before the next batch.
    pub(crate) evicted: Vec<u64>,
}

impl ServerState {
    /// Is this statement prepared there, for a use in batch number `batch`? Counts as a use. With more than `limit` statements the one unused for the longest
    /// time is marked to be closed.
    pub(crate) fn knows(&mut self, id: u64, limit: usize, batch: u64) -> Known {
        self.clock += 1;
        if let Some(used) = self.statements.get_mut(&id) {
            *used = self.clock;
        } else if let Some(at) = self.evicted.iter().position(|evicted| *evicted == id) {
            // Marked to be closed, but still there: preparing it again would be refused as a duplicate.
            self.evicted.swap_remove(at);
            self.insert(id, limit);
        } else {
            return Known::No;
        }
        let latest = self.unsure.iter().rev().find(|unsure| unsure.id == id);
        match latest {
            Some(unsure) if unsure.batch != batch => Known::Perhaps,
            _ => Known::Yes,
        }
    }

    /// A Parse of this statement is on its way in batch number `batch`. When there are more than `limit`, the one that was not used for the longest time is
    /// marked to be closed before the next batch (the present one may still use it).
    pub(crate) fn learn(&mut self, id: u64, limit: usize, batch: u64) {
        self.clock += 1;
        let stood = self.statements.contains_key(&id) && self.unsure.iter().all(|unsure| unsure.id != id);
        self.unsure.push(Unsure { id, batch, stood });
        self.insert(id, limit);
    }

    fn insert(&mut self, id: u64, limit: usize) {
        self.statements.insert(id, self.clock);
        while self.statements.len() > limit.max(1) {
            let oldest =
                self.statements.iter().filter(|(other, _)| **other != id).min_by_key(|(_, used)| **used);
            if let Some((&oldest, _)) = oldest {
                self.statements.remove(&oldest);
                self.evicted.push(oldest);
            }
        }
    }

    /// The oldest Parse of this statement that was on its way has succeeded.
    pub(crate) fn confirm(&mut self, id: u64) {
        self.resolve(id, true);
    }

    /// The oldest Parse of this statement that was on its way never ran; an earlier one may have, or a later one may yet.
    pub(crate) fn forget(&mut self, id: u64) {
        if !self.resolve(id, false) {
            self.statements.remove(&id);
            self.evicted.retain(|evicted| *evicted != id);
        }
    }

    /// The oldest Parse of this statement that was on its way ran and failed, after a Close if there was an earlier one.
    pub(crate) fn failed(&mut self, id: u64) {
        if let Some(first) = self.unsure.iter_mut().find(|unsure| unsure.id == id) {
            first.stood = false;
        }
    }

    /// Takes the oldest off; false when nothing says any more that the statement is there.
    fn resolve(&mut self, id: u64, ran: bool) -> bool {
        let Some(at) = self.unsure.iter().position(|unsure| unsure.id == id) else { return ran };
        let stands = self.unsure.remove(at).stood || ran;
        match self.unsure.iter_mut().find(|unsure| unsure.id == id) {
            Some(next) => {
                next.stood = stands;
                true
            }
            None => stands,
        }
    }

    /// DISCARD ALL or DEALLOCATE ALL happened.
    pub(crate) fn forget_all(&mut self) {
        self.statements.clear();
        self.evicted.clear();
        self.unsure.clear();
        self.unnamed = None;
    }

    /// How many statements are prepared there.
    pub fn statement_count(&self) -> usize {
        self.statements.len()
    }

    /// The server was reset with DISCARD ALL: it is as new.
    pub fn was_reset(&mut self) {
        *self = ServerState::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knowing(limit: usize, ids: std::ops::RangeInclusive<u64>) -> ServerState {
        let mut server = ServerState::default();
        ids.for_each(|id| {
            server.learn(id, limit, 1);
            server.confirm(id);
        });
        server
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let mut server = knowing(3, 1..=3);
        assert_eq!(server.knows(1, 3, 1), Known::Yes);
        server.learn(4, 3, 1);
        assert_eq!(server.evicted, [2]);
        assert_eq!(server.knows(5, 3, 1), Known::No);
        assert_eq!(server.statement_count(), 3);
    }

    #[test]
    fn what_is_still_to_be_closed_is_still_known() {
        let mut server = knowing(2, 1..=3);
        assert_eq!(server.evicted, [1]);
        assert_eq!(server.knows(1, 2, 1), Known::Yes);
        assert_eq!((&server.evicted[..], server.statement_count()), (&[2][..], 2));
        server.forget(2);
        assert_eq!((server.evicted.len(), server.knows(2, 2, 1)), (0, Known::No));
    }

    #[test]
    fn an_unanswered_parse_counts_within_its_batch_only() {
        let mut server = ServerState::default();
        server.learn(1, 2, 1);
        assert_eq!((server.knows(1, 2, 1), server.knows(1, 2, 2)), (Known::Yes, Known::Perhaps));
        server.learn(1, 2, 2);
        assert_eq!(server.knows(1, 2, 2), Known::Yes);
        // The first never ran, the second did.
        server.forget(1);
        server.confirm(1);
        assert_eq!(server.knows(1, 2, 3), Known::Yes);
        // The first ran, the second never did; then one that failed.
        (4..=5).for_each(|batch| server.learn(1, 2, batch));
        server.confirm(1);
        server.forget(1);
        assert_eq!(server.knows(1, 2, 6), Known::Yes);
        server.learn(1, 2, 7);
        server.failed(1);
        server.forget(1);
        assert_eq!(server.knows(1, 2, 8), Known::No);
    }
}
