//! One thing to time, and how it is timed.

use std::time::{Duration, Instant};

use pgherd_bench::median::{median, quantile};

/// Operations before allocations are counted: buffers have grown by then.
const WARM_UP: u32 = 64;

/// Operations over which allocations are counted.
const COUNTED: u32 = 1000;

/// An operation that can be repeated.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    hot: bool,
    operation: Box<dyn FnMut()>,
}

/// Heap allocations per operation, reallocations included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Allocated {
    pub(crate) count: f64,
    pub(crate) bytes: f64,
}

impl Case {
    /// On the path of every message: must not allocate once it is warm.
    pub(crate) fn hot(name: &'static str, operation: impl FnMut() + 'static) -> Self {
        Self { name, hot: true, operation: Box::new(operation) }
    }

    /// May allocate.
    pub(crate) fn cold(name: &'static str, operation: impl FnMut() + 'static) -> Self {
        Self { name, hot: false, operation: Box::new(operation) }
    }

    /// Whether it must not allocate.
    pub(crate) fn is_hot(&self) -> bool {
        self.hot
    }

    /// Median and fastest nanoseconds per operation.
    pub(crate) fn time(&mut self, samples: usize, sample: Duration) -> (f64, f64) {
        let repetitions = self.repetitions_for(sample);
        let mut nanoseconds: Vec<f64> = (0..samples.max(1))
            .map(|_| self.run(repetitions).as_secs_f64() * 1e9 / f64::from(repetitions))
            .collect();
        nanoseconds.sort_by(f64::total_cmp);
        (median(&nanoseconds).unwrap_or(f64::NAN), quantile(&nanoseconds, 0.0).unwrap_or(f64::NAN))
    }

    /// What it allocates when it is warm.
    pub(crate) fn allocations(&mut self) -> Allocated {
        self.run(WARM_UP);
        let info = allocation_counter::measure(|| {
            self.run(COUNTED);
        });
        let each = |total: u64| total as f64 / f64::from(COUNTED);
        Allocated { count: each(info.count_total), bytes: each(info.bytes_total) }
    }

    /// Doubles until a sample lasts as long as wished.
    fn repetitions_for(&mut self, sample: Duration) -> u32 {
        let mut repetitions = 1_u32;
        while self.run(repetitions) < sample {
            let Some(twice) = repetitions.checked_mul(2) else { break };
            repetitions = twice;
        }
        repetitions
    }

    fn run(&mut self, repetitions: u32) -> Duration {
        let started = Instant::now();
        for _ in 0..repetitions {
            (self.operation)();
        }
        started.elapsed()
    }
}
