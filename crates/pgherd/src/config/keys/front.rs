//! Keys of what a client meets first.

use crate::config::key::Reload::{AtOnce, Drain, NewConnections, Restart};
use crate::config::key::{
    DAY, Key, MS, PathRule, Section, address, boolean, duration, int, list, mode, path, secret, secs, text,
    word,
};
use crate::config::words::{
    AuthMethod, ClientCert, ClientTls, ListenerRouting, LogFormat, LogLevel, PoolMode, ReadPreference,
    TlsVersion,
};

/// `[cluster]`.
#[rustfmt::skip] // a table reads best as a table
pub(super) const CLUSTER: Section = Section {
    name: "cluster",
    repeated: None,
    doc: "The cluster as a whole, and the account pgherd itself uses on its nodes.",
    keys: &[
        text("name", "pgherd", Restart, "Name of the cluster: the `scope` of Patroni and of the API."),
        text("database", "postgres", NewConnections, "Database of pgherd's own connections (probes and actions); nodes may say otherwise."),
        text("user", "", NewConnections, "User of pgherd's own connections. It needs the role pg_monitor to see the whole of pg_stat_replication. When there is neither a [[user]] nor auth.users_file nor auth.query, clients log in as this user too.")
            .unset("the first [[user]]", "app_user"),
        secret("password", NewConnections, "Password of that user. Prefer password_file or password_env: a password in the file is readable by whoever reads the file.").unset("none", "${PGHERD_PASSWORD:-change me}"),
        path("password_file", PathRule::File, NewConnections, "File that holds the password of `user`; one trailing newline is dropped. Read again on reload."),
        text("password_env", "", NewConnections, "Environment variable that holds the password of `user`.").unset("none", "PGHERD_PASSWORD"),
    ],
};

/// `[server]`.
#[rustfmt::skip] // a table reads best as a table
pub(super) const SERVER: Section = Section {
    name: "server",
    repeated: None,
    doc: "The pgherd process itself.",
    keys: &[
        int("workers", "auto", (1, 1024), Restart, "Worker threads that carry client traffic; \"auto\" is one per processor. The controller and the API run on a thread of their own.").auto(),
        path("state_dir", PathRule::Made, Restart, "Directory for the journal of decisions and for what is being done; made when it is not there. \"off\" keeps nothing across restarts, and then pgherd only advises on failover."),
        path("handover_dir", PathRule::Made, Restart, "Directory in which a new process finds the old one and takes its listening sockets over, so that a restart refuses nobody, and in which both pass on cancel requests for each other's sessions; made when it is not there. The same user must run both. \"off\": the ports are this process's alone."),
        word("log_level", LogLevel::WORDS, "info", AtOnce, "How much is logged."),
        word("log_format", LogFormat::WORDS, "auto", Restart, "Shape of log lines; \"auto\" is text on a terminal and JSON otherwise."),
        boolean("log_connections", "false", AtOnce, "One line for every client that was admitted."),
        boolean("log_disconnections", "false", AtOnce, "One line for every client that left, with its reason and how long it stayed."),
        duration("shutdown_grace", "60s", (secs(0), DAY), AtOnce, "After SIGTERM idle clients leave at once and busy ones finish their transaction; whoever is not done after this time is cut."),
    ],
};

/// `[listen]`.
#[rustfmt::skip] // a table reads best as a table
pub(super) const LISTEN: Section = Section {
    name: "listen",
    repeated: None,
    doc: "Where clients connect. An address is host:port; \"off\" closes that door.",
    keys: &[
        address("primary", "0.0.0.0:5000", Drain, "Always the writable node."),
        address("replicas", "0.0.0.0:5001", Drain, "Replicas within their lag limits, spread by weight. The primary only if routing.default_read_preference allows it."),
        address("any", "0.0.0.0:5002", Drain, "One address for everything: reads and writes are told apart per transaction."),
        path("unix_socket_dir", PathRule::Directory, Drain, "Directory in which every listener also has a Unix socket named .s.PGSQL.PORT."),
        mode("unix_socket_mode", "0777", Drain, "Permission bits of those sockets, octal; who may connect is decided by them and by auth.method."),
        int("backlog", "1024", (1, 65_535), Drain, "Connections the kernel may queue before pgherd accepts them; the system's own limit (somaxconn) applies too."),
        word("client_tls", ClientTls::WORDS, "prefer", NewConnections, "Whether clients may (\"prefer\") or must (\"require\") use TLS. Without a certificate \"prefer\" answers that TLS is not available."),
        path("certificate", PathRule::File, NewConnections, "PEM file with the certificate shown to clients and its chain. Read again on reload."),
        path("key", PathRule::File, NewConnections, "PEM file with the private key of the certificate."),
        path("client_ca", PathRule::File, NewConnections, "PEM file with the roots client certificates must chain to. \"off\" asks clients for none."),
        word("tls_min_version", TlsVersion::WORDS, "1.2", NewConnections, "Lowest TLS version spoken with clients."),
        duration("login_timeout", "15s", (MS, secs(3600)), NewConnections, "Time from accept to the end of authentication; later the connection is closed."),
        int("max_unauthenticated_connections", "1000", (1, 1_000_000), AtOnce, "Connections that may be between accept and the end of authentication at once. Further ones are refused with 53300."),
        duration("tcp_keepalive", "60s", (secs(1), secs(32_767)), NewConnections, "Idle time after which the kernel probes a silent client.").off(),
        duration("tcp_keepalive_interval", "10s", (secs(1), secs(32_767)), NewConnections, "Time between two such probes."),
        int("tcp_keepalive_count", "6", (1, 127), NewConnections, "Unanswered probes after which the client counts as gone."),
        list("proxy_protocol_from", "", NewConnections, "Networks (10.0.0.0/8, 192.0.2.7) of balancers that speak the PROXY protocol, version 1 or 2. A TCP connection from there must begin with its header, and the client counts as coming from where that says; from anywhere else the header is refused. Empty: it is spoken by nobody."),
    ],
};

