//! From settings to what the other crates ask for: terms for clients, shapes of pools, the door's rules.

mod door;

use crate::app::StartError;
use crate::config::settings::Settings;
use crate::config::words::{ClientTls, Consistency, ListenerRouting, PoolMode, ReadPreference};
use crate::config::words::{PreparedStatements, SessionProbe, SplitInTransactions, TlsVersion};
use parking_lot::Mutex;
use pgherd_admin::console::office::Standing;
use pgherd_login::secret::ClientSecret;
use pgherd_net::keepalive::Keepalive;
use pgherd_net::tls::{Oldest, ServerTls};
use pgherd_pool::connect::Target;
use pgherd_pool::connect::credentials::{Credentials, Md5Hash, Password};
use pgherd_pool::pools::Blueprint;
use pgherd_pool::shape::Shape;
use pgherd_pool::sslmode::Ssl;
use pgherd_proxy::terms::{Mode, Refused, Steward, Terms, Timeouts, Visits};
use pgherd_route::choose::Policy;
use pgherd_route::intent::{Preference, Routing};
use pgherd_session::cached::Keeping;
use pgherd_session::probe::Probing;
use pgherd_topology::node::Node;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// "No limit" where a duration is needed.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Most users whose secrets are remembered for server connections.
const MAX_REMEMBERED: usize = 10_000;

/// Keeps the settings and draws from them.
pub struct Keeper {
    settings: Arc<Settings>,
    tls: Option<Arc<ServerTls>>,
    /// Server passwords from the settings, so that derived keys are shared by all pools of a user.
    passwords: HashMap<String, Credentials>,
    /// Encryption by node name.
    ssl: HashMap<String, Ssl>,
    /// What clients have shown when they logged in.
    remembered: Mutex<HashMap<Arc<str>, (ClientSecret, Credentials)>>,
}

/// The limit on all server connections.
pub fn max_servers(settings: &Settings) -> usize {
    settings.pool.max_server_connections.map_or(usize::MAX, |max| max as usize)
}

impl Keeper {
    /// Reads the TLS files and passwords that the settings name.
    ///
    /// # Errors
    /// TLS files that cannot be used.
    pub fn new(settings: Arc<Settings>) -> Result<Keeper, StartError> {
        let tls = match (&settings.listen.client_tls, &settings.listen.certificate, &settings.listen.key) {
            (ClientTls::Off, ..) | (_, None, _) | (_, _, None) => None,
            (_, Some(certificate), Some(key)) => {
                let oldest = match settings.listen.tls_min_version {
                    TlsVersion::V1_2 => Oldest::Tls12,
                    TlsVersion::V1_3 => Oldest::Tls13,
                };
                let ca = settings.listen.client_ca.as_deref();
                Some(Arc::new(ServerTls::load_since(oldest, certificate, key, ca)?))
            }
        };
        let clear = |user: &crate::config::settings::front::User| {
            let password = user.server_password.as_ref()?;
            Some((user.name.clone(), Credentials::Password(Password::new(password.expose()))))
        };
        let mut passwords: HashMap<_, _> = settings.users.iter().filter_map(clear).collect();
        if let Some(password) = &settings.cluster.password {
            let own = || Credentials::Password(Password::new(password.expose()));
            passwords.entry(settings.cluster.user.clone()).or_insert_with(own);
        }
        let mut ssl = HashMap::new();
        for node in &settings.nodes {
            ssl.insert(node.name.clone(), crate::app::plan::ssl(node)?);
        }
        Ok(Keeper { settings, tls, passwords, ssl, remembered: Mutex::default() })
    }

    /// Keeps what a client has shown, for server connections of the same user. True when it is not what they were opened with.
    pub fn remember(&self, user: &Arc<str>, secret: &ClientSecret) -> bool {
        let credentials = match secret {
            ClientSecret::None => return false,
            ClientSecret::Password(text) => Credentials::Password(Password::new(text.clone())),
            ClientSecret::Md5(hash) => Credentials::Md5(Md5Hash(hash.clone())),
            ClientSecret::ScramKeys { client_key, server_key } => {
                Credentials::ScramKeys(pgherd_pool::scram::Keys {
                    client_key: *client_key,
                    server_key: *server_key,
                })
            }
        };
        let mut remembered = self.remembered.lock();
        if remembered.get(user).is_some_and(|(known, _)| known == secret) {
            return false;
        }
        if remembered.len() >= MAX_REMEMBERED {
            remembered.clear();
        }
        remembered.insert(user.clone(), (secret.clone(), credentials));
        !self.passwords.contains_key(&**user)
    }

