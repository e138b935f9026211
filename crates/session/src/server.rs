//! What the machine knows of a server connection; it travels with the connection from session to session.

use crate::params::Settings;
use crate::pin::Pin;
use pgherd_wire::backend::Fields;
use pgherd_wire::sqlstate::code;
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

/// How often PostgreSQL makes a plan for the very values of a prepared statement before it considers one for any values (documentation, PREPARE).
const MAX_CUSTOM_PLANS: u32 = 5;

/// Whether a statement is prepared on a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// It is, or will be by the time the next message of the batch arrives.
    Yes,
    /// It is, unless a command on its way takes it away (DISCARD ALL, DEALLOCATE ALL), or its Parse is on its way in an earlier batch, which may fail before
    /// it comes to it.
    Perhaps,
    /// It is not.
    No,
}

/// A statement that is prepared, by the server's clock.
#[derive(Clone, Copy, Debug)]
struct Prepared {
    used: u64,
    since: u64,
    /// How often it was bound, see [`MAX_CUSTOM_PLANS`].
    binds: u32,
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
    /// Session and serial of the Parse that made its unnamed statement; `None`: it has none. See [`SOMEBODYS`].
    pub unnamed: Option<(u64, u64)>,
    /// Something is left on it that only DISCARD ALL takes away; what [`Pin::Load`] left, nothing does.
    pub dirty: Option<Pin>,
    /// The session that had it last; 0: none yet.
    pub(crate) guest: u64,
    /// Another session had it before, whose last values of sequences were not forgotten.
    pub(crate) is_lent: bool,
    /// Code nobody has seen ran there, which may have made settings that no view shows (documentation, chapter 20.16). Nobody but the session that ran it may meet them.
    pub(crate) vague: bool,
    /// And it is another session's now: all settings are to be made anew.
    pub(crate) foreign: bool,
    /// A library was loaded into it, which nothing takes away: it must not be used by another session.
    pub(crate) loaded: bool,
    statements: HashMap<u64, Prepared, BuildHasherDefault<NumberHasher>>,
    clock: u64,
    /// Statements whose Parse was not answered yet, oldest first: when an earlier request of its batch fails, it never runs.
    unsure: Vec<Unsure>,
    /// A command that takes away all statements known until this moment is on its way.
    doubt: Option<u64>,
    /// Statements to be closed before the next batch; until then they are there.
    evicted: Vec<(u64, Prepared)>,
}

impl ServerState {
    /// Is this statement prepared there, for a use in batch number `batch`? Counts as a use. One that was to be closed stays, and another makes room for it,
    /// when there are more than `limit`.
    pub(crate) fn knows(&mut self, id: u64, limit: usize, batch: u64) -> Known {
        self.clock += 1;
        if let Some(at) = self.evicted.iter().position(|(evicted, _)| *evicted == id) {
            // Still there: preparing it again would be refused as a duplicate.
            let (_, prepared) = self.evicted.swap_remove(at);
            self.insert(id, prepared, limit);
        }
        let Some(prepared) = self.statements.get_mut(&id) else { return Known::No };
        prepared.used = self.clock;
        let doubted = self.doubt.is_some_and(|doubt| prepared.since <= doubt);
        let latest = self.unsure.iter().rev().find(|unsure| unsure.id == id);
        match latest {
            _ if doubted => Known::Perhaps,
            Some(unsure) if unsure.batch != batch => Known::Perhaps,
            _ => Known::Yes,
        }
    }

    /// A Parse of this statement is on its way in batch number `batch`. When there are more than `limit`, the one that was not used for the longest time is
    /// marked to be closed before the next batch (the present one may still use it).
    pub(crate) fn learn(&mut self, id: u64, limit: usize, batch: u64) {
        self.clock += 1;
        let stood = self.statements.contains_key(&id) && !self.is_unsure(id);
        self.unsure.push(Unsure { id, batch, stood });
        self.insert(id, Prepared { used: 0, since: self.clock, binds: 0 }, limit);
    }

    /// This statement is bound.
    pub(crate) fn bound(&mut self, id: u64) {
        if let Some(prepared) = self.statements.get_mut(&id) {
            prepared.binds = prepared.binds.saturating_add(1);
        }
    }

    /// When it is bound again, the server may take a plan that was not made for its values.
    pub(crate) fn may_be_generic(&self, id: u64) -> bool {
        self.statements.get(&id).is_some_and(|prepared| prepared.binds >= MAX_CUSTOM_PLANS)
    }

    /// It is prepared there, or its Parse is on its way.
    pub(crate) fn has(&self, id: u64) -> bool {
        self.statements.contains_key(&id) || self.evicted.iter().any(|(evicted, _)| *evicted == id)
    }

