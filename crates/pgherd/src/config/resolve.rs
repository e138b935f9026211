//! From values found without fault to [`Settings`]: inheritance between sections and Rust's own types.

use crate::config::secret::Secret;
use crate::config::secrets;
use crate::config::settings::control::{Api, Failover, Health, Metrics, Notify, Web};
use crate::config::settings::front::{Auth, Database, HostPort, Inquiry, Listen, Listener, User};
use crate::config::settings::node::{Node, Tags};
use crate::config::settings::pool::{Pool, Routing};
use crate::config::settings::{Cluster, Server, Settings};
use crate::config::values::{Instance, Values};
use crate::config::words::ListenerRouting;

/// The word of a key as its enum. Kinds list the words of that very enum, so one that was read is always known.
macro_rules! word {
    ($instance:expr, $key:literal, $enum:ident) => {
        $instance
            .find::<&'static str>($key)
            .and_then(crate::config::words::$enum::from_word)
            .expect("a word of the key's own enum")
    };
}
/// The same for a key without a default.
macro_rules! word_if {
    ($instance:expr, $key:literal, $enum:ident) => {
        $instance.find::<&'static str>($key).and_then(crate::config::words::$enum::from_word)
    };
}

/// Builds the settings. Call it only when the report has no error.
pub fn settings(values: Values) -> Settings {
    let said = values;
    let values = &said;
    let users = users(values);
    let cluster = cluster(values.single("cluster"), &users);
    let users = if users.is_empty() { own_user(values, &cluster) } else { users };
    Settings {
        server: server(values.single("server")),
        listen: listen(values.single("listen")),
        listeners: listeners(values),
        auth: auth(values.single("auth"), &cluster),
        databases: values.each("database").map(database).collect(),
        nodes: values.each("node").map(|instance| node(instance, values, &cluster)).collect(),
        pool: pool(values.single("pool")),
        routing: routing(values.single("routing")),
        health: health(values.single("health")),
        failover: failover(values.single("failover")),
        api: api(values.single("api")),
        web: Web {
            listen: values.single("web").want("listen"),
            actions: values.single("web").want("actions"),
        },
        metrics: metrics(values.single("metrics")),
        notify: values.each("notify").map(notify).collect(),
        cluster,
        users,
        values: said,
    }
}

fn cluster(i: &Instance, users: &[User]) -> Cluster {
    let own: Option<String> = i.find("user");
    let first = users.first();
    let password = match &own {
        Some(_) => i.find("password"),
        None => i.find("password").or_else(|| first.and_then(|user| user.server_password.clone())),
    };
    let login = |user: &User| user.server_user.clone().unwrap_or_else(|| user.name.clone());
    Cluster {
        name: i.want("name"),
        database: i.want("database"),
        user: own.or_else(|| first.map(login)).unwrap_or_default(),
        password,
    }
}

fn server(i: &Instance) -> Server {
    Server {
        workers: i.want("workers"),
        state_dir: i.want("state_dir"),
        handover_dir: i.want("handover_dir"),
        log_level: word!(i, "log_level", LogLevel),
        log_format: word!(i, "log_format", LogFormat),
        log_connections: i.want("log_connections"),
        log_disconnections: i.want("log_disconnections"),
        shutdown_grace: i.want("shutdown_grace"),
    }
}

fn listen(i: &Instance) -> Listen {
    Listen {
        unix_socket_dir: i.want("unix_socket_dir"),
        unix_socket_mode: i.want("unix_socket_mode"),
        backlog: i.want("backlog"),
        client_tls: word!(i, "client_tls", ClientTls),
        certificate: i.want("certificate"),
        key: i.want("key"),
        client_ca: i.want("client_ca"),
        tls_min_version: word!(i, "tls_min_version", TlsVersion),
        login_timeout: i.want("login_timeout"),
        max_unauthenticated_connections: i.want("max_unauthenticated_connections"),
        tcp_keepalive: i.want("tcp_keepalive"),
        tcp_keepalive_interval: i.want("tcp_keepalive_interval"),
        tcp_keepalive_count: i.want("tcp_keepalive_count"),
    }
}

