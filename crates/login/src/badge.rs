//! By what a client is known without a password: the certificate it came with, and the user its process runs as.

use crate::door::Peer;
use pgherd_net::tls::der::Certificate;
use pgherd_net::transport::Transport;

/// A client's certificate that was verified when the connection was encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Badge {
    /// The first common name of its subject. None when it has none, or none that can be a name.
    pub(crate) common_name: Option<Box<str>>,
}

impl Badge {
    /// What this client came with. A certificate that does not hold has ended its handshake, so one that is there is good.
    pub(crate) fn of(transport: &Transport) -> Option<Badge> {
        let leaf = transport.client_certificate()?;
        let common_name = Certificate::parse(leaf).and_then(|certificate| {
            // A zero byte would end the name for some who compare it and not for others.
            certificate.common_name().filter(|name| !name.is_empty() && !name.contains('\0')).map(Into::into)
        });
        Some(Badge { common_name })
    }
}

/// The name of the operating system's user on the other side of a Unix socket; `None` when there is none. May ask the network, where
/// users are kept there: not for a thread that serves.
pub(crate) fn system_user(peer: &Peer) -> Option<String> {
    let Peer::Unix(Some(uid)) = peer else { return None };
    uzers::get_user_by_uid(*uid)?.name().to_str().map(str::to_owned)
}
