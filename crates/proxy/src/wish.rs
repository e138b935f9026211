//! What the unit at the front wants, on a listener that may choose.

use crate::checkout::Held;
use crate::manner::Manner;
use crate::session::Session;
use pgherd_route::classify::classify;
use pgherd_route::floor::{Consistency, Need};
use pgherd_route::intent::{Class, Intent, Preference, Routing};
use pgherd_session::step::Demand;
use pgherd_session::survey::{Extent, Part};
use pgherd_topology::snapshot::Snapshot;

/// Bytes of a unit that are waited for before it is given up to read it; then it goes to the primary.
const MAX_SURVEYED: usize = 32 * 1024;

/// What one unit wants.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wish {
    /// What it was found to be.
    pub(crate) class: Class,
    /// It is a transaction declared READ ONLY.
    pub(crate) read_only: bool,
    /// It is a lone statement (or one batch of them), not the start of a block.
    pub(crate) lone: bool,
    /// Its transaction is SERIALIZABLE.
    pub(crate) serializable: bool,
    /// A replica refused it: nothing but the primary will do.
    pub(crate) refused: bool,
    /// No replica was fresh enough, or could prove it: for now none will do.
    pub(crate) stale: bool,
    /// Where it prefers to go.
    pub(crate) preference: Option<Preference>,
    /// How fresh what it reads must be.
    pub(crate) consistency: Consistency,
}

impl Session {
    /// Looks at what the client wants, as far as choosing a node depends on it. False: more of the unit must come first.
    pub(crate) fn consider(&mut self, demand: Demand) -> bool {
        if self.terms.routing == Routing::Primary {
            return true;
        }
        self.heed_settings();
        let manner = self.manner;
        let refused = self.wish.refused;
        let mut wish = Wish {
            class: Class::Unknown,
            read_only: demand.read_only.unwrap_or(manner.read_only == Some(true)),
            lone: demand.lone,
            serializable: demand.serializable.unwrap_or(manner.serializable == Some(true)),
            refused,
            stale: false,
            preference: manner.preference.or(self.terms.preference),
            consistency: manner.consistency.unwrap_or(self.terms.consistency),
        };
        if self.terms.routing == Routing::Any && !refused {
            match self.class_of_unit() {
                Some(class) => wish.class = class,
                None => return false,
            }
            // A block is what it was declared to be; its first statement only speaks against a replica.
            if !wish.lone && wish.class == Class::Read {
                wish.class = Class::Unknown;
            }
            let stays = wish.consistency == Consistency::Strong || self.machine.pin().is_some();
            if manner.unclear || stays {
                wish.class = Class::Write;
            }
        }
        self.wish = wish;
        true
    }

    /// What the settings say, read again when they changed.
    fn heed_settings(&mut self) {
        if !self.manner.is_of(self.machine.settings()) {
            let before = self.manner.token;
            self.manner = Manner::read(self.machine.settings());
            if let Some((timeline, lsn)) = self.manner.token.filter(|token| Some(*token) != before) {
                self.floors.token(timeline, lsn);
            }
        }
    }

    /// The worst of the statements in the unit; `None` while more of it must come.
    fn class_of_unit(&mut self) -> Option<Class> {
        let desk = self.desk.as_mut()?;
        let (bytes, _) = desk.up.parts();
        let mut class = None;
        let extent = self.machine.survey(bytes, |part| {
            let one = match part {
                Part::Text(text) => classify(text),
                Part::Statement(statement) => classify(statement.query()),
                Part::Unreadable => Class::Unknown,
            };
            class = Some(class.map_or(one, |so_far| if so_far == Class::Read { one } else { so_far }));
        });
        match extent {
            Extent::Partial if bytes.len() < MAX_SURVEYED => None,
            Extent::Whole => Some(class.unwrap_or_default()),
            Extent::Partial | Extent::Flushed => Some(Class::Unknown),
        }
    }

    /// The same as `route` asks for it.
    pub(crate) fn intent(&self) -> Intent {
        let wish = &self.wish;
        Intent {
            routing: self.terms.routing,
            preference: wish.preference,
            class: if wish.refused { Class::Write } else { wish.class },
            read_only: wish.read_only,
            serializable: wish.serializable,
            avoid: self.avoid,
        }
    }

    /// What a replica must have for it.
    pub(crate) fn need(&mut self, snapshot: &Snapshot) -> Need {
        if self.terms.routing != Routing::Any || self.wish.consistency == Consistency::Eventual {
            return Need::default();
        }
        let gauges = &self.shared.pools.common().gauges;
        let others = match (self.wish.consistency, snapshot.primary) {
            (Consistency::Global, Some(primary)) => Some(self.written.last(primary, &gauges.of(primary))),
            _ => None,
        };
        self.floors.need(others, self.terms.monotonic, snapshot, gauges)
    }

    /// What it read and wrote on a node was acknowledged.
    pub(crate) fn note_floors(&mut self, node: pgherd_topology::node::NodeId, replica: bool) {
        let gauges = &self.shared.pools.common().gauges;
        let now = || gauges.of(node).now();
        let lone_read = self.wish.lone && self.wish.class == Class::Read && self.machine.units() <= 1;
        match self.terms.routing {
            Routing::Replicas => {}
            Routing::Primary => self.written.note(node, now),
            Routing::Any if replica || lone_read => self.floors.saw(node, now()),
            Routing::Any => {
                self.floors.wrote(node, now());
                self.written.note(node, now);
            }
        }
    }

    /// A session that keeps its server may have written: others may want to know before it gives the server back.
    pub(crate) fn note_pinned_write(&self, held: &Held) {
        if !held.replica && self.machine.pin().is_some() && self.machine.is_between_transactions() {
            self.written.note(held.node, || self.shared.pools.common().gauges.of(held.node).now());
        }
    }
}
