//! One PostgreSQL instance as the rest of the house sees it.

use crate::lsn::{Lsn, Timeline};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The stable number of a node inside one pgherd process: its index in the order it was first configured or
/// discovered. Never reused while the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u16);

/// Where a node listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// Host name or IP address, and TCP port.
    Tcp(Arc<str>, u16),
    /// Directory of the Unix socket, and the port that names the socket file (`.s.PGSQL.PORT`).
    Unix(Arc<str>, u16),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Address::Tcp(host, port) => write!(f, "{host}:{port}"),
            Address::Unix(dir, port) => write!(f, "{dir}/.s.PGSQL.{port}"),
        }
    }
}

/// What a node was last *seen* to be. Roles are discovered, never configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Out of recovery.
    Primary,
    /// In recovery: it follows some upstream.
    Standby,
    /// Not (or no longer) known.
    Unknown,
}

/// Operator's marks on a node; names as in Patroni.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tags {
    /// Gets no reads from a load-balancing listener.
    pub noloadbalance: bool,
    /// Never becomes primary.
    pub nofailover: bool,
    /// Never counts as a synchronous standby.
    pub nosync: bool,
    /// Preferred source for new replicas.
    pub clonefrom: bool,
    /// Name of the node this one should stream from.
    pub replicatefrom: Option<Arc<str>>,
    /// Order among equally advanced candidates, higher first; 0 is the same as `nofailover`. 1 unless it is set.
    pub failover_priority: u32,
}

impl Default for Tags {
    fn default() -> Self {
        Tags {
            noloadbalance: false,
            nofailover: false,
            nosync: false,
            clonefrom: false,
            replicatefrom: None,
            failover_priority: 1,
        }
    }
}

/// Why a node gets no reads right now. Closed set: it is also a metric label.
#[derive(Clone, Debug, PartialEq)]
pub enum Ineligible {
    /// Never answered a probe since pgherd started.
    Unprobed,
    /// Probes fail (the text is the last failure).
    Down(Arc<str>),
    /// It is out of recovery but not the routed primary.
    NotInRecovery,
    /// Its WAL receiver is not streaming.
    NotStreaming,
    /// Another database system identifier than the cluster's.
    ForeignSystem,
    /// It follows a timeline that is not the primary's.
    OtherTimeline,
    /// Replay delay above its limit (both in seconds' precision).
    LagTime(Duration, Duration),
    /// Lag in bytes above its limit.
    LagBytes(u64, u64),
    /// Tag `noloadbalance`.
    NoLoadBalance,
    /// An operator drains it.
    Draining,
    /// Fenced: an old primary that has not been seen as a standby of the current timeline yet.
    Fenced,
    /// Weight 0.
    ZeroWeight,
}

impl Ineligible {
    /// The word used as metric label and in tables.
    pub fn word(&self) -> &'static str {
        match self {
            Ineligible::Unprobed => "unprobed",
            Ineligible::Down(_) => "down",
            Ineligible::NotInRecovery => "not_in_recovery",
            Ineligible::NotStreaming => "not_streaming",
            Ineligible::ForeignSystem => "foreign_system",
            Ineligible::OtherTimeline => "other_timeline",
            Ineligible::LagTime(..) => "lag_seconds",
            Ineligible::LagBytes(..) => "lag_bytes",
            Ineligible::NoLoadBalance => "noloadbalance",
            Ineligible::Draining => "draining",
            Ineligible::Fenced => "fenced",
            Ineligible::ZeroWeight => "zero_weight",
        }
    }
}

impl fmt::Display for Ineligible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ineligible::Unprobed => f.write_str("not probed yet"),
            Ineligible::Down(why) => write!(f, "down: {why}"),
            Ineligible::NotInRecovery => f.write_str("out of recovery but not the routed primary"),
            Ineligible::NotStreaming => f.write_str("not streaming"),
            Ineligible::ForeignSystem => f.write_str("belongs to another database system"),
            Ineligible::OtherTimeline => f.write_str("follows another timeline"),
            Ineligible::LagTime(is, limit) => {
                write!(f, "lag {:.1}s > max_lag_seconds {:.1}s", is.as_secs_f64(), limit.as_secs_f64())
            }
            Ineligible::LagBytes(is, limit) => write!(f, "lag {is} bytes > max_lag_bytes {limit}"),
            Ineligible::NoLoadBalance => f.write_str("tag noloadbalance"),
            Ineligible::Draining => f.write_str("draining"),
            Ineligible::Fenced => f.write_str("fenced"),
            Ineligible::ZeroWeight => f.write_str("weight 0"),
        }
    }
}

/// A node inside a snapshot. Passive: whoever publishes the snapshot has already decided every field.
#[derive(Clone, Debug)]
pub struct Node {
    /// Stable number.
    pub id: NodeId,
    /// Configured or discovered name.
    pub name: Arc<str>,
    /// Where to connect.
    pub address: Address,
    /// Last seen role.
    pub role: Role,
    /// Epoch since which server connections to this node are valid. A connection opened under an older epoch is stale
    /// and must be closed (the node was fenced, or changed its role, system or address since).
    pub valid_since: u64,
    /// Last seen timeline.
    pub timeline: Timeline,
    /// Primary: current WAL flush position. Standby: last received position.
    pub received: Lsn,
    /// Standby: last replayed position. Primary: same as `received`.
    pub replayed: Lsn,
    /// Bytes behind the primary; `None` when unknown.
    pub lag_bytes: Option<u64>,
    /// Replay delay; right on an idle primary; `None` when unknown.
    pub lag_time: Option<Duration>,
    /// Standby: the latest moment, by the process' clock, at which the primary was seen to have nothing that this node has not replayed by now; what it
    /// has is no older than that. It stands still while nobody can look at the primary. `None` when there is no such look.
    pub proven_at: Option<Duration>,
    /// Why it gets no reads; `None` means it is an eligible replica (or the routed primary).
    pub ineligible: Option<Ineligible>,
    /// Share of the reads among eligible replicas; 0 gets none.
    pub weight: u32,
    /// Where it stands, for `nearest` and region preference; empty when not set.
    pub region: Arc<str>,
    /// Operator's marks.
    pub tags: Tags,
    /// Round trip of the last successful probe, for read preference `nearest`.
    pub probe_time: Option<Duration>,
    /// `server_version_num`, 0 when unknown.
    pub version: u32,
}
