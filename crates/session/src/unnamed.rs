//! The unnamed statement of a session.

use crate::prepared::Statement;
use std::sync::Arc;

/// Longest body that is kept beyond the transaction that needed it, when it is not in force any more.
const MAX_KEPT: usize = 16 * 1024;

/// Whether requests for the unnamed statement may go to the one that stands for it on the server; until the end of the batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Trust {
    /// They may not, unless they are the first of their transaction.
    #[default]
    None,
    /// The server was given it in this batch.
    Fresh,
    /// The server has had it for longer; this batch begins with a request that tells whether it is still good.
    Hoped,
}

/// One that is not the latest.
#[derive(Debug, Default)]
struct Body {
    rest: Vec<u8>,
    statement: Option<Arc<Statement>>,
    /// Which Parse it belongs to; 0: it is only a buffer for the next.
    held: u64,
}

/// What may be in force again, when what came after it never ran.
#[derive(Debug, Default)]
struct Older {
    /// The one before the latest, in force then when `serial` is not 0.
    previous: Body,
    serial: u64,
    /// The one that was in force when the present server was taken, once two others came after it.
    marked: Body,
}

/// The unnamed statement that came last, and those before it that may come back. So the ordinary Parse needs no allocation.
#[derive(Debug, Default)]
pub struct Unnamed {
    /// Body of the last Parse after its (empty) name; in force only when `serial` is not 0.
    pub rest: Vec<u8>,
    /// What stands for it on servers.
    pub(crate) statement: Option<Arc<Statement>>,
    /// Number of the Parse in force, counted within the session; 0 when there is no unnamed statement.
    pub serial: u64,
    /// Which Parse `rest` belongs to, in force or not.
    held: u64,
    older: Option<Box<Older>>,
    last: u64,
    /// The one that was in force when the present server was taken; 0: none.
    marked: u64,
    /// How often it was ended.
    ends: u32,
    /// Bytes of the client that were decided since the mark; no more than that once there are too many.
    pub(crate) shown: u32,
    pub(crate) trust: Trust,
    /// The server's first answer tells whether the statement that stands for this one is still good.
    pub(crate) hoping: bool,
}

/// An end of the unnamed statement: the serial of the one that was in force, and which end it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    pub(crate) serial: u64,
    number: u32,
}

impl Unnamed {
    /// Remembers a new unnamed statement, and what stands for it on servers; returns its serial.
    pub(crate) fn replace(&mut self, rest: &[u8], statement: Option<Arc<Statement>>) -> u64 {
        if self.held != 0 || self.older.is_some() {
            let (marked, serial) = (self.marked, self.serial);
            let older = self.older.get_or_insert_default();
            if marked != 0 && older.previous.held == marked && older.marked.held == 0 {
                std::mem::swap(&mut older.previous, &mut older.marked);
            }
            older.serial = serial;
            std::mem::swap(&mut self.rest, &mut older.previous.rest);
            std::mem::swap(&mut self.statement, &mut older.previous.statement);
            older.previous.held = self.held;
        }
        self.rest.clear();
        self.rest.extend_from_slice(rest);
        self.statement = statement;
        self.last += 1;
        (self.serial, self.held) = (self.last, self.last);
        self.trust = Trust::None;
        self.serial
    }

    /// The latest and the one before it change places; returns the serial of the latter.
    fn swap(&mut self) -> u64 {
        let Some(older) = self.older.as_mut() else {
            self.held = 0;
            return 0;
        };
        std::mem::swap(&mut self.rest, &mut older.previous.rest);
        std::mem::swap(&mut self.statement, &mut older.previous.statement);
        std::mem::swap(&mut self.held, &mut older.previous.held);
        std::mem::take(&mut older.serial)
    }

