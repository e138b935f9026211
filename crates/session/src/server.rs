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

/// The mark of an unnamed statement that may be anybody's: no session has the number 0.
pub const SOMEBODYS: (u64, u64) = (0, 0);

/// Whether a statement is prepared on a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knowledge {
    /// It is, or will be by the time the next message arrives.
    Yes,
    /// It is not.
    No,
    /// It is, unless a command on its way takes it away (DISCARD ALL, DEALLOCATE ALL).
    Perhaps,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    used: u64,
    since: u64,
}

/// State of one server connection.
#[derive(Debug, Default)]
pub struct ServerState {
    /// Settings applied to it, beyond what it started with.
    pub applied: Settings,
    /// Session and serial of the Parse that made its unnamed statement; `None`: it has none. See [`SOMEBODYS`].
    pub unnamed: Option<(u64, u64)>,
    /// Something is left on it that only DISCARD ALL takes away.
    pub dirty: Option<Pin>,
    statements: HashMap<u64, Known, BuildHasherDefault<NumberHasher>>,
    clock: u64,
    /// A command that takes away all statements known until this moment is on its way.
    doubt: Option<u64>,
    /// Statements to be closed before the next batch; until then they are there.
    evicted: Vec<(u64, Known)>,
}

impl ServerState {
    /// Is this statement prepared there? Counts as a use. One that was to be closed stays, and another makes room for it.
    pub fn knows(&mut self, id: u64, limit: usize) -> Knowledge {
        self.clock += 1;
        if let Some(at) = self.evicted.iter().position(|(evicted, _)| *evicted == id) {
            let (_, known) = self.evicted.swap_remove(at);
            self.insert(id, known.since, limit);
        }
        match self.statements.get_mut(&id) {
            None => Knowledge::No,
            Some(known) => {
                known.used = self.clock;
                if self.doubt.is_some_and(|doubt| known.since <= doubt) {
                    Knowledge::Perhaps
                } else {
                    Knowledge::Yes
                }
            }
        }
    }

    /// A Parse of this statement is on its way. When there are more than `limit`, the one that was not used for the longest time is marked to be
    /// closed before the next batch (the present one may still use it).
    pub(crate) fn learn(&mut self, id: u64, limit: usize) {
        self.clock += 1;
        self.insert(id, self.clock, limit);
    }

    fn insert(&mut self, id: u64, since: u64, limit: usize) {
        self.statements.insert(id, Known { used: self.clock, since });
        if self.statements.len() > limit.max(1) {
            let others = self.statements.iter().filter(|(other, _)| **other != id);
            if let Some((&oldest, &known)) = others.min_by_key(|(_, known)| known.used) {
                self.statements.remove(&oldest);
                self.evicted.push((oldest, known));
            }
        }
    }

    /// Statements that must be closed now, before a new batch.
    pub(crate) fn take_evicted(&mut self) -> impl Iterator<Item = u64> + use<> {
        std::mem::take(&mut self.evicted).into_iter().map(|(id, _)| id)
    }

    /// The Parse failed or never ran.
    pub(crate) fn forget(&mut self, id: u64) {
        self.statements.remove(&id);
        self.evicted.retain(|(evicted, _)| *evicted != id);
    }

    /// DISCARD ALL or DEALLOCATE ALL is on its way. Whether it will succeed is not known yet.
    pub(crate) fn doubt_all(&mut self) {
        self.doubt = Some(self.clock);
    }

    /// Such a command is on its way.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.doubt.is_some()
    }

    /// Nothing is on its way any more.
    pub(crate) fn doubt_nothing(&mut self) {
        self.doubt = None;
    }

    /// DISCARD ALL or DEALLOCATE ALL happened: what was prepared before it was sent is gone.
    pub(crate) fn forget_all(&mut self) {
        let doubt = self.doubt.unwrap_or(self.clock);
        self.statements.retain(|_, known| known.since > doubt);
        self.evicted.retain(|(_, known)| known.since > doubt);
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
        assert_eq!(server.knows(1, 3), Knowledge::Yes);
        server.learn(4, 3);
        assert_eq!(server.statement_count(), 3);
        assert_eq!(server.take_evicted().collect::<Vec<_>>(), [2]);
        assert_eq!(server.knows(2, 3), Knowledge::No);
    }

    #[test]
    fn one_that_is_used_again_stays_and_another_goes() {
        let mut server = ServerState::default();
        for id in 1..=3 {
            server.learn(id, 2);
        }
        assert_eq!(server.knows(1, 2), Knowledge::Yes);
        assert_eq!(server.take_evicted().collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn a_discard_takes_what_was_known_when_it_was_sent() {
        let mut server = ServerState::default();
        server.learn(1, 10);
        server.doubt_all();
        server.learn(2, 10);
        assert_eq!((server.knows(1, 10), server.knows(2, 10)), (Knowledge::Perhaps, Knowledge::Yes));
        server.forget_all();
        assert_eq!((server.knows(1, 10), server.knows(2, 10)), (Knowledge::No, Knowledge::Yes));
    }
}
