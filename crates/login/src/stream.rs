//! A stranger's stream: reads no more than it must, keeps what it read too much, gathers what is to be sent.

use crate::badge::Badge;
use crate::error::Stop;
use bytes::BytesMut;
use pgherd_net::transport::Transport;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// How much is read at a time: a startup packet and its authentication are a few hundred bytes.
const CHUNK: usize = 1024;

/// How long a refusal may take to be sent and noticed.
const FAREWELL: Duration = Duration::from_secs(1);

/// How much of what a refused client still sends is read before the socket is closed over it.
const FAREWELL_BYTES: usize = 64 * 1024;

/// A stream before it has a session. Without a transport only while a TLS handshake has it.
#[derive(Debug)]
pub(crate) struct Stream {
    transport: Option<Transport>,
    /// Read, not yet used.
    pub(crate) input: BytesMut,
    /// To be sent.
    pub(crate) output: BytesMut,
    /// True once a startup packet was read: from then on the client understands an ErrorResponse.
    pub(crate) started: bool,
}

impl Stream {
    /// Wraps a fresh stream. Nothing is allocated before the first byte comes.
    pub(crate) fn new(transport: Transport) -> Stream {
        Stream { transport: Some(transport), input: BytesMut::new(), output: BytesMut::new(), started: false }
    }

    /// Reads until there are `length` bytes of input.
    pub(crate) async fn need(&mut self, length: usize) -> Result<(), Stop> {
        while self.input.len() < length {
            let transport = self.transport.as_mut().ok_or(Stop::Left)?;
            self.input.reserve(CHUNK);
            match transport.read_buf(&mut self.input).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Err(Stop::Left),
            }
        }
        Ok(())
    }

    /// Sends all output.
    pub(crate) async fn flush(&mut self) -> Result<(), Stop> {
        let transport = self.transport.as_mut().ok_or(Stop::Left)?;
        transport.write_all(&self.output).await.map_err(|_| Stop::Left)?;
        transport.flush().await.map_err(|_| Stop::Left)?;
        self.output.clear();
        Ok(())
    }

    /// The transport, to be given back by [`Stream::put`] when it is encrypted.
    pub(crate) fn take(&mut self) -> Option<Transport> {
        self.transport.take()
    }

    /// The transport after a handshake. What was read before is forgotten: it came in clear.
    pub(crate) fn put(&mut self, transport: Transport) {
        self.input.clear();
        self.transport = Some(transport);
    }

    /// The certificate the client came with, if any.
    pub(crate) fn badge(&self) -> Option<Badge> {
        self.transport.as_ref().and_then(Badge::of)
    }

    /// True when the transport is encrypted.
    pub(crate) fn is_tls(&self) -> bool {
        self.transport.as_ref().is_some_and(Transport::is_tls)
    }

    /// Sends all output as the last thing this client hears, and waits a moment for it to hang up: a socket closed over unread bytes
    /// is reset, and the reset would overtake the words.
    pub(crate) async fn farewell(&mut self) {
        let _ = timeout(FAREWELL, async {
            self.flush().await.ok()?;
            let transport = self.transport.as_mut()?;
            transport.shutdown().await.ok()?;
            let mut seen = 0;
            while seen < FAREWELL_BYTES {
                self.input.clear();
                self.input.reserve(CHUNK);
                match transport.read_buf(&mut self.input).await {
                    Ok(count @ 1..) => seen += count,
                    Ok(0) | Err(_) => return None,
                }
            }
            Some(())
        })
        .await;
    }

    /// The transport and the bytes to send and to use, for a session. `None` after a failed handshake.
    pub(crate) fn into_parts(self) -> Option<(Transport, BytesMut, BytesMut)> {
        // Copies, so that a session does not keep the login's larger buffers.
        let (output, input) = (BytesMut::from(&self.output[..]), BytesMut::from(&self.input[..]));
        Some((self.transport?, output, input))
    }
}
