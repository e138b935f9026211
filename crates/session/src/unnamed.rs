//! The unnamed statement of a session.

/// Longest body that is kept beyond the transaction that needed it, when it is not in force any more.
const MAX_KEPT: usize = 16 * 1024;

/// Two bodies: the one that came last and the one before, which comes back when a Parse never ran. So the ordinary Parse needs no allocation.
#[derive(Debug, Default)]
pub struct Unnamed {
    /// Body of the last Parse after its (empty) name; in force only when `serial` is not 0.
    pub rest: Vec<u8>,
    /// Number of the Parse in force, counted within the session; 0 when there is no unnamed statement.
    pub serial: u64,
    /// Which Parse `rest` belongs to, in force or not.
    held: u64,
    previous: Vec<u8>,
    previous_serial: u64,
    previous_held: u64,
    last: u64,
    /// Whether there was one when the present server was taken, and how often it was replaced since.
    had: bool,
    replaced: u32,
    /// How often it was ended.
    ends: u64,
}

/// An end of the unnamed statement: the serial of the one that was in force, and which end it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    pub(crate) serial: u64,
    number: u64,
}

impl Unnamed {
    /// Remembers a new unnamed statement and returns its serial.
    pub fn replace(&mut self, rest: &[u8]) -> u64 {
        std::mem::swap(&mut self.rest, &mut self.previous);
        (self.previous_serial, self.previous_held) = (self.serial, self.held);
        self.rest.clear();
        self.rest.extend_from_slice(rest);
        self.last += 1;
        self.replaced = self.replaced.saturating_add(1);
        (self.serial, self.held) = (self.last, self.last);
        self.serial
    }

    /// The Parse with this serial never ran: what was before is in force again. When two in a row never ran there is none, and the client must parse again.
    pub fn undo(&mut self, serial: u64) {
        if self.held == serial {
            std::mem::swap(&mut self.rest, &mut self.previous);
            let previous = std::mem::take(&mut self.previous_serial);
            // What has ended it since, and ran, ended what was before as well.
            self.serial = if self.serial == serial { previous } else { 0 };
            self.held = std::mem::take(&mut self.previous_held);
        } else if self.previous_held == serial {
            // A later one was sent meanwhile; should that not run either, this one must not come back.
            self.previous_serial = 0;
        }
    }

    /// What ended the statement never ran: it is in force again, unless another one is, or a later end stands.
    pub fn restore(&mut self, end: End) {
        if self.ends != end.number {
            return;
        }
        self.ends -= 1;
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
        for held in [&mut self.held, &mut self.previous_held] {
            if *held == serial {
                *held = 0;
            }
        }
        self.previous_serial = 0;
    }

    /// A server was taken: from here on it may be necessary to go back.
    pub(crate) fn mark(&mut self) {
        (self.had, self.replaced) = (self.serial != 0, 0);
    }

    /// What was there at the mark is still remembered.
    pub(crate) fn reaches_back(&self) -> bool {
        !self.had || self.replaced < 2
    }

    /// There is no unnamed statement any more.
    pub fn clear(&mut self) -> End {
        self.ends += 1;
        End { serial: std::mem::take(&mut self.serial), number: self.ends }
    }

    /// Gives memory back that one huge statement needed. Only while nothing is owed, so nothing can be undone.
    pub fn shrink(&mut self) {
        if self.previous.capacity() > MAX_KEPT {
            (self.previous, self.previous_serial, self.previous_held) = (Vec::new(), 0, 0);
        }
        if self.serial == 0 && self.rest.capacity() > MAX_KEPT {
            (self.rest, self.held) = (Vec::new(), 0);
        } else if self.rest.capacity() > MAX_KEPT.max(2 * self.rest.len()) {
            self.rest.shrink_to_fit();
        }
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        self.rest.capacity() + self.previous.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unnamed_statement_comes_back() {
        let mut unnamed = Unnamed::default();
        let first = unnamed.replace(b"a");
        let second = unnamed.replace(b"b");
        unnamed.undo(second);
        assert_eq!((unnamed.serial, &unnamed.rest[..]), (first, &b"a"[..]));
        unnamed.undo(second);
        assert_eq!(unnamed.serial, first);
    }

    #[test]
    fn what_never_ran_ended_nothing() {
        let mut unnamed = Unnamed::default();
        let first = unnamed.replace(b"a");
        let was = unnamed.clear();
        let second = unnamed.replace(b"b");
        unnamed.undo(second);
        unnamed.restore(was);
        assert_eq!((unnamed.serial, &unnamed.rest[..]), (first, &b"a"[..]));
        let second = unnamed.replace(b"b");
        let third = unnamed.replace(b"c");
        unnamed.undo(third);
        unnamed.undo(second);
        assert_eq!(unnamed.serial, 0);
    }

    #[test]
    fn a_later_end_stands() {
        let mut unnamed = Unnamed::default();
        unnamed.replace(b"a");
        let never_ran = unnamed.clear();
        let ran = unnamed.clear();
        unnamed.restore(never_ran);
        assert_eq!(unnamed.serial, 0);
        unnamed.restore(ran);
        unnamed.restore(never_ran);
        assert_ne!(unnamed.serial, 0);
        let second = unnamed.replace(b"b");
        unnamed.clear();
        unnamed.undo(second);
        assert_eq!(unnamed.serial, 0);
    }

    #[test]
    fn what_never_ran_does_not_come_back_for_another() {
        let mut unnamed = Unnamed::default();
        unnamed.replace(b"a");
        let second = unnamed.replace(b"b");
        let third = unnamed.replace(b"c");
        // Of two batches on their way the first is told first.
        unnamed.undo(second);
        unnamed.undo(third);
        assert_eq!(unnamed.serial, 0);
    }

    #[test]
    fn a_failure_does_not_end_a_later_one() {
        let mut unnamed = Unnamed::default();
        let first = unnamed.replace(b"a");
        let second = unnamed.replace(b"b");
        unnamed.failed(first);
        assert_eq!(unnamed.serial, second);
        unnamed.undo(second);
        assert_eq!(unnamed.serial, 0);
    }

    #[test]
    fn what_failed_does_not_come_back_with_what_ended_it() {
        let mut unnamed = Unnamed::default();
        let first = unnamed.replace(b"a");
        let was = unnamed.clear();
        unnamed.failed(first);
        unnamed.restore(was);
        assert_eq!(unnamed.serial, 0);
    }

    #[test]
    fn a_huge_one_is_not_kept() {
        let mut unnamed = Unnamed::default();
        unnamed.replace(&vec![b'x'; 1 << 20]);
        unnamed.clear();
        unnamed.shrink();
        unnamed.replace(&vec![b'x'; 1 << 20]);
        unnamed.replace(b"a");
        unnamed.replace(b"b");
        unnamed.shrink();
        assert!(unnamed.memory() < 2 * MAX_KEPT);
        assert_eq!(&unnamed.rest, b"b");
    }
}
