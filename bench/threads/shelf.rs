//! Servers that wait for clients, clients that wait for servers: the two policies that are compared.

use std::collections::VecDeque;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::net::TcpStream;
use tokio::sync::oneshot;

/// How often a waiter of the home worker may be served before an older one of another worker.
const MAX_PASSED: u32 = 32;

/// Who gets a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    /// The newest idle server, the oldest waiter.
    Fifo,
    /// The same, but a server and a client of the same worker first.
    HomeFirst,
}

/// A server connection; its readiness is reported to the worker that opened it.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) stream: TcpStream,
    pub(crate) home: usize,
}

struct Waiter {
    home: usize,
    handover: oneshot::Sender<Server>,
}

#[derive(Default)]
struct Shelves {
    idle: Vec<Server>,
    waiters: VecDeque<Waiter>,
    /// How often the head of the line was passed over.
    passed: u32,
}

/// One pool for all workers.
pub(crate) struct Shelf {
    policy: Policy,
    shelves: Mutex<Shelves>,
}

impl Shelf {
    /// An empty one.
    pub(crate) fn new(policy: Policy) -> Self {
        Self { policy, shelves: Mutex::default() }
    }

    /// An idle server, or the next that is released.
    pub(crate) async fn checkout(&self, home: usize) -> io::Result<Server> {
        let handed_over = {
            let mut shelves = self.lock();
            if let Some(server) = self.take_idle(&mut shelves, home) {
                return Ok(server);
            }
            let (handover, handed_over) = oneshot::channel();
            shelves.waiters.push_back(Waiter { home, handover });
            handed_over
        };
        handed_over.await.map_err(io::Error::other)
    }

    /// Gives a server to whoever is next, or puts it back.
    pub(crate) fn release(&self, server: Server) {
        let mut shelves = self.lock();
        let mut server = server;
        while let Some(waiter) = self.take_waiter(&mut shelves, server.home) {
            match waiter.handover.send(server) {
                Ok(()) => return,
                Err(refused) => server = refused,
            }
        }
        shelves.idle.push(server);
    }

    fn take_idle(&self, shelves: &mut Shelves, home: usize) -> Option<Server> {
        let own = match self.policy {
            Policy::Fifo => None,
            Policy::HomeFirst => shelves.idle.iter().rposition(|server| server.home == home),
        };
        own.map(|place| shelves.idle.remove(place)).or_else(|| shelves.idle.pop())
    }

    fn take_waiter(&self, shelves: &mut Shelves, home: usize) -> Option<Waiter> {
        let own = match self.policy {
            Policy::HomeFirst if shelves.passed < MAX_PASSED => {
                shelves.waiters.iter().position(|waiter| waiter.home == home).unwrap_or(0)
            }
            Policy::HomeFirst | Policy::Fifo => 0,
        };
        shelves.passed = if own == 0 { 0 } else { shelves.passed + 1 };
        shelves.waiters.remove(own)
    }

    fn lock(&self) -> MutexGuard<'_, Shelves> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
