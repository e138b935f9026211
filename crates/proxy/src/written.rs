//! The last write to a database by any session of this process, for sessions whose reads must see the writes of all.

use pgherd_topology::gauge::{Gauge, Moment};
use pgherd_topology::node::NodeId;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Bits of a moment; above them stands the node. At a thousand looks a second they last for millennia.
const BITS: u32 = 48;

/// One a database.
#[derive(Debug, Default)]
pub struct Written {
    wanted: AtomicBool,
    last: AtomicU64,
}

impl Written {
    /// A write was acknowledged by `node`, before `moment`. Costs one look at a flag while nobody wants to know.
    pub(crate) fn note(&self, node: NodeId, moment: impl FnOnce() -> Moment) {
        if self.wanted.load(Ordering::SeqCst) {
            self.set(node, moment());
        }
    }

    /// The last write, for who reads now. The first time it is asked everything up to now counts as written: nobody took notes.
    pub(crate) fn last(&self, primary: NodeId, gauge: &Gauge) -> (NodeId, Moment) {
        if !self.wanted.load(Ordering::SeqCst) && !self.wanted.swap(true, Ordering::SeqCst) {
            self.set(primary, gauge.now());
        }
        let packed = self.last.load(Ordering::SeqCst);
        (NodeId((packed >> BITS) as u16), Moment(packed & ((1 << BITS) - 1)))
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
        assert_eq!(written.last(NodeId(0), &gauge), (NodeId(0), Moment(1)));
        written.note(NodeId(0), || Moment(7));
        written.note(NodeId(0), || Moment(5));
        assert_eq!(written.last(NodeId(0), &gauge), (NodeId(0), Moment(7)));
        written.note(NodeId(2), || Moment(1));
        assert_eq!(written.last(NodeId(2), &gauge), (NodeId(2), Moment(1)));
    }
}
