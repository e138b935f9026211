//! Pools and routing.

use crate::config::words::{
    Consistency, PoolMode, PreparedStatements, ReadPreference, SessionProbe, SplitInTransactions,
};
use std::time::Duration;

/// What one pool of a (node, database, user) looks like; see [`super::Settings::pool_shape`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolShape {
    /// When connections come back.
    pub mode: PoolMode,
    /// Connections kept open once the pool has been used.
    pub min_size: u32,
    /// Connections at most, the reserve not counted.
    pub max_size: u32,
    /// Further connections after `reserve_pool_timeout` of waiting.
    pub reserve_size: u32,
}

/// `[pool]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// When a server connection goes back to its pool.
    pub mode: PoolMode,
    /// Connections a pool keeps open once it has been used.
    pub min_pool_size: u32,
    /// Connections of one pool at most.
    pub max_pool_size: u32,
    /// Extra connections when clients wait longer than `reserve_pool_timeout`.
    pub reserve_pool_size: u32,
    /// See above.
    pub reserve_pool_timeout: Duration,
    /// Server connections to one node over all pools.
    pub max_node_connections: Option<u32>,
    /// Server connections of the process.
    pub max_server_connections: Option<u32>,
    /// Clients of the process.
    pub max_client_connections: u32,
    /// Clients of one user.
    pub max_client_connections_per_user: Option<u32>,
    /// Clients of one database.
    pub max_client_connections_per_database: Option<u32>,
    /// A client waits this long for a server connection, then gets 53300.
    pub query_wait_timeout: Option<Duration>,
    /// A waiting client gets a NOTICE after this.
    pub wait_notice_after: Option<Duration>,
    /// Idle server connections above the minimum are closed after this.
    pub server_idle_timeout: Option<Duration>,
    /// Age at which a server connection is not used any more.
    pub server_lifetime: Option<Duration>,
    /// Share by which lifetime and idle timeout vary per connection, in percent of the value, both ways.
    pub server_lifetime_jitter_percent: u32,
    /// Idle time after which a connection is checked before use; `None` = never.
    pub server_check_delay: Option<Duration>,
    /// From connect to the end of login.
    pub server_connect_timeout: Duration,
    /// Connection attempts of one pool at once.
    pub connect_ramp: u32,
    /// A client may hold an open transaction idle this long.
    pub idle_in_transaction_timeout: Option<Duration>,
    /// A statement may run this long.
    pub query_timeout: Option<Duration>,
    /// A client may be idle this long outside a transaction.
    pub client_idle_timeout: Option<Duration>,
    /// Bytes of a reply's tail that may wait for a slow client after its server was released.
    pub client_tail_buffer: u64,
    /// Statements prepared at once on one server connection; 0 = none are shared between sessions.
    pub max_prepared_statements: u32,
    /// Which statements are shared between sessions.
    pub prepared_statements: PreparedStatements,
    /// When session settings are compared after a transaction.
    pub session_probe: SessionProbe,
    /// Notifications kept for a client that does not read, before it is disconnected.
    pub max_pending_notifications: u32,
    /// Idle time before the kernel probes a silent server; `None` = no probes.
    pub server_keepalive: Option<Duration>,
    /// Time between two such probes.
    pub server_keepalive_interval: Duration,
    /// Unanswered probes before the connection is dead.
    pub server_keepalive_count: u32,
}

/// `[routing]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Routing {
    /// Where reads prefer to go.
    pub default_read_preference: ReadPreference,
    /// What a read must have seen.
    pub default_consistency: Consistency,
    /// For how long a session's reads stay on the primary after a write when no LSN is known.
    pub read_after_write_window: Duration,
    /// How long a read may wait for a replica that has caught up, before it goes to the primary; zero = not at all.
    pub read_after_write_wait: Duration,
    /// Which transactions of several statements may leave the primary.
    pub split_in_transactions: SplitInTransactions,
    /// `app_ro`, `app_rw`, `app_any` select a listener's meaning by database name.
    pub database_aliases: bool,
    /// Re-run a read on the primary when the replica refused it.
    pub replica_error_rerun: bool,
    /// Listeners that may choose send everything to the primary, and count where it would go.
    pub shadow: bool,
    /// Functions declared VOLATILE that may run on replicas; `primary` stands for none.
    pub volatile_functions: Vec<String>,
    /// Oldest state a replica may serve while there is no primary.
    pub max_staleness: Option<Duration>,
    /// Bytes of a statement that are classified; longer ones are writes.
    pub max_classified_query: u64,
    /// Region this pgherd stands in; replicas there are preferred by `nearest`.
    pub region: String,
}