fn listeners(values: &Values) -> Vec<Listener> {
    let listen = values.single("listen");
    let balancers = || listen.want::<Vec<String>>("proxy_protocol_from");
    let mut all = Vec::new();
    for routing in [ListenerRouting::Primary, ListenerRouting::Replicas, ListenerRouting::Any] {
        let name = routing.word();
        if let Some(address) = listen.want::<Option<HostPort>>(name) {
            all.push(Listener {
                name: name.to_string(),
                address,
                routing,
                read_preference: None,
                shadow: None,
                proxy_protocol_from: balancers(),
            });
        }
    }
    all.extend(values.each("listener").map(|i| Listener {
        name: i.want("name"),
        address: i.want("address"),
        routing: word!(i, "routing", ListenerRouting),
        read_preference: word_if!(i, "read_preference", ReadPreference),
        shadow: i.find("shadow"),
        proxy_protocol_from: i.find("proxy_protocol_from").unwrap_or_else(balancers),
    }));
    all
}

fn auth(i: &Instance, cluster: &Cluster) -> Auth {
    Auth {
        method: word!(i, "method", AuthMethod),
        users_file: i.want("users_file"),
        clientcert: word!(i, "clientcert", ClientCert),
        trusted_networks: i.want("trusted_networks"),
        ident_file: i.want("ident_file"),
        cert_map: i.find("cert_map"),
        peer_map: i.find("peer_map"),
        inquiry: i.find("query").map(|query| inquiry(i, query, cluster)),
        strict_databases: i.want("strict_databases"),
        admin_users: i.want("admin_users"),
        stats_users: i.want("stats_users"),
    }
}

fn inquiry(i: &Instance, query: String, cluster: &Cluster) -> Inquiry {
    let user: Option<String> = i.find("query_user");
    let password: Option<Secret> = i.find("query_password");
    Inquiry {
        query,
        // The cluster's password belongs to the cluster's user.
        query_password: match &user {
            Some(user) if *user != cluster.user => password,
            _ => password.or_else(|| cluster.password.clone()),
        },
        query_user: user.unwrap_or_else(|| cluster.user.clone()),
        query_database: i.find("query_database").unwrap_or_else(|| cluster.database.clone()),
        query_cache: i.want("query_cache"),
        query_unknown_cache: i.want("query_unknown_cache"),
        query_timeout: i.want("query_timeout"),
    }
}

fn users(values: &Values) -> Vec<User> {
    values.each("user").map(user).collect()
}

/// A number of a key without a default.
fn number(i: &Instance, key: &str) -> Option<u32> {
    i.find::<Option<u32>>(key).flatten()
}

fn user(i: &Instance) -> User {
    let password: Option<Secret> = i.find("password");
    // A hash or a verifier cannot log in anywhere.
    let clear =
        |secret: &&Secret| !secrets::is_verifier(secret.expose()) && !secrets::is_md5(secret.expose());
    User {
        name: i.want("name"),
        auth: word_if!(i, "auth", AuthMethod),
        clientcert: word_if!(i, "clientcert", ClientCert),
        server_user: i.find("server_user"),
        server_password: i.find("server_password").or_else(|| password.as_ref().filter(clear).cloned()),
        password,
        pool_mode: word_if!(i, "pool_mode", PoolMode),
        min_pool_size: number(i, "min_pool_size"),
        max_pool_size: number(i, "max_pool_size"),
        reserve_pool_size: number(i, "reserve_pool_size"),
        max_client_connections: number(i, "max_client_connections"),
    }
}

/// The cluster's account as the only user, when nobody else is named anywhere.
fn own_user(values: &Values, cluster: &Cluster) -> Vec<User> {
    let auth = values.single("auth");
    let file: Option<std::path::PathBuf> = auth.want("users_file");
    if file.is_some() || auth.get("query").is_some() || cluster.user.is_empty() {
        return Vec::new();
    }
    vec![User {
        name: cluster.user.clone(),
        password: cluster.password.clone(),
        auth: None,
        clientcert: None,
        server_user: None,
        server_password: cluster.password.clone(),
        pool_mode: None,
        min_pool_size: None,
        max_pool_size: None,
        reserve_pool_size: None,
        max_client_connections: None,
    }]
}

