//! What one probe told, as a value with its time; a failure is an observation too.

use pgherd_topology::lsn::{Lsn, Timeline};
use pgherd_topology::node::NodeId;
use std::sync::Arc;
use std::time::Duration;

/// One finished probe.
#[derive(Clone, Debug)]
pub struct Observation {
    /// Whom it looked at.
    pub node: NodeId,
    /// When the question left (since the controller's start, monotonic).
    pub sent: Duration,
    /// When the answer or the failure was there.
    pub taken: Duration,
    /// What came back.
    pub outcome: Result<Facts, Failure>,
}

/// Everything one answered probe tells about a node.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// `pg_is_in_recovery()`.
    pub in_recovery: bool,
    /// `system_identifier` of `pg_control_system()`.
    pub system: u64,
    /// Primary: timeline of the WAL file it writes. Standby: the one it receives, else that of its last restart point.
    pub timeline: Timeline,
    /// Primary: flushed position. Standby: the greater of received and replayed.
    pub received: Lsn,
    /// Standby: replayed position. Primary: same as `received`.
    pub replayed: Lsn,
    /// `pg_is_wal_replay_paused()`.
    pub replay_paused: bool,
    /// `pg_postmaster_start_time()`, microseconds since 1970 on the node's own clock; only compared for equality.
    pub started: i64,
    /// `default_transaction_read_only` is on for our probe.
    pub read_only: bool,
    /// The WAL receiver, when there is one.
    pub receiver: Option<Receiver>,
    /// Our role may promote it (it may execute `pg_promote`).
    pub promotes: bool,
    /// `primary_conninfo`; empty when it is empty or hidden. May hold a password.
    pub conninfo: Arc<str>,
    /// `synchronous_standby_names`.
    pub synchronous: Arc<str>,
    /// `server_version_num`.
    pub version: u32,
    /// From sending the query to having its answer.
    pub round_trip: Duration,
    /// `inet_server_addr()`, when the probe came by TCP.
    pub server_address: Option<Arc<str>>,
    /// Rows of `pg_stat_replication`.
    pub peers: Arc<[Peer]>,
    /// Rows of `pg_replication_slots`.
    pub slots: Arc<[Slot]>,
}

/// `pg_stat_wal_receiver` (PostgreSQL documentation, chapter 27.2.5). Without the rights of `pg_monitor` only its
/// existence shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Receiver {
    /// `status`; `None` when hidden.
    pub status: Option<Arc<str>>,
    /// Host it streams from.
    pub sender_host: Option<Arc<str>>,
    /// Port it streams from.
    pub sender_port: Option<u16>,
    /// Slot it uses.
    pub slot: Option<Arc<str>>,
    /// Time since the last message from the sender, by the standby's own clock.
    pub silent: Option<Duration>,
}

impl Receiver {
    /// It receives WAL. A hidden status counts: the process exists.
    pub fn streams(&self) -> bool {
        self.status.as_deref().is_none_or(|status| status == "streaming")
    }
}

/// One row of `pg_stat_replication`: somebody streams from this node.
#[derive(Clone, Debug, PartialEq)]
pub struct Peer {
    /// `application_name`.
    pub name: Arc<str>,
    /// `client_addr`; `None` for a Unix socket or when hidden.
    pub address: Option<Arc<str>>,
    /// `state`.
    pub state: Arc<str>,
    /// `sync_state`.
    pub sync_state: Arc<str>,
    /// `replay_lsn`.
    pub replayed: Option<Lsn>,
    /// A logical subscriber rather than a standby.
    pub logical: bool,
}

/// One row of `pg_replication_slots`.
#[derive(Clone, Debug, PartialEq)]
pub struct Slot {
    /// `slot_name`.
    pub name: Arc<str>,
    /// `slot_type` is `logical`.
    pub logical: bool,
    /// Somebody uses it now.
    pub active: bool,
    /// `restart_lsn`: the oldest WAL it keeps.
    pub restart: Option<Lsn>,
    /// `wal_status`.
    pub wal_status: Option<Arc<str>>,
    /// `failover` (PostgreSQL 17 and later).
    pub failover: bool,
}

/// Why a probe failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// What kind of failure, which decides what it proves.
    pub kind: FailureKind,
    /// The text for operators.
    pub text: Arc<str>,
    /// A kept connection broke as well before this attempt was made.
    pub broke: bool,
}

/// The kinds of failure told apart by what they prove.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// Nobody listens there.
    Refused,
    /// The connection broke.
    Reset,
    /// No answer in time.
    Timeout,
    /// The name does not resolve or the host has no route.
    Unreachable,
    /// 57P03: starting up, or recovering from a crash.
    StartingUp,
    /// 57P01, 57P02, and 57P03 of a server that is being shut down.
    ShuttingDown,
    /// 53300: alive, but without a connection for us.
    TooManyConnections,
    /// Alive, but it does not let us in (password, TLS, database).
    Rejected,
    /// Alive, but the query failed.
    Query,
    /// Our own side has no resources left; says nothing about the node.
    Local,
}

impl FailureKind {
    /// The word used as metric label and in tables.
    pub fn word(self) -> &'static str {
        match self {
            FailureKind::Refused => "refused",
            FailureKind::Reset => "reset",
            FailureKind::Timeout => "timeout",
            FailureKind::Unreachable => "unreachable",
            FailureKind::StartingUp => "starting_up",
            FailureKind::ShuttingDown => "shutting_down",
            FailureKind::TooManyConnections => "too_many_connections",
            FailureKind::Rejected => "rejected",
            FailureKind::Query => "query",
            FailureKind::Local => "local",
        }
    }

    /// Does it speak against a primary? A server that answers, however unkindly, lives.
    pub fn accuses_primary(self) -> bool {
        match self {
            FailureKind::Refused
            | FailureKind::Reset
            | FailureKind::Timeout
            | FailureKind::Unreachable
            | FailureKind::StartingUp
            | FailureKind::ShuttingDown => true,
            FailureKind::TooManyConnections
            | FailureKind::Rejected
            | FailureKind::Query
            | FailureKind::Local => false,
        }
    }

    /// Is it proof by itself that new connections fail now (as silence is not)?
    pub fn is_definite(self) -> bool {
        matches!(self, FailureKind::Refused | FailureKind::StartingUp | FailureKind::ShuttingDown)
    }
}
