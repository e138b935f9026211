//! The tables of SHOW: their names and columns. PgBouncer's come first and in its order (1.25), ours after them.

use crate::console::cell::Kind;

/// One column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
}

const fn text(name: &'static str) -> Column {
    Column { name, kind: Kind::Text }
}

const fn int(name: &'static str) -> Column {
    Column { name, kind: Kind::Int4 }
}

const fn long(name: &'static str) -> Column {
    Column { name, kind: Kind::Int8 }
}

const fn sum(name: &'static str) -> Column {
    Column { name, kind: Kind::Numeric }
}

const fn bytes(name: &'static str) -> Column {
    Column { name, kind: Kind::Bytea }
}

macro_rules! shows {
    ($($(#[$doc:meta])* $name:ident $word:literal $columns:expr;)*) => {
        /// What can be shown.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Show {
            $($(#[$doc])* $name,)*
        }

        impl Show {
            /// Every table, PgBouncer's first.
            pub const ALL: &[Show] = &[$(Show::$name),*];

            /// The word behind SHOW, in lower case.
            pub fn word(self) -> &'static str {
                match self { $(Show::$name => $word),* }
            }

            /// Its columns.
            pub fn columns(self) -> &'static [Column] {
                match self { $(Show::$name => const { $columns }),* }
            }
        }
    };
}

shows! {
    /// Every client.
    Clients "clients" CLIENTS;
    /// The settings in force.
    Config "config" &[text("key"), text("value"), text("default"), text("changeable")];
    /// Databases by the names clients use.
    Databases "databases" DATABASES;
    /// Open sockets; PgBouncer's way of handing them over to a new process.
    Fds "fds" FDS;
    /// A notice with all commands.
    Help "help" &[];
    /// How many there are of what.
    Lists "lists" &[text("list"), int("items")];
    /// Other processes of a group; there are none.
    Peers "peers" &[int("peer_id"), text("host"), int("port"), int("pool_size")];
    /// Cancel requests on their way to those; there are none.
    PeerPools "peer_pools" PEER_POOLS;
    /// Pools, one row for each database and user over all nodes.
    Pools "pools" POOLS;
    /// Every server connection.
    Servers "servers" SERVERS;
    /// Clients and servers with what lies in their buffers.
    Sockets "sockets" SOCKETS;
    /// The same, without those that are idle.
    ActiveSockets "active_sockets" SOCKETS;
    /// What databases did, in all and lately.
    Stats "stats" STATS;
    /// What databases did in all.
    StatsTotals "stats_totals" STATS_TOTALS;
    /// What databases did lately.
    StatsAverages "stats_averages" STATS_AVERAGES;
    /// Users.
    Users "users" USERS;
    /// The version.
    Version "version" &[text("version")];
    /// What all databases did together.
    Totals "totals" &[text("name"), sum("value")];
    /// Memory.
    Mem "mem" &[text("name"), int("size"), int("used"), int("free"), int("memtotal")];
    /// Names that were looked up.
    DnsHosts "dns_hosts" &[text("hostname"), long("ttl"), text("addrs")];
    /// Zones that are followed; there are none.
    DnsZones "dns_zones" &[text("zonename"), long("serial"), int("count")];
    /// Active, paused, suspended.
    State "state" &[text("key"), text("value")];
    /// Nodes of the cluster.
    Nodes "nodes" NODES;
    /// How far behind the replicas are.
    Lag "lag" LAG;
    /// Sessions that keep their server.
    Pins "pins" PINS;
    /// Where transactions went, and why.
    Routing "routing" ROUTING;
    /// Prepared statements.
    Prepared "prepared" PREPARED;
    /// The journal.
    Events "events" &[text("time"), text("kind"), text("phase"), text("node"), text("text")];
}

#[rustfmt::skip] // a table reads best as a table
const CLIENTS: &[Column] = &[
    text("type"), text("user"), text("database"), text("replication"), text("state"), text("addr"), int("port"),
    text("local_addr"), int("local_port"), text("connect_time"), text("request_time"), int("wait"), int("wait_us"),
    int("close_needed"), text("ptr"), text("link"), int("remote_pid"), text("tls"), text("application_name"),
    int("prepared_statements"), int("id"),
    // Ours.
    text("listener"), text("doing"), text("pin"),
];

#[rustfmt::skip] // a table reads best as a table
const SERVERS: &[Column] = &[
    text("type"), text("user"), text("database"), text("replication"), text("state"), text("addr"), int("port"),
    text("local_addr"), int("local_port"), text("connect_time"), text("request_time"), int("wait"), int("wait_us"),
    int("close_needed"), text("ptr"), text("link"), int("remote_pid"), text("tls"), text("application_name"),
    int("prepared_statements"), int("id"),
    // Ours.
    text("node"), long("epoch"),
];

#[rustfmt::skip] // a table reads best as a table
const SOCKETS: &[Column] = &[
    text("type"), text("user"), text("database"), text("replication"), text("state"), text("addr"), int("port"),
    text("local_addr"), int("local_port"), text("connect_time"), text("request_time"), int("wait"), int("wait_us"),
    int("close_needed"), text("ptr"), text("link"), int("remote_pid"), text("tls"), text("application_name"),
    int("prepared_statements"), int("id"), int("recv_pos"), int("pkt_pos"), int("pkt_remain"), int("send_pos"),
    int("send_remain"), int("pkt_avail"), int("send_avail"),
];

#[rustfmt::skip] // a table reads best as a table
const DATABASES: &[Column] = &[
    text("name"), text("host"), int("port"), text("database"), text("force_user"), int("pool_size"),
    int("min_pool_size"), int("reserve_pool_size"), int("server_lifetime"), text("pool_mode"),
    text("load_balance_hosts"), int("max_connections"), int("current_connections"), int("max_client_connections"),
    int("current_client_connections"), int("paused"), int("disabled"),
];

#[rustfmt::skip] // a table reads best as a table
const FDS: &[Column] = &[
    int("fd"), text("task"), text("user"), text("database"), text("addr"), int("port"), long("cancel"), int("link"),
    text("client_encoding"), text("std_strings"), text("datestyle"), text("timezone"), text("password"),
    bytes("scram_client_key"), bytes("scram_server_key"),
];

#[rustfmt::skip] // a table reads best as a table
const PEER_POOLS: &[Column] = &[
    int("peer_id"), int("cl_active_cancel_req"), int("cl_waiting_cancel_req"), int("sv_active_cancel"),
    int("sv_login"),
];

#[rustfmt::skip] // a table reads best as a table
const POOLS: &[Column] = &[
    text("database"), text("user"), int("cl_active"), int("cl_waiting"), int("cl_active_cancel_req"),
    int("cl_waiting_cancel_req"), int("sv_active"), int("sv_active_cancel"), int("sv_being_canceled"), int("sv_idle"),
    int("sv_used"), int("sv_tested"), int("sv_login"), int("maxwait"), int("maxwait_us"), text("pool_mode"),
    text("load_balance_hosts"),
    // Ours.
    int("sv_pinned"), int("nodes"),
];

#[rustfmt::skip] // a table reads best as a table
const STATS: &[Column] = &[
    text("database"), sum("total_server_assignment_count"), sum("total_xact_count"), sum("total_query_count"),
    sum("total_received"), sum("total_sent"), sum("total_xact_time"), sum("total_query_time"),
    sum("total_wait_time"), sum("total_client_parse_count"), sum("total_server_parse_count"),
    sum("total_bind_count"), sum("total_client_login_count"), sum("avg_server_assignment_count"),
    sum("avg_xact_count"), sum("avg_query_count"), sum("avg_recv"), sum("avg_sent"), sum("avg_xact_time"),
    sum("avg_query_time"), sum("avg_wait_time"), sum("avg_client_parse_count"), sum("avg_server_parse_count"),
    sum("avg_bind_count"), sum("avg_client_login_count"),
];

#[rustfmt::skip] // a table reads best as a table
const STATS_TOTALS: &[Column] = &[
    text("database"), sum("server_assignment_count"), sum("xact_count"), sum("query_count"), sum("bytes_received"),
    sum("bytes_sent"), sum("xact_time"), sum("query_time"), sum("wait_time"), sum("client_parse_count"),
    sum("server_parse_count"), sum("bind_count"), sum("client_login_count"),
];

// The mixture of names is PgBouncer's.
#[rustfmt::skip] // a table reads best as a table
const STATS_AVERAGES: &[Column] = &[
    text("database"), sum("server_assignment_count"), sum("xact_count"), sum("query_count"), sum("bytes_received"),
    sum("bytes_sent"), sum("xact_time"), sum("query_time"), sum("wait_time"), sum("avg_client_parse_count"),
    sum("avg_server_parse_count"), sum("avg_bind_count"), sum("client_login_count"),
];

#[rustfmt::skip] // a table reads best as a table
const USERS: &[Column] = &[
    text("name"), text("pool_size"), text("reserve_pool_size"), text("pool_mode"), int("max_user_connections"),
    int("current_connections"), int("max_user_client_connections"), int("current_client_connections"),
    // Ours.
    text("console"),
];

#[rustfmt::skip] // a table reads best as a table
const NODES: &[Column] = &[
    text("name"), text("host"), int("port"), text("role"), text("state"), text("reads"), text("reason"),
    int("timeline"), long("lag_bytes"), long("lag_ms"), int("weight"), text("region"), text("failover"),
    int("sv_active"), int("sv_idle"), int("sv_login"), int("cl_waiting"), int("max_connections"), long("checked_ms"),
];

#[rustfmt::skip] // a table reads best as a table
const LAG: &[Column] = &[
    text("name"), text("role"), text("receive_lsn"), text("replay_lsn"), long("receive_lag_bytes"),
    long("replay_lag_bytes"), long("replay_delay_ms"), text("eligible"), text("reason"), long("checked_ms"),
];

#[rustfmt::skip] // a table reads best as a table
const PINS: &[Column] = &[
    text("reason"), int("sessions"), int("session"), text("user"), text("database"), text("application_name"),
    int("server"), text("since"),
];

#[rustfmt::skip] // a table reads best as a table
const ROUTING: &[Column] = &[
    text("reason"), text("class"), text("rule"), text("target"), text("shadow"), sum("count"), text("meaning"),
];

#[rustfmt::skip] // a table reads best as a table
const PREPARED: &[Column] = &[
    long("id"), text("name"), int("sessions"), int("bytes"), text("query"),
];

impl Show {
    /// The table of this name, in any case.
    pub fn find(word: &str) -> Option<Show> {
        Show::ALL.iter().copied().find(|show| show.word().eq_ignore_ascii_case(word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn columns_have_names_of_their_own() {
        for show in Show::ALL {
            let names: HashSet<&str> = show.columns().iter().map(|column| column.name).collect();
            assert_eq!(names.len(), show.columns().len(), "{show:?}");
            assert_eq!(Show::find(&show.word().to_uppercase()), Some(*show));
        }
    }

    #[test]
    #[rustfmt::skip]
    fn pgbouncers_columns_are_as_many_as_its_own() {
        // `SHOW` of PgBouncer 1.25; ours come behind these.
        for (show, count) in [
            (Show::Clients, 21), (Show::Servers, 21), (Show::Sockets, 28), (Show::Databases, 17), (Show::Pools, 17),
            (Show::Stats, 25), (Show::StatsTotals, 13), (Show::StatsAverages, 13), (Show::Users, 8), (Show::Fds, 15),
            (Show::Lists, 2), (Show::Config, 4), (Show::Version, 1), (Show::State, 2), (Show::Totals, 2),
        ] {
            let exact = !matches!(show, Show::Clients | Show::Servers | Show::Pools | Show::Users);
            let have = show.columns().len();
            assert!(if exact { have == count } else { have > count }, "{show:?} has {have}");
        }
    }
}
