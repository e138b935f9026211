//! The time of the control plane: a duration since its start, which never goes back.

use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// Counts from its birth.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    born: SystemTime,
}

impl Clock {
    /// Starts counting.
    pub fn start() -> Clock {
        Clock { start: Instant::now(), born: SystemTime::now() }
    }

    /// Time since the start.
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// The moment of the runtime's clock at which [`Clock::now`] is or was `at`.
    pub fn instant(&self, at: Duration) -> Instant {
        self.start + at
    }

    /// The same as wall-clock time, as it was at the start plus the time passed since. For people only.
    pub fn wall(&self, at: Duration) -> SystemTime {
        self.born + at
    }
}
