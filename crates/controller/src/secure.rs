//! Connecting with TLS by rustls.

use crate::connector::{Connected, Connecting, Connector, Target};
use crate::settings::SslMode;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::NoTls;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;

/// TLS towards a node.
pub struct Tls {
    /// How the handshake goes.
    pub config: Arc<ClientConfig>,
    /// Whether the login is bound to it.
    pub binding: Binding,
    /// The `tls-server-end-point` of a certificate in DER (RFC 5929), where its signature names a hash.
    pub end_point: fn(&[u8]) -> Option<Box<[u8]>>,
}

/// libpq's `channel_binding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// Never.
    Disable,
    /// When the server offers it.
    Prefer,
    /// Or there is no login.
    Require,
}

/// Gives the TLS configuration for a target whose mode is not `disable`, or `None` to go without. Asked at each connect,
/// so that a reloaded certificate is used by the next connection.
pub type Material = Box<dyn Fn(&Target) -> Option<Tls> + Send + Sync>;

/// Connects with TLS where the mode asks for it. How strictly a certificate is verified is the configuration's
/// business: the one for `require` accepts any, the one for `verify-ca` ignores the name.
pub struct Secure {
    material: Material,
}

impl Secure {
    /// A connector with this material.
    pub fn new(material: Material) -> Secure {
        Secure { material }
    }
}

impl Connector for Secure {
    fn connect(&self, target: &Target) -> Connecting {
        let mut config = target.config();
        let tls = match target.login.ssl {
            SslMode::Disable => None,
            _ => (self.material)(target),
        };
        Box::pin(async move {
            match tls {
                Some(tls) => {
                    config.channel_binding(match tls.binding {
                        Binding::Disable => tokio_postgres::config::ChannelBinding::Disable,
                        Binding::Prefer => tokio_postgres::config::ChannelBinding::Prefer,
                        Binding::Require => tokio_postgres::config::ChannelBinding::Require,
                    });
                    let maker = Maker(TlsConnector::from(tls.config), tls.end_point);
                    let (client, connection) = config.connect(maker).await?;
                    Ok(Connected { client, driver: Box::pin(connection) })
                }
                None => {
                    let (client, connection) = config.connect(NoTls).await?;
                    Ok(Connected { client, driver: Box::pin(connection) })
                }
            }
        })
    }
}

/// The end point of a certificate.
type EndPoint = fn(&[u8]) -> Option<Box<[u8]>>;

struct Maker(TlsConnector, EndPoint);

impl<S> MakeTlsConnect<S> for Maker
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Encrypted<S>;
    type TlsConnect = Handshake;
    type Error = rustls::pki_types::InvalidDnsNameError;

    fn make_tls_connect(&mut self, host: &str) -> Result<Handshake, Self::Error> {
        let name = ServerName::try_from(host.to_owned())?;
        Ok(Handshake { connector: self.0.clone(), name, end_point: self.1 })
    }
}

struct Handshake {
    connector: TlsConnector,
    name: ServerName<'static>,
    end_point: EndPoint,
}

impl<S> TlsConnect<S> for Handshake
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Encrypted<S>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Encrypted<S>>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move {
            let stream = self.connector.connect(self.name, stream).await?;
            let certificates = stream.get_ref().1.peer_certificates();
            let end_point = certificates.and_then(|all| (self.end_point)(all.first()?));
            Ok(Encrypted(stream, end_point))
        })
    }
}

struct Encrypted<S>(tokio_rustls::client::TlsStream<S>, Option<Box<[u8]>>);

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Encrypted<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.1.as_ref().map_or_else(ChannelBinding::none, |end_point| {
            ChannelBinding::tls_server_end_point(end_point.to_vec())
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Encrypted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Encrypted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
