//! What a session's reads must not miss: what is noted of its reads and writes, and what a replica must have for the next read.

use crate::checkout::Held;
use crate::manner::millis;
use crate::session::Session;
use crate::shared::Shared;
use crate::terms::Terms;
use crate::wish::Wish;
use crate::written::{FLUSHED_AFTER, Written};
use pgherd_route::floor::{Consistency, Floors, Need};
use pgherd_route::intent::Routing;
use pgherd_topology::node::NodeId;
use pgherd_topology::snapshot::Snapshot;
use pgherd_wire::backend::Status;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

impl Session {
    /// What a replica must have for it. With a number, instead: how old what it has may be, in milliseconds.
    pub(crate) fn need(&mut self, snapshot: &Snapshot) -> (Need, Option<NonZeroU32>) {
        if self.terms.routing != Routing::Any || self.wish.consistency == Consistency::Eventual {
            return (Need::default(), None);
        }
        self.wait_for_flush(snapshot);
        let written = &self.written;
        let terms = &self.terms;
        let need = need(&mut self.floors, &mut self.wish, || written.clone(), terms, snapshot, &self.shared);
        match self.outlives_window(&need) {
            Some(age) => (Need::default(), Some(age)),
            None => (need, None),
        }
    }

    /// Looks at the primary have failed for so long that the age of what a replica has must do. It is reckoned from probes, which go another way; what is younger
    /// than the first read that found the position of the last write unknown has that write. That what was *read* since does not disappear is not promised then.
    fn outlives_window(&mut self, need: &Need) -> Option<NonZeroU32> {
        if !need.awaits_look() || self.wish.consistency != Consistency::ReadAfterWrite {
            self.unlooked = None;
            return None;
        }
        let now = self.shared.moment();
        let unknown = now.get().saturating_sub(self.unlooked.get_or_insert(now).get());
        let (unknown, window) = (Duration::from_millis(unknown), self.shared.policy.load().write_window);
        (unknown >= window).then(|| millis(unknown))
    }

    /// After a commit that may have been acknowledged before it was flushed, no position of the log covers it before a while has passed.
    pub(crate) fn wait_for_flush(&mut self, snapshot: &Snapshot) {
        let Some(since) = self.unflushed else { return };
        if self.shared.now().saturating_sub(since.get()) < FLUSHED_AFTER {
            self.wish.stale = true;
        } else if let Some(primary) = snapshot.primary {
            (self.unflushed, self.unlooked) = (None, None);
            self.floors.wrote(primary, self.shared.pools.common().gauges.of(primary).now());
        }
    }

    /// What it read and wrote on a node was acknowledged.
    pub(crate) fn note_floors(&mut self, held: &Held) {
        let node = held.node;
        let moment = || self.shared.pools.common().gauges.of(node).now();
        match self.terms.routing {
            Routing::Replicas => {}
            Routing::Primary => self.note_write(node),
            // SET, SHOW and their like neither change nor show anything that replicas have.
            Routing::Any if self.is_lone_setting() => {}
            Routing::Any if held.replica => {
                self.floors.saw_on_standby(node, held.taken, &self.shared.pools.common().gauges.of(node));
            }
            Routing::Any if self.is_lone_read() => {
                let gauges = &self.shared.pools.common().gauges;
                match self.would_have_seen() {
                    Some(standby) => {
                        self.floors.saw_on_standby(standby, gauges.of(standby).now(), &gauges.of(standby))
                    }
                    None => self.floors.saw(node, gauges.of(node).now()),
                }
                if self.was_not_fresh() {
                    // Else no look would ever cover this moment: each read on the primary would be newer than the look that the read before had asked for.
                    gauges.of(node).want();
                }
            }
            Routing::Any => {
                self.floors.wrote(node, moment());
                self.unlooked = None;
                if self.is_asynchronous() {
                    self.unflushed = Some(self.shared.moment());
                }
                self.note_write(node);
            }
        }
    }

    /// For sessions whose reads must see the writes of all.
    fn note_write(&mut self, node: NodeId) {
        if !self.written.is_wanted() {
            return;
        }
        if self.terms.routing == Routing::Primary {
            // Where nothing is read, this is watched only since somebody wants to know.
            self.machine.watch_commits();
            self.heed_settings();
        }
        if self.is_asynchronous() {
            self.written.note_unflushed(self.shared.now());
        }
        self.written.note(node, || self.shared.pools.common().gauges.of(node).now());
    }

    /// What this session commits may be acknowledged before it is flushed.
    pub(crate) fn is_asynchronous(&self) -> bool {
        self.wish.asynchronous || self.manner.asynchronous == Some(true) || self.machine.spoke_of_commit()
    }

    /// A session that keeps its server, or has asked for more than one thing, may have been acknowledged a write that others want to know of before it gives the server
    /// back.
    pub(crate) fn note_early_writes(&mut self, held: &Held) {
        let early =
            self.machine.pin().is_some() || self.machine.units() > 1 || self.machine.status() != Status::Idle;
        if early && !held.replica && self.written.is_wanted() {
            self.note_write(held.node);
        }
    }
}

/// What a replica must have for a wish, besides what these floors say.
pub(crate) fn need(
    floors: &mut Floors,
    wish: &mut Wish,
    written: impl FnOnce() -> Arc<Written>,
    terms: &Terms,
    snapshot: &Snapshot,
    shared: &Shared,
) -> Need {
    let gauges = &shared.pools.common().gauges;
    let mut others = None;
    if wish.consistency == Consistency::Global {
        let primary = snapshot.primary.map(|primary| (primary, gauges.of(primary)));
        let primary = primary.as_ref().map(|(primary, gauge)| (*primary, &**gauge));
        others = written().last(primary, shared.now());
        wish.stale |= others.is_none();
    }
    floors.need(others, terms.monotonic, snapshot, gauges)
}
