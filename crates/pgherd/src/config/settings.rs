//! The settings as plain values: what the rest of the binary reads. No file format, no defaults, no checks in here;
//! whoever holds a [`Settings`] holds one that was found without fault.
//!
//! `Option<Duration>` and `Option<u64>` are `None` where the file says `"off"`. Sizes are bytes.

pub mod control;
pub mod front;
pub mod node;
pub mod pool;

use crate::config::secret::Secret;
use crate::config::values::Values;
use crate::config::words::{LogFormat, LogLevel};
use control::{Api, Failover, Health, Metrics, Notify, Web};
use front::{Auth, Database, Listen, Listener, User};
use node::Node;
use pool::{Pool, PoolShape, Routing};
use std::path::PathBuf;

/// Everything pgherd can be told.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The cluster as a whole.
    pub cluster: Cluster,
    /// The process itself.
    pub server: Server,
    /// What all listeners share.
    pub listen: Listen,
    /// The listeners: `primary`, `replicas`, `any` (those not off), then every `[[listener]]`. Names are unique.
    pub listeners: Vec<Listener>,
    /// How clients prove who they are.
    pub auth: Auth,
    /// Users of `[[user]]`; when there is neither such a section nor a users file, the cluster's own user.
    pub users: Vec<User>,
    /// Databases with settings of their own, by `[[database]]`. Others are passed through unless `auth.strict_databases`.
    pub databases: Vec<Database>,
    /// The nodes, at least one. Names are unique.
    pub nodes: Vec<Node>,
    /// Defaults of every pool, and the limits of all together.
    pub pool: Pool,
    /// Where transactions go.
    pub routing: Routing,
    /// Probes and lag.
    pub health: Health,
    /// What happens when the primary is gone.
    pub failover: Failover,
    /// HTTP on 8008.
    pub api: Api,
    /// The page on 7000.
    pub web: Web,
    /// Names of metrics.
    pub metrics: Metrics,
    /// Where events are sent.
    pub notify: Vec<Notify>,
    /// Every key as it was said and by whom: for `config show`, the API's `/config`, and to compare on reload.
    pub values: Values,
}

/// `[cluster]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// Label of every metric, Patroni's `scope`.
    pub name: String,
    /// Database pgherd's own connections (probes, actions) use.
    pub database: String,
    /// User of pgherd's own connections.
    pub user: String,
    /// Password of that user.
    pub password: Option<Secret>,
}

/// `[server]`: the pgherd process. (A PostgreSQL instance is a `[[node]]`.)
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// Worker threads; `None` = one per processor.
    pub workers: Option<u32>,
    /// Directory for the journal; `None` = nothing is kept.
    pub state_dir: Option<PathBuf>,
    /// Where an old and a new process find each other; `None` = they do not.
    pub handover_dir: Option<PathBuf>,
    /// Verbosity.
    pub log_level: LogLevel,
    /// Shape of log lines.
    pub log_format: LogFormat,
    /// One line when a client was admitted.
    pub log_connections: bool,
    /// One line when a client left.
    pub log_disconnections: bool,
    /// After SIGTERM, busy sessions have this long before their sockets are cut.
    pub shutdown_grace: std::time::Duration,
}

impl Settings {
    /// The shape of the pool for this (node, database, user): the most specific section that speaks wins, user before
    /// database before node before `[pool]`. Names without a section of their own get the defaults.
    pub fn pool_shape(&self, node: &str, database: &str, user: &str) -> PoolShape {
        let user = self.users.iter().find(|u| u.name == user);
        let database = self.databases.iter().find(|d| d.name == database);
        let node = self.nodes.iter().find(|n| n.name == node);
        let pick = |u: Option<u32>, d: Option<u32>, n: Option<u32>, pool: u32| u.or(d).or(n).unwrap_or(pool);
        let max_size = pick(
            user.and_then(|u| u.max_pool_size),
            database.and_then(|d| d.max_pool_size),
            node.and_then(|n| n.max_pool_size),
            self.pool.max_pool_size,
        );
        let min_size = pick(
            user.and_then(|u| u.min_pool_size),
            database.and_then(|d| d.min_pool_size),
            node.and_then(|n| n.min_pool_size),
            self.pool.min_pool_size,
        );
        PoolShape {
            mode: user
                .and_then(|u| u.pool_mode)
                .or(database.and_then(|d| d.pool_mode))
                .unwrap_or(self.pool.mode),
            // A maximum made smaller in a more specific section also bounds a minimum inherited from a wider one.
            min_size: min_size.min(max_size),
            max_size,
            reserve_size: pick(
                user.and_then(|u| u.reserve_pool_size),
                database.and_then(|d| d.reserve_pool_size),
                None,
                self.pool.reserve_pool_size,
            ),
        }
    }

    /// True when the database alias rule (`app_ro`, `app_rw`, `app_any`) may be applied to this name: it is on, and no
    /// `[[database]]` has exactly this name.
    pub fn may_be_alias(&self, database: &str) -> bool {
        self.routing.database_aliases && !self.databases.iter().any(|d| d.name == database)
    }
}