    /// The Parse with this serial never ran: what was before is in force again. When two in a row never ran there is none, and the client must parse again.
    pub fn undo(&mut self, serial: u64) {
        self.trust = Trust::None;
        if self.held == serial {
            let previous = self.swap();
            // What has ended it since, and ran, ended what was before as well.
            self.serial = if self.serial == serial { previous } else { 0 };
            if let Some(older) = self.older.as_mut() {
                older.previous.held = 0;
            }
        } else if let Some(older) = self.older.as_mut().filter(|older| older.previous.held == serial) {
            // A later one was sent meanwhile; should that not run either, this one must not come back.
            older.serial = 0;
        }
    }

    /// What ended the statement never ran: it is in force again, unless another one is, or a later end stands.
    pub fn restore(&mut self, end: End) {
        if self.ends != end.number {
            return;
        }
        self.ends = self.ends.wrapping_sub(1);
        if self.serial == 0 && self.held == end.serial {
            self.serial = end.serial;
        }
    }

    /// The Parse with this serial failed: there is no unnamed statement, unless a later Parse made one.
    pub fn failed(&mut self, serial: u64) {
        if self.serial == serial {
            self.serial = 0;
        }
        // What failed can never be in force again, whatever is undone later.
        if self.held == serial {
            self.held = 0;
        }
        if let Some(older) = self.older.as_mut() {
            older.serial = 0;
            if older.previous.held == serial {
                older.previous.held = 0;
            }
        }
    }

    /// A server was taken: from here on it may be necessary to go back.
    pub(crate) fn mark(&mut self) {
        self.unmark();
        self.marked = self.serial;
        (self.trust, self.hoping, self.shown) = (Trust::None, false, 0);
    }

    fn unmark(&mut self) {
        if let Some(older) = self.older.as_mut() {
            (older.marked.held, older.marked.statement) = (0, None);
        }
    }

    /// What was there at the mark is there again; nothing that came after it has run.
    pub(crate) fn go_back(&mut self) {
        if let Some(older) = self.older.as_mut().filter(|_| self.marked != 0 && self.held != self.marked) {
            if older.marked.held == self.marked {
                std::mem::swap(&mut older.previous, &mut older.marked);
                older.marked.held = 0;
            }
            if older.previous.held == self.marked {
                self.swap();
            }
        }
        (self.serial, self.held) = (self.marked, self.marked);
        if let Some(older) = self.older.as_mut() {
            (older.serial, older.previous.held) = (0, 0);
        }
        (self.trust, self.hoping) = (Trust::None, false);
    }

    /// There is no unnamed statement any more.
    pub fn clear(&mut self) -> End {
        self.ends = self.ends.wrapping_add(1);
        End { serial: std::mem::take(&mut self.serial), number: self.ends }
    }

