//! The last write to a database by any session of this process, for sessions whose reads must see the writes of all.

use pgherd_topology::gauge::{Gauge, Moment};
use pgherd_topology::node::NodeId;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Milliseconds after which a commit that was acknowledged before it was flushed is flushed: three times the default `wal_writer_delay` (documentation, chapter
/// 30.4), and what our clock may be late.
pub(crate) const FLUSHED_AFTER: u64 = 700;

/// Bits of a moment; above them stands the node. At a thousand looks a second they last for millennia.
const BITS: u32 = 48;

/// One a database.
#[derive(Debug, Default)]
pub struct Written {
    wanted: AtomicBool,
    last: AtomicU64,
    /// When something was committed last that may have been acknowledged before it was flushed: milliseconds of the process and one; 0: never, or long ago.
    unflushed: AtomicU64,
}

impl Written {
    /// A write was acknowledged by `node`, before `moment`. Costs one look at a flag while nobody wants to know.
    pub(crate) fn note(&self, node: NodeId, moment: impl FnOnce() -> Moment) {
        if self.is_wanted() {
            self.set(node, moment());
        }
    }

    /// What was acknowledged up to `now` may not be flushed yet. To be called before the write itself is noted.
    pub(crate) fn note_unflushed(&self, now: u64) {
        self.unflushed.fetch_max(now + 1, Ordering::SeqCst);
    }

    /// Somebody has asked for the last write, so notes are taken.
    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::SeqCst)
    }

    /// The last write, for who reads now; `None` while no position of the log is known to cover it. The first time it is asked everything up to now counts as
    /// written, in the worst way: nobody took notes.
    pub(crate) fn last(&self, primary: Option<(NodeId, &Gauge)>, now: u64) -> Option<(NodeId, Moment)> {
        if !self.is_wanted() {
            let (primary, gauge) = primary?;
            if !self.wanted.swap(true, Ordering::SeqCst) {
                self.note_unflushed(now);
                self.set(primary, gauge.now());
            }
        }
        let unflushed = self.unflushed.load(Ordering::SeqCst);
        if unflushed != 0 {
            if now < unflushed - 1 + FLUSHED_AFTER {
                return None;
            }
            let (primary, gauge) = primary?;
            self.set(primary, gauge.now());
            // What was noted meanwhile stays noted.
            let _ = self.unflushed.compare_exchange(unflushed, 0, Ordering::SeqCst, Ordering::SeqCst);
        }
        let packed = self.last.load(Ordering::SeqCst);
        Some((NodeId((packed >> BITS) as u16), Moment(packed & ((1 << BITS) - 1))))
    }

    fn set(&self, node: NodeId, moment: Moment) {
        let new = u64::from(node.0) << BITS | (moment.0 & ((1 << BITS) - 1));
        // Of one node the later moment stays, whoever comes last; another node's replaces it.
        let _ = self.last.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |old| {
            (old >> BITS != new >> BITS || old < new).then_some(new)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_write_stays() {
        let (written, gauge) = (Written::default(), Gauge::default());
        written.note(NodeId(0), || unreachable!("nobody wants to know"));
        gauge.begin();
        let at = |now| written.last(Some((NodeId(0), &gauge)), now);
        assert_eq!((written.last(None, 0), at(0), at(FLUSHED_AFTER - 1)), (None, None, None));
        assert_eq!(at(FLUSHED_AFTER), Some((NodeId(0), Moment(1))));
        written.note(NodeId(0), || Moment(7));
        written.note(NodeId(0), || Moment(5));
        assert_eq!(at(FLUSHED_AFTER), Some((NodeId(0), Moment(7))));
        written.note(NodeId(2), || Moment(1));
        assert_eq!(written.last(None, FLUSHED_AFTER), Some((NodeId(2), Moment(1))));
    }

    #[test]
    fn a_commit_that_was_not_flushed_counts_from_when_it_is() {
        let (written, gauge) = (Written::default(), Gauge::default());
        let at = |now| written.last(Some((NodeId(0), &gauge)), now);
        assert_eq!((at(0), at(1000)), (None, Some((NodeId(0), Moment(0)))));
        written.note_unflushed(1000);
        written.note(NodeId(0), || gauge.now());
        gauge.begin();
        assert_eq!((at(1000), at(1001 + FLUSHED_AFTER)), (None, Some((NodeId(0), Moment(1)))));
        gauge.begin();
        assert_eq!(at(1001 + FLUSHED_AFTER), Some((NodeId(0), Moment(1))));
    }
}
