//! From an address to a stream, encrypted as asked.

use crate::connect::Target;
use crate::connect::error::ConnectError;
use pgherd_net::tls::client::ClientTls;
use pgherd_net::transport::{Plain, Transport};
use pgherd_topology::node::Address;
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::timeout;

/// SSLRequest (PostgreSQL documentation, "Message Formats").
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// How one attempt treats encryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encryption {
    Never,
    IfOffered,
    Always,
}

/// Opens a stream to the target.
pub(super) async fn open(target: &Target, encryption: Encryption) -> Result<Transport, ConnectError> {
    if let Some(dialer) = &target.dialer {
        return dialer.dial(&target.address).await.map_err(|error| ConnectError::from_io(&error));
    }
    let (host, port) = match &target.address {
        Address::Unix(directory, port) => {
            let stream = UnixStream::connect(format!("{directory}/.s.PGSQL.{port}")).await;
            return Ok(Transport::unix(stream.map_err(|error| ConnectError::from_io(&error))?));
        }
        Address::Tcp(host, port) => (host, *port),
    };
    let stream = tcp(target, host, port).await?;
    let stream = stream.into_std().and_then(Transport::tcp);
    let transport = stream.map_err(|error| ConnectError::from_io(&error))?;
    if encryption == Encryption::Never {
        return Ok(transport);
    }
    let Some(tls) = target.ssl.tls() else {
        return Err(ConnectError::Tls("no TLS settings".into()));
    };
    encrypt(transport, tls, host, encryption).await
}

/// Tries each address of a host in turn; each gets its share of the time.
async fn tcp(target: &Target, host: &str, port: u16) -> Result<TcpStream, ConnectError> {
    let addresses: Vec<SocketAddr> = match lookup_host((host, port)).await {
        Ok(addresses) => addresses.collect(),
        Err(error) => {
            return Err(match ConnectError::from_io(&error) {
                local @ ConnectError::Local(_) => local,
                _ => ConnectError::Unresolved(format!("\"{host}\": {error}")),
            });
        }
    };
    let share = target.connect_timeout / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
    let mut last = ConnectError::Unresolved(format!("\"{host}\" has no address"));
    for address in addresses {
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                if let Err(error) = target.keepalive.apply(&stream) {
                    tracing::debug!(%address, %error, "could not set TCP keepalive");
                }
                return Ok(stream);
            }
            Ok(Err(error)) => {
                last = ConnectError::from_io(&error);
                if matches!(last, ConnectError::Local(_)) {
                    break;
                }
            }
            Err(_) => last = ConnectError::Timeout,
        }
    }
    Err(last)
}

/// Asks the server for TLS and shakes hands. Reads exactly one byte in clear, so nothing that came in clear can pass for encrypted.
pub(super) async fn encrypt(
    mut transport: Transport,
    tls: &ClientTls,
    host: &str,
    encryption: Encryption,
) -> Result<Transport, ConnectError> {
    let asked = async {
        transport.write_all(&SSL_REQUEST).await?;
        transport.flush().await?;
        transport.read_u8().await
    };
    match asked.await.map_err(|error| ConnectError::from_io(&error))? {
        b'S' => {}
        b'N' if encryption == Encryption::IfOffered => return Ok(transport),
        b'N' => return Err(ConnectError::Tls("the server does not support it, but it was required".into())),
        // A server that cannot even fork says so here; who says it is not proved, so the text is not shown.
        b'E' => return Err(ConnectError::Refused("error response to the TLS request".into())),
        _ => return Err(ConnectError::Protocol("unknown answer to the TLS request")),
    }
    let Transport::Plain(plain) = transport else {
        return Err(ConnectError::Protocol("TLS inside TLS"));
    };
    shake(plain, tls, host).await
}

async fn shake(plain: Plain, tls: &ClientTls, host: &str) -> Result<Transport, ConnectError> {
    tls.connect(plain, host).await.map_err(|error| match ConnectError::from_io(&error) {
        local @ ConnectError::Local(_) => local,
        _ if error.kind() == io::ErrorKind::UnexpectedEof => {
            ConnectError::Tls("the server closed the connection during the handshake".into())
        }
        _ => ConnectError::Tls(error.to_string()),
    })
}
