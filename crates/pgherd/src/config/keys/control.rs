//! Keys of health, failover, and the faces towards operators.

use crate::config::key::Reload::{AtOnce, Drain, NewConnections, Restart};
use crate::config::key::{
    DAY, MS, PathRule, Section, address, boolean, bytes, bytes_list, duration, int, list, path, secret, secs,
    text, word,
};
use crate::config::words::{
    ApiAuth, CommitResolution, FailoverStrategy, Fencing, HoldStart, NotifyKind, PrimaryRoleName,
};

const PB: u64 = 1 << 50;

/// `[health]`.
#[rustfmt::skip] // a table reads best as a table
pub(super) const HEALTH: Section = Section {
    name: "health",
    repeated: None,
    doc: "How nodes are watched, and when a replica is too far behind to be read.",
    keys: &[
        duration("health_check_interval", "10s", (MS, secs(3600)), AtOnce, "Time between two probes of a node while all is well.").bare(),
        duration("fast_check_interval", "1s", (MS, secs(3600)), AtOnce, "The same from the first bad sign on (a failed probe, a client connection that died) until the node is well again."),
        duration("health_check_timeout", "2s", (MS, secs(3600)), AtOnce, "A probe that takes longer has failed."),
        int("consecutive_failures_threshold", "3", (1, 100), AtOnce, "Failed probes in a row that make a node unhealthy."),
        duration("lag_check_interval", "5s", (MS, secs(3600)), AtOnce, "Time between two measurements of lag at most; where a limit on replay delay holds it is a fifth of that limit, and 200ms at the least.").bare(),
        duration("max_lag_threshold", "5s", (secs(0), DAY), AtOnce, "Replay delay above which a replica gets no reads, unless its node says otherwise.").off().bare(),
        bytes("max_lag_bytes", "100MB", (0, PB), AtOnce, "Bytes behind the primary above which a replica gets no reads. Both limits count.").off(),
        bytes_list("lag_alert_bytes", "1MB, 10MB, 100MB", AtOnce, "Lag at which a replica is at warning, critical and emergency, in bytes.").later(),
        boolean("auto_remediate", "true", AtOnce, "Replicas leave and re-enter rotation without being asked."),
        boolean("auto_discover", "false", AtOnce, "Standbys the primary knows by pg_stat_replication are added without being configured."),
        duration("discovery_interval", "60s", (secs(1), DAY), AtOnce, "Time between two looks for new standbys.").bare().later(),
    ],
};

/// `[failover]`.
#[rustfmt::skip] // a table reads best as a table
pub(super) const FAILOVER: Section = Section {
    name: "failover",
    repeated: None,
    doc: "What happens when the primary is gone. pgherd acts only with server.state_dir, where each step is written down first, and with a role that may promote (docs/failover.md); otherwise it watches, holds clients, follows a promotion made by others, and journals what it would do.",
    keys: &[
        boolean("enable_auto_failover", "true", AtOnce, "Fail over without being asked."),
        word("failover_strategy", FailoverStrategy::WORDS, "supervised", AtOnce, "\"supervised\" acts alone when every guard is green, else stops and asks; \"automatic\" is not stopped by soft guards such as lag over its limit; \"manual\" never acts by itself."),
        int("min_replicas_for_failover", "1", (0, 100), AtOnce, "Healthy replicas, the candidate included, below which it does not act."),
        duration("failover_timeout", "30s", (secs(1), DAY), AtOnce, "Limit for a whole failover.").bare().later(),
        duration("validation_window", "2s", (secs(0), secs(3600)), AtOnce, "Time in which several observations must agree before anything is done.").bare().later(),
        duration("lone_grace", "10s", (secs(0), secs(3600)), AtOnce, "Further wait when no replica can be asked whether it lost the primary too.").later(),
        bytes("maximum_lag_on_failover", "1MB", (0, PB), AtOnce, "A candidate further behind is not promoted.").off().bare(),
        bytes("maximum_lag_on_syncnode", "off", (0, PB), AtOnce, "A synchronous standby further behind is replaced by another. -1 is understood as \"off\".").off().bare().later(),
        duration("ttl", "30s", (secs(1), secs(3600)), AtOnce, "Lifetime of the leader's lease. Keep ttl >= loop_wait + 2 x retry_timeout.").bare().later(),
        duration("loop_wait", "10s", (MS, secs(3600)), AtOnce, "Time between two turns of the leader's loop.").bare().later(),
        duration("retry_timeout", "10s", (MS, secs(3600)), AtOnce, "Limit for retries against the store of the lease.").bare().later(),
        duration("primary_start_timeout", "5m", (secs(0), DAY), AtOnce, "How long a crashed primary may take to come back before another node is promoted; 0s does not wait.").bare().formerly(&["master_start_timeout"]).later(),
        duration("hold_timeout", "15s", (secs(0), secs(3600)), NewConnections, "While there is no primary, transactions wait this long for the new one; then they get 57P03."),
        word("hold_start", HoldStart::WORDS, "suspicion", AtOnce, "Whether clients wait from the first bad sign on or from the confirmed failure.").later(),
        int("hold_max_sessions", "10000", (1, 1_000_000), AtOnce, "Sessions that may wait at once.").later(),
        bytes("hold_max_bytes", "256MB", (1 << 16, PB), AtOnce, "Bytes of their requests that may wait at once; the newest is refused with 53300.").later(),
        duration("drain_timeout", "10s", (secs(0), secs(3600)), AtOnce, "Planned changes: open transactions on a node that is drained may take this long."),
        list("fence_command", "", AtOnce, "Program and arguments that isolate the old primary. It must exit with 0 before promotion when fencing is \"required\".").later(),
        word("fencing", Fencing::WORDS, "best_effort", AtOnce, "What is asked of the old primary before another is promoted: nothing, to take no more writes if it can be reached, or to have confirmed that. pgherd's own sockets to it are always closed."),
        word("commit_resolution", CommitResolution::WORDS, "off", AtOnce, "\"xid\" asks the new primary what became of a COMMIT whose answer was lost; otherwise the client gets 08007.").later(),
        boolean("retry_proven_aborts", "false", AtOnce, "Re-run a lone write that the server provably aborted because it was shut down.").later(),
    ],
};

