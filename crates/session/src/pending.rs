//! The queue of owed replies.

use crate::effect::Effects;
use crate::prepared::Statement;
use pgherd_wire::write::Report;
use std::collections::VecDeque;
use std::sync::Arc;

/// Most replies a client may be owed at once. Above it the session ends: a client that never reads must not fill our memory.
pub const MAX_OWED: usize = 65_536;

/// Which request a reply answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Query: anything up to ReadyForQuery.
    Query,
    /// FunctionCall: a result or an error, then ReadyForQuery.
    Function,
    /// Parse.
    Parse,
    /// Bind.
    Bind,
    /// Describe of a statement: ParameterDescription, then RowDescription or NoData.
    DescribeStatement,
    /// Describe of a portal.
    DescribePortal,
    /// Execute: rows up to CommandComplete, EmptyQueryResponse or PortalSuspended.
    Execute,
    /// Close.
    Close,
    /// Sync.
    Sync,
}

/// What becomes of the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is the client's.
    Forward,
    /// The request was ours: its replies are swallowed.
    Swallow,
    /// The request was not sent: we answer it when its turn comes.
    Fake,
}

/// How to undo the client's view when the request turns out never to have run.
#[derive(Debug, Default)]
pub enum Undo {
    /// Nothing to undo.
    #[default]
    Nothing,
    /// A Parse gave this name to a statement.
    Named(Box<[u8]>),
    /// A Parse with this serial replaced the unnamed statement.
    Unnamed(u64),
    /// A request of ours was to change the server's unnamed statement.
    Slot,
    /// A Close took this name away.
    Closed(Box<[u8]>, Arc<Statement>),
}

/// One owed reply.
#[derive(Debug)]
pub struct Owed {
    /// Which request.
    pub kind: Kind,
    /// Whose reply.
    pub fate: Fate,
    /// Statement that the server learns by this Parse.
    pub learned: Option<Arc<Statement>>,
    /// How to undo it.
    pub undo: Undo,
    /// What the request does to the session, confirmed by command tags.
    pub effects: Option<Box<Effects>>,
    /// The request was made to fail: this report takes the place of the server's.
    pub instead: Option<Box<Report>>,
    /// CopyDone and CopyFail that the client sent after this request and before the next one.
    pub copy_ends: u32,
}

impl Owed {
    /// An owed reply without side effects.
    pub fn new(kind: Kind, fate: Fate) -> Owed {
        Owed { kind, fate, learned: None, undo: Undo::Nothing, effects: None, instead: None, copy_ends: 0 }
    }
}

/// The queue, oldest first.
#[derive(Debug, Default)]
pub struct Pending(VecDeque<Owed>);

impl Pending {
    /// Nothing is owed.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many replies are owed.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The reply that comes next.
    #[inline]
    pub fn head(&mut self) -> Option<&mut Owed> {
        self.0.front_mut()
    }

    /// One more.
    #[inline]
    pub fn push(&mut self, owed: Owed) -> &mut Owed {
        self.0.push_back(owed);
        self.0.back_mut().expect("one was just pushed")
    }

    /// The next one came.
    #[inline]
    pub fn pop(&mut self) -> Option<Owed> {
        self.0.pop_front()
    }

    /// An extended request failed: takes off everything up to the next Sync, newest first; the Sync stays. True when a Sync is there.
    pub fn clear_to_sync(&mut self, mut each: impl FnMut(Owed)) -> bool {
        let sync = self.0.iter().position(|owed| owed.kind == Kind::Sync);
        // Newest first, so that the undoing of a Close and a later Parse of the same name ends where it began.
        self.0.drain(..sync.unwrap_or(self.0.len())).rev().for_each(&mut each);
        sync.is_some()
    }

    /// Takes everything off, newest first.
    pub fn clear(&mut self, each: impl FnMut(Owed)) {
        self.0.drain(..).rev().for_each(each);
    }

    /// The reply that comes last.
    pub fn last(&mut self) -> Option<&mut Owed> {
        self.0.back_mut()
    }

    /// The server went into COPY IN at the head: what it reads next belongs to the copy, up to the first CopyDone or CopyFail. Syncs before that are
    /// ignored by it, and one other request makes the copy fail and is lost with it (documentation, chapter 55.2.6). True when all that was sent was
    /// read by the copy, so that what the client sends next belongs to it too.
    pub fn eaten_by_copy(&mut self, mut each: impl FnMut(Owed)) -> bool {
        loop {
            let Some(head) = self.0.front_mut() else { return true };
            if head.copy_ends > 0 {
                head.copy_ends -= 1;
                return false;
            }
            let Some(next) = self.0.remove(1) else { return true };
            let sync = next.kind == Kind::Sync;
            if let Some(head) = self.0.front_mut() {
                head.copy_ends = next.copy_ends;
            }
            each(next);
            if !sync {
                return false;
            }
        }
    }

    /// Gives memory back that a long pipeline needed.
    pub fn shrink(&mut self) {
        if self.0.is_empty() && self.0.capacity() > 64 {
            self.0 = VecDeque::new();
        }
    }
}
