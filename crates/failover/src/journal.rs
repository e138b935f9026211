//! What was decided and why, line by line.

use crate::phase::Phase;
use pgherd_topology::lsn::{Lsn, Timeline};
use pgherd_topology::node::NodeId;
use std::sync::Arc;
use std::time::Duration;

/// What kind of line it is. Closed set: it is also a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A node joined.
    Added,
    /// A node was found at the primary and joined.
    Discovered,
    /// A node left.
    Removed,
    /// An operator changed a node's settings.
    Changed,
    /// A node answered for the first time, or again.
    Up,
    /// A node is down.
    Down,
    /// Another role than before.
    Role,
    /// Its postmaster was started anew.
    Restarted,
    /// Another timeline than before.
    Timeline,
    /// Reads may go to it.
    Eligible,
    /// Reads may not go to it.
    Ineligible,
    /// It is the routed primary now.
    Routed,
    /// The routed primary is lost.
    Lost,
    /// It is fenced.
    Fenced,
    /// It is no longer fenced.
    Unfenced,
    /// Something was not done, with the reason.
    Refused,
    /// What would be done if this pgherd acted.
    Advice,
    /// The phase changed.
    Phase,
    /// A change of primary: its beginning, its steps, its end.
    Plan,
}

impl Kind {
    /// The word used as metric label and in event lists.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Added => "added",
            Kind::Discovered => "discovered",
            Kind::Removed => "removed",
            Kind::Changed => "changed",
            Kind::Up => "up",
            Kind::Down => "down",
            Kind::Role => "role",
            Kind::Restarted => "restarted",
            Kind::Timeline => "timeline",
            Kind::Eligible => "eligible",
            Kind::Ineligible => "ineligible",
            Kind::Routed => "routed",
            Kind::Lost => "lost",
            Kind::Fenced => "fenced",
            Kind::Unfenced => "unfenced",
            Kind::Refused => "refused",
            Kind::Advice => "advice",
            Kind::Phase => "phase",
            Kind::Plan => "plan",
        }
    }
}

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// When, since the controller's start.
    pub at: Duration,
    /// In which phase.
    pub phase: Phase,
    /// What kind of line.
    pub kind: Kind,
    /// Whom it is about.
    pub node: Option<NodeId>,
    /// That node's name; empty without a node.
    pub name: Arc<str>,
    /// The sentence.
    pub text: String,
    /// The timeline that came to its end with it, and the last position known of it: a change of primary.
    pub ended: Option<(Timeline, Lsn)>,
}
