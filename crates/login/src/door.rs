//! The door itself, and what it hands over.

use crate::authenticate::Judge;
use crate::error::{LoginError, Stop};
use crate::prelude::{Wish, prelude};
use crate::secret::ClientSecret;
use crate::settings::Settings;
use crate::startup::Startup;
use crate::stream::Stream;
use arc_swap::ArcSwap;
use aws_lc_rs::rand;
use bytes::BytesMut;
use pgherd_net::transport::Transport;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// How many passwords are stretched at a time: a storm of logins must not take every core.
const MAX_STRETCHING: usize = 2;

/// Said of who sends a header that is not asked for.
const NOT_A_BALANCER: &str = "it sent a PROXY header, which only balancers that the settings name may send";

/// Where a client comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// TCP address.
    Tcp(SocketAddr),
    /// Unix socket; the effective user id of the other side when the kernel tells it.
    Unix(Option<u32>),
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Tcp(address) => write!(f, "{address}"),
            Peer::Unix(_) => f.write_str("[local]"),
        }
    }
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
    /// Startup parameters other than user, database, replication and `_pq_.*`, in the order given, after the `-c name=value`
    /// settings of `options`, which is taken apart (later ones win).
    pub settings: Vec<(Box<str>, Box<str>)>,
    /// The value of `replication` when the client asked for a replication connection (`true`, `database`, ...).
    pub replication: Option<Box<str>>,
    /// Agreed protocol.
    pub protocol: Protocol,
    /// What it has shown that opens server connections for the same user.
    pub secret: ClientSecret,
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

/// The front door, shared by every worker: what strangers may cost and whom to let in.
#[derive(Debug)]
pub struct Door {
    settings: ArcSwap<Settings>,
    unauthenticated: AtomicUsize,
    decoy_key: [u8; 32],
    stretching: Semaphore,
}

impl Door {
    /// A door with these settings.
    ///
    /// # Errors
    /// [`LoginError::Internal`] when the system has no random numbers.
    pub fn new(settings: Settings) -> Result<Door, LoginError> {
        let mut decoy_key = [0; 32];
        rand::fill(&mut decoy_key).map_err(|_| LoginError::Internal)?;
        Ok(Door {
            settings: ArcSwap::from_pointee(settings),
            unauthenticated: AtomicUsize::new(0),
            decoy_key,
            stretching: Semaphore::new(MAX_STRETCHING),
        })
    }

    /// Swaps the settings; logins under way go on by the old ones. TLS files are re-read by [`pgherd_net::tls::ServerTls::reload`].
    pub fn reload(&self, settings: Settings) {
        self.settings.store(Arc::new(settings));
    }

    /// The settings in force.
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// How many are logging in right now.
    pub fn unauthenticated(&self) -> usize {
        self.unauthenticated.load(Ordering::Relaxed)
    }

    /// Takes a raw socket through the prelude and the login, within the login timeout. Whoever is refused has been told so. Not cancel
    /// safe: dropping the future closes the connection.
    pub async fn admit(&self, transport: Transport, peer: Peer) -> Arrival {
        // Boxed: a login is rare and short, and the session's future stays small.
        Box::pin(self.take_in(transport, peer, None)).await
    }

    /// As [`Door::admit`], for a socket from a balancer: it must begin with a header that says for whom the balancer speaks
    /// ([`crate::origin`]), within the same timeout, and the client counts as coming from there.
    pub async fn admit_relayed(&self, transport: Transport, balancer: SocketAddr) -> Arrival {
        Box::pin(self.take_in(transport, Peer::Tcp(balancer), Some(balancer))).await
    }

    async fn take_in(&self, transport: Transport, mut peer: Peer, balancer: Option<SocketAddr>) -> Arrival {
        let settings = self.settings.load_full();
        let mut stream = Stream::new(transport);
        let waiting = Waiting::enter(&self.unauthenticated);
        if waiting.before >= settings.max_unauthenticated {
            // Said at once, whatever the client was going to ask: reading it would cost what there is too little of. A flood gets no
            // words at all.
            if waiting.before < settings.max_unauthenticated.saturating_mul(2) {
                dismiss(&mut stream, &peer, LoginError::Full).await;
            }
            return Arrival::Gone;
        }
        let entry = async {
            if let Some(balancer) = balancer {
                peer = crate::balancer::client(&mut stream, balancer).await?;
            }
            self.login(&mut stream, &settings, &peer).await
        };
        let stop = match timeout(settings.login_timeout, entry).await {
            Ok(Ok(Entry::Cancel(request))) => match stream.into_parts() {
                Some((transport, _, _)) => return Arrival::Cancel(request, transport),
                None => return Arrival::Gone,
            },
            Ok(Ok(Entry::Client(startup, secret))) => match stream.into_parts() {
                Some((transport, unsent, unread)) => {
                    return Arrival::Client(Box::new(Admitted {
                        transport,
                        peer,
                        user: startup.user,
                        database: startup.database,
                        settings: startup.settings,
                        replication: startup.replication,
                        protocol: startup.protocol,
                        secret,
                        unsent,
                        unread,
                    }));
                }
                None => return Arrival::Gone,
            },
            Ok(Err(stop)) => stop,
            // Before its startup packet a client would not know what to do with an answer.
            Err(_) if stream.started => Stop::Refused(LoginError::Timeout),
            Err(_) => Stop::Left,
        };
        match stop {
            Stop::Refused(error) => dismiss(&mut stream, &peer, error).await,
            Stop::Left => tracing::debug!(%peer, "left before it was let in"),
        }
        Arrival::Gone
    }

    async fn login(&self, stream: &mut Stream, settings: &Settings, peer: &Peer) -> Result<Entry, Stop> {
        let (startup, material) = match prelude(stream, settings, peer).await? {
            Wish::Cancel(request) => return Ok(Entry::Cancel(request)),
            Wish::Login(startup, material) => (startup, material),
        };
        startup.negotiate(&mut stream.output);
        let judge = Judge {
            settings,
            decoy_key: &self.decoy_key,
            stretching: &self.stretching,
            end_point: material.as_ref().and_then(|material| material.end_point()),
        };
        let badge = stream.badge();
        let secret = judge.authenticate(stream, &startup.user, peer, badge.as_ref()).await?;
        Ok(Entry::Client(startup, secret))
    }
}

/// How a login ends well.
enum Entry {
    Client(Startup, ClientSecret),
    Cancel(CancelRequest),
}

/// One place among the unauthenticated, given back on drop.
struct Waiting<'a> {
    count: &'a AtomicUsize,
    before: usize,
}

impl Waiting<'_> {
    fn enter(count: &AtomicUsize) -> Waiting<'_> {
        Waiting { count, before: count.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Tells a client why it is not let in.
async fn dismiss(stream: &mut Stream, peer: &Peer, error: LoginError) {
    let relayed = crate::origin::resembles(&stream.input);
    let why = error.detail_log().or(relayed.then_some(NOT_A_BALANCER));
    tracing::info!(%peer, sqlstate = error.sqlstate(), why, "refused a client: {error}");
    // What was not sent yet belongs to an exchange that is over.
    stream.output.clear();
    error.encode(&mut stream.output);
    stream.farewell().await;
}

#[cfg(test)]
#[path = "door_tests.rs"]
mod tests;
