//! How far each node's log was, looked at now and then: what a session compares when it must not read what is older than what it wrote or saw.
//!
//! Looks, new connections and breaks are numbered in one row, and a moment is the number of the last of them. A session that remembers the moment *after* it read an acknowledgement knows that
//! every look with a greater number was begun later, so its flushed position covers what was acknowledged. No clock takes part, neither ours nor a server's.
//! Passive: the control plane looks, the data plane compares.

use crate::lsn::{Lsn, Timeline};
use crate::node::NodeId;
use arc_swap::ArcSwap;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// Looks that are remembered per node. A session whose moment is older than all of them gets the oldest: it asks for more than it must.
const REMEMBERED: usize = 64;

/// A moment in the life of one node: the number of what happened last (a look begun, a connection opened, a break).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub u64);

/// What a look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The node was out of recovery, and `lsn` is flushed; else `lsn` is replayed.
    pub primary: bool,
    /// Timeline of the log the node writes. Of a standby it is not asked: 0.
    pub timeline: Timeline,
    /// `pg_current_wal_flush_lsn()` or `pg_last_wal_replay_lsn()`.
    pub lsn: Lsn,
    /// Of a primary: `pg_current_wal_insert_lsn()`, taken after the other: commits that were acknowledged before they were flushed are in front of it.
    pub inserted: Lsn,
}

/// Longest time a commit may be acknowledged and not flushed: three times PostgreSQL's default `wal_writer_delay` (documentation, chapter 30.4), and a margin.
pub const UNFLUSHED: Duration = Duration::from_millis(700);

/// A finished look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Its number.
    pub number: u64,
    /// When it was begun, by the process' clock. Only the age of what a replica has is reckoned with it; an order of looks and acknowledgements never is.
    pub at: Duration,
    /// What it found.
    pub position: Position,
}

/// The looks at one node.
#[derive(Debug)]
pub struct Gauge {
    begun: AtomicU64,
    /// Moments before this one belong to a time that ended with a lost connection.
    born: AtomicU64,
    /// Of all gauges together: how many looks found something.
    finished: Arc<watch::Sender<u64>>,
    wanted: AtomicBool,
    call: Notify,
    samples: Mutex<VecDeque<Sample>>,
}

impl Default for Gauge {
    fn default() -> Self {
        Gauge::telling(Arc::new(watch::Sender::new(0)))
    }
}

impl Gauge {
    fn telling(finished: Arc<watch::Sender<u64>>) -> Gauge {
        Gauge {
            begun: AtomicU64::new(0),
            born: AtomicU64::new(0),
            finished,
            wanted: AtomicBool::new(false),
            call: Notify::new(),
            samples: Mutex::default(),
        }
    }

    /// The present moment. To be taken after the bytes were read that make it matter.
    pub fn now(&self) -> Moment {
        // Sequentially consistent, as `begin`: a look whose number is not seen here is sent after this.
        Moment(self.begun.load(Ordering::SeqCst))
    }

    /// A connection to the node was opened: all moments before are smaller, all moments after are not. To be called once the server is ready for queries.
    pub fn opened(&self) -> Moment {
        Moment(self.begun.fetch_add(1, Ordering::SeqCst) + 1)
    }

