//! What was written, what was acknowledged, and what each session may not read older than.
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Instant;

/// Sessions of one run.
pub(crate) const SESSIONS: usize = 24;
/// Counters that every session raises.
const REGISTERS: usize = 4;
/// The first of them. Below it each session has a counter of its own.
pub(crate) const FIRST_REGISTER: usize = SESSIONS;
/// Written on the primary itself, around pgherd.
pub(crate) const DIRECT: usize = FIRST_REGISTER + REGISTERS;
/// The last element of each session's part of the shared list.
pub(crate) const FIRST_LIST: usize = DIRECT + 1;
/// All things with a value. Each value only rises in the order in which the primary commits.
const SLOTS: usize = FIRST_LIST + SESSIONS;

/// Violations that are told in full.
const TOLD: usize = 12;

/// What a session was promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Nothing but what was written.
    Eventual,
    /// Its own writes, and what it saw.
    Own,
    /// What was acknowledged through pgherd to anybody.
    Global,
    /// What was acknowledged to anybody.
    Strong,
}

impl Level {
    /// The word of the setting.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Eventual => "eventual",
            Self::Own => "read_after_write",
            Self::Global => "global",
            Self::Strong => "strong",
        }
    }
}

/// How a promise was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Breach {
    /// More than was ever written.
    Invented,
    /// Less than the session wrote itself.
    OwnWrite,
    /// Less than the session has seen of what was acknowledged before the read began.
    WentBack,
    /// Less than somebody was acknowledged before the read began.
    OthersWrite,
}

/// Shared by all sessions.
pub(crate) struct Ledger {
    begun: Instant,
    attempted: Vec<AtomicI64>,
    acknowledged: Vec<AtomicI64>,
    pub(crate) reads: AtomicU64,
    pub(crate) writes: AtomicU64,
    /// Less than the session has seen of what was not acknowledged yet: a standby may show a commit before the primary does, and no proxy can hide it.
    early: AtomicU64,
    breaches: Mutex<BTreeMap<Breach, u64>>,
    told: Mutex<Vec<String>>,
    errors: Mutex<BTreeMap<String, u64>>,
}

/// What one session knows. A new connection knows nothing.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    wrote: Vec<i64>,
    saw: Vec<i64>,
}

impl Default for Memory {
    fn default() -> Self {
        Self { wrote: vec![0; SLOTS], saw: vec![0; SLOTS] }
    }
}

impl Memory {
    /// What was written still counts, what was only read does not.
    pub(crate) fn forget_reads(&mut self) {
        self.saw.clone_from(&self.wrote);
    }
}

/// What was acknowledged when a read began.
pub(crate) struct Before(Vec<i64>);

impl Ledger {
    pub(crate) fn new() -> Self {
        let zeros = || (0..SLOTS).map(|_| AtomicI64::new(0)).collect();
        Self {
            begun: Instant::now(),
            attempted: zeros(),
            acknowledged: zeros(),
            reads: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            early: AtomicU64::new(0),
            breaches: Mutex::default(),
            told: Mutex::default(),
            errors: Mutex::default(),
        }
    }

    /// The next value of a slot, before it is sent.
    pub(crate) fn attempt(&self, slot: usize) -> i64 {
        self.attempted[slot].fetch_add(1, Ordering::SeqCst) + 1
    }

    /// A write was acknowledged.
    pub(crate) fn acknowledge(&self, memory: &mut Memory, slot: usize, value: i64) {
        self.acknowledged[slot].fetch_max(value, Ordering::SeqCst);
        memory.wrote[slot] = memory.wrote[slot].max(value);
        memory.saw[slot] = memory.saw[slot].max(value);
        self.writes.fetch_add(1, Ordering::Relaxed);
    }

    /// To be called before a read is sent.
    pub(crate) fn before(&self) -> Before {
        Before(self.acknowledged.iter().map(|value| value.load(Ordering::SeqCst)).collect())
    }

    /// Judges one value that was read.
    pub(crate) fn judge(
        &self,
        level: Level,
        memory: &mut Memory,
        before: &Before,
        (slot, value): (usize, i64),
        who: &str,
    ) {
        let blame = |breach, least: i64| {
            *self.breaches.lock().unwrap().entry(breach).or_default() += 1;
            let mut told = self.told.lock().unwrap();
            if told.len() < TOLD {
                let at = self.begun.elapsed().as_secs_f64();
                told.push(format!(
                    "{at:.3} s: {who} ({level:?}) read {value} of slot {slot}: {breach:?}, bound {least}"
                ));
            }
        };
        let most = self.attempted[slot].load(Ordering::SeqCst);
        if value > most {
            blame(Breach::Invented, most);
        }
        if level >= Level::Own {
            if value < memory.wrote[slot] {
                blame(Breach::OwnWrite, memory.wrote[slot]);
            } else if value < memory.saw[slot].min(before.0[slot]) {
                blame(Breach::WentBack, memory.saw[slot]);
            } else if value < memory.saw[slot] {
                self.early.fetch_add(1, Ordering::Relaxed);
            }
        }
        let counts = level >= Level::Global && (slot != DIRECT || level == Level::Strong);
        if counts && value < before.0[slot] {
            blame(Breach::OthersWrite, before.0[slot]);
        }
        memory.saw[slot] = memory.saw[slot].max(value);
    }

    /// An error a session saw; allowed, and counted.
    pub(crate) fn error(&self, doing: &str, error: &tokio_postgres::Error) {
        let words = match error.as_db_error() {
            Some(told) => format!("{doing}: {} {}", told.code().code(), told.message()),
            None => format!("{doing}: {error}"),
        };
        *self.errors.lock().unwrap().entry(words).or_default() += 1;
    }

    /// Something worth a line among the violations.
    pub(crate) fn when(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }

    /// How often each promise was broken.
    pub(crate) fn breaches(&self) -> BTreeMap<Breach, u64> {
        self.breaches.lock().unwrap().clone()
    }

    /// All of it for people.
    pub(crate) fn summary(&self) -> String {
        let (reads, writes) = (self.reads.load(Ordering::Relaxed), self.writes.load(Ordering::Relaxed));
        let early = self.early.load(Ordering::Relaxed);
        let mut text = format!(
            "{reads} reads, {writes} values written, {early} seen on a standby before the primary showed them, breaches: {:?}\n",
            self.breaches()
        );
        for line in self.told.lock().unwrap().iter() {
            text.push_str(&format!("  {line}\n"));
        }
        for (words, count) in self.errors.lock().unwrap().iter() {
            text.push_str(&format!("  {count} x {words}\n"));
        }
        text
    }
}