    /// Gives memory back that one huge statement needed. Only while nothing is owed, so nothing can be undone.
    pub fn shrink(&mut self) {
        self.unmark();
        if let Some(older) = self.older.as_mut() {
            if older.previous.rest.capacity() > MAX_KEPT {
                (older.previous, older.serial) = (Body::default(), 0);
            }
            if older.marked.rest.capacity() > MAX_KEPT {
                older.marked = Body::default();
            }
        }
        if self.serial == 0 && self.rest.capacity() > MAX_KEPT {
            (self.rest, self.held) = (Vec::new(), 0);
        } else if self.rest.capacity() > MAX_KEPT.max(2 * self.rest.len()) {
            self.rest.shrink_to_fit();
        }
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        let of = |older: &Older| {
            size_of::<Older>() + older.previous.rest.capacity() + older.marked.rest.capacity()
        };
        self.rest.capacity() + self.older.as_deref().map_or(0, of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unnamed_statement_comes_back() {
        let mut unnamed = Unnamed::default();
        let first = unnamed.replace(b"a", None);
        let second = unnamed.replace(b"b", None);
        unnamed.undo(second);
        assert_eq!((unnamed.serial, &unnamed.rest[..]), (first, &b"a"[..]));
        unnamed.undo(second);
        assert_eq!(unnamed.serial, first);
    }

    #[test]
    fn what_never_ran_ended_nothing() {
        let mut unnamed = Unnamed::default();
        let first = unnamed.replace(b"a", None);
        let was = unnamed.clear();
        let second = unnamed.replace(b"b", None);
        unnamed.undo(second);
        unnamed.restore(was);
        assert_eq!((unnamed.serial, &unnamed.rest[..]), (first, &b"a"[..]));
        let second = unnamed.replace(b"b", None);
        let third = unnamed.replace(b"c", None);
        unnamed.undo(third);
        unnamed.undo(second);
        assert_eq!(unnamed.serial, 0);
    }

    #[test]
    fn a_later_end_stands() {
        let mut unnamed = Unnamed::default();
        unnamed.replace(b"a", None);
        let never_ran = unnamed.clear();
        let ran = unnamed.clear();
        unnamed.restore(never_ran);
        assert_eq!(unnamed.serial, 0);
        unnamed.restore(ran);
        unnamed.restore(never_ran);
        assert_ne!(unnamed.serial, 0);
        let second = unnamed.replace(b"b", None);
        unnamed.clear();
        unnamed.undo(second);
        assert_eq!(unnamed.serial, 0);
    }

    #[test]
    fn what_never_ran_does_not_come_back_for_another() {
        let mut unnamed = Unnamed::default();
        unnamed.replace(b"a", None);
        let second = unnamed.replace(b"b", None);
        let third = unnamed.replace(b"c", None);
        // Of two batches on their way the first is told first.
        unnamed.undo(second);
        unnamed.undo(third);
        assert_eq!(unnamed.serial, 0);
    }

    #[test]
    fn a_failure_does_not_end_a_later_one() {
        let mut unnamed = Unnamed::default();
        let first = unnamed.replace(b"a", None);
        let second = unnamed.replace(b"b", None);
        unnamed.failed(first);
        assert_eq!(unnamed.serial, second);
        unnamed.undo(second);
        assert_eq!(unnamed.serial, 0);
    }

    #[test]
    fn what_failed_does_not_come_back_with_what_ended_it() {
        let mut unnamed = Unnamed::default();
        let first = unnamed.replace(b"a", None);
        let was = unnamed.clear();
        unnamed.failed(first);
        unnamed.restore(was);
        assert_eq!(unnamed.serial, 0);
    }

    #[test]
    fn a_huge_one_is_not_kept() {
        let mut unnamed = Unnamed::default();
        unnamed.replace(&vec![b'x'; 1 << 20], None);
        unnamed.clear();
        unnamed.shrink();
        unnamed.replace(&vec![b'x'; 1 << 20], None);
        unnamed.replace(b"a", None);
        unnamed.replace(b"b", None);
        unnamed.shrink();
        assert!(unnamed.memory() < 2 * MAX_KEPT);
        assert_eq!(&unnamed.rest, b"b");
    }

    #[test]
    fn what_was_there_at_the_mark_comes_back() {
        for later in 0..4 {
            let mut unnamed = Unnamed::default();
            let first = unnamed.replace(b"a", None);
            unnamed.mark();
            for text in [b"b", b"c", b"d"].iter().take(later) {
                unnamed.replace(*text, None);
            }
            unnamed.go_back();
            assert_eq!((unnamed.serial, &unnamed.rest[..]), (first, &b"a"[..]), "after {later}");
        }
        let mut unnamed = Unnamed::default();
        unnamed.mark();
        unnamed.replace(b"b", None);
        unnamed.go_back();
        assert_eq!(unnamed.serial, 0);
    }

    #[test]
    fn an_undone_one_is_not_taken_for_the_marked_one() {
        let mut unnamed = Unnamed::default();
        let first = unnamed.replace(b"a", None);
        unnamed.mark();
        let second = unnamed.replace(b"b", None);
        unnamed.undo(second);
        unnamed.replace(b"c", None);
        unnamed.replace(b"d", None);
        unnamed.go_back();
        assert_eq!((unnamed.serial, &unnamed.rest[..]), (first, &b"a"[..]));
    }
}
