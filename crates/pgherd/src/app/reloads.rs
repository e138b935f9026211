//! How reloads went, for metrics. Starting counts as the first.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The last reload, and the last that worked.
pub struct Reloads {
    successful: AtomicBool,
    success_at: AtomicU64,
}

impl Default for Reloads {
    fn default() -> Reloads {
        Reloads { successful: AtomicBool::new(true), success_at: AtomicU64::new(now()) }
    }
}

impl Reloads {
    /// A reload has ended.
    pub fn note(&self, successful: bool) {
        self.successful.store(successful, Ordering::Relaxed);
        if successful {
            self.success_at.store(now(), Ordering::Relaxed);
        }
    }

    /// Whether the last one worked.
    pub fn successful(&self) -> bool {
        self.successful.load(Ordering::Relaxed)
    }

    /// When the settings in force were read, in seconds of the Unix epoch.
    pub fn success_at(&self) -> u64 {
        self.success_at.load(Ordering::Relaxed)
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
