//! What a text was found to be, and why.

use crate::hint::Hint;
use crate::intent;
use crate::rule::Rule;

/// What a transaction may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// READ ONLY and not SERIALIZABLE: a standby accepts it.
    ReadOnly,
    /// Anything else.
    ReadWrite,
}

/// What a text is. The order is that of the worst: of several statements the worst decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Proven to only read: may run on any replica that is fresh enough.
    Read,
    /// Changes or shows session state: is recorded, and applied to whatever server comes next.
    Session,
    /// Opens a transaction that may live on a replica.
    BeginReadOnly,
    /// Ends a transaction, on the server that holds it.
    End,
    /// Opens a transaction that may not live on a replica.
    BeginReadWrite,
    /// Must run on the primary and leaves nothing behind in the server. Also what is not known.
    #[default]
    Write,
    /// Must run on the primary, and the server stays with the session.
    Pin,
    /// PostgreSQL will refuse it, as far as a text can tell. It goes where a write would, and changes no state.
    Error,
}

impl Class {
    /// Every class.
    pub const ALL: [Class; 8] = [
        Class::Read,
        Class::Session,
        Class::BeginReadOnly,
        Class::End,
        Class::BeginReadWrite,
        Class::Write,
        Class::Pin,
        Class::Error,
    ];

    /// The word used as metric label and in tables.
    pub fn word(self) -> &'static str {
        match self {
            Class::Read => "read",
            Class::Session => "session",
            Class::BeginReadOnly => "txn-begin-ro",
            Class::End => "txn-end",
            Class::BeginReadWrite => "txn-begin-rw",
            Class::Write => "write",
            Class::Pin => "pin",
            Class::Error => "error",
        }
    }

    /// True for what may be sent to a replica.
    pub fn may_leave_primary(self) -> bool {
        matches!(self, Class::Read | Class::BeginReadOnly)
    }
}

/// What a text does to the transaction block around it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// It opens a block, whatever becomes of it.
    pub begins: bool,
    /// It ends a block: its own, or one that was open before.
    pub ends: bool,
    /// A block that it opened is open after it.
    pub leaves_open: Option<Access>,
    /// It changes what the running transaction may do (SET TRANSACTION and the settings behind it).
    pub mode: Option<Access>,
    /// It asks for SERIALIZABLE, which a standby refuses.
    pub serializable: bool,
}

/// Where something stands in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Offset of its first byte.
    pub start: usize,
    /// Offset after its last byte.
    pub end: usize,
}

/// A statement prepared or executed by SQL: its own class says little, that of the text behind the name decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// `PREPARE name AS statement`, without EXPLAIN before it.
    Prepares {
        /// The name, as it is spelled.
        name: Span,
        /// The statement, to be classified like any text.
        statement: Span,
    },
    /// `EXECUTE name`, whose arguments were found to be harmless.
    Executes {
        /// The name, as it is spelled.
        name: Span,
    },
}

/// All that is known about a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What it is.
    pub class: Class,
    /// Why.
    pub rule: Rule,
    /// Offset of the token that decided.
    pub at: usize,
    /// Number of statements in it, empty ones not counted.
    pub statements: usize,
    /// Some statement in it leaves state in the server that cannot be moved, whatever the class says.
    pub pins: bool,
    /// Some statement in it changes or shows session state, whatever the class says.
    pub touches_session: bool,
    /// It speaks of `synchronous_commit`: what commits behind it may not be flushed when it is acknowledged.
    pub speaks_of_commit: bool,
    /// A read that also sets something for the rest of its transaction: `set_config` with `true`.
    pub sets_locally: bool,
    /// What stands in the comment in front of it.
    pub hint: Hint,
    /// What it does to the transaction block.
    pub control: Control,
    /// Set when it is one statement that prepares or executes.
    pub subject: Option<Subject>,
    /// Refused outside a block, unless other statements stand beside it.
    pub(crate) needs_block: bool,
}

impl Verdict {
    /// What was found to be a plain read before, without a wish of its own.
    pub fn plain_read() -> Verdict {
        Verdict::new(Class::Read, Rule::Reads, 0)
    }

    /// Is it such a read? Then nothing else of it need be remembered.
    pub fn is_plain_read(&self) -> bool {
        let more = self.speaks_of_commit || self.sets_locally || self.pins;
        self.class == Class::Read && self.hint == Hint::default() && !more
    }

    pub(crate) fn new(class: Class, rule: Rule, at: usize) -> Verdict {
        Verdict {
            class,
            rule,
            at,
            statements: 1,
            pins: class == Class::Pin,
            touches_session: class == Class::Session,
            speaks_of_commit: false,
            sets_locally: false,
            hint: Hint::default(),
            control: Control::default(),
            subject: None,
            needs_block: false,
        }
    }

    /// Takes a worse class; of two that are equally bad the first stays.
    pub(crate) fn raise(&mut self, class: Class, rule: Rule, at: usize) {
        self.pins |= class == Class::Pin;
        self.touches_session |= class == Class::Session;
        if class > self.class {
            (self.class, self.rule, self.at) = (class, rule, at);
        }
    }

