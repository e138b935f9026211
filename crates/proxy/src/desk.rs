//! What a session needs only while bytes move: two lanes. Idle sessions give theirs back.

use bytes::BytesMut;
use parking_lot::Mutex;
use pgherd_net::lane::Lane;
use pgherd_net::plan::Plan;
use pgherd_session::step::Sink;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Both directions of a session.
#[derive(Debug, Default)]
pub struct Desk {
    /// From the client to the server.
    pub up: Lane,
    /// From the server to the client.
    pub down: Lane,
}

impl Desk {
    /// Nothing is held in either direction.
    pub fn is_empty(&self) -> bool {
        self.up.is_empty() && self.down.is_empty()
    }
}

/// The machine's verdicts, written into a lane's plan.
pub struct Port<'a>(pub &'a mut Plan);

impl Sink for Port<'_> {
    #[inline]
    fn pass(&mut self, n: usize) {
        self.0.pass(n);
    }

    #[inline]
    fn skip(&mut self, n: usize) {
        self.0.skip(n);
    }

    fn compose(&mut self, write: impl FnOnce(&mut BytesMut)) {
        self.0.compose(write);
    }
}

/// Most desks one worker keeps for reuse (about 16 KiB each).
const MAX_SPARE: usize = 64;

/// Desks in use up to which an idle session may keep its own for a while. With more, idle sessions are what memory goes into.
const MAX_KEPT: usize = 128;

/// Desks nobody needs just now; one stack a worker.
#[derive(Debug, Default)]
#[allow(
    clippy::vec_box,
    reason = "desks go to sessions and come back boxed: a move of a pointer, and no allocation"
)]
pub struct Desks {
    spare: Mutex<Vec<Box<Desk>>>,
    lent: AtomicUsize,
}

impl Desks {
    /// A desk, empty.
    pub fn take(&self) -> Box<Desk> {
        self.lent.fetch_add(1, Ordering::Relaxed);
        self.spare.lock().pop().unwrap_or_default()
    }

    /// So many are lent that an idle session should give its own back at once.
    pub fn are_scarce(&self) -> bool {
        self.lent.load(Ordering::Relaxed) > MAX_KEPT
    }

    /// Gives an empty desk back.
    pub fn give(&self, mut desk: Box<Desk>) {
        debug_assert!(desk.is_empty());
        self.forget();
        desk.up.shrink(true);
        desk.down.shrink(true);
        let mut spare = self.spare.lock();
        if spare.len() < MAX_SPARE {
            spare.push(desk);
        }
    }

    /// A desk ended with its session.
    pub fn forget(&self) {
        self.lent.fetch_sub(1, Ordering::Relaxed);
    }
}
