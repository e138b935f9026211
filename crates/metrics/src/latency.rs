//! Latency recorders: log-linear buckets of relaxed atomics.
//!
//! A recorder is an array of buckets. Below 64 us each microsecond has its own; above, every doubling is cut into 64
//! equal steps, so a bucket is never wider than 1/64 of its values: two significant digits. Recording is one bit scan
//! and two additions, without a lock; reading copies the buckets into a [`Distribution`].

use crate::counter::SoleWriter;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Highest latency told apart; longer ones count as this (their true length still enters the sum).
pub const MAX_LATENCY: Duration = Duration::from_secs(3600);

/// Steps per doubling, as a power of two.
const STEP_BITS: u32 = 6;
/// Steps per doubling.
const STEPS: usize = 1 << STEP_BITS;
const MAX_MICROS: u64 = MAX_LATENCY.as_secs() * 1_000_000;
/// Number of buckets: 1728, or 13.5 KiB of counts.
const BUCKETS: usize = bucket_of(MAX_MICROS) / STEPS * STEPS + STEPS;

/// Durations from one source.
#[derive(Debug)]
pub struct Latency {
    buckets: Box<[AtomicU64]>,
    sum_nanos: AtomicU64,
    writer: SoleWriter,
}

impl Default for Latency {
    fn default() -> Self {
        Latency {
            buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            sum_nanos: AtomicU64::new(0),
            writer: SoleWriter::default(),
        }
    }
}

impl Latency {
    /// Counts one duration; any thread may call it. Two relaxed read-modify-writes.
    pub fn record(&self, took: Duration) {
        self.buckets[bucket_of(micros(took))].fetch_add(1, Ordering::Relaxed);
        self.sum_nanos.fetch_add(nanos(took), Ordering::Relaxed);
    }

    /// Counts one duration by plain loads and stores, for a recorder that only one thread writes (a worker's own). A
    /// second writer would lose counts (debug builds panic), as with [`crate::counter::Counter::bump_local`].
    pub fn record_local(&self, took: Duration) {
        self.writer.check();
        let bucket = &self.buckets[bucket_of(micros(took))];
        bucket.store(bucket.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        let sum = self.sum_nanos.load(Ordering::Relaxed).wrapping_add(nanos(took));
        self.sum_nanos.store(sum, Ordering::Relaxed);
    }

    /// Adds everything recorded so far to `sum`.
    pub fn merge_into(&self, sum: &mut Distribution) {
        for (total, bucket) in sum.counts.iter_mut().zip(&self.buckets) {
            *total += bucket.load(Ordering::Relaxed);
        }
        sum.sum_nanos += u128::from(self.sum_nanos.load(Ordering::Relaxed));
    }

    /// Everything recorded so far.
    pub fn read(&self) -> Distribution {
        let mut distribution = Distribution::default();
        self.merge_into(&mut distribution);
        distribution
    }
}

/// What one or several recorders held at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distribution {
    counts: Vec<u64>,
    sum_nanos: u128,
}

impl Default for Distribution {
    fn default() -> Self {
        Distribution { counts: vec![0; BUCKETS], sum_nanos: 0 }
    }
}

impl Distribution {
    /// Number of durations.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All durations added up, in seconds. A recorder that was being written while it was read may be one duration off.
    pub fn sum_seconds(&self) -> f64 {
        self.sum_nanos as f64 / 1e9
    }

    /// The mean; `None` when nothing was recorded.
    pub fn mean(&self) -> Option<Duration> {
        let count = self.count();
        (count > 0).then(|| Duration::from_secs_f64(self.sum_seconds() / count as f64))
    }

    /// The duration that the share `quantile` (0.0 to 1.0) of all durations does not exceed, within 1/64; `None` when
    /// nothing was recorded. The highest value of the bucket is told: never too good.
    pub fn quantile(&self, quantile: f64) -> Option<Duration> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = ((quantile.clamp(0.0, 1.0) * count as f64).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, n) in self.counts.iter().enumerate() {
            seen += n;
            if seen >= rank {
                return Some(Duration::from_micros(highest(bucket)));
            }
        }
        None
    }

    /// How many durations are at most `limit`, counting a bucket that holds `limit` as a whole.
    pub fn count_at_most(&self, limit: Duration) -> u64 {
        self.counts[..=bucket_of(micros(limit))].iter().sum()
    }

    /// Adds another distribution.
    pub fn add(&mut self, other: &Distribution) {
        for (total, n) in self.counts.iter_mut().zip(&other.counts) {
            *total += n;
        }
        self.sum_nanos += other.sum_nanos;
    }

    /// What was recorded after `earlier`, a reading of the same recorders: the statistics of a period.
    pub fn since(&self, earlier: &Distribution) -> Distribution {
        let counts = self.counts.iter().zip(&earlier.counts).map(|(now, then)| now.saturating_sub(*then));
        Distribution { counts: counts.collect(), sum_nanos: self.sum_nanos.saturating_sub(earlier.sum_nanos) }
    }
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

