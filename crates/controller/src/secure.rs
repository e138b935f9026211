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

/// Gives the TLS configuration for a target whose mode is not `disable`, or `None` to go without. Asked at each connect,
/// so that a reloaded certificate is used by the next connection.
pub type Material = Box<dyn Fn(&Target) -> Option<Arc<ClientConfig>> + Send + Sync>;

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
        let config = target.config();
        let tls = match target.login.ssl {
            SslMode::Disable => None,
            _ => (self.material)(target),
        };
        Box::pin(async move {
            match tls {
                Some(tls) => {
                    let (client, connection) = config.connect(Maker(TlsConnector::from(tls))).await?;
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

struct Maker(TlsConnector);

impl<S> MakeTlsConnect<S> for Maker
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Encrypted<S>;
    type TlsConnect = Handshake;
    type Error = rustls::pki_types::InvalidDnsNameError;

    fn make_tls_connect(&mut self, host: &str) -> Result<Handshake, Self::Error> {
        Ok(Handshake { connector: self.0.clone(), name: ServerName::try_from(host.to_owned())? })
    }
}

struct Handshake {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl<S> TlsConnect<S> for Handshake
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Encrypted<S>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Encrypted<S>>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move { Ok(Encrypted(self.connector.connect(self.name, stream).await?)) })
    }
}

struct Encrypted<S>(tokio_rustls::client::TlsStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Encrypted<S> {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
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
