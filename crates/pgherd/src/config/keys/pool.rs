//! Keys of pools and routing.

use crate::config::key::Reload::{AtOnce, NewConnections};
use crate::config::key::{DAY, MS, Section, YEAR, boolean, bytes, duration, int, list, secs, text, word};
use crate::config::words::{
    Consistency, PoolMode, PreparedStatements, ReadPreference, SessionProbe, SplitInTransactions,
};

const MB: u64 = 1 << 20;

/// `[pool]`.
#[rustfmt::skip] // a table reads best as a table
pub(super) const POOL: Section = Section {
    name: "pool",
    repeated: None,
    doc: "Server connections. There is one pool per (node, database, user); these are the defaults of each and the limits of all.",
    keys: &[
        word("mode", PoolMode::WORDS, "transaction", NewConnections, "When a server connection goes back to its pool: when the client leaves, when its transaction ends, or after every statement."),
        int("min_pool_size", "1", (0, 100_000), AtOnce, "Connections a pool keeps open once it has been used."),
        int("max_pool_size", "20", (1, 100_000), AtOnce, "Connections one pool may have. A smaller number drains the rest."),
        int("reserve_pool_size", "0", (0, 100_000), AtOnce, "Extra connections a pool may open when a client has waited reserve_pool_timeout."),
        duration("reserve_pool_timeout", "5s", (secs(0), DAY), AtOnce, "How long a client waits before the reserve is used."),
        int("max_node_connections", "off", (1, 1_000_000), AtOnce, "Server connections to one node over all pools.").off(),
        int("max_server_connections", "off", (1, 1_000_000), AtOnce, "Server connections of this process.").off(),
        int("max_client_connections", "10000", (1, 1_000_000), NewConnections, "Clients of this process. Further ones are refused with 53300."),
        int("max_client_connections_per_user", "off", (1, 1_000_000), NewConnections, "Clients of one user.").off(),
        int("max_client_connections_per_database", "off", (1, 1_000_000), NewConnections, "Clients of one database.").off(),
        duration("query_wait_timeout", "30s", (MS, DAY), NewConnections, "A client that waited this long for a server connection gets 53300 and a hint which limit it met.").off(),
        duration("wait_notice_after", "5s", (MS, DAY), AtOnce, "A client that waited this long is told so by a NOTICE.").off(),
        duration("server_idle_timeout", "10m", (MS, YEAR), AtOnce, "Idle server connections above min_pool_size are closed after this time.").off(),
        duration("server_lifetime", "1h", (MS, YEAR), AtOnce, "Age after which a server connection is closed as soon as it is free.").off(),
        int("server_lifetime_jitter_percent", "10", (0, 50), AtOnce, "Share by which server_lifetime and server_idle_timeout vary, so that connections opened together are not closed together."),
        duration("server_check_delay", "30s", (secs(0), YEAR), AtOnce, "A connection that was idle longer than this is checked before a client gets it; shorter ones are trusted.").off(),
        duration("server_connect_timeout", "5s", (MS, secs(3600)), NewConnections, "Time from connect to the end of login on a server."),
        int("connect_ramp", "2", (1, 1000), AtOnce, "Connection attempts of one pool at once, so that a node that comes back is not trampled."),
        duration("idle_in_transaction_timeout", "off", (MS, YEAR), NewConnections, "A client that leaves its transaction open and idle this long is disconnected and its transaction rolled back.").off(),
        duration("query_timeout", "off", (MS, YEAR), NewConnections, "A statement that runs this long is cancelled and its client disconnected. Prefer statement_timeout of the server.").off(),
        duration("client_idle_timeout", "off", (MS, YEAR), NewConnections, "A client that sends nothing outside a transaction for this long is disconnected.").off(),
        bytes("client_tail_buffer", "256KB", (0, 64 * MB), AtOnce, "Bytes of a reply's end kept for a slow client so that its server connection is free for others.").later(),
        word("prepared_statements", PreparedStatements::WORDS, "all", NewConnections, "Which protocol-level prepared statements sessions share on servers: named ones only (those without a name go to the server as they come); all, where the text of one without a name came before, and its plan is still made for its values; or all, and the server may take a generic plan for those without a name as well."),
        int("max_prepared_statements", "500", (1, 100_000), NewConnections, "Statements kept prepared on one server connection; the least recently used one goes."),
        word("session_probe", SessionProbe::WORDS, "auto", NewConnections, "When a server is asked what a session has left in it (temporary tables, advisory locks, settings and the like), before others get it: never; after DO and CALL and while something keeps it that may have ended; or after every transaction, which also sees what functions do."),
        int("max_pending_notifications", "10000", (1, 1_000_000), AtOnce, "Notifications kept for a client that does not read; one more and it is disconnected.").later(),
        duration("server_keepalive", "60s", (secs(1), secs(32_767)), NewConnections, "Idle time after which the kernel probes a silent server.").off(),
        duration("server_keepalive_interval", "10s", (secs(1), secs(32_767)), NewConnections, "Time between two such probes."),
        int("server_keepalive_count", "6", (1, 127), NewConnections, "Unanswered probes after which the server connection is dead."),
    ],
};

/// `[routing]`.
#[rustfmt::skip] // a table reads best as a table
pub(super) const ROUTING: Section = Section {
    name: "routing",
    repeated: None,
    doc: "Where transactions go.",
    keys: &[
        word("default_read_preference", ReadPreference::WORDS, "replica_preferred", AtOnce, "Where reads prefer to go on listeners that may choose. On port 5001 it decides whether the primary helps out while no replica is eligible."),
        word("default_consistency", Consistency::WORDS, "read_after_write", NewConnections, "What a read must have seen: anything within the lag limits, the session's own writes, all writes through this proxy, or every write."),
        duration("read_after_write_window", "5s", (secs(0), DAY), AtOnce, "After a write whose position is not known, because looks at the primary's log fail, the session's reads stay on the primary this long; then a replica will do that health checks show to have all of that time.").bare(),
        duration("read_after_write_wait", "0s", (secs(0), secs(3600)), NewConnections, "How long a read may wait for a replica that has seen the session's writes before it goes to the primary."),
        word("split_in_transactions", SplitInTransactions::WORDS, "read_only_only", AtOnce, "Which transactions of several statements may leave the primary on port 5002: none, or those begun READ ONLY."),
        boolean("database_aliases", "true", NewConnections, "A database named app_ro, app_rw or app_any means app with that way of routing, unless it has a [[database]]."),
        boolean("replica_error_rerun", "true", NewConnections, "A read that a replica refused is re-run on the primary before the client sees anything."),
        boolean("shadow", "false", NewConnections, "Listeners that may choose send everything to the primary and only count where it would go: pgherd_routed_total in the metrics."),
        list("volatile_functions", "primary", AtOnce, "Functions declared VOLATILE that may run on replicas all the same, by their names in the catalog; what calls them from a view or another function stays on the primary. \"primary\": none."),
        duration("max_staleness", "5s", (secs(0), DAY), AtOnce, "While there is no primary, replicas serve reads this long after the last proof of how fresh they are; a session can set a bound of its own, for all its reads.").off(),
        bytes("max_classified_query", "64KB", (1024, MB), AtOnce, "Bytes of a request (a statement, or a batch up to its Sync) that are looked at; longer ones count as writes. A client may make pgherd hold as many."),
        text("region", "", AtOnce, "Region this pgherd stands in, for read preference \"nearest\"."),
    ],
};
