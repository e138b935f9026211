//! A blocking client that logs in without a password and throws away what it is sent.
//!
//! It exists because pgbench keeps whole results in memory and cannot sit still five thousand times.
//! Message formats: PostgreSQL documentation, "Frontend/Backend Protocol".

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// The longest that one read or write may wait.
const PATIENCE: Duration = Duration::from_secs(60);

/// The longest error message that is kept to be shown.
const ERROR_LIMIT: usize = 1024;

/// One connection.
#[derive(Debug)]
pub struct Visitor {
    socket: TcpStream,
}

impl Visitor {
    /// Connects to 127.0.0.1 and logs in; fails when the server asks for a password.
    pub fn log_in(port: u16, user: &str, database: &str) -> io::Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let socket = TcpStream::connect_timeout(&address, PATIENCE)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let mut visitor = Self { socket };
        let mut body = 196_608_u32.to_be_bytes().to_vec();
        for text in ["user", user, "database", database] {
            body.extend_from_slice(text.as_bytes());
            body.push(0);
        }
        body.push(0);
        visitor.socket.write_all(&length_of(&body)?.to_be_bytes())?;
        visitor.socket.write_all(&body)?;
        visitor.discard(&mut [0; 4096])?;
        Ok(visitor)
    }

    /// Sends one simple query and reads its whole answer into `scratch`, over and over; the bytes received.
    pub fn query(&mut self, statement: &str, scratch: &mut [u8]) -> io::Result<u64> {
        let mut message = vec![b'Q'];
        let mut body = statement.as_bytes().to_vec();
        body.push(0);
        message.extend_from_slice(&length_of(&body)?.to_be_bytes());
        message.extend_from_slice(&body);
        self.socket.write_all(&message)?;
        self.discard(scratch)
    }

    /// Reads until ReadyForQuery has arrived whole.
    fn discard(&mut self, scratch: &mut [u8]) -> io::Result<u64> {
        let mut frames = Frames::default();
        let mut bytes = 0;
        while !frames.ready {
            let read = self.socket.read(scratch)?;
            if read == 0 {
                let said = String::from_utf8_lossy(&frames.error).replace('\0', " ");
                return Err(io::Error::other(format!("connection closed: {said}")));
            }
            frames.feed(&scratch[..read])?;
            bytes += read as u64;
        }
        if frames.error.is_empty() {
            return Ok(bytes);
        }
        Err(io::Error::other(String::from_utf8_lossy(&frames.error).replace('\0', " ")))
    }
}

/// Follows message borders without keeping bodies.
#[derive(Default)]
struct Frames {
    header: [u8; 5],
    filled: usize,
    /// Bytes of the current body still to come.
    body: usize,
    ready: bool,
    error: Vec<u8>,
}

impl Frames {
    fn feed(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.filled < self.header.len() {
                let take = bytes.len().min(self.header.len() - self.filled);
                self.header[self.filled..self.filled + take].copy_from_slice(&bytes[..take]);
                self.filled += take;
                bytes = &bytes[take..];
                if self.filled < self.header.len() {
                    return Ok(());
                }
                let [_, a, b, c, d] = self.header;
                let length = u32::from_be_bytes([a, b, c, d]) as usize;
                self.body = length.checked_sub(4).ok_or_else(|| io::Error::other("length below four"))?;
            }
            let take = bytes.len().min(self.body);
            self.look_at(&bytes[..take])?;
            self.body -= take;
            bytes = &bytes[take..];
            if self.body == 0 {
                self.ready |= self.header[0] == b'Z';
                self.filled = 0;
            }
        }
        Ok(())
    }

    fn look_at(&mut self, body: &[u8]) -> io::Result<()> {
        match self.header[0] {
            b'E' => {
                let room = ERROR_LIMIT.saturating_sub(self.error.len());
                self.error.extend_from_slice(&body[..body.len().min(room)]);
            }
            // AuthenticationOk is the only request that needs no answer.
            b'R' if body.iter().any(|&byte| byte != 0) => {
                return Err(io::Error::other("the server asks for a password"));
            }
            _ => {}
        }
        Ok(())
    }
}

/// The length word of a message: itself and the body.
fn length_of(body: &[u8]) -> io::Result<u32> {
    u32::try_from(body.len() + 4).map_err(|_| io::Error::other("message too long"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borders_are_found_at_every_split() {
        let stream = b"D\0\0\0\x09abcdeC\0\0\0\x06OKZ\0\0\0\x05I";
        for split in 0..stream.len() {
            let mut frames = Frames::default();
            frames.feed(&stream[..split]).expect("well formed");
            assert!(!frames.ready, "ready before the last byte");
            frames.feed(&stream[split..]).expect("well formed");
            assert!(frames.ready);
        }
    }

    #[test]
    fn a_password_request_is_an_error() {
        assert!(Frames::default().feed(b"R\0\0\0\x08\0\0\0\x0a").is_err());
        assert!(Frames::default().feed(b"R\0\0\0\x02").is_err());
    }
}
