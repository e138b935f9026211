//! The settings decisions depend on.

use pgherd_topology::node::{Address, Tags};
use std::sync::Arc;
use std::time::Duration;

/// Who may start a failover.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// pgherd alone, soft guards do not stop it.
    Automatic,
    /// pgherd alone when every guard is green, else an operator.
    #[default]
    Supervised,
    /// An operator only.
    Manual,
}

/// What must be known of an old primary before another one is promoted (`failover.fencing`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fencing {
    /// Nothing, beside that clients cannot reach it through pgherd.
    None,
    /// It is told to take no more writes; that it does not answer is no obstacle.
    #[default]
    BestEffort,
    /// It has confirmed that it takes no more writes.
    Required,
}

/// Cluster-wide settings of the control plane; names as in the settings file.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Pace of probes while all is well.
    pub health_check_interval: Duration,
    /// Pace of probes while anything is suspicious.
    pub fast_check_interval: Duration,
    /// Pace at which lag is measured (the same probe; the shorter interval wins). Nodes are looked at more often where a
    /// `max_lag` asks for it.
    pub lag_check_interval: Duration,
    /// Limit of one probe, connecting included.
    pub health_check_timeout: Duration,
    /// Probes in a row that must fail before a node is down (`consecutive_failures_threshold`).
    pub threshold: u32,
    /// Replay delay above which a replica gets no reads (`max_lag_threshold`); `None` is off.
    pub max_lag: Option<Duration>,
    /// Lag in bytes above which a replica gets no reads; `None` is off.
    pub max_lag_bytes: Option<u64>,
    /// Age of a replica's data up to which it serves reads without a primary (`max_staleness`); `None` is off. Nodes are looked at more often for it.
    pub max_staleness: Option<Duration>,
    /// A replica excluded by lag returns below this share of its limits, in percent.
    pub return_percent: u32,
    /// Replicas re-enter rotation by themselves; otherwise an operator undrains them.
    pub auto_remediate: bool,
    /// Standbys seen at the primary become nodes.
    pub auto_discover: bool,
    /// Port a discovered standby is assumed to listen on.
    pub discovery_port: u16,
    /// Primaries are changed, by ourselves or when an operator asks; else only advice is given.
    pub acts: bool,
    /// What must be known of an old primary.
    pub fencing: Fencing,
    /// How long open transactions may take to end before a planned change of primary.
    pub drain_timeout: Duration,
    /// How long one attempt to promote may take.
    pub promote_timeout: Duration,
    /// No failover is begun by ourselves for so long after one.
    pub failover_block: Duration,
    /// Who may start a failover.
    pub strategy: Strategy,
    /// Healthy replicas a failover needs, the candidate included.
    pub min_replicas_for_failover: u32,
    /// Bytes a candidate may lack; `None` is off.
    pub maximum_lag_on_failover: Option<u64>,
    /// How long a node may say that it is starting up before it counts as dead for a failover.
    pub crash_recovery_grace: Duration,
    /// How often positions and lag inside the published snapshot are renewed at most.
    pub refresh_interval: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            health_check_interval: Duration::from_secs(10),
            fast_check_interval: Duration::from_secs(1),
            lag_check_interval: Duration::from_secs(5),
            health_check_timeout: Duration::from_secs(2),
            threshold: 3,
            max_lag: Some(Duration::from_secs(5)),
            max_lag_bytes: Some(100 << 20),
            max_staleness: None,
            return_percent: 80,
            auto_remediate: true,
            auto_discover: false,
            discovery_port: 5432,
            acts: false,
            fencing: Fencing::BestEffort,
            drain_timeout: Duration::from_secs(10),
            promote_timeout: Duration::from_secs(60),
            failover_block: Duration::from_secs(30),
            strategy: Strategy::Supervised,
            min_replicas_for_failover: 1,
            maximum_lag_on_failover: Some(1 << 20),
            crash_recovery_grace: Duration::from_secs(30),
            refresh_interval: Duration::from_secs(1),
        }
    }
}

impl Policy {
    /// Pace of probes while nothing is suspicious.
    pub fn calm_interval(&self) -> Duration {
        self.health_check_interval.min(self.lag_check_interval)
    }
}

/// A node as configured or discovered.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// Unique name.
    pub name: Arc<str>,
    /// Where it listens.
    pub address: Address,
    /// Share of the reads; 0 gets none.
    pub weight: u32,
    /// Where it stands; may be empty.
    pub region: Arc<str>,
    /// Operator's marks.
    pub tags: Tags,
    /// Limits of its own.
    pub limits: Limits,
}

impl Spec {
    /// A node with default weight and nothing else set.
    pub fn new(name: &str, address: Address) -> Spec {
        Spec {
            name: name.into(),
            address,
            weight: 100,
            region: "".into(),
            tags: Tags::default(),
            limits: Limits::default(),
        }
    }
}

/// Lag limits of one node; `None` means the cluster's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// `max_lag_seconds`.
    pub max_lag: Option<Duration>,
    /// `max_lag_bytes`.
    pub max_lag_bytes: Option<u64>,
}
