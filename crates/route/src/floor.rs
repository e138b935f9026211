//! What a session must not read older than: its own writes, and what it has seen. Lazy: remembered are moments, positions are found out when somebody reads.

use pgherd_topology::gauge::{Gauge, Gauges, Moment};
use pgherd_topology::lsn::{Lsn, Timeline};
use pgherd_topology::node::NodeId;
use pgherd_topology::snapshot::Snapshot;

/// How fresh reads must be; the words are those of the setting `default_consistency`, weakest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Consistency {
    /// Whatever an eligible replica has.
    Eventual,
    /// What this session wrote; and what it has read does not disappear again.
    #[default]
    ReadAfterWrite,
    /// What any session of this process wrote to the database.
    Global,
    /// What anybody wrote: reads stay on the primary.
    Strong,
}

impl Consistency {
    /// Every level, weakest first.
    pub const ALL: [Consistency; 4] =
        [Consistency::Eventual, Consistency::ReadAfterWrite, Consistency::Global, Consistency::Strong];

    /// The word used in settings, `SET pgherd.consistency` and tables.
    pub fn word(self) -> &'static str {
        match self {
            Consistency::Eventual => "eventual",
            Consistency::ReadAfterWrite => "read_after_write",
            Consistency::Global => "global",
            Consistency::Strong => "strong",
        }
    }

    /// The level with this word, if there is one.
    pub fn from_word(word: &str) -> Option<Consistency> {
        Consistency::ALL.into_iter().find(|level| level.word() == word)
    }
}

/// A point a replica must have reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mark {
    /// None.
    #[default]
    None,
    /// What this node had at this moment; which position that is was not looked up yet.
    Moment(NodeId, Moment),
    /// A position on a timeline.
    Known(Timeline, Lsn),
}

/// What a read must find on a replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Requirement {
    /// Nothing.
    #[default]
    Nothing,
    /// Everything up to here.
    Reached(Lsn),
    /// Not known before a node was looked at again: no replica will do until then.
    Unresolved,
}

/// The floors of one session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Floors {
    /// Set by writes.
    write: Mark,
    /// Set by a token from outside. Of its own, because a write before it may be found at a position before it.
    token: Mark,
    /// Set by reads: what was seen must not disappear when the next read goes to another node.
    read: Mark,
    /// When the connection was taken over which that was seen.
    taken: Moment,
}

/// What a read demands, for the time of one choice.
#[derive(Clone, Copy, Debug, Default)]
pub struct Need {
    writes: Requirement,
    reads: Requirement,
    /// The node that was read from last, and when its connection was taken: there nothing can be missing that was seen.
    last: Option<(NodeId, Moment)>,
}

/// Why a node was found fresh enough; checked once more against the connection that is to be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// The node was looked at by this number.
    sample: Option<u64>,
    /// It was read from over a connection that was taken at this moment.
    seen: Option<Moment>,
}

impl Floors {
    /// A transaction that may have written was acknowledged by `node`, before `moment`.
    pub fn wrote(&mut self, node: NodeId, moment: Moment) {
        self.write = Mark::Moment(node, moment);
        // What is acknowledged after a token was made lies behind it.
        self.token = Mark::None;
        self.saw(node, moment);
    }

    /// Something was read from the primary, before `moment`.
    pub fn saw(&mut self, primary: NodeId, moment: Moment) {
        (self.read, self.taken) = (Mark::Moment(primary, moment), moment);
    }

    /// Something was read from a standby, before now, over a connection that was taken at `taken` and answered later. If the node may have been restarted in between, what
    /// is looked at now may be behind what was seen; the mark is then one that is broken from the start.
    pub fn saw_on_standby(&mut self, node: NodeId, taken: Moment, gauge: &Gauge) {
        let seen = gauge.now();
        self.read = Mark::Moment(node, if gauge.is_unbroken_since(taken) { seen } else { taken });
        self.taken = taken;
    }

    /// Somebody handed us a position (`SET pgherd.causal_token`). It joins what is there: the session reads nothing older than either.
    pub fn token(&mut self, timeline: Timeline, lsn: Lsn) {
        if let Mark::Moment(..) = self.token {
            // What a token of another timeline became; it was after any write, or it would be gone.
            self.write = std::mem::take(&mut self.token);
        }
        self.token = match self.token {
            Mark::Known(own, known) if own == timeline => Mark::Known(timeline, known.max(lsn)),
            Mark::Known(own, known) if own > timeline => Mark::Known(own, known),
            Mark::None | Mark::Moment(..) | Mark::Known(..) => Mark::Known(timeline, lsn),
        };
    }

    /// What a read demands now. `others`: the last write of anybody, where that counts.
    pub fn need(
        &mut self,
        others: Option<(NodeId, Moment)>,
        monotonic: bool,
        snapshot: &Snapshot,
        gauges: &Gauges,
    ) -> Need {
        let own = self.position(snapshot, gauges);
        let theirs = others.map_or(Requirement::Nothing, |(node, moment)| {
            resolve(&mut Mark::Moment(node, moment), snapshot, gauges, true)
        });
        let writes = own.and(theirs);
        if !monotonic {
            return Need { writes, ..Need::default() };
        }
        // Where it was read from last it can be read from again: nobody need look for that.
        let reads = resolve(&mut self.read, snapshot, gauges, false);
        let last = match self.read {
            Mark::Moment(node, _) => Some((node, self.taken)),
            Mark::None | Mark::Known(..) => None,
        };
        Need { writes, reads, last }
    }

