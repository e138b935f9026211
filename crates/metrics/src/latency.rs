//! Latency recorders.

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use std::time::Duration;

/// Highest latency told apart; longer ones count as this.
pub const MAX_LATENCY: Duration = Duration::from_secs(3600);

/// Records durations from one worker in microseconds, two significant digits (about 20 KiB). The lock is only ever contended by a scrape.
#[derive(Debug)]
pub struct Latency(Mutex<Histogram<u64>>);

impl Default for Latency {
    fn default() -> Self {
        // The bounds are constants that hdrhistogram accepts: low >= 1, high >= 2 * low, digits <= 5.
        let histogram =
            Histogram::new_with_bounds(1, MAX_LATENCY.as_micros() as u64, 2).expect("constant bounds");
        Latency(Mutex::new(histogram))
    }
}

impl Latency {
    /// Counts one duration.
    pub fn record(&self, took: Duration) {
        self.0.lock().saturating_record(took.as_micros().min(u128::from(u64::MAX)) as u64);
    }

    /// Adds everything recorded so far to `sum` (same bounds as [`Latency::default`]'s).
    pub fn merge_into(&self, sum: &mut Histogram<u64>) {
        // Both histograms have the same bounds, so adding cannot fail.
        sum.add(&*self.0.lock()).expect("same bounds");
    }
}