fn nanos(took: Duration) -> u64 {
    u64::try_from(took.as_nanos()).unwrap_or(u64::MAX)
}

/// The bucket that counts a duration of `micros`.
const fn bucket_of(micros: u64) -> usize {
    let micros = if micros > MAX_MICROS { MAX_MICROS } else { micros };
    if micros < STEPS as u64 {
        return micros as usize;
    }
    let doublings = micros.ilog2() - STEP_BITS;
    // The top seven bits, of which the first is always set: 64..=127.
    let top = (micros >> doublings) as usize;
    doublings as usize * STEPS + top
}

/// The highest number of microseconds that falls into `bucket`.
fn highest(bucket: usize) -> u64 {
    if bucket < STEPS {
        return bucket as u64;
    }
    let doublings = bucket / STEPS - 1;
    let top = (bucket % STEPS + STEPS) as u64;
    (((top + 1) << doublings) - 1).min(MAX_MICROS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_bucket_and_no_bucket_is_wider_than_a_64th() {
        let mut value = 0u64;
        while value < MAX_MICROS {
            let bucket = bucket_of(value);
            let high = highest(bucket);
            assert!(value <= high, "{value} above the top {high} of bucket {bucket}");
            assert!(bucket == 0 || highest(bucket - 1) < value, "{value} belongs below bucket {bucket}");
            assert!((high - value) * STEPS as u64 <= value, "{value} read as {high}");
            value += 1 + value / 1000;
        }
        assert_eq!(bucket_of(u64::MAX), bucket_of(MAX_MICROS));
        assert!(bucket_of(MAX_MICROS) < BUCKETS);
    }

    #[test]
    fn a_recorder_stays_below_16_kib() {
        assert!(BUCKETS * size_of::<AtomicU64>() <= 16 * 1024);
    }

    #[test]
    fn percentiles_are_right_to_two_digits() {
        let latency = Latency::default();
        for i in 1..=10_000u64 {
            latency.record(Duration::from_micros(i * 10));
        }
        let read = latency.read();
        assert_eq!(read.count(), 10_000);
        for (quantile, want) in [(0.5, 50_000.0), (0.9, 90_000.0), (0.99, 99_000.0), (0.999, 99_900.0)] {
            let got = read.quantile(quantile).unwrap().as_micros() as f64;
            assert!(got >= want && got <= want * (1.0 + 1.0 / 64.0), "p{quantile}: {got} for {want}");
        }
        assert_eq!(read.quantile(0.0), Some(Duration::from_micros(10)));
        assert_eq!(read.mean(), Some(Duration::from_nanos(50_005_000)));
    }

    #[test]
    fn a_limit_counts_the_values_equal_to_it() {
        let latency = Latency::default();
        for millis in [1, 1, 2, 5] {
            latency.record_local(Duration::from_millis(millis));
        }
        let read = latency.read();
        assert_eq!(read.count_at_most(Duration::from_micros(900)), 0);
        assert_eq!(read.count_at_most(Duration::from_millis(1)), 2);
        assert_eq!(read.count_at_most(Duration::from_millis(3)), 3);
        assert_eq!(read.count_at_most(Duration::MAX), 4);
        assert!((read.sum_seconds() - 0.009).abs() < 1e-12);
    }

    #[test]
    fn nothing_recorded_has_no_percentile() {
        let read = Latency::default().read();
        assert_eq!((read.count(), read.quantile(0.5), read.mean()), (0, None, None));
    }

    #[test]
    fn extremes_are_counted() {
        let latency = Latency::default();
        latency.record(Duration::ZERO);
        latency.record(Duration::MAX);
        let read = latency.read();
        assert_eq!(read.quantile(0.5), Some(Duration::ZERO));
        assert_eq!(read.quantile(1.0), Some(MAX_LATENCY));
    }

    #[test]
    fn a_period_is_the_difference_of_two_readings() {
        let latency = Latency::default();
        latency.record(Duration::from_millis(1));
        let earlier = latency.read();
        latency.record(Duration::from_millis(8));
        let period = latency.read().since(&earlier);
        assert_eq!(period.count(), 1);
        assert!(period.quantile(0.5).unwrap() >= Duration::from_millis(8));
        let mut both = earlier.clone();
        both.add(&period);
        assert_eq!(both, latency.read());
    }
}
