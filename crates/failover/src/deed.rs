//! What the hands are asked to do to a server, and what they report.
//!
//! Each deed is idempotent: asked for twice it does no more than once, and says of what was done before what it would have said then. So an answer that was lost is asked for again.

use pgherd_topology::lsn::{Lsn, Timeline};
use pgherd_topology::node::NodeId;
use std::sync::Arc;
use std::time::Duration;

/// Something done to one server for a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// The old primary takes no more writes: as far as SQL can see to that.
    Fence,
    /// What [`Deed::Fence`] and [`Deed::Quiesce`] did to a server is undone.
    Unfence,
    /// Open transactions end, up to `drain`; then the server takes no more writes, and tells its last position.
    Quiesce {
        /// How long open transactions may take to end by themselves.
        drain: Duration,
    },
    /// A standby has received and replayed everything up to here.
    CatchUp {
        /// The last position of the old primary.
        to: Lsn,
    },
    /// A standby receives nothing more, from anybody.
    Freeze,
    /// A standby receives from where it received before it was frozen.
    Thaw {
        /// Its `primary_conninfo` before that.
        conninfo: Arc<str>,
    },
    /// A frozen standby receives what another one has, up to here, and is frozen again.
    Forward {
        /// The one that has it.
        from: NodeId,
        /// The position.
        to: Lsn,
        /// Its `primary_conninfo` before it was frozen.
        conninfo: Arc<str>,
    },
    /// The candidate is made ready: replay goes on, readers in its way are ended, and it waits for none but these when it commits.
    Prepare,
    /// The candidate becomes the primary.
    Promote {
        /// The timeline it leaves. On a newer one it was promoted already.
        from: Timeline,
    },
    /// A standby receives from the new primary.
    Follow {
        /// The new primary.
        to: NodeId,
        /// Its `primary_conninfo` before it was frozen; empty when it never was.
        conninfo: Arc<str>,
    },
    /// The new primary makes a checkpoint, so that its control file tells its timeline (PostgreSQL documentation, chapter 28.5).
    Settle,
}

impl Deed {
    /// The word in journals, metrics and reports.
    pub fn word(&self) -> &'static str {
        match self {
            Deed::Fence => "fence",
            Deed::Unfence => "unfence",
            Deed::Quiesce { .. } => "quiesce",
            Deed::CatchUp { .. } => "catch_up",
            Deed::Freeze => "freeze",
            Deed::Thaw { .. } => "thaw",
            Deed::Forward { .. } => "forward",
            Deed::Prepare => "prepare",
            Deed::Promote { .. } => "promote",
            Deed::Follow { .. } => "follow",
            Deed::Settle => "settle",
        }
    }
}

/// What a deed brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// It is done.
    Done,
    /// It is at this position: a primary has flushed it, a standby received or replayed it.
    At(Lsn),
    /// It is out of recovery.
    Promoted {
        /// On this timeline.
        timeline: Timeline,
    },
}

/// The end of a deed, for the plan that wanted it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Number of the plan.
    pub plan: u64,
    /// The server.
    pub node: NodeId,
    /// The word of the deed.
    pub word: &'static str,
    /// What came of it. An error leaves open whether it was done.
    pub outcome: Result<Report, Arc<str>>,
}
