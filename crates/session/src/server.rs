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
    /// Statements to be closed before the next batch.
    pub(crate) evicted: Vec<u64>,
}

impl ServerState {
    /// Is this statement prepared there? Counts as a use. With more than `limit` statements the one unused for the longest time is marked to be closed.
    pub(crate) fn knows(&mut self, id: u64, limit: usize) -> bool {
        self.clock += 1;
        if let Some(used) = self.statements.get_mut(&id) {
            *used = self.clock;
            return true;
        }
        // Marked to be closed, but still there: preparing it again would be refused as a duplicate.
        let Some(at) = self.evicted.iter().position(|evicted| *evicted == id) else { return false };
        self.evicted.swap_remove(at);
        self.learn(id, limit);
        true
    }

    /// A Parse of this statement is on its way. When there are more than `limit`, the one that was not used for the longest time is marked to be
    /// closed before the next batch (the present one may still use it).
    pub(crate) fn learn(&mut self, id: u64, limit: usize) {
        self.clock += 1;
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

    /// The Parse failed or never ran.
    pub(crate) fn forget(&mut self, id: u64) {
        self.statements.remove(&id);
        self.evicted.retain(|evicted| *evicted != id);
    }

    /// DISCARD ALL or DEALLOCATE ALL happened.
    pub(crate) fn forget_all(&mut self) {
        self.statements.clear();
        self.evicted.clear();
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

    #[test]
    fn the_least_recently_used_goes_first() {
        let mut server = ServerState::default();
        for id in 1..=3 {
            server.learn(id, 3);
        }
        assert!(server.knows(1, 3));
        server.learn(4, 3);
        assert_eq!(server.evicted, [2]);
        assert!(!server.knows(5, 3));
        assert_eq!(server.statement_count(), 3);
    }

    #[test]
    fn what_is_still_to_be_closed_is_still_known() {
        let mut server = ServerState::default();
        (1..=3).for_each(|id| server.learn(id, 2));
        assert_eq!(server.evicted, [1]);
        assert!(server.knows(1, 2));
        assert_eq!((&server.evicted[..], server.statement_count()), (&[2][..], 2));
        server.forget(2);
        assert!(server.evicted.is_empty() && !server.knows(2, 2));
    }
}
