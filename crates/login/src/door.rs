//! What the door hands over.

use bytes::BytesMut;
use pgherd_net::transport::Transport;
use std::net::SocketAddr;
use std::sync::Arc;

/// Where a client comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// TCP address.
    Tcp(SocketAddr),
    /// Unix socket; the effective user id of the other side when the kernel tells it.
    Unix(Option<u32>),
}

/// The protocol minor version agreed with the client (major is always 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// 3.0: 4-byte cancel secrets.
    V3_0,
    /// 3.2: cancel secrets of up to 256 bytes.
    V3_2,
}

/// A client whose authentication succeeded. `unsent` holds what it must still be sent first (AuthenticationSASLFinal,
/// AuthenticationOk, NegotiateProtocolVersion), so that it leaves in the same write as the parameters and ReadyForQuery.
#[derive(Debug)]
pub struct Admitted {
    /// The stream, TLS already established.
    pub transport: Transport,
    /// Where it comes from.
    pub peer: Peer,
    /// Authenticated user.
    pub user: Arc<str>,
    /// Requested database (the user's name when none was given).
    pub database: Arc<str>,
    /// Startup parameters other than user, database, replication and `_pq_.*`, in the order given; `options` is already taken apart
    /// into its `-c name=value` settings (later ones win).
    pub settings: Vec<(Box<str>, Box<str>)>,
    /// True when the client asked for a replication connection (`replication=true|database|...`).
    pub replication: Option<Box<str>>,
    /// Agreed protocol.
    pub protocol: Protocol,
    /// Bytes to send before anything else.
    pub unsent: BytesMut,
    /// Bytes the client already sent after its last authentication message.
    pub unread: BytesMut,
}

/// A cancel request: the process id and secret as the client sent them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CancelRequest {
    /// "Process id" half of the key.
    pub pid: i32,
    /// Secret half, 4 to 256 bytes.
    pub secret: Box<[u8]>,
}

/// What came through the door.
#[derive(Debug)]
pub enum Arrival {
    /// Serve it.
    Client(Box<Admitted>),
    /// Look the key up, then close the stream.
    Cancel(CancelRequest, Transport),
    /// Nothing to do: it was refused (and told so), or it left.
    Gone,
}
