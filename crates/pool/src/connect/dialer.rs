//! Where streams come from when it is not sockets.

use pgherd_net::transport::Transport;
use pgherd_topology::node::Address;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;

/// A stream that is being opened.
pub type Dialing<'a> = Pin<Box<dyn Future<Output = io::Result<Transport>> + Send + 'a>>;

/// Opens streams to nodes in place of the operating system's sockets, for logins and cancel requests alike. Tests put servers of their own behind it.
pub trait Dialer: fmt::Debug + Send + Sync + 'static {
    /// A fresh stream to the node at this address. Errors are sorted as those of sockets are ([`super::error::ConnectError::from_io`]).
    fn dial<'a>(&'a self, address: &'a Address) -> Dialing<'a>;
}