    /// More than one statement: the answer consists of several, and cannot be taken back after the first.
    pub fn has_several(&self) -> bool {
        self.statements > 1
    }

    /// In a READ ONLY block on a replica: this must not run there, and on the primary it may. What the text shows to write is refused by both alike; what opens
    /// cursors or locks tables has its place where the block is. `has_read`: the block has a snapshot, so its modes cannot be changed any more. What follows
    /// the block's end is in no READ ONLY transaction any more.
    pub fn must_leave_replica(&self, has_read: bool) -> bool {
        let stays = matches!(
            self.rule,
            Rule::DataChange
                | Rule::RowLock
                | Rule::Into
                | Rule::Utility
                | Rule::TableLock
                | Rule::Cursor
                | Rule::Incomplete
        );
        let goes_on = self.control.ends && (self.has_several() || self.rule == Rule::Incomplete);
        match self.class {
            Class::Session | Class::End if goes_on && self.control.mode == Some(Access::ReadWrite) => true,
            Class::Write | Class::Pin => goes_on || !stays,
            Class::BeginReadWrite => goes_on,
            Class::Session => {
                !has_read && (self.control.mode == Some(Access::ReadWrite) || self.control.serializable)
            }
            Class::Read | Class::BeginReadOnly | Class::End | Class::Error => false,
        }
    }

    /// The class in the words of [`crate::choose`]. On a listener for replicas only what is sure to write is refused; what is
    /// merely not proven goes there, as the listener promises.
    pub fn intent(&self) -> intent::Class {
        match self.class {
            Class::Read => intent::Class::Read,
            Class::Pin => intent::Class::Session,
            Class::Write if self.rule.is_write_by_word() => intent::Class::Write,
            Class::Session
            | Class::BeginReadOnly
            | Class::End
            | Class::BeginReadWrite
            | Class::Write
            | Class::Error => intent::Class::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_the_worst_decides() {
        let mut verdict = Verdict::new(Class::Read, Rule::Reads, 0);
        verdict.raise(Class::Write, Rule::RowLock, 5);
        verdict.raise(Class::Write, Rule::Into, 9);
        verdict.raise(Class::Session, Rule::Setting, 11);
        assert_eq!(
            (verdict.rule, verdict.at, verdict.touches_session, verdict.pins),
            (Rule::RowLock, 5, true, false)
        );
        verdict.raise(Class::Pin, Rule::Listen, 12);
        verdict.raise(Class::Error, Rule::Unreadable, 13);
        assert_eq!((verdict.class, verdict.pins), (Class::Error, true));
    }

    #[test]
    fn leaves_a_replica_only_for_what_the_primary_would_do() {
        let leaves = |class, rule, has_read| Verdict::new(class, rule, 0).must_leave_replica(has_read);
        for (class, rule, expected) in [
            (Class::Read, Rule::Reads, false),
            (Class::Write, Rule::UnknownCall, true),
            (Class::Write, Rule::TaintedRelation, true),
            (Class::Write, Rule::Notify, true),
            (Class::Pin, Rule::Listen, true),
            (Class::Write, Rule::DataChange, false),
            (Class::Write, Rule::RowLock, false),
            (Class::Write, Rule::TableLock, false),
            (Class::End, Rule::End, false),
            (Class::Session, Rule::Setting, false),
        ] {
            assert_eq!(leaves(class, rule, true), expected, "{rule:?}");
            assert_eq!(leaves(class, rule, false), expected, "{rule:?}");
        }
        let mut mode = Verdict::new(Class::Session, Rule::Setting, 0);
        mode.control.mode = Some(Access::ReadWrite);
        assert!(mode.must_leave_replica(false) && !mode.must_leave_replica(true));
        // What comes after the block's end is not in it.
        for (class, rule, expected) in [
            (Class::Write, Rule::DataChange, true),
            (Class::Pin, Rule::Utility, true),
            (Class::BeginReadWrite, Rule::Begin, true),
            (Class::End, Rule::End, false),
        ] {
            let mut verdict = Verdict { statements: 2, ..Verdict::new(class, rule, 0) };
            assert!(!verdict.must_leave_replica(true), "{rule:?}");
            verdict.control.ends = true;
            assert_eq!(verdict.must_leave_replica(true), expected, "{rule:?}");
        }
    }

    #[test]
    fn only_reads_are_reads_to_the_chooser() {
        for class in Class::ALL {
            let verdict = Verdict::new(class, Rule::UnknownCall, 0);
            assert_eq!(verdict.intent() == intent::Class::Read, class == Class::Read);
            assert_ne!(verdict.intent(), intent::Class::Write, "{class:?} is not sure to write");
        }
        let write = Verdict::new(Class::Write, Rule::DataChange, 0);
        assert_eq!(write.intent(), intent::Class::Write);
    }
}