    /// The position a token made now must carry, when it is known: on the snapshot's timeline.
    pub fn position(&mut self, snapshot: &Snapshot, gauges: &Gauges) -> Requirement {
        let wrote = resolve(&mut self.write, snapshot, gauges, true);
        wrote.and(resolve(&mut self.token, snapshot, gauges, true))
    }

    /// No replica was fresh enough: what was seen is to be looked up, so that another may do the next time.
    pub fn want(&self, gauges: &Gauges) {
        if let Mark::Moment(node, _) = self.read {
            gauges.of(node).want();
        }
    }
}

impl Requirement {
    fn and(self, other: Requirement) -> Requirement {
        match (self, other) {
            (Requirement::Unresolved, _) | (_, Requirement::Unresolved) => Requirement::Unresolved,
            (Requirement::Nothing, one) | (one, Requirement::Nothing) => one,
            (Requirement::Reached(a), Requirement::Reached(b)) => Requirement::Reached(a.max(b)),
        }
    }
}

impl Need {
    /// No replica is too old.
    pub fn is_nothing(&self) -> bool {
        self.writes == Requirement::Nothing && self.reads == Requirement::Nothing
    }

    /// No look has told yet what a replica must have replayed to have the writes. Usually one does within milliseconds; when none does for long, the looks fail, and
    /// a replica will do that is proven in another way to have all that the primary had since.
    pub fn awaits_look(&self) -> bool {
        self.writes == Requirement::Unresolved
    }

    /// Is this replica known to be fresh enough? If not, and a look at it could show that it is, it is asked to be looked at.
    pub fn admits(&self, node: NodeId, gauges: &Gauges) -> Option<Proof> {
        if self.is_nothing() {
            return Some(Proof::default());
        }
        let seen = self.last.filter(|(last, _)| *last == node).map(|(_, moment)| moment);
        match (self.writes, self.reads) {
            (Requirement::Unresolved, _) => return None,
            (_, Requirement::Unresolved) if seen.is_none() => return None,
            (Requirement::Nothing, _) if seen.is_some() => return Some(Proof { sample: None, seen }),
            _ => {}
        }
        let gauge = gauges.of(node);
        let sample = gauge.replayed();
        let reached = |requirement| match requirement {
            Requirement::Nothing => true,
            Requirement::Reached(lsn) => sample.is_some_and(|sample| sample.position.lsn >= lsn),
            Requirement::Unresolved => false,
        };
        if !reached(self.writes) || !(seen.is_some() || reached(self.reads)) {
            gauge.want();
            return None;
        }
        let compared = self.writes != Requirement::Nothing || seen.is_none();
        Some(Proof { sample: sample.filter(|_| compared).map(|sample| sample.number), seen })
    }
}

impl Proof {
    /// Does the proof hold for a connection that was opened at `opened`, and lives? A node that was restarted since it was looked at, or read from, may be behind
    /// what it was; a connection that is older than the look, and lives, shows that it was not.
    pub fn holds(&self, node: NodeId, opened: Moment, gauges: &Gauges) -> bool {
        let compared = self.sample.is_none_or(|sample| sample > opened.0);
        let held = match self.seen {
            None => true,
            Some(seen) if opened <= seen => true,
            Some(seen) => {
                let gauge = gauges.of(node);
                gauge.latest().is_some_and(|latest| latest.number > opened.0) && gauge.is_unbroken_since(seen)
            }
        };
        if !(compared && held) {
            gauges.of(node).want();
        }
        compared && held
    }
}

/// Looks a mark up, and remembers what was found. `write`: it is of something that was written; a look is asked for when there is none.
fn resolve(mark: &mut Mark, snapshot: &Snapshot, gauges: &Gauges, write: bool) -> Requirement {
    if !renew(mark, snapshot, gauges) {
        return Requirement::Unresolved;
    }
    match *mark {
        Mark::None => Requirement::Nothing,
        Mark::Known(_, lsn) => Requirement::Reached(lsn),
        Mark::Moment(node, moment) => {
            let gauge = gauges.of(node);
            let last_word = |lsn| (lsn, true);
            let found = match snapshot.primary == Some(node) {
                true => gauge.written_after(moment, snapshot.timeline),
                false => gauge.replayed_after(moment).map(last_word),
            };
            if write && !matches!(found, Some((_, true))) {
                gauge.want();
            }
            match found {
                Some((lsn, last)) => {
                    if last {
                        *mark = Mark::Known(snapshot.timeline, lsn);
                    }
                    Requirement::Reached(lsn)
                }
                None => Requirement::Unresolved,
            }
        }
    }
}

/// A mark whose position cannot be looked up any more is replaced by this moment of the primary: whatever was acknowledged or seen elsewhere is in its log, or
/// lost with a primary before it, and nothing may wait for what was lost. False: that cannot be while there is no primary.
fn renew(mark: &mut Mark, snapshot: &Snapshot, gauges: &Gauges) -> bool {
    let stale = match *mark {
        Mark::None => false,
        Mark::Known(timeline, _) => timeline != snapshot.timeline,
        Mark::Moment(node, _) if snapshot.primary == Some(node) => false,
        // A standby that left or was restarted, or a node that was the primary and is not any more.
        Mark::Moment(node, moment) => {
            !gauges.of(node).is_unbroken_since(moment)
                || gauges.of(node).latest().is_some_and(|latest| latest.position.primary)
                || snapshot.node(node).is_none_or(|node| node.ineligible.is_some())
        }
    };
    match (stale, snapshot.primary) {
        (false, _) => true,
        (true, Some(primary)) => {
            *mark = Mark::Moment(primary, gauges.of(primary).now());
            true
        }
        (true, None) => false,
    }
}

#[cfg(test)]
#[path = "floor_tests.rs"]
mod tests;
