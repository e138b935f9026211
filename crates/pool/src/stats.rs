//! A pool in numbers.

use crate::pool::Pool;
use crate::server::Baggage;
use std::time::Duration;
use tokio::time::Instant;

/// Numbers of one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Servers on the shelf.
    pub idle: usize,
    /// Servers that belong to a session or are being reset.
    pub active: usize,
    /// Connects under way.
    pub connecting: usize,
    /// Sessions in line.
    pub waiting: usize,
    /// How long the oldest of them has waited.
    pub oldest_wait: Duration,
    /// Servers handed out so far.
    pub checkouts: u64,
    /// Connections made so far.
    pub connects: u64,
    /// Attempts that failed so far.
    pub connect_failures: u64,
}

impl<B: Baggage> Pool<B> {
    /// Numbers of this moment.
    pub fn stats(&self) -> Stats {
        let inner = self.inner.lock();
        let now = Instant::now();
        let oldest = inner.shelf.waiters().map(|waiter| now.saturating_duration_since(waiter.since)).max();
        Stats {
            idle: inner.shelf.idle(),
            active: inner.total - inner.connecting - inner.shelf.idle(),
            connecting: inner.connecting,
            waiting: inner.shelf.waiting(),
            oldest_wait: oldest.unwrap_or_default(),
            checkouts: self.checkouts.iter().map(|counter| counter.get()).sum(),
            connects: self.connects.get(),
            connect_failures: self.connect_failures.get(),
        }
    }
}
