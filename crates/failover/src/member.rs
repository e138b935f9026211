//! One node with everything remembered about it.

use crate::observation::Facts;
use crate::policy::Spec;
use crate::suspicion::Suspicion;
use pgherd_topology::lsn::Timeline;
use pgherd_topology::node::{Ineligible, NodeId, Role};
use std::sync::Arc;
use std::time::Duration;

/// Who fenced a node, which decides what ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fence {
    /// It was out of recovery beside or below the routed primary. Ends when it is seen as a standby of the current
    /// timeline, or when an operator says so.
    Rival,
    /// An operator. Only an operator ends it.
    Operator,
}

/// A node as the control plane knows it.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its number.
    pub id: NodeId,
    /// What is configured.
    pub spec: Spec,
    /// What the last answered probe told.
    pub facts: Option<Facts>,
    /// When that was.
    pub answered_at: Option<Duration>,
    /// When the last probe ended, however it ended.
    pub tried_at: Option<Duration>,
    /// Failures since.
    pub suspicion: Suspicion,
    /// When the data plane last asked for a probe.
    pub hinted_at: Option<Duration>,
    /// An operator takes it out of rotation.
    pub draining: bool,
    /// Kept away from clients.
    pub fenced: Option<Fence>,
    /// The newest timeline of this cluster on which it was seen as a standby: the proof that a later timeline of its
    /// own descends from ours.
    pub stood_by: Option<Timeline>,
    /// The last `primary_conninfo` that said anything. May hold a password.
    pub conninfo: Arc<str>,
    /// Since when it has been a standby that receives nothing, or from somebody on an older timeline than the cluster's.
    pub stray_since: Option<Duration>,
    /// Replay delay at the last answered probe.
    pub lag_time: Option<Duration>,
    /// Bytes not replayed yet at the last answered probe.
    pub lag_bytes: Option<u64>,
    /// Bytes not received yet at the last answered probe.
    pub receive_lag: Option<u64>,
    /// It exceeded a lag limit and is not yet well below it again.
    pub lagging: bool,
    /// It left rotation and waits for an operator, because `auto_remediate` is off.
    pub held: bool,
    /// Why it gets no reads.
    pub ineligible: Option<Ineligible>,
    /// Since when that has been so (or since when it has been eligible).
    pub judged_since: Duration,
    /// Epoch since which connections to it are valid.
    pub valid_since: u64,
    /// Connections to it are to become invalid with the next epoch.
    pub(crate) renew: bool,
}

impl Member {
    pub(crate) fn new(id: NodeId, spec: Spec, now: Duration) -> Member {
        Member {
            id,
            spec,
            facts: None,
            answered_at: None,
            tried_at: None,
            suspicion: Suspicion::default(),
            hinted_at: None,
            draining: false,
            fenced: None,
            stood_by: None,
            conninfo: "".into(),
            stray_since: None,
            lag_time: None,
            lag_bytes: None,
            receive_lag: None,
            lagging: false,
            held: false,
            ineligible: Some(Ineligible::Unprobed),
            judged_since: now,
            valid_since: 0,
            renew: true,
        }
    }

    /// What it was last seen to be.
    pub fn role(&self) -> Role {
        match &self.facts {
            None => Role::Unknown,
            Some(facts) if facts.in_recovery => Role::Standby,
            Some(_) => Role::Primary,
        }
    }

    /// Its last seen timeline.
    pub fn timeline(&self) -> Timeline {
        self.facts.as_ref().map_or(Timeline::default(), |facts| facts.timeline)
    }

    /// The last probe was answered.
    pub fn answers(&self) -> bool {
        self.facts.is_some() && self.suspicion.is_empty()
    }

    /// It was last seen as part of this database system.
    pub fn belongs_to(&self, system: u64) -> bool {
        self.facts.as_ref().is_some_and(|facts| facts.system == system)
    }

    /// It was last seen out of recovery in this system, and nobody fenced it: it would take writes.
    pub fn claims(&self, system: u64) -> bool {
        self.fenced.is_none() && self.role() == Role::Primary && self.belongs_to(system)
    }

    /// A reason against reads from it, in words for people: who keeps it away, when it is kept away.
    pub fn told(&self, reason: &Ineligible) -> String {
        match (reason, self.fenced) {
            (Ineligible::Fenced, Some(Fence::Operator)) => "fenced by an operator".to_owned(),
            (Ineligible::Fenced, _) if self.role() == Role::Primary => {
                format!("accepts writes on timeline {} without being the routed primary", self.timeline())
            }
            (Ineligible::Fenced, _) => {
                "was a second primary and is no standby of the current timeline yet".to_owned()
            }
            (reason, _) => reason.to_string(),
        }
    }

    /// Everything known about it is void (it has another address).
    pub(crate) fn forget(&mut self) {
        self.facts = None;
        self.answered_at = None;
        self.suspicion.clear();
        self.stood_by = None;
        self.lag_time = None;
        self.lag_bytes = None;
        self.receive_lag = None;
        self.lagging = false;
        self.renew = true;
    }
}
