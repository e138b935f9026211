//! The clients: blocking connections, each asking again as soon as it was answered.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::echo::{ANSWER, REQUEST};

/// The longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Connected clients.
pub(crate) struct Crowd(Vec<TcpStream>);

impl Crowd {
    /// Connects them all.
    pub(crate) fn connect(clients: u32, port: u16) -> io::Result<Self> {
        let connect = |_| {
            let client = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
            client.set_nodelay(true)?;
            client.set_read_timeout(Some(PATIENCE))?;
            Ok(client)
        };
        Ok(Self((0..clients).map(connect).collect::<io::Result<_>>()?))
    }

    /// Every client asks `times` times, all at once; how long it took.
    pub(crate) fn ask(&mut self, times: u32) -> io::Result<Duration> {
        let started = Instant::now();
        std::thread::scope(|scope| {
            let clients: Vec<_> =
                self.0.iter_mut().map(|client| scope.spawn(|| ask(client, times))).collect();
            for client in clients {
                client.join().unwrap_or_else(|_| Err(io::Error::other("a client panicked")))?;
            }
            Ok(started.elapsed())
        })
    }
}

fn ask(client: &mut TcpStream, times: u32) -> io::Result<()> {
    let mut answer = [0; ANSWER.len()];
    for _ in 0..times {
        client.write_all(REQUEST)?;
        client.read_exact(&mut answer)?;
        if answer != ANSWER {
            return Err(io::Error::other("the answer is not what the server sent"));
        }
    }
    Ok(())
}
