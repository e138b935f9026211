//! Keys of one PostgreSQL instance.

use crate::config::key::Reload::{AtOnce, Drain, NewConnections};
use crate::config::key::{
    DAY, PathRule, Section, address, boolean, bytes, duration, int, path, secret, secs, text, word,
};
use crate::config::words::{ChannelBinding, RoleHint, SslMode};

/// `[[node]]`.
#[rustfmt::skip] // a table reads best as a table
pub(super) const NODE: Section = Section {
    name: "node",
    repeated: Some("name"),
    doc: "One PostgreSQL instance. Which of them is the primary is discovered, never configured.",
    keys: &[
        text("name", "", AtOnce, "Name in tables, metrics and commands; unique.").unset("host:port", "pg1"),
        text("host", "", NewConnections, "Host name or address, or the directory of a Unix socket when it begins with a slash.").required("primary.db.example.com"),
        int("port", "5432", (1, 65_535), NewConnections, "TCP port; also the number in the name of a Unix socket."),
        text("database", "", NewConnections, "Database of pgherd's own connections to this node.").unset("as cluster.database", "production"),
        text("user", "", NewConnections, "User of pgherd's own connections to this node.").unset("as cluster.user", "app_user"),
        secret("password", NewConnections, "Password of that user."),
        path("password_file", PathRule::File, NewConnections, "File that holds the password of `user`."),
        text("password_env", "", NewConnections, "Environment variable that holds the password of `user`.").unset("none", "PG1_PASSWORD"),
        text("region", "", AtOnce, "Where the node stands; replicas in routing.region are preferred by read preference \"nearest\"."),
        text("datacenter", "", AtOnce, "Where it stands, in finer words; shown, and used to prefer a candidate elsewhere.").later(),
        int("weight", "100", (0, 10_000), AtOnce, "Share of the reads among eligible replicas. 0 gets none."),
        duration("max_lag_seconds", "", (secs(0), DAY), AtOnce, "Replay delay above which this node gets no reads. The limit in bytes counts independently of it.").off().bare().unset("as health.max_lag_threshold", "10s"),
        bytes("max_lag_bytes", "", (0, 1 << 50), AtOnce, "Bytes behind the primary above which this node gets no reads.").off().unset("as health.max_lag_bytes", "100MB"),
        word("ssl", SslMode::WORDS, "prefer", NewConnections, "TLS towards this node, in the words of libpq's sslmode."),
        word("channel_binding", ChannelBinding::WORDS, "prefer", NewConnections, "Whether a login by SCRAM is bound to the node's certificate, in libpq's words: \"require\" logs in no other way, \"disable\" is for what ends TLS between pgherd and the node."),
        path("ssl_root_cert", PathRule::File, NewConnections, "PEM file with the roots the node's certificate must chain to, for \"verify-ca\" and \"verify-full\"; \"off\" takes the system's."),
        path("ssl_cert", PathRule::File, NewConnections, "PEM certificate pgherd shows to the node."),
        path("ssl_key", PathRule::File, NewConnections, "PEM key of that certificate."),
        int("min_pool_size", "", (0, 100_000), AtOnce, "Connections each pool on this node keeps open.").unset("as pool.min_pool_size", "10"),
        int("max_pool_size", "", (1, 100_000), AtOnce, "Connections each pool on this node may have. A smaller number drains the rest.").unset("as pool.max_pool_size", "50"),
        int("max_node_connections", "", (1, 1_000_000), AtOnce, "Server connections to this node over all pools; leave room below its max_connections for other users.").off().unset("as pool.max_node_connections", "180"),
        address("api_listen", "off", Drain, "Address on which the API speaks for this node alone, as one Patroni per host would.").later(),
        word("role_hint", RoleHint::WORDS, "", AtOnce, "A guess that is shown until the node was seen for the first time; it never routes.").unset("none", "primary").later(),
        boolean("tags.noloadbalance", "false", AtOnce, "Gets no reads."),
        boolean("tags.nofailover", "false", AtOnce, "Never becomes primary."),
        boolean("tags.nosync", "false", AtOnce, "Never counts as synchronous standby.").later(),
        boolean("tags.clonefrom", "false", AtOnce, "Preferred source of new replicas.").later(),
        text("tags.replicatefrom", "", AtOnce, "Name of the node this one should stream from.").later().unset("the primary", "pg2"),
        int("tags.failover_priority", "1", (0, 1_000_000), AtOnce, "Order among equally advanced candidates, higher first; 0 is the same as nofailover.").later(),
    ],
};
