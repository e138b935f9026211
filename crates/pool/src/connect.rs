//! From an address to a logged-in server connection: resolve, connect, TLS, startup, authentication, parameters; all of it under one
//! deadline, and bounded in bytes whatever the other side sends.

pub mod credentials;
mod dial;
pub mod dialer;
pub mod error;
mod login;
mod stream;

#[cfg(test)]
mod tests;

use crate::connect::credentials::Credentials;
use crate::connect::dial::Encryption;
use crate::connect::dialer::Dialer;
use crate::connect::error::ConnectError;
use crate::connect::stream::Stream;
use crate::sslmode::{Ssl, SslMode};
use bytes::BytesMut;
use pgherd_net::keepalive::Keepalive;
use pgherd_net::transport::Transport;
use pgherd_topology::node::Address;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Where to connect and as whom.
#[derive(Clone, Debug)]
pub struct Target {
    /// The node.
    pub address: Address,
    /// Role to log in as.
    pub user: Arc<str>,
    /// Database to open.
    pub database: Arc<str>,
    /// How to prove that we are the role.
    pub credentials: Credentials,
    /// Encryption; has no meaning on a Unix socket.
    pub ssl: Ssl,
    /// Everything must be done within this time.
    pub connect_timeout: Duration,
    /// When a silent server counts as dead.
    pub keepalive: Keepalive,
    /// Opens the stream in place of a socket.
    pub dialer: Option<Arc<dyn Dialer>>,
}

/// A server connection that is logged in and idle.
#[derive(Debug)]
pub struct Connected {
    /// The stream.
    pub transport: Transport,
    /// Every ParameterStatus, in the order sent; a later one of the same name has replaced the earlier.
    pub parameters: Vec<(Box<str>, Box<str>)>,
    /// The server's process id, 0 when it told none.
    pub pid: i32,
    /// Secret for cancel requests, 4 to 256 bytes; empty when the server told none.
    pub secret: Box<[u8]>,
    /// What the server sent after ReadyForQuery, to be read first. Rarely anything.
    pub unread: BytesMut,
}

/// Connects and logs in; `settings` go into the startup packet as they are. Dropping the future closes the connection.
///
/// # Errors
/// [`ConnectError`]; see there whose fault it is.
pub async fn connect(target: &Target, settings: &[(Box<str>, Box<str>)]) -> Result<Connected, ConnectError> {
    within(target.connect_timeout, async {
        let (first, second) = plan(target);
        let error = match attempt(target, settings, first).await {
            Err(error) if worth_second(&error) => error,
            done => return done,
        };
        let Some(second) = second else { return Err(error) };
        match attempt(target, settings, second).await {
            Err(later @ (ConnectError::Server(_) | ConnectError::Auth(_) | ConnectError::Local(_))) => {
                Err(later)
            }
            Err(_) => Err(error),
            done => done,
        }
    })
    .await
}

/// Asks the server to cancel what process `pid` runs, and waits until the server has closed the connection: then the signal has been
/// sent, whether or not there was something to cancel. Dropping the future leaves that unknown.
///
/// # Errors
/// [`ConnectError`] when the request may not have reached the server.
pub async fn send_cancel(target: &Target, pid: i32, secret: &[u8]) -> Result<(), ConnectError> {
    within(target.connect_timeout, async {
        let (first, second) = plan(target);
        let mut transport = match (dial::open(target, first).await, second) {
            (Err(ConnectError::Tls(_)), Some(second)) => dial::open(target, second).await?,
            (opened, _) => opened?,
        };
        let length =
            u32::try_from(12 + secret.len()).map_err(|_| ConnectError::Protocol("cancel secret too long"))?;
        let mut request = Vec::with_capacity(12 + secret.len());
        request.extend_from_slice(&length.to_be_bytes());
        request.extend_from_slice(&CANCEL_REQUEST.to_be_bytes());
        request.extend_from_slice(&pid.to_be_bytes());
        request.extend_from_slice(secret);
        let sent = async {
            transport.write_all(&request).await?;
            transport.flush().await
        };
        sent.await.map_err(|error| ConnectError::from_io(&error))?;
        // The server answers nothing; it closes, in whatever manner, after it has sent the signal.
        let mut answer = [0; 64];
        while matches!(transport.read(&mut answer).await, Ok(1..)) {}
        Ok(())
    })
    .await
}

/// CancelRequest's code (PostgreSQL documentation, "Message Formats").
const CANCEL_REQUEST: u32 = 80_877_102;

async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, ConnectError>>,
) -> Result<T, ConnectError> {
    // Boxed: connecting is rare, and the callers' futures stay small.
    tokio::time::timeout(limit, Box::pin(work)).await.unwrap_or(Err(ConnectError::Timeout))
}

async fn attempt(
    target: &Target,
    settings: &[(Box<str>, Box<str>)],
    encryption: Encryption,
) -> Result<Connected, ConnectError> {
    let transport = dial::open(target, encryption).await?;
    login::login(Stream::new(transport), target, settings).await
}

/// What to try, and what to try if that is refused.
fn plan(target: &Target) -> (Encryption, Option<Encryption>) {
    if matches!(target.address, Address::Unix(..)) {
        return (Encryption::Never, None);
    }
    match target.ssl.mode() {
        SslMode::Disable => (Encryption::Never, None),
        SslMode::Allow => (Encryption::Never, Some(Encryption::Always)),
        SslMode::Prefer => (Encryption::IfOffered, Some(Encryption::Never)),
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => (Encryption::Always, None),
    }
}

/// True for what the other kind of connection may mend: a failed handshake, or a refusal by the server's access rules (28000), which
/// may ask for exactly that.
fn worth_second(error: &ConnectError) -> bool {
    match error {
        ConnectError::Tls(_) => true,
        ConnectError::Server(error) => &*error.sqlstate == "28000",
        _ => false,
    }
}
