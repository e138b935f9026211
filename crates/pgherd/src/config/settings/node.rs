//! One PostgreSQL instance of the cluster.

use super::front::HostPort;
use crate::config::secret::Secret;
use crate::config::words::{ChannelBinding, RoleHint, SslMode};
use std::path::PathBuf;
use std::time::Duration;

/// `[[node]]`, with what it inherits from `[cluster]` and `[health]` already filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Unique name; `host:port` unless given.
    pub name: String,
    /// Host name or address, or the directory of a Unix socket when it begins with `/`.
    pub host: String,
    /// TCP port, also the number in the Unix socket's name.
    pub port: u16,
    /// Database of pgherd's own connections to it.
    pub database: String,
    /// User of pgherd's own connections to it.
    pub user: String,
    /// Password of that user.
    pub password: Option<Secret>,
    /// Where it stands.
    pub region: String,
    /// Where it stands, finer.
    pub datacenter: String,
    /// Share of reads; 0 gets none.
    pub weight: u32,
    /// Replay delay above which it gets no reads; `None` = no limit.
    pub max_lag_seconds: Option<Duration>,
    /// Bytes behind above which it gets no reads; `None` = no limit.
    pub max_lag_bytes: Option<u64>,
    /// TLS towards it.
    pub ssl: SslMode,
    /// Whether a login is bound to TLS.
    pub channel_binding: ChannelBinding,
    /// PEM roots; `None` = the system's. Present whenever needed by `ssl`, or the system has some.
    pub ssl_root_cert: Option<PathBuf>,
    /// PEM certificate pgherd shows to it.
    pub ssl_cert: Option<PathBuf>,
    /// PEM key of that certificate.
    pub ssl_key: Option<PathBuf>,
    /// Overrides `pool.min_pool_size` on this node.
    pub min_pool_size: Option<u32>,
    /// Overrides `pool.max_pool_size` on this node.
    pub max_pool_size: Option<u32>,
    /// Server connections to it over all pools; `None` = no limit.
    pub max_node_connections: Option<u32>,
    /// Address of its own HTTP face.
    pub api_listen: Option<HostPort>,
    /// A guess for the first seconds only.
    pub role_hint: Option<RoleHint>,
    /// Operator's marks.
    pub tags: Tags,
}

/// `[node.tags]`, Patroni's names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tags {
    /// Gets no reads.
    pub noloadbalance: bool,
    /// Never becomes primary.
    pub nofailover: bool,
    /// Never counts as synchronous standby.
    pub nosync: bool,
    /// Preferred source of new replicas.
    pub clonefrom: bool,
    /// Node this one should stream from.
    pub replicatefrom: Option<String>,
    /// Order among equally advanced candidates, higher first.
    pub failover_priority: u32,
}