/// `[[listener]]`.
#[rustfmt::skip] // a table reads best as a table
pub(super) const LISTENER: Section = Section {
    name: "listener",
    repeated: Some("name"),
    doc: "A further address clients connect to, beside the three of [listen].",
    keys: &[
        text("name", "", Drain, "Name in metrics and logs; \"primary\", \"replicas\" and \"any\" are taken.").required("reports"),
        Key { kind: crate::config::key::Kind::Address { off: false }, ..address("address", "", Drain, "Where it listens, host:port.").required("0.0.0.0:5003") },
        word("routing", ListenerRouting::WORDS, "any", Drain, "What it stands for: the writable node, eligible replicas, or split by transaction."),
        word("read_preference", ReadPreference::WORDS, "", NewConnections, "Where its reads prefer to go.").unset("as routing.default_read_preference", "replica"),
        boolean("shadow", "true", NewConnections, "Everything goes to the primary, and where it would go is only counted.").unset("as routing.shadow", "true"),
        list("proxy_protocol_from", "", NewConnections, "Balancers in front of this listener; an empty list: none.").unset("as listen.proxy_protocol_from", "10.0.0.0/8"),
    ],
};

/// `[auth]`.
#[rustfmt::skip] // a table reads best as a table
pub(super) const AUTH: Section = Section {
    name: "auth",
    repeated: None,
    doc: "How clients prove who they are.",
    keys: &[
        word("method", AuthMethod::WORDS, "scram-sha-256", NewConnections, "Method for clients whose [[user]] does not say otherwise. \"trust\" asks for nothing on a Unix socket, on loopback and from trusted_networks; \"peer\" asks the kernel on a Unix socket; from anywhere else both are \"scram-sha-256\". \"cert\" takes a certificate issued by listen.client_ca instead of a password."),
        word("clientcert", ClientCert::WORDS, "off", NewConnections, "Certificate a client that comes by TCP must show besides: \"verify-ca\" one issued by listen.client_ca, \"verify-full\" one whose common name is the user or is mapped to it. As in pg_hba.conf."),
        list("trusted_networks", "", NewConnections, "Networks (10.0.0.0/8, 192.0.2.7) from which \"trust\" asks for nothing, beside Unix sockets and loopback."),
        path("ident_file", PathRule::File, NewConnections, "User name maps in the format of PostgreSQL's pg_ident.conf, without regular expressions. Read again on reload."),
        text("cert_map", "", NewConnections, "Map of ident_file that says which users the common name of a certificate may be.").unset("only the user of that name", "certificates"),
        text("peer_map", "", NewConnections, "Map of ident_file that says which users a user of the operating system may be.").unset("only the user of that name", "staff"),
        path("users_file", PathRule::File, NewConnections, "Users in the format of PgBouncer's userlist.txt: \"name\" \"password, md5 hash or SCRAM verifier\". A [[user]] of the same name wins. Read again on reload."),
        list("admin_users", "", NewConnections, "Users who may do everything on the console (the databases \"pgherd\" and \"pgbouncer\"). Nobody else gets in there but stats_users."),
        list("stats_users", "", NewConnections, "Users who may look at the console: all of SHOW but SHOW FDS."),
        text("query", "", NewConnections, "A statement that finds a user who is in no [[user]] and no users_file: $1 is the name, the answer one row of name and secret (a SCRAM verifier, an md5 hash, a password), or none. Runs on the primary, on a standby while there is none. PgBouncer's auth_query.")
            .unset("nobody is looked up", "SELECT rolname, CASE WHEN rolvaliduntil < now() THEN NULL ELSE rolpassword END FROM pg_authid WHERE rolname = $1 AND rolcanlogin"),
        text("query_user", "", NewConnections, "User that statement runs as, on connections of its own. It must be allowed to read secrets: see docs/authentication.md for a function that keeps this small.").unset("as cluster.user", "pgherd_auth"),
        secret("query_password", NewConnections, "Password of that user.").unset("that of the cluster, for the cluster's user", "${PGHERD_AUTH_PASSWORD:-change me}"),
        path("query_password_file", PathRule::File, NewConnections, "File that holds it; one trailing newline is dropped. Read again on reload."),
        text("query_password_env", "", NewConnections, "Environment variable that holds it.").unset("none", "PGHERD_AUTH_PASSWORD"),
        text("query_database", "", NewConnections, "Database that statement runs in.").unset("as cluster.database", "postgres"),
        duration("query_cache", "60s", (secs(0), DAY), NewConnections, "How long a user that was found is remembered. A failed login makes the next one ask again, at most once a second for each name; a reload forgets all."),
        duration("query_unknown_cache", "10s", (secs(0), DAY), NewConnections, "How long it is remembered that there is no such user."),
        duration("query_timeout", "5s", (MS, secs(3600)), NewConnections, "Limit for one question, connecting included. Who was found in the last hour is let in all the same when nobody answers."),
        boolean("strict_databases", "false", NewConnections, "Refuse databases that have no [[database]]; otherwise any name is passed to the servers."),
    ],
};