fn database(i: &Instance) -> Database {
    Database {
        name: i.want("name"),
        dbname: i.find("dbname").unwrap_or_else(|| i.want("name")),
        pool_mode: word_if!(i, "pool_mode", PoolMode),
        min_pool_size: number(i, "min_pool_size"),
        max_pool_size: number(i, "max_pool_size"),
        reserve_pool_size: number(i, "reserve_pool_size"),
        max_client_connections: number(i, "max_client_connections"),
    }
}

fn port(i: &Instance) -> u16 {
    // The table's range is that of u16; a bad value was replaced by the default.
    number(i, "port").and_then(|port| u16::try_from(port).ok()).unwrap_or(5432)
}

fn node(i: &Instance, values: &Values, cluster: &Cluster) -> Node {
    let health = values.single("health");
    let user: Option<String> = i.find("user");
    let password: Option<Secret> = i.find("password");
    Node {
        name: i.want("name"),
        host: i.want("host"),
        port: port(i),
        database: i.find("database").unwrap_or_else(|| cluster.database.clone()),
        // The cluster's password belongs to the cluster's user.
        password: match &user {
            Some(user) if *user != cluster.user => password,
            _ => password.or_else(|| cluster.password.clone()),
        },
        user: user.unwrap_or_else(|| cluster.user.clone()),
        region: i.want("region"),
        datacenter: i.want("datacenter"),
        weight: i.want("weight"),
        max_lag_seconds: i.find("max_lag_seconds").unwrap_or_else(|| health.want("max_lag_threshold")),
        max_lag_bytes: i.find("max_lag_bytes").unwrap_or_else(|| health.want("max_lag_bytes")),
        ssl: word!(i, "ssl", SslMode),
        channel_binding: word!(i, "channel_binding", ChannelBinding),
        ssl_root_cert: i.want("ssl_root_cert"),
        ssl_cert: i.want("ssl_cert"),
        ssl_key: i.want("ssl_key"),
        min_pool_size: number(i, "min_pool_size"),
        max_pool_size: number(i, "max_pool_size"),
        max_node_connections: i
            .find("max_node_connections")
            .unwrap_or_else(|| values.single("pool").want("max_node_connections")),
        api_listen: i.want("api_listen"),
        role_hint: word_if!(i, "role_hint", RoleHint),
        tags: Tags {
            noloadbalance: i.want("tags.noloadbalance"),
            nofailover: i.want("tags.nofailover"),
            nosync: i.want("tags.nosync"),
            clonefrom: i.want("tags.clonefrom"),
            replicatefrom: i.find("tags.replicatefrom"),
            failover_priority: i.want("tags.failover_priority"),
        },
    }
}

fn pool(i: &Instance) -> Pool {
    Pool {
        mode: word!(i, "mode", PoolMode),
        min_pool_size: i.want("min_pool_size"),
        max_pool_size: i.want("max_pool_size"),
        reserve_pool_size: i.want("reserve_pool_size"),
        reserve_pool_timeout: i.want("reserve_pool_timeout"),
        max_node_connections: i.want("max_node_connections"),
        max_server_connections: i.want("max_server_connections"),
        max_client_connections: i.want("max_client_connections"),
        max_client_connections_per_user: i.want("max_client_connections_per_user"),
        max_client_connections_per_database: i.want("max_client_connections_per_database"),
        query_wait_timeout: i.want("query_wait_timeout"),
        wait_notice_after: i.want("wait_notice_after"),
        server_idle_timeout: i.want("server_idle_timeout"),
        server_lifetime: i.want("server_lifetime"),
        server_lifetime_jitter_percent: i.want("server_lifetime_jitter_percent"),
        server_check_delay: i.want("server_check_delay"),
        server_connect_timeout: i.want("server_connect_timeout"),
        connect_ramp: i.want("connect_ramp"),
        idle_in_transaction_timeout: i.want("idle_in_transaction_timeout"),
        query_timeout: i.want("query_timeout"),
        client_idle_timeout: i.want("client_idle_timeout"),
        client_tail_buffer: i.want("client_tail_buffer"),
        max_prepared_statements: i.want("max_prepared_statements"),
        prepared_statements: word!(i, "prepared_statements", PreparedStatements),
        session_probe: word!(i, "session_probe", SessionProbe),
        max_pending_notifications: i.want("max_pending_notifications"),
        server_keepalive: i.want("server_keepalive"),
        server_keepalive_interval: i.want("server_keepalive_interval"),
        server_keepalive_count: i.want("server_keepalive_count"),
    }
}