    /// What was remembered goes over to the keeper of new settings.
    pub fn inherit(&self, from: &Keeper) {
        self.remembered.lock().clone_from(&from.remembered.lock());
    }

    fn credentials(&self, user: &str) -> Credentials {
        let configured = self.passwords.get(user).cloned();
        configured
            .or_else(|| self.remembered.lock().get(user).map(|(_, credentials)| credentials.clone()))
            .unwrap_or(Credentials::None)
    }

    /// What a database name stands for: the database itself, or an alias that names a routing (`app_ro`, `app_rw`, `app_any`).
    fn database<'a>(&self, name: &'a str) -> (&'a str, Option<ListenerRouting>) {
        let alias = [
            ("_ro", ListenerRouting::Replicas),
            ("_rw", ListenerRouting::Primary),
            ("_any", ListenerRouting::Any),
        ];
        if self.settings.may_be_alias(name) {
            for (suffix, routing) in alias {
                let base = name.strip_suffix(suffix);
                // Only a database the settings name can have an alias; any other name is taken as it is.
                if let Some(base) = base.filter(|base| self.is_configured(base)) {
                    return (base, Some(routing));
                }
            }
        }
        (name, None)
    }

    /// The functions the settings vouch for; the word `primary` is nobody's name.
    fn vouched(&self) -> Arc<[String]> {
        let names = &self.settings.routing.volatile_functions;
        names.iter().filter(|name| *name != "primary").cloned().collect()
    }

    /// True when this name means the console and no database: none of the settings' has it.
    pub fn is_console(&self, database: &str) -> bool {
        crate::app::console::DATABASES.contains(&database)
            && !self.settings.databases.iter().any(|known| known.name == database)
    }

    /// What a user may do on the console; `None`: it does not get in.
    pub fn standing(&self, user: &str) -> Option<Standing> {
        let is_in = |list: &[String]| list.iter().any(|name| name == user);
        if is_in(&self.settings.auth.admin_users) {
            return Some(Standing::Admin);
        }
        is_in(&self.settings.auth.stats_users).then_some(Standing::Stats)
    }

    /// The database that clients mean by a name: an alias's suffix is removed.
    pub fn base<'a>(&self, name: &'a str) -> &'a str {
        self.database(name).0
    }

    /// The name clients know a database by that is called so on the servers.
    pub fn name_of<'a>(&'a self, dbname: &'a str) -> &'a str {
        let named = self.settings.databases.iter().find(|known| known.dbname == dbname);
        named.map_or(dbname, |known| &known.name)
    }

    fn is_configured(&self, database: &str) -> bool {
        self.settings.databases.iter().any(|d| d.name == database)
            || self.settings.cluster.database == database
    }
}

impl Blueprint for Keeper {
    fn shape(&self, node: &Node, database: &Arc<str>, user: &Arc<str>) -> Shape {
        let settings = &self.settings;
        let pool = &settings.pool;
        let configured = settings.users.iter().find(|known| known.name == **user);
        // Pools know a database by its name on the servers, settings by the one clients use.
        let named = settings.databases.iter().find(|known| known.dbname == **database);
        let drawn = settings.pool_shape(&node.name, named.map_or(database, |known| &known.name), user);
        let server_user = configured.and_then(|known| known.server_user.as_deref()).unwrap_or(user);
        let target = Target {
            address: node.address.clone(),
            user: server_user.into(),
            database: database.clone(),
            credentials: self.credentials(user),
            ssl: self.ssl.get(&*node.name).cloned().unwrap_or(Ssl::DISABLED),
            connect_timeout: pool.server_connect_timeout,
            keepalive: Keepalive {
                idle: pool.server_keepalive,
                interval: Some(pool.server_keepalive_interval),
                count: Some(pool.server_keepalive_count),
                ..Keepalive::default()
            },
            dialer: None,
        };
        Shape {
            target: Arc::new(target),
            min_size: drawn.min_size as usize,
            max_size: drawn.max_size as usize,
            reserve_size: drawn.reserve_size as usize,
            reserve_after: pool.reserve_pool_timeout,
            connect_ramp: pool.connect_ramp as usize,
            lifetime: pool.server_lifetime,
            idle_timeout: pool.server_idle_timeout,
            jitter_percent: pool.server_lifetime_jitter_percent,
            check_after: pool.server_check_delay,
            notice_after: pool.wait_notice_after,
        }
    }

