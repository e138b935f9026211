//! A clock that costs nothing to read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// Milliseconds since its start, as of the last tick: good enough for limits of a second and more, and read without a call.
#[derive(Debug)]
pub struct CoarseClock {
    started: Instant,
    now: AtomicU64,
}

impl Default for CoarseClock {
    fn default() -> Self {
        CoarseClock::since(Instant::now())
    }
}

impl CoarseClock {
    /// One that counts from `started`, so that its times can be compared with those of another clock that does.
    pub fn since(started: Instant) -> CoarseClock {
        CoarseClock { started, now: AtomicU64::new(millis(started.elapsed())) }
    }

    /// Milliseconds as of the last tick.
    #[inline]
    pub fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    /// Advances the clock; whoever sweeps calls this, some 20 times a second.
    pub fn tick(&self) -> u64 {
        let now = millis(self.started.elapsed());
        self.now.store(now, Ordering::Relaxed);
        now
    }
}

/// Whole milliseconds of a duration; the largest number for one that is longer than that.
pub fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