/// `[api]`.
#[rustfmt::skip] // a table reads best as a table
pub(super) const API: Section = Section {
    name: "api",
    repeated: None,
    doc: "HTTP for operators, load balancers and Prometheus.",
    keys: &[
        address("listen", "0.0.0.0:8008", Restart, "Where it listens."),
        text("face", "cluster", AtOnce, "Whom /, /primary and /replica speak for: \"cluster\" (can this pgherd serve reads and writes now?) or a node's name.").later(),
        word("primary_role_name", PrimaryRoleName::WORDS, "primary", AtOnce, "What the API calls a primary: \"master\" is Patroni 3's word.").later(),
        word("auth", ApiAuth::WORDS, "", AtOnce, "\"none\" leaves changes open to everybody who can connect; otherwise they need the password below, or come from loopback when there is none.").unset("password", "none"),
        text("auth.admin.user", "admin", AtOnce, "Name for HTTP basic authentication."),
        secret("auth.admin.password", AtOnce, "Password for it."),
        path("auth.admin.password_file", PathRule::File, AtOnce, "File that holds it."),
        text("auth.admin.password_env", "", AtOnce, "Environment variable that holds it.").unset("none", "PGHERD_ADMIN_PASSWORD"),
    ],
};

/// `[web]`.
#[rustfmt::skip] // a table reads best as a table
pub(super) const WEB: Section = Section {
    name: "web",
    repeated: None,
    doc: "The page, and statistics in HAProxy's format.",
    keys: &[
        address("listen", "0.0.0.0:7000", Drain, "Where it listens.").later(),
        boolean("actions", "false", AtOnce, "Buttons that change something. They need the API's password.").later(),
    ],
};

/// `[metrics]`.
#[rustfmt::skip] // a table reads best as a table
pub(super) const METRICS: Section = Section {
    name: "metrics",
    repeated: None,
    doc: "Names at /metrics of the API.",
    keys: &[
        boolean("patroni_names", "true", AtOnce, "Also emit the patroni_* names that alert rules in the field use.").later(),
        boolean("pgbouncer_names", "false", AtOnce, "Also emit the names of pgbouncer_exporter.").later(),
    ],
};

/// `[[notify]]`.
#[rustfmt::skip] // a table reads best as a table
pub(super) const NOTIFY: Section = Section {
    name: "notify",
    repeated: Some("kind"),
    doc: "A place events are sent to.",
    keys: &[
        word("kind", NotifyKind::WORDS, "", AtOnce, "What stands there.").required("slack").later(),
        secret("url", AtOnce, "Its address. Many services put their token there, so it is never shown.").later(),
        path("url_file", PathRule::File, AtOnce, "File that holds the address.").later(),
        text("url_env", "", AtOnce, "Environment variable that holds the address.").unset("none", "SLACK_URL").later(),
        list("command", "", AtOnce, "Program and arguments, for kind \"exec\".").later(),
        list("events", "failover.*, switchover.*, lag.critical, quorum.lost", AtOnce, "Names of events; a * at the end stands for any rest.").later(),
        duration("timeout", "5s", (MS, secs(3600)), NewConnections, "Limit for one delivery.").later(),
    ],
};
