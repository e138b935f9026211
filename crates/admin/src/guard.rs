//! What a visitor may cost: so many connections at once, so many bytes, so much time. A connection carries one request,
//! as Patroni's do, so its limits are those of a request.

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

/// Connections served at once; more wait in the kernel's backlog.
pub const MAX_CONNECTIONS: usize = 64;

/// Bytes a visitor may send in all. A health check sends a few hundred; the rest is for texts that are to be explained.
pub const MAX_REQUEST_BYTES: usize = MAX_BODY_BYTES + 16 * 1024;

/// Bytes of those that may be a request's body.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// Time from the accepted connection to the first byte of the answer.
pub const REQUEST_TIME: Duration = Duration::from_secs(5);

/// The same where the answer comes when something was done that takes long.
pub const ACTION_TIME: Duration = Duration::from_secs(60);

/// Time from the first byte of the answer to the end of the connection.
pub const RESPONSE_TIME: Duration = Duration::from_secs(30);

/// Pause after an accept that failed for want of file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// A listener that admits [`MAX_CONNECTIONS`] visitors at a time.
#[derive(Debug)]
pub struct GuardedListener {
    listener: TcpListener,
    places: Arc<Semaphore>,
}

impl GuardedListener {
    /// Guards a bound listener.
    pub fn new(listener: TcpListener) -> Self {
        GuardedListener { listener, places: Arc::new(Semaphore::new(MAX_CONNECTIONS)) }
    }
}

impl axum::serve::Listener for GuardedListener {
    type Io = Guarded<TcpStream>;
    type Addr = SocketAddr;

    /// Cancel safe: a place taken for a visitor who did not come yet is given back.
    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let place = self.places.clone().acquire_owned().await.expect("the semaphore is never closed");
            match self.listener.accept().await {
                Ok((stream, address)) => {
                    // Without it a small answer may wait for an acknowledgement; the answer is right either way.
                    let _ = stream.set_nodelay(true);
                    return (Guarded::new(stream, Some(place)), address);
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "could not accept a connection on the HTTP listener");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// The visitor left before we looked.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Who has come.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// From where.
    pub peer: SocketAddr,
    patience: Arc<AtomicBool>,
}

impl Visitor {
    /// The answer may take [`ACTION_TIME`]: only for a request that was read, of somebody who may ask for it.
    pub fn wait_longer(&self) {
        self.patience.store(true, Ordering::Relaxed);
    }
}

impl Connected<IncomingStream<'_, GuardedListener>> for Visitor {
    fn connect_info(stream: IncomingStream<'_, GuardedListener>) -> Self {
        Visitor { peer: *stream.remote_addr(), patience: stream.io().patience.clone() }
    }
}

/// A stream that ends with an error when its visitor used up what it may cost.
#[derive(Debug)]
pub struct Guarded<S> {
    stream: S,
    deadline: Pin<Box<Sleep>>,
    bytes_left: usize,
    answering: bool,
    /// The answer may take longer.
    patience: Arc<AtomicBool>,
    _place: Option<OwnedSemaphorePermit>,
}

impl<S> Guarded<S> {
    fn new(stream: S, place: Option<OwnedSemaphorePermit>) -> Self {
        Guarded {
            stream,
            deadline: Box::pin(tokio::time::sleep(REQUEST_TIME)),
            bytes_left: MAX_REQUEST_BYTES,
            answering: false,
            patience: Arc::default(),
            _place: place,
        }
    }

    fn check_deadline(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if self.deadline.as_mut().poll(context).is_pending() {
            return Ok(());
        }
        if self.answering || !self.patience.swap(false, Ordering::Relaxed) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.deadline.as_mut().reset(Instant::now() + ACTION_TIME);
        // It wakes nobody before it was polled.
        match self.deadline.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(()),
        }
    }

    fn note_answer(&mut self) {
        if !self.answering {
            self.answering = true;
            self.deadline.as_mut().reset(Instant::now() + RESPONSE_TIME);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check_deadline(context)?;
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let read = buffer.filled().len() - before;
        match self.bytes_left.checked_sub(read) {
            Some(left) => self.bytes_left = left,
            None => return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "request too large"))),
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.note_answer();
        self.check_deadline(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.note_answer();
        self.check_deadline(context)?;
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_deadline(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_deadline(context)?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    fn run(test: impl Future<Output = ()>) {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().build().expect("a runtime");
        runtime.block_on(test);
    }

    #[test]
    fn more_bytes_than_a_request_needs_are_refused() {
        run(async {
            let (mut visitor, ours) = duplex(1 << 20);
            let mut ours = Guarded::new(ours, None);
            visitor.write_all(&vec![b'x'; MAX_REQUEST_BYTES]).await.unwrap();
            ours.read_exact(&mut vec![0; MAX_REQUEST_BYTES]).await.unwrap();
            visitor.write_all(b"x").await.unwrap();
            assert_eq!(ours.read_u8().await.unwrap_err().kind(), io::ErrorKind::InvalidData);
        });
    }

    #[test]
    fn a_request_that_does_not_come_ends_and_an_answer_gets_more_time() {
        run(async {
            let (_visitor, ours) = duplex(64);
            let mut ours = Guarded::new(ours, None);
            let past = Instant::now();
            ours.deadline.as_mut().reset(past);
            assert_eq!(ours.read_u8().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
            ours.write_all(b"ok").await.unwrap();
            assert!(ours.deadline.deadline() > past + REQUEST_TIME);
            ours.deadline.as_mut().reset(past);
            assert_eq!(ours.write_all(b"more").await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        });
    }
}