    fn is_unsure(&self, id: u64) -> bool {
        self.unsure.iter().any(|unsure| unsure.id == id)
    }

    fn insert(&mut self, id: u64, prepared: Prepared, limit: usize) {
        self.statements.insert(id, Prepared { used: self.clock, ..prepared });
        while self.statements.len() > limit.max(1) {
            let others = self.statements.iter().filter(|(other, _)| **other != id);
            if let Some((&oldest, &prepared)) = others.min_by_key(|(_, prepared)| prepared.used) {
                self.statements.remove(&oldest);
                self.evicted.push((oldest, prepared));
            }
        }
    }

    /// Statements that must be closed now, before a new batch. One whose Parse was not answered yet waits for the next.
    pub(crate) fn take_evicted(&mut self) -> Vec<u64> {
        if self.evicted.is_empty() {
            return Vec::new();
        }
        let (wait, now) =
            std::mem::take(&mut self.evicted).into_iter().partition(|(id, _)| self.is_unsure(*id));
        self.evicted = wait;
        let now: Vec<(u64, Prepared)> = now;
        now.into_iter().map(|(id, _)| id).collect()
    }

    /// The Close of a statement that made room never ran: it is still there, and still to be closed.
    pub(crate) fn keep_evicted(&mut self, id: u64) {
        if !self.statements.contains_key(&id) {
            self.evicted.push((id, Prepared { used: 0, since: 0, binds: 0 }));
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
            self.evicted.retain(|(evicted, _)| *evicted != id);
        }
    }

    /// The oldest Parse of this statement that was on its way ran and failed, after a Close if there was an earlier one.
    pub(crate) fn failed(&mut self, id: u64) {
        if let Some(first) = self.unsure.iter_mut().find(|unsure| unsure.id == id) {
            first.stood = false;
        }
    }

    /// The same with what the server said. True when it said that the name is taken: whatever was to close it before never ran, and the statement is there.
    pub(crate) fn refused(&mut self, id: u64, error: &[u8]) -> bool {
        let taken = Fields::view(error).sqlstate() == Some(code::DUPLICATE_PREPARED_STATEMENT.as_bytes());
        match taken {
            true => self.confirm(id),
            false => self.failed(id),
        }
        taken
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
        // Replies come in order: a Parse that was not answered yet comes after it, and no other.
        self.unsure.iter_mut().for_each(|unsure| unsure.stood = false);
        let coming = |id: u64| self.unsure.iter().any(|unsure| unsure.id == id);
        self.statements.retain(|id, _| coming(*id));
        self.evicted.retain(|(id, _)| coming(*id));
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
        server.confirm(4);
        assert_eq!(server.knows(5, 3, 1), Known::No);
        assert_eq!(server.statement_count(), 3);
        assert_eq!(server.take_evicted(), [2]);
        assert_eq!(server.knows(2, 3, 1), Known::No);
    }

    #[test]
    fn five_binds_are_planned_for_their_values() {
        let mut server = knowing(2, 1..=2);
        (0..5).for_each(|_| server.bound(1));
        assert!(server.may_be_generic(1) && !server.may_be_generic(2));
        assert_eq!((server.knows(1, 2, 1), server.take_evicted().len()), (Known::Yes, 0));
        server.learn(1, 2, 1);
        assert!(!server.may_be_generic(1));
    }

    #[test]
    fn one_that_is_used_again_stays_and_another_goes() {
        let mut server = knowing(2, 1..=3);
        assert_eq!(server.knows(1, 2, 1), Known::Yes);
        assert_eq!(server.take_evicted(), [2]);
    }

    #[test]
    fn one_on_its_way_is_not_closed_yet() {
        let mut server = ServerState::default();
        (1..=2).for_each(|id| server.learn(id, 1, 1));
        assert!(server.take_evicted().is_empty());
        server.confirm(1);
        assert_eq!(server.take_evicted(), [1]);
    }

    #[test]
    fn a_discard_takes_what_was_known_when_it_was_sent() {
        let mut server = knowing(10, 1..=1);
        server.doubt_all();
        server.learn(2, 10, 1);
        assert_eq!((server.knows(1, 10, 1), server.knows(2, 10, 1)), (Known::Perhaps, Known::Yes));
        server.learn(1, 10, 1);
        server.forget_all();
        server.forget(1);
        server.confirm(2);
        assert_eq!((server.knows(1, 10, 1), server.knows(2, 10, 1)), (Known::No, Known::Yes));
    }

    #[test]
    fn what_is_still_to_be_closed_is_still_known() {
        let mut server = knowing(2, 1..=3);
        assert_eq!(server.evicted[0].0, 1);
        assert_eq!(server.knows(1, 2, 1), Known::Yes);
        assert_eq!((server.evicted[0].0, server.evicted.len(), server.statement_count()), (2, 1, 2));
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
