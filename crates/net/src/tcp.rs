//! A TCP stream read and written with plain system calls.
//!
//! The same as tokio's own, with one difference: calls go to the kernel directly instead of through the C library's wrappers, which check for thread cancellation
//! each time. On a proxy's hot path, where a transaction is four calls, that is measurable.

use rustix::net::{RecvFlags, SendFlags, recv, send};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connected TCP socket, registered with the event loop it was made on.
#[derive(Debug)]
pub struct Tcp(AsyncFd<std::net::TcpStream>);

impl Tcp {
    /// Takes a socket over: it becomes non-blocking, with `TCP_NODELAY`. Must be called on the runtime that is its home.
    ///
    /// # Errors
    /// When the socket cannot be registered.
    #[allow(
        deprecated,
        reason = "its successor is unsafe to call; std's stream keeps one descriptor for life, which is all either asks for"
    )]
    pub fn new(stream: std::net::TcpStream) -> io::Result<Tcp> {
        stream.set_nonblocking(true)?;
        // Cannot fail on a live socket in a way that matters.
        let _ = stream.set_nodelay(true);
        Ok(Tcp(AsyncFd::new(stream)?))
    }

    /// The socket itself, for its options.
    pub fn socket(&self) -> &std::net::TcpStream {
        self.0.get_ref()
    }
}

impl AsyncRead for Tcp {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(cx))?;
            let space = buf.initialize_unfilled();
            match recv(self.0.get_ref(), &mut *space, RecvFlags::empty()) {
                Ok((_, n)) => {
                    // The kernel gave less than there was room for: it has no more, so the next read would only say so.
                    if n > 0 && n < space.len() {
                        guard.clear_ready();
                    }
                    buf.advance(n);
                    return Poll::Ready(Ok(()));
                }
                Err(rustix::io::Errno::AGAIN) => guard.clear_ready(),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.0.poll_write_ready(cx))?;
            match send(self.0.get_ref(), buf, SendFlags::NOSIGNAL) {
                Ok(n) => {
                    if n > 0 && n < buf.len() {
                        guard.clear_ready();
                    }
                    return Poll::Ready(Ok(n));
                }
                Err(rustix::io::Errno::AGAIN) => guard.clear_ready(),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.0.poll_write_ready(cx))?;
            match rustix::net::sendmsg(self.0.get_ref(), bufs, &mut Default::default(), SendFlags::NOSIGNAL) {
                Ok(n) => {
                    if n > 0 && n < bufs.iter().map(|buf| buf.len()).sum() {
                        guard.clear_ready();
                    }
                    return Poll::Ready(Ok(n));
                }
                Err(rustix::io::Errno::AGAIN) => guard.clear_ready(),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.0.get_ref().shutdown(std::net::Shutdown::Write) {
            Err(error) if error.kind() != io::ErrorKind::NotConnected => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(())),
        }
    }
}
