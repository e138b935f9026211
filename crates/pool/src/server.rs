//! One server connection while nobody else owns it.

use crate::budget::Permit;
use crate::connect::Target;
use pgherd_net::transport::Transport;
use pgherd_topology::gauge::Moment;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What a session leaves on a server connection and the next one must know of. The pool carries it and asks a few things.
pub trait Baggage: Default + Send + 'static {
    /// A number that is equal for equal settings: an idle server whose number is the session's own is preferred.
    fn digest(&self) -> u64;
    /// Something must be cleaned away before another session may use the server.
    fn is_dirty(&self) -> bool;
    /// Cleaning would not help: no other session may use the server.
    fn is_spoiled(&self) -> bool;
    /// DISCARD ALL was done.
    fn was_reset(&mut self);
}

/// What others may know of a server connection: how it is cancelled, and whether it is still valid.
#[derive(Debug)]
pub struct Identity {
    /// Unique number of the connection, from 1.
    pub number: u64,
    /// Its node.
    pub node: pgherd_topology::node::NodeId,
    /// Epoch of the snapshot under which it was opened.
    pub epoch: u64,
    /// Its node's moment when it was ready for queries.
    pub opened: Moment,
    /// Where it was connected to.
    pub target: Arc<Target>,
    /// User of its pool.
    pub user: Arc<str>,
    /// Our end of it, over TCP.
    pub local: Option<std::net::SocketAddr>,
    /// TLS version and cipher suite, with TLS.
    pub encryption: Option<Box<str>>,
    /// The pool's generation when it was begun: an operator may ask for newer ones.
    pub generation: u64,
    /// When it was made, in milliseconds of the process.
    pub since: u64,
    /// When a session got it last, in milliseconds of the process.
    pub used: AtomicU64,
    /// Statements prepared on it when it was released last.
    pub statements: AtomicUsize,
    /// Its process id.
    pub pid: i32,
    /// Secret for cancel requests.
    pub secret: Box<[u8]>,
}

/// A server connection.
#[derive(Debug)]
pub struct Server<B> {
    /// The stream.
    pub transport: Transport,
    /// What the last session left.
    pub baggage: Box<B>,
    /// The worker on whose event loop the socket lives.
    pub home: usize,
    /// Who it is.
    pub identity: Arc<Identity>,
    /// When it is to be closed at the next release, whatever its state; by the pool's coarse clock.
    pub(crate) expires: u64,
    /// When it was last put on the shelf.
    pub(crate) idle_since: u64,
    pub(crate) _permit: Permit,
}

impl<B> Server<B> {
    /// True when an idle server said something or closed. Costs no system call while nothing happened on the socket.
    pub(crate) fn is_disturbed(&mut self) -> bool {
        let mut byte = [0; 1];
        let mut space = ReadBuf::new(&mut byte);
        let mut cx = Context::from_waker(Waker::noop());
        Pin::new(&mut self.transport).poll_read(&mut cx, &mut space).is_ready()
    }

    /// Says goodbye as far as that is possible without waiting, and closes.
    pub fn retire(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        let goodbye = Pin::new(&mut self.transport).poll_write(&mut cx, &pgherd_wire::write::TERMINATE);
        if let Poll::Ready(Ok(_)) = goodbye {
            let _ = Pin::new(&mut self.transport).poll_flush(&mut cx);
        }
    }
}
