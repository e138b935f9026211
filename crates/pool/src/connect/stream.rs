//! Whole messages off a stream while logging in.

use crate::connect::error::ConnectError;
use bytes::{Buf, BytesMut};
use pgherd_net::tls::der;
use pgherd_net::transport::Transport;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// No message of a login is longer; libpq allows an authentication request 2000 bytes and an error 30000.
const MAX_MESSAGE: usize = 64 * 1024;

/// How much is read at a time.
const CHUNK: usize = 4096;

/// A stream and what was read too much.
#[derive(Debug)]
pub(super) struct Stream {
    transport: Transport,
    buffer: BytesMut,
}

impl Stream {
    /// Wraps a fresh stream.
    pub(super) fn new(transport: Transport) -> Stream {
        Stream { transport, buffer: BytesMut::new() }
    }

    /// The `tls-server-end-point` of the server's certificate; `None` without TLS, or when the certificate's signature names no hash.
    pub(super) fn end_point(&self) -> Option<Box<[u8]>> {
        der::end_point(self.transport.server_certificate()?)
    }

    /// The next message: its tag and its body.
    pub(super) async fn next(&mut self) -> Result<(u8, BytesMut), ConnectError> {
        loop {
            if let Some(&[tag, a, b, c, d]) = self.buffer.first_chunk::<5>() {
                let length = u32::from_be_bytes([a, b, c, d]) as usize;
                if !(4..=MAX_MESSAGE).contains(&length) {
                    return Err(ConnectError::Protocol("message of impossible length"));
                }
                if self.buffer.len() > length {
                    let mut body = self.buffer.split_to(1 + length);
                    body.advance(5);
                    return Ok((tag, body));
                }
            }
            self.buffer.reserve(CHUNK);
            match self.transport.read_buf(&mut self.buffer).await {
                Ok(0) => return Err(ConnectError::Reset("end of stream while logging in".into())),
                Ok(_) => {}
                Err(error) => return Err(ConnectError::from_io(&error)),
            }
        }
    }

    /// Sends bytes that are whole messages.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), ConnectError> {
        let sent = async {
            self.transport.write_all(bytes).await?;
            self.transport.flush().await
        };
        sent.await.map_err(|error| ConnectError::from_io(&error))
    }

    /// The stream and what was read after the last message.
    pub(super) fn into_parts(self) -> (Transport, BytesMut) {
        // A copy, so that a connection that lives for hours does not keep the login's buffer.
        (self.transport, BytesMut::from(&self.buffer[..]))
    }
}
