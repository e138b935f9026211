//! The stream type.

use crate::tcp::Tcp;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::UnixStream;

/// A stream without encryption.
#[derive(Debug)]
pub enum Plain {
    /// TCP; made with `TCP_NODELAY` set.
    Tcp(Tcp),
    /// Unix socket.
    Unix(UnixStream),
    /// In-memory pipe, for tests.
    Pipe(DuplexStream),
}

/// A stream to a client or a server. `Unpin`, `Send`, with vectored writes where the kernel has them.
#[derive(Debug)]
pub enum Transport {
    /// Not encrypted.
    Plain(Plain),
    /// TLS, we are the server side (a client's connection).
    Accepted(Box<tokio_rustls::server::TlsStream<Plain>>),
    /// TLS, we are the client side (a connection to a server).
    Dialed(Box<tokio_rustls::client::TlsStream<Plain>>),
}

impl Transport {
    /// A transport over TCP, on the runtime this is called on.
    ///
    /// # Errors
    /// When the socket cannot be registered with the event loop.
    pub fn tcp(stream: std::net::TcpStream) -> io::Result<Transport> {
        Ok(Transport::Plain(Plain::Tcp(Tcp::new(stream)?)))
    }

    /// A transport over a Unix socket.
    pub fn unix(stream: UnixStream) -> Transport {
        Transport::Plain(Plain::Unix(stream))
    }

    /// A transport over an in-memory pipe.
    pub fn pipe(stream: DuplexStream) -> Transport {
        Transport::Plain(Plain::Pipe(stream))
    }

    /// True when the bytes on the wire are encrypted.
    pub fn is_tls(&self) -> bool {
        !matches!(self, Transport::Plain(_))
    }

    /// The certificate a client came with, in DER; it was verified in the handshake.
    pub fn client_certificate(&self) -> Option<&[u8]> {
        match self {
            Transport::Accepted(tls) => Some(tls.get_ref().1.peer_certificates()?.first()?),
            Transport::Plain(_) | Transport::Dialed(_) => None,
        }
    }

    /// The certificate a server came with, in DER.
    pub fn server_certificate(&self) -> Option<&[u8]> {
        match self {
            Transport::Dialed(tls) => Some(tls.get_ref().1.peer_certificates()?.first()?),
            Transport::Plain(_) | Transport::Accepted(_) => None,
        }
    }

    /// Asks the kernel whether the other side said something or closed, whatever the event loop has seen so far. A system call; an in-memory pipe has nothing to ask.
    pub fn is_stirred(&self) -> bool {
        use rustix::net::{RecvFlags, recv};
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let mut byte = [0u8; 1];
        let said = match self.plain() {
            Plain::Tcp(tcp) => recv(tcp.socket(), &mut byte, flags).map(drop),
            Plain::Unix(unix) => recv(unix, &mut byte, flags).map(drop),
            Plain::Pipe(_) => return false,
        };
        said != Err(rustix::io::Errno::AGAIN)
    }

    /// The address of our own end, when the stream is TCP. A system call.
    pub fn local_addr(&self) -> Option<std::net::SocketAddr> {
        match self.plain() {
            Plain::Tcp(tcp) => tcp.socket().local_addr().ok(),
            Plain::Unix(_) | Plain::Pipe(_) => None,
        }
    }

    /// TLS version and cipher suite; `None` without TLS.
    pub fn encryption(&self) -> Option<Box<str>> {
        let (version, suite) = match self {
            Transport::Plain(_) => return None,
            Transport::Accepted(tls) => {
                let (_, session) = tls.get_ref();
                (session.protocol_version(), session.negotiated_cipher_suite())
            }
            Transport::Dialed(tls) => {
                let (_, session) = tls.get_ref();
                (session.protocol_version(), session.negotiated_cipher_suite())
            }
        };
        let version = version.map_or("TLS", |version| version.as_str().unwrap_or("TLS"));
        let suite = suite.and_then(|suite| suite.suite().as_str()).unwrap_or_default();
        Some(format!("{}/{suite}", version.replace("v1_", "v1.")).into())
    }

    /// The stream below TLS, or the stream itself.
    pub fn plain(&self) -> &Plain {
        match self {
            Transport::Plain(plain) => plain,
            Transport::Accepted(tls) => tls.get_ref().0,
            Transport::Dialed(tls) => tls.get_ref().0,
        }
    }
}

macro_rules! each {
    ($self:expr, $kind:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            $kind::Tcp($stream) => $call,
            $kind::Unix($stream) => $call,
            $kind::Pipe($stream) => $call,
        }
    };
}

macro_rules! layer {
    ($self:expr, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Transport::Plain($stream) => $call,
            Transport::Accepted($stream) => $call,
            Transport::Dialed($stream) => $call,
        }
    };
}

impl AsyncRead for Plain {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self, Plain, s => Pin::new(s).poll_read(cx, buf))
    }
}

impl AsyncWrite for Plain {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, Plain, s => Pin::new(s).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, Plain, s => Pin::new(s).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, Plain, s => Pin::new(s).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, Plain, s => Pin::new(s).poll_shutdown(cx))
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        layer!(self, s => Pin::new(s).poll_read(cx, buf))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        layer!(self, s => Pin::new(s).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        layer!(self, s => Pin::new(s).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        layer!(self, s => Pin::new(s).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        layer!(self, s => Pin::new(s).poll_shutdown(cx))
    }
}
