//! PgBouncer's names of settings, and what they are called here.

use crate::config::key::Kind;
use crate::config::settings::Settings;
use crate::config::show;
use crate::config::value::Value;
use pgherd_admin::console::cell::Cell;
use pgherd_admin::console::office::Row;

/// PgBouncer's name, our section, our key.
#[rustfmt::skip] // a table reads best as a table
pub(in crate::app::console) const ALIASES: &[(&str, &str, &str)] = &[
    ("admin_users",               "auth",   "admin_users"),
    ("auth_file",                 "auth",   "users_file"),
    ("auth_type",                 "auth",   "method"),
    ("client_idle_timeout",       "pool",   "client_idle_timeout"),
    ("client_login_timeout",      "listen", "login_timeout"),
    ("client_tls_cert_file",      "listen", "certificate"),
    ("client_tls_key_file",       "listen", "key"),
    ("client_tls_sslmode",        "listen", "client_tls"),
    ("default_pool_size",         "pool",   "max_pool_size"),
    ("idle_transaction_timeout",  "pool",   "idle_in_transaction_timeout"),
    ("listen_backlog",            "listen", "backlog"),
    ("log_connections",           "server", "log_connections"),
    ("log_disconnections",        "server", "log_disconnections"),
    ("max_client_conn",           "pool",   "max_client_connections"),
    ("max_prepared_statements",   "pool",   "max_prepared_statements"),
    ("max_user_client_connections", "pool", "max_client_connections_per_user"),
    ("min_pool_size",             "pool",   "min_pool_size"),
    ("pool_mode",                 "pool",   "mode"),
    ("query_timeout",             "pool",   "query_timeout"),
    ("query_wait_notify",         "pool",   "wait_notice_after"),
    ("query_wait_timeout",        "pool",   "query_wait_timeout"),
    ("reserve_pool_size",         "pool",   "reserve_pool_size"),
    ("reserve_pool_timeout",      "pool",   "reserve_pool_timeout"),
    ("server_check_delay",        "pool",   "server_check_delay"),
    ("server_connect_timeout",    "pool",   "server_connect_timeout"),
    ("server_idle_timeout",       "pool",   "server_idle_timeout"),
    ("server_lifetime",           "pool",   "server_lifetime"),
    ("stats_users",               "auth",   "stats_users"),
    ("unix_socket_dir",           "listen", "unix_socket_dir"),
];

/// A value as PgBouncer writes it: seconds, 1 and 0, lists without brackets, and 0 or nothing for `off`.
pub(super) fn theirs(kind: Kind, value: &Value) -> String {
    match value {
        Value::Duration(time) => time.map_or_else(|| "0".into(), |time| time.as_secs_f64().to_string()),
        Value::Int(number) => number.unwrap_or(0).to_string(),
        Value::Bool(is) => u8::from(*is).to_string(),
        Value::List(items) => items.join(", "),
        Value::Path(None) => String::new(),
        other => show::value(kind, other).trim_matches('"').to_owned(),
    }
}

/// Those tools read that have no key of their own here.
pub(super) fn fixed(settings: &Settings) -> Vec<Row> {
    let port = settings.listeners.first().map_or(0, |listener| listener.address.port);
    let host = settings.listeners.first().map(|listener| listener.address.host.clone()).unwrap_or_default();
    let row = |key: &'static str, value: String, default: &'static str| {
        vec![Cell::text(key), Cell::text(value), Cell::text(default), Cell::text("no")]
    };
    vec![
        row("listen_addr", host, ""),
        row("listen_port", port.to_string(), "6432"),
        row("max_db_connections", "0".into(), "0"),
        row("max_user_connections", "0".into(), "0"),
        row("stats_period", "60".into(), "60"),
    ]
}