fn routing(i: &Instance) -> Routing {
    Routing {
        default_read_preference: word!(i, "default_read_preference", ReadPreference),
        default_consistency: word!(i, "default_consistency", Consistency),
        read_after_write_window: i.want("read_after_write_window"),
        read_after_write_wait: i.want("read_after_write_wait"),
        split_in_transactions: word!(i, "split_in_transactions", SplitInTransactions),
        database_aliases: i.want("database_aliases"),
        replica_error_rerun: i.want("replica_error_rerun"),
        shadow: i.want("shadow"),
        volatile_functions: i.want("volatile_functions"),
        max_staleness: i.want("max_staleness"),
        max_classified_query: i.want("max_classified_query"),
        region: i.want("region"),
    }
}

fn health(i: &Instance) -> Health {
    Health {
        health_check_interval: i.want("health_check_interval"),
        fast_check_interval: i.want("fast_check_interval"),
        health_check_timeout: i.want("health_check_timeout"),
        consecutive_failures_threshold: i.want("consecutive_failures_threshold"),
        lag_check_interval: i.want("lag_check_interval"),
        max_lag_threshold: i.want("max_lag_threshold"),
        max_lag_bytes: i.want("max_lag_bytes"),
        lag_alert_bytes: i.want("lag_alert_bytes"),
        auto_remediate: i.want("auto_remediate"),
        auto_discover: i.want("auto_discover"),
        discovery_interval: i.want("discovery_interval"),
    }
}

fn failover(i: &Instance) -> Failover {
    Failover {
        enable_auto_failover: i.want("enable_auto_failover"),
        failover_strategy: word!(i, "failover_strategy", FailoverStrategy),
        min_replicas_for_failover: i.want("min_replicas_for_failover"),
        failover_timeout: i.want("failover_timeout"),
        validation_window: i.want("validation_window"),
        lone_grace: i.want("lone_grace"),
        maximum_lag_on_failover: i.want("maximum_lag_on_failover"),
        maximum_lag_on_syncnode: i.want("maximum_lag_on_syncnode"),
        ttl: i.want("ttl"),
        loop_wait: i.want("loop_wait"),
        retry_timeout: i.want("retry_timeout"),
        primary_start_timeout: i.want("primary_start_timeout"),
        hold_timeout: i.want("hold_timeout"),
        hold_start: word!(i, "hold_start", HoldStart),
        hold_max_sessions: i.want("hold_max_sessions"),
        hold_max_bytes: i.want("hold_max_bytes"),
        drain_timeout: i.want("drain_timeout"),
        fence_command: i.want("fence_command"),
        fencing: word!(i, "fencing", Fencing),
        commit_resolution: word!(i, "commit_resolution", CommitResolution),
        retry_proven_aborts: i.want("retry_proven_aborts"),
    }
}

fn api(i: &Instance) -> Api {
    Api {
        listen: i.want("listen"),
        face: i.want("face"),
        primary_role_name: word!(i, "primary_role_name", PrimaryRoleName),
        auth: word_if!(i, "auth", ApiAuth).unwrap_or(crate::config::words::ApiAuth::Password),
        admin_user: i.want("auth.admin.user"),
        admin_password: i.find("auth.admin.password"),
    }
}

fn metrics(i: &Instance) -> Metrics {
    Metrics { patroni_names: i.want("patroni_names"), pgbouncer_names: i.want("pgbouncer_names") }
}

fn notify(i: &Instance) -> Notify {
    Notify {
        kind: word!(i, "kind", NotifyKind),
        url: i.find("url"),
        command: i.want("command"),
        events: i.want("events"),
        timeout: i.want("timeout"),
    }
}
