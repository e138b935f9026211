//! How a pool behaves.

use crate::connect::Target;
use std::sync::Arc;
use std::time::Duration;

/// How a pool behaves; swapped whole on reload.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Where and as whom to connect.
    pub target: Arc<Target>,
    /// Connections kept even when idle.
    pub min_size: usize,
    /// Most connections.
    pub max_size: usize,
    /// Connections above `max_size`, for waiters that waited longer than `reserve_after`.
    pub reserve_size: usize,
    /// See `reserve_size`.
    pub reserve_after: Duration,
    /// Most connects at the same time.
    pub connect_ramp: usize,
    /// A connection older than this is closed at its next release.
    pub lifetime: Option<Duration>,
    /// A connection idle for longer is closed, above `min_size`.
    pub idle_timeout: Option<Duration>,
    /// By how much both of these vary from connection to connection, in percent and both ways.
    pub jitter_percent: u32,
    /// A connection idle for longer is asked whether it lives before it is used.
    pub check_after: Option<Duration>,
    /// After this time in line a client is told that it waits.
    pub notice_after: Option<Duration>,
}

/// `time` give or take so many percent: always the same for one connection (told by its server's process id), another for
/// the next, so that connections made together do not end together.
pub(crate) fn jitter(time: Duration, percent: u32, pid: i32) -> Duration {
    // Fibonacci hashing spreads consecutive numbers.
    let spread = (pid as u32).wrapping_mul(0x9e37_79b9) >> 16;
    let share = f64::from(percent.min(100)) / 100.0;
    time.mul_f64(1.0 - share + 2.0 * share * f64::from(spread) / 65_535.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_vary_within_their_share() {
        let hour = Duration::from_secs(3600);
        let times: Vec<Duration> = (1000..1100).map(|pid| jitter(hour, 10, pid)).collect();
        assert!(times.iter().all(|time| *time >= hour.mul_f64(0.9) && *time <= hour.mul_f64(1.1)));
        let late = times.iter().filter(|time| **time > hour).count();
        assert!((30..70).contains(&late), "{late} of 100 are late");
        assert_eq!(jitter(hour, 10, 7), jitter(hour, 10, 7));
        assert_eq!(jitter(hour, 0, 7), hour);
    }
}