const MODE: &str = "When a server connection goes back to its pool, overriding [pool]. A user's word wins over a database's.";

/// `[[user]]`.
#[rustfmt::skip] // a table reads best as a table
pub(super) const USER: Section = Section {
    name: "user",
    repeated: Some("name"),
    doc: "A user clients may log in as.",
    keys: &[
        text("name", "", NewConnections, "Name as in the startup message.").required("app_user"),
        secret("password", NewConnections, "What the client must know: a password, an md5 hash, or a SCRAM verifier (SCRAM-SHA-256$...) copied from pg_authid."),
        path("password_file", PathRule::File, NewConnections, "File that holds it; one trailing newline is dropped. Read again on reload."),
        text("password_env", "", NewConnections, "Environment variable that holds it.").unset("none", "APP_PASSWORD"),
        word("auth", AuthMethod::WORDS, "", NewConnections, "Method for this user.").unset("as auth.method", "scram-sha-256"),
        word("clientcert", ClientCert::WORDS, "", NewConnections, "Certificate this user must show besides.").unset("as auth.clientcert", "off"),
        text("server_user", "", NewConnections, "Name pgherd logs in to servers with on behalf of this user.").unset("the same name", "app_owner"),
        secret("server_password", NewConnections, "Password pgherd logs in to servers with. Needed when `password` is an md5 hash and the servers ask for SCRAM."),
        path("server_password_file", PathRule::File, NewConnections, "File that holds the password for servers."),
        text("server_password_env", "", NewConnections, "Environment variable that holds the password for servers.").unset("none", "APP_SERVER_PASSWORD"),
        word("pool_mode", PoolMode::WORDS, "", NewConnections, MODE).unset("as the database or pool.mode", "session"),
        int("min_pool_size", "", (0, 100_000), AtOnce, "Connections each of this user's pools keeps open.").unset("as the database, the node or [pool]", "2"),
        int("max_pool_size", "", (1, 100_000), AtOnce, "Connections each of this user's pools may have.").unset("as the database, the node or [pool]", "30"),
        int("reserve_pool_size", "", (0, 100_000), AtOnce, "Extra connections for this user's pools.").unset("as the database or [pool]", "5"),
        int("max_client_connections", "", (1, 1_000_000), NewConnections, "Clients of this user at once.").unset("as pool.max_client_connections_per_user", "500"),
    ],
};

/// `[[database]]`.
#[rustfmt::skip] // a table reads best as a table
pub(super) const DATABASE: Section = Section {
    name: "database",
    repeated: Some("name"),
    doc: "A database with settings of its own. Databases without one are passed through with the defaults, unless auth.strict_databases.",
    keys: &[
        text("name", "", NewConnections, "Name as in the startup message.").required("production"),
        text("dbname", "", NewConnections, "Name on the servers.").unset("the same name", "production_v2"),
        word("pool_mode", PoolMode::WORDS, "", NewConnections, MODE).unset("as pool.mode", "session"),
        int("min_pool_size", "", (0, 100_000), AtOnce, "Connections each of this database's pools keeps open.").unset("as the node or [pool]", "2"),
        int("max_pool_size", "", (1, 100_000), AtOnce, "Connections each of this database's pools may have.").unset("as the node or [pool]", "30"),
        int("reserve_pool_size", "", (0, 100_000), AtOnce, "Extra connections for this database's pools.").unset("as [pool]", "5"),
        int("max_client_connections", "", (1, 1_000_000), NewConnections, "Clients of this database at once.").unset("as pool.max_client_connections_per_database", "500"),
    ],
};
