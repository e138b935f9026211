//! The one place where the two wings meet: the cell in which the snapshot is swapped.

use crate::snapshot::Snapshot;
use arc_swap::{ArcSwap, Guard};
use std::sync::Arc;
use tokio::sync::watch;

/// Holds the current [`Snapshot`]. Readers load it without waiting; those who need a newer one subscribe.
#[derive(Debug)]
pub struct Cell {
    current: ArcSwap<Snapshot>,
    epoch: watch::Sender<u64>,
}

impl Default for Cell {
    fn default() -> Self {
        Cell { current: ArcSwap::from_pointee(Snapshot::default()), epoch: watch::Sender::new(0) }
    }
}

impl Cell {
    /// The snapshot of this moment. Cheap; do not keep the guard across an await, use [`Cell::load_full`] there.
    pub fn load(&self) -> Guard<Arc<Snapshot>> {
        self.current.load()
    }

    /// The snapshot of this moment, owned.
    pub fn load_full(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Replaces the snapshot and wakes those who wait for a change. Only the control plane calls this, from one task.
    /// A snapshot whose epoch does not rise is refused (returns false): the data plane never goes back.
    pub fn publish(&self, snapshot: Snapshot) -> bool {
        let epoch = snapshot.epoch;
        if epoch <= self.current.load().epoch {
            return false;
        }
        self.current.store(Arc::new(snapshot));
        self.epoch.send_replace(epoch);
        true
    }

    /// Replaces the snapshot by one of the same epoch with newer positions and lag, waking nobody: nothing that a
    /// waiting client could be waiting for has changed. Refused (returns false) when the epoch is another.
    pub fn refresh(&self, snapshot: Snapshot) -> bool {
        if snapshot.epoch != self.current.load().epoch {
            return false;
        }
        self.current.store(Arc::new(snapshot));
        true
    }

    /// A receiver that sees each newer epoch (`changed().await` is cancel safe). Subscribe *before* loading the
    /// snapshot that is found wanting, so that no change is missed in between.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.epoch.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_never_falls() {
        let cell = Cell::default();
        assert!(cell.publish(Snapshot { epoch: 2, ..Snapshot::default() }));
        assert!(!cell.publish(Snapshot { epoch: 2, ..Snapshot::default() }));
        assert!(!cell.publish(Snapshot { epoch: 1, ..Snapshot::default() }));
        assert_eq!(cell.load().epoch, 2);
    }

    #[test]
    fn a_refresh_keeps_the_epoch_and_wakes_nobody() {
        let cell = Cell::default();
        assert!(cell.publish(Snapshot { epoch: 2, ..Snapshot::default() }));
        let mut waiter = cell.subscribe();
        waiter.mark_unchanged();
        assert!(cell.refresh(Snapshot { epoch: 2, phase: "steady", ..Snapshot::default() }));
        assert!(!cell.refresh(Snapshot { epoch: 3, ..Snapshot::default() }));
        assert_eq!(cell.load().phase, "steady");
        assert!(!waiter.has_changed().expect("the cell lives"));
    }
}
