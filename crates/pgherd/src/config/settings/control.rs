//! Health, failover, and the faces towards operators.

use super::front::HostPort;
use crate::config::secret::Secret;
use crate::config::words::{
    ApiAuth, CommitResolution, FailoverStrategy, Fencing, HoldStart, NotifyKind, PrimaryRoleName,
};
use std::time::Duration;

/// `[health]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Health {
    /// Time between two probes of a node while all is well.
    pub health_check_interval: Duration,
    /// The same while anything is suspicious.
    pub fast_check_interval: Duration,
    /// A probe that takes longer has failed.
    pub health_check_timeout: Duration,
    /// Failures in a row that make a node unhealthy.
    pub consecutive_failures_threshold: u32,
    /// Time between two measurements of lag.
    pub lag_check_interval: Duration,
    /// Replay delay above which a replica gets no reads; `None` = no limit.
    pub max_lag_threshold: Option<Duration>,
    /// The same in bytes.
    pub max_lag_bytes: Option<u64>,
    /// Bytes at which lag is warning, critical, emergency; rising.
    pub lag_alert_bytes: Vec<u64>,
    /// Replicas leave and re-enter rotation by themselves.
    pub auto_remediate: bool,
    /// Standbys the primary knows are added by themselves.
    pub auto_discover: bool,
    /// Time between two looks for new standbys.
    pub discovery_interval: Duration,
}

/// `[failover]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Failover {
    /// Fail over without being asked.
    pub enable_auto_failover: bool,
    /// When it acts.
    pub failover_strategy: FailoverStrategy,
    /// Healthy replicas, the candidate included, below which it does not act.
    pub min_replicas_for_failover: u32,
    /// Limit for a whole failover.
    pub failover_timeout: Duration,
    /// Time in which several observations must agree before it acts.
    pub validation_window: Duration,
    /// Longer wait when no replica can be asked.
    pub lone_grace: Duration,
    /// Candidates further behind are not promoted.
    pub maximum_lag_on_failover: Option<u64>,
    /// The same for synchronous standbys.
    pub maximum_lag_on_syncnode: Option<u64>,
    /// Lifetime of the leader's lease.
    pub ttl: Duration,
    /// Time between two turns of the leader's loop.
    pub loop_wait: Duration,
    /// Limit for retries against the lease's store.
    pub retry_timeout: Duration,
    /// How long a crashed primary may take to come back before another is promoted.
    pub primary_start_timeout: Duration,
    /// Clients wait this long for a new primary, then get 57P03.
    pub hold_timeout: Duration,
    /// From which moment they wait.
    pub hold_start: HoldStart,
    /// Sessions that may wait at once.
    pub hold_max_sessions: u32,
    /// Bytes of their requests that may wait at once.
    pub hold_max_bytes: u64,
    /// Planned changes: open transactions may take this long.
    pub drain_timeout: Duration,
    /// Program and arguments that isolate the old primary; empty = none.
    pub fence_command: Vec<String>,
    /// How sure pgherd must be that the old primary is down.
    pub fencing: Fencing,
    /// How a COMMIT in doubt is resolved.
    pub commit_resolution: CommitResolution,
    /// Re-run a lone write the server provably aborted.
    pub retry_proven_aborts: bool,
}

/// `[api]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Api {
    /// Where HTTP listens; `None` = nowhere.
    pub listen: Option<HostPort>,
    /// Whom `/` and `/primary` speak for: `cluster`, or a node's name.
    pub face: String,
    /// What the API calls a primary.
    pub primary_role_name: PrimaryRoleName,
    /// How changes are protected.
    pub auth: ApiAuth,
    /// Name for HTTP basic authentication.
    pub admin_user: String,
    /// Password for it; `None` = changes only from loopback.
    pub admin_password: Option<Secret>,
}

/// `[web]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Web {
    /// Where the page listens; `None` = nowhere.
    pub listen: Option<HostPort>,
    /// Buttons.
    pub actions: bool,
}

/// `[metrics]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Metrics {
    /// Emit the `patroni_*` names.
    pub patroni_names: bool,
    /// Emit the `pgbouncer_*` names.
    pub pgbouncer_names: bool,
}

/// `[[notify]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Notify {
    /// Where it goes.
    pub kind: NotifyKind,
    /// Address, a secret since many services put their token there.
    pub url: Option<Secret>,
    /// Program and arguments for kind `exec`.
    pub command: Vec<String>,
    /// Event names, `*` at the end matches the rest.
    pub events: Vec<String>,
    /// Limit for one delivery.
    pub timeout: Duration,
}
