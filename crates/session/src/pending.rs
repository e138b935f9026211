//! The queue of owed replies.

use crate::effect::Effects;
use crate::prepared::Statement;
use crate::unnamed::End;
use pgherd_wire::write::Report;
use std::collections::VecDeque;
use std::sync::Arc;

/// Most replies a client may be owed at once: its next requests wait, as they would in the buffers of a direct connection, so that a client that never reads
/// does not fill our memory.
pub const MAX_OWED: usize = 16_384;

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
    /// A Query of ours that asks what the session has left in the server.
    Probe,
}

impl Kind {
    /// ReadyForQuery is its last reply.
    pub fn ends_unit(self) -> bool {
        matches!(self, Kind::Query | Kind::Function | Kind::Sync | Kind::Probe)
    }
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
    /// A Query or a Close ended the unnamed statement.
    Dropped(End),
    /// A request of ours made the server's unnamed statement the one with this serial; 0: took it away.
    Lent(u64),
    /// A Close of ours took the statement with this number away from the server, which had no room for it.
    Evicted(u64),
    /// A Close took this name away.
    Closed(Box<[u8]>, Arc<Statement>),
}

impl Undo {
    /// The name that a Parse gave.
    pub fn named(&self) -> Option<&[u8]> {
        match self {
            Undo::Named(name) => Some(name),
            _ => None,
        }
    }
}

/// One owed reply.
#[derive(Debug)]
pub struct Owed {
    /// Which request.
    pub kind: Kind,
    /// Whose reply.
    pub fate: Fate,
    /// An answer of our own that waits for the server's next.
    pub waits: bool,
    /// Statement that the server learns by this Parse.
    pub learned: Option<Arc<Statement>>,
    /// How to undo it.
    pub undo: Undo,
    /// Statement that this Bind or Describe names.
    pub uses: Option<Arc<Statement>>,
    /// The mark of the name by which it does, see [`crate::names`].
    pub mark: u32,
    /// CopyDone and CopyFail that were sent after this request and before the next.
    pub copy_ends: u32,
    /// What the request does to the session, confirmed by command tags.
    pub effects: Option<Box<Effects>>,
    /// A transaction block ends with it, if it succeeds.
    pub closes: bool,
    /// It is one statement.
    pub single: bool,
    /// The client has heard that the block ended with it: only ReadyForQuery is missing.
    pub settled: bool,
    /// Names in it were replaced.
    pub renaming: Option<Box<crate::retold::Renaming>>,
    /// The request was made to fail: this report takes the place of the server's.
    pub instead: Option<Box<Report>>,
}

impl Owed {
    /// An owed reply without side effects.
    pub fn new(kind: Kind, fate: Fate) -> Owed {
        Owed {
            kind,
            fate,
            waits: false,
            learned: None,
            undo: Undo::Nothing,
            uses: None,
            mark: 0,
            copy_ends: 0,
            effects: None,
            closes: false,
            single: false,
            settled: false,
            renaming: None,
            instead: None,
        }
    }
}

impl Owed {
    /// A Query of ours that is a PREPARE.
    pub(crate) fn prepares(&self) -> bool {
        self.learned.is_some() || matches!(self.undo, Undo::Closed(..))
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

    /// One of those that were pushed: the one before which there were `at`.
    pub(crate) fn at(&mut self, at: usize) -> &mut Owed {
        &mut self.0[at]
    }

    /// How the Query differs that is on its way with other names.
    pub(crate) fn renaming(&mut self) -> Option<&mut crate::retold::Renaming> {
        self.0.iter_mut().find_map(|owed| owed.renaming.as_deref_mut())
    }

    /// The reply that comes next is to a request of ours that prepares something, apart from all requests of the client.
    pub(crate) fn is_apart(&self) -> bool {
        let Some(head) = self.0.front().filter(|head| head.fate == Fate::Swallow) else { return false };
        match head.kind {
            Kind::Query => head.prepares(),
            Kind::Probe => false,
            _ => {
                self.0.iter().find(|owed| owed.kind.ends_unit()).is_some_and(|end| end.fate == Fate::Swallow)
            }
        }
    }

    /// The reply that comes last.
    pub fn last(&mut self) -> Option<&mut Owed> {
        self.0.back_mut()
    }

    /// All of them, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Owed> {
        self.0.iter()
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

    /// Answers of our own behind which the server owes nothing wait no longer. True when one did.
    pub fn let_go(&mut self) -> bool {
        let last = self.0.iter_mut().rev().take_while(|owed| owed.fate == Fate::Fake);
        last.fold(false, |any, owed| std::mem::take(&mut owed.waits) | any)
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

    /// The server went into COPY IN at the head: what it reads next belongs to the copy. Syncs behind the head are ignored by it, and one other
    /// request makes the copy fail and is lost with it (documentation, chapter 55.2.6), unless the copy's end was sent before. True when the copy goes on.
    pub fn copy_begins(&mut self, mut each: impl FnMut(Owed)) -> bool {
        if let Some(head) = self.0.front_mut()
            && head.copy_ends > 0
        {
            head.copy_ends -= 1;
            return false;
        }
        // What was never sent cannot be lost.
        let sent = |owed: &Owed| owed.fate != Fate::Fake;
        while let Some(at) = self.0.iter().skip(1).position(sent) {
            let Some(lost) = self.0.remove(at + 1) else { break };
            let (sync, ends) = (lost.kind == Kind::Sync, lost.copy_ends);
            each(lost);
            if !sync {
                return false;
            }
            if ends > 0 {
                if let Some(head) = self.0.front_mut() {
                    head.copy_ends += ends - 1;
                }
                return false;
            }
        }
        true
    }

    /// Gives memory back that a long pipeline needed.
    pub fn shrink(&mut self) {
        if self.0.is_empty() && self.0.capacity() > 64 {
            self.0 = VecDeque::new();
        }
    }
}