    fn max_to_node(&self, node: &Node) -> usize {
        let own = self
            .settings
            .nodes
            .iter()
            .find(|known| known.name == *node.name)
            .and_then(|known| known.max_node_connections);
        own.or(self.settings.pool.max_node_connections).map_or(usize::MAX, |max| max as usize)
    }
}

impl Steward for Keeper {
    fn terms(&self, listener: &str, database: &Arc<str>, user: &Arc<str>) -> Result<Terms, Refused> {
        let settings = &self.settings;
        let pool = &settings.pool;
        let (base, alias) = self.database(database);
        let listener = settings.listeners.iter().find(|known| known.name == listener);
        let configured = settings.databases.iter().find(|known| known.name == base);
        if configured.is_none() && settings.auth.strict_databases {
            return Err(Refused::UnknownDatabase);
        }
        let known_user = settings.users.iter().find(|known| known.name == **user);
        let routing = alias.or(listener.map(|listener| listener.routing)).unwrap_or(ListenerRouting::Primary);
        let limit = |max: Option<u32>| max.map_or(usize::MAX, |max| max as usize);
        let drawn = settings.pool_shape("", base, user);
        Ok(Terms {
            name: base.into(),
            database: configured.map_or(base, |known| &known.dbname).into(),
            user: user.clone(),
            routing: match routing {
                ListenerRouting::Primary => Routing::Primary,
                ListenerRouting::Replicas => Routing::Replicas,
                ListenerRouting::Any => Routing::Any,
            },
            preference: listener.and_then(|listener| listener.read_preference).map(preference),
            consistency: match settings.routing.default_consistency {
                Consistency::Eventual => pgherd_route::floor::Consistency::Eventual,
                Consistency::ReadAfterWrite => pgherd_route::floor::Consistency::ReadAfterWrite,
                Consistency::Global => pgherd_route::floor::Consistency::Global,
                Consistency::Strong => pgherd_route::floor::Consistency::Strong,
            },
            monotonic: true,
            fresh_wait: settings.routing.read_after_write_wait,
            shadow: listener.and_then(|listener| listener.shadow).unwrap_or(settings.routing.shadow),
            rerun: settings.routing.replica_error_rerun,
            mode: match drawn.mode {
                PoolMode::Session => Mode::Session,
                PoolMode::Transaction => Mode::Transaction,
                PoolMode::Statement => Mode::Statement,
            },
            timeouts: Timeouts {
                query_wait: pool.query_wait_timeout.unwrap_or(FOREVER),
                hold: settings.failover.hold_timeout,
                idle_in_transaction: pool.idle_in_transaction_timeout,
                query: pool.query_timeout,
                client_idle: pool.client_idle_timeout,
            },
            max_clients_of_user: limit(
                known_user
                    .and_then(|known| known.max_client_connections)
                    .or(pool.max_client_connections_per_user),
            ),
            max_clients_of_database: limit(
                configured
                    .and_then(|known| known.max_client_connections)
                    .or(pool.max_client_connections_per_database),
            ),
            max_prepared_statements: pool.max_prepared_statements as usize,
            unnamed: match pool.prepared_statements {
                PreparedStatements::Named => Keeping::Never,
                PreparedStatements::All => Keeping::CustomPlans,
                PreparedStatements::Generic => Keeping::AnyPlan,
            },
            probing: match pool.session_probe {
                SessionProbe::Auto => Probing::Auto,
                SessionProbe::Always => Probing::Always,
                SessionProbe::Never => Probing::Never,
            },
        })
    }

    fn max_clients(&self) -> usize {
        self.settings.pool.max_client_connections as usize
    }

    fn visits(&self) -> Visits {
        let server = &self.settings.server;
        Visits { arrivals: server.log_connections, departures: server.log_disconnections }
    }

    fn policy(&self) -> Policy {
        Policy {
            default_preference: preference(self.settings.routing.default_read_preference),
            split_read_only: self.settings.routing.split_in_transactions == SplitInTransactions::ReadOnlyOnly,
            region: self.settings.routing.region.as_str().into(),
            max_staleness: self.settings.routing.max_staleness,
            write_window: self.settings.routing.read_after_write_window,
            max_classified: self.settings.routing.max_classified_query as usize,
            vouched: self.vouched(),
            ..Policy::default()
        }
    }
}

fn preference(word: ReadPreference) -> Preference {
    match word {
        ReadPreference::Primary => Preference::Primary,
        ReadPreference::PrimaryPreferred => Preference::PrimaryPreferred,
        ReadPreference::Replica => Preference::Replica,
        ReadPreference::ReplicaPreferred => Preference::ReplicaPreferred,
        ReadPreference::Nearest => Preference::Nearest,
    }
}