    /// A look begins: its number. To be called before the first byte of the question is sent.
    pub fn begin(&self) -> u64 {
        self.wanted.store(false, Ordering::SeqCst);
        self.begun.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// The look with this number, begun at `at` by the process' clock, found something.
    pub fn finish(&self, number: u64, at: Duration, position: Position) {
        let mut samples = self.samples();
        if samples.back().is_some_and(|last| last.position.primary != position.primary) {
            // The node changed its role: what was flushed and what was replayed are not to be mixed.
            samples.clear();
        }
        if samples.len() == REMEMBERED {
            samples.pop_front();
        }
        samples.push_back(Sample { number, at, position });
        drop(samples);
        self.finished.send_modify(|looks| *looks = looks.wrapping_add(1));
    }

    /// The connection that looked was lost: the node may have been restarted, and a restarted standby can be behind what it has shown before. All looks are
    /// void, and so are the moments up to now.
    pub fn interrupt(&self) {
        // Who takes a moment between the two must not believe that it is whole.
        self.born.store(u64::MAX, Ordering::SeqCst);
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        self.born.store(number, Ordering::SeqCst);
        self.wanted.store(false, Ordering::SeqCst);
        self.samples().clear();
    }

    /// Since this moment the connection that looks was never lost, so the node was not restarted up to the last finished look.
    pub fn is_unbroken_since(&self, moment: Moment) -> bool {
        moment.0 >= self.born.load(Ordering::SeqCst)
    }

    /// A position of the primary on this timeline that covers everything acknowledged or seen up to `moment`, the smallest that is known, and whether this is the last
    /// word. A commit may be acknowledged, and seen by others, before it is flushed. While what was inserted is not flushed no standby can have it, and a position
    /// that is flushed so much later that all of it is flushed may come first.
    pub fn written_after(&self, moment: Moment, timeline: Timeline) -> Option<(Lsn, bool)> {
        let samples = self.samples();
        let at = samples.partition_point(|sample| sample.number <= moment.0);
        let mut fitting = samples
            .range(at..)
            .filter(|sample| sample.position.primary && sample.position.timeline == timeline);
        let first = fitting.next()?;
        let inserted = first.position.inserted;
        if first.position.lsn >= inserted {
            return Some((inserted, true));
        }
        for later in fitting {
            if later.position.lsn >= inserted || later.at >= first.at + UNFLUSHED {
                return Some((inserted.min(later.position.lsn), true));
            }
        }
        Some((inserted, false))
    }

    /// A replayed position that covers everything a reader of this standby saw up to `moment`: the smallest that is known.
    pub fn replayed_after(&self, moment: Moment) -> Option<Lsn> {
        let samples = self.samples();
        let at = samples.partition_point(|sample| sample.number <= moment.0);
        samples.range(at..).find(|sample| !sample.position.primary).map(|sample| sample.position.lsn)
    }

    /// When the primary was seen last, on this timeline, with nothing beyond `replayed`.
    fn covered_at(&self, replayed: Lsn, timeline: Timeline) -> Option<Duration> {
        let covers = |at: &Position| at.primary && at.timeline == timeline && at.lsn <= replayed;
        self.samples().iter().rev().find(|sample| covers(&sample.position)).map(|sample| sample.at)
    }

    /// How far a standby is known to have replayed, and by which look. It may be further by now.
    pub fn replayed(&self) -> Option<Sample> {
        self.samples().back().filter(|sample| !sample.position.primary).copied()
    }

    /// The newest look, whatever the node was.
    pub fn latest(&self) -> Option<Sample> {
        self.samples().back().copied()
    }

    /// Somebody could use a newer look.
    pub fn want(&self) {
        if !self.wanted.load(Ordering::Relaxed) && !self.wanted.swap(true, Ordering::SeqCst) {
            self.call.notify_one();
        }
    }

    /// Ends when a look is wanted. For one listener; cancel safe.
    pub async fn wanted(&self) {
        self.call.notified().await;
    }

    fn samples(&self) -> MutexGuard<'_, VecDeque<Sample>> {
        // Nothing under this lock can panic half-way.
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The gauges of all nodes, by number.
#[derive(Debug)]
pub struct Gauges {
    all: ArcSwap<Vec<Arc<Gauge>>>,
    finished: Arc<watch::Sender<u64>>,
}

impl Default for Gauges {
    fn default() -> Self {
        Gauges { all: ArcSwap::default(), finished: Arc::new(watch::Sender::new(0)) }
    }
}

impl Gauges {
    /// The gauge of a node; made when there is none yet.
    pub fn of(&self, node: NodeId) -> Arc<Gauge> {
        let at = usize::from(node.0);
        if let Some(gauge) = self.all.load().get(at) {
            return gauge.clone();
        }
        self.all.rcu(|gauges| {
            let mut more = Vec::clone(gauges);
            let new = || Arc::new(Gauge::telling(self.finished.clone()));
            more.resize_with((at + 1).max(more.len()), new);
            more
        });
        self.all.load()[at].clone()
    }

    /// What the primary has flushed was found out for somebody: now it matters how far the others are.
    pub fn want_others(&self, than: &Gauge) {
        let all = self.all.load();
        all.iter().filter(|gauge| !std::ptr::eq(&***gauge, than)).for_each(|gauge| gauge.want());
    }

    /// As [`crate::node::Node::proven_at`], by the looks that are remembered here: newer than what is published while sessions ask for looks, and nothing when
    /// they do not, or when what is remembered does not reach back to where the standby is.
    pub fn proven_at(&self, primary: NodeId, timeline: Timeline, standby: NodeId) -> Option<Duration> {
        let replayed = self.of(standby).replayed()?.position.lsn;
        self.of(primary).covered_at(replayed, timeline)
    }

    /// A receiver that hears of each look at any node that found something (`changed().await` is cancel safe). Subscribe *before* comparing what is known, so that no
    /// look is missed in between.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.finished.subscribe()
    }
}

#[cfg(test)]
#[path = "gauge_tests.rs"]
mod tests;
