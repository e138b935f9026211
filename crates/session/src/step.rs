//! What the machine says to its driver.

use bytes::BytesMut;
use pgherd_wire::frame::BadLength;
use std::fmt;

/// Where verdicts on the bytes of one direction go. Each call speaks of the next bytes that were not spoken of yet.
pub trait Sink {
    /// The next `n` bytes go on unchanged.
    fn pass(&mut self, n: usize);
    /// The next `n` bytes are dropped.
    fn skip(&mut self, n: usize);
    /// At this point of the stream, before the next byte, go the bytes that `write` appends.
    fn compose(&mut self, write: impl FnOnce(&mut BytesMut));
}

/// Why the machine stopped looking at the client's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Halt {
    /// It needs at least this many undecided bytes before it can go on; all others are decided.
    More(usize),
    /// The message at the front needs a server: attach one and show the same bytes again.
    Server(Demand),
    /// The next unit of a watched block is at the front ([`crate::machine::Machine::watch_block`]): it goes on after [`crate::machine::Machine::admit`].
    Next,
    /// As many replies are owed as may be, or the first of them must come before more is asked: show the same bytes again when there is room ([`crate::machine::Machine::has_room`]).
    Full,
    /// Terminate: the client leaves.
    Goodbye,
}

/// What kind of server the message at the front needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// The transaction is declared READ ONLY (true) or READ WRITE (false), if either.
    pub read_only: Option<bool>,
    /// Its isolation level is given, and is SERIALIZABLE: a standby refuses it.
    pub serializable: Option<bool>,
    /// The demand is a lone statement, not the start of a transaction block.
    pub lone: bool,
}

/// What a client stands to lose with its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stake {
    /// Nothing was asked of it.
    Nothing,
    /// A lone statement that was not completely sent, or is known not to have committed.
    Statement,
    /// An open transaction whose COMMIT was not sent: nothing was committed.
    Transaction,
    /// A COMMIT, or a statement outside a transaction, is in flight: it may have happened.
    Unknown,
}

/// The session cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The client sent an impossible length.
    ClientLength(BadLength),
    /// The client sent a message type that does not exist in a session.
    ClientTag(u8),
    /// The server sent something that was not owed, or an impossible length; the text says what.
    Server(&'static str, u8),
    /// The server refused what pgherd itself had put before the client's request (settings, BEGIN).
    Preparation(Box<[u8]>),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broken::ClientLength(bad) => {
                write!(f, "invalid message length {} in message type {}", bad.length, bad.tag)
            }
            Broken::ClientTag(tag) => write!(f, "invalid frontend message type {tag}"),
            Broken::Server(what, tag) => {
                write!(f, "server sent {what} (message type \"{}\")", tag.escape_ascii())
            }
            Broken::Preparation(_) => f.write_str("the server refused the session's settings"),
        }
    }
}

impl std::error::Error for Broken {}
