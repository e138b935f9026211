//! What all clients share: locks they fight for, what was found wrong, and how much was done.
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Locks that clients fight for.
pub(crate) const LOCKS: usize = 4;

/// Breaches that are told in full.
const TOLD: usize = 20;

#[derive(Default)]
pub(crate) struct World {
    pub(crate) port: u16,
    pub(crate) over: AtomicBool,
    /// Servers that were killed.
    pub(crate) kills: AtomicU64,
    /// Who got each lock last: a token that is never used twice.
    holders: [AtomicU64; LOCKS],
    tokens: AtomicU64,
    breaches: Mutex<Vec<String>>,
    counts: Mutex<BTreeMap<String, u64>>,
}

impl World {
    /// One with a pgherd at this port.
    pub(crate) fn at(port: u16) -> Self {
        Self { port, ..Self::default() }
    }

    /// Somebody was told that it has this lock: a token to look for when it gives it back.
    pub(crate) fn took(&self, lock: usize) -> u64 {
        let token = self.tokens.fetch_add(1, Ordering::SeqCst) + 1;
        self.holders[lock].store(token, Ordering::SeqCst);
        token
    }

    /// Nobody has got it since.
    pub(crate) fn still_has(&self, lock: usize, token: u64) -> bool {
        self.holders[lock].load(Ordering::SeqCst) == token
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    pub(crate) fn kills(&self) -> u64 {
        self.kills.load(Ordering::SeqCst)
    }

    pub(crate) fn breach(&self, what: String) {
        let mut breaches = self.breaches.lock().unwrap();
        if breaches.len() < TOLD {
            breaches.push(what);
        }
    }

    pub(crate) fn count(&self, what: &str) {
        let mut counts = self.counts.lock().unwrap();
        match counts.get_mut(what) {
            Some(count) => *count += 1,
            None => drop(counts.insert(what.to_owned(), 1)),
        }
    }

    pub(crate) fn breaches(&self) -> Vec<String> {
        self.breaches.lock().unwrap().clone()
    }

    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        self.counts.lock().unwrap().clone()
    }
}
