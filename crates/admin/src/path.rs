//! Which question a path asks. Health paths are matched by substring and in a fixed order, because that is what health
//! checks in the field rely on (`/replica?lag=1MB`, `/standby-leader`, `/haproxy/primary`).

/// The question behind a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// Can this be served now?
    Health(Health),
    /// Is the control loop turning?
    Liveness,
    /// May clients be sent here?
    Readiness,
    /// The metrics.
    Metrics,
    /// Members and facts.
    Cluster,
    /// Past changes of primary.
    History,
    /// Where statements would go, and why.
    Explain,
    /// Another primary.
    Switchover,
    /// A primary.
    Failover,
    /// This pgherd's own document, whatever its health.
    Node,
    /// One of Patroni's that this pgherd does not answer.
    Unserved,
    /// Nobody's.
    Unknown,
}

/// What a health check wants to have served. The answer is about the cluster behind this pgherd, not about one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Writes.
    Primary,
    /// The feeder of a standby cluster.
    StandbyLeader,
    /// Reads on a replica.
    Replica,
    /// Reads anywhere.
    ReadOnly,
    /// Any node up.
    Running,
}

/// What only Patroni answers; load balancers read "not available" from it.
const UNSERVED: [&str; 11] = [
    "config",
    "failsafe",
    "sync",
    "synchronous",
    "async",
    "asynchronous",
    "quorum",
    "read-only-sync",
    "read-only-synchronous",
    "read-only-quorum",
    "read-only-async",
];

impl Endpoint {
    /// Reads a path (without its query).
    pub fn of(path: &str) -> Endpoint {
        let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
        match first {
            "" => Endpoint::Health(Health::Primary),
            "liveness" => Endpoint::Liveness,
            "readiness" => Endpoint::Readiness,
            "metrics" => Endpoint::Metrics,
            "cluster" => Endpoint::Cluster,
            "history" => Endpoint::History,
            "explain" => Endpoint::Explain,
            "switchover" => Endpoint::Switchover,
            "failover" => Endpoint::Failover,
            "patroni" => Endpoint::Node,
            known if UNSERVED.contains(&known) => Endpoint::Unserved,
            _ => health_of(path).map_or(Endpoint::Unknown, Endpoint::Health),
        }
    }
}

fn health_of(path: &str) -> Option<Health> {
    let has = |words: &[&str]| words.iter().any(|word| path.contains(word));
    if has(&["standby_leader", "standby-leader"]) {
        Some(Health::StandbyLeader)
    } else if has(&["leader", "master", "primary", "read-write"]) {
        Some(Health::Primary)
    } else if has(&["replica"]) {
        Some(Health::Replica)
    } else if has(&["read-only"]) && !has(&["sync", "quorum"]) {
        Some(Health::ReadOnly)
    } else if has(&["health"]) {
        Some(Health::Running)
    } else {
        None
    }
}

/// The `lag=` filter of a query: the most bytes a replica may be behind. `None` when it is not there or not a size,
/// which Patroni reads as "no limit" too.
pub fn max_lag(query: &str) -> Option<u64> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix("lag="))?;
    let digits = value.len() - value.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let number: u64 = value[..digits].parse().ok()?;
    let unit: u64 = match value[digits..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1 << 10,
        "mb" => 1 << 20,
        "gb" => 1 << 30,
        "tb" => 1 << 40,
        _ => return None,
    };
    number.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_ask_what_patroni_understands() {
        let cases = [
            ("/", Endpoint::Health(Health::Primary)),
            ("/primary", Endpoint::Health(Health::Primary)),
            ("/master", Endpoint::Health(Health::Primary)),
            ("/leader", Endpoint::Health(Health::Primary)),
            ("/read-write", Endpoint::Health(Health::Primary)),
            ("/standby-leader", Endpoint::Health(Health::StandbyLeader)),
            ("/standby_leader", Endpoint::Health(Health::StandbyLeader)),
            ("/replica", Endpoint::Health(Health::Replica)),
            ("/read-only", Endpoint::Health(Health::ReadOnly)),
            ("/read-only-sync", Endpoint::Unserved),
            ("/health", Endpoint::Health(Health::Running)),
            ("/haproxy/replica", Endpoint::Health(Health::Replica)),
            ("/cluster", Endpoint::Cluster),
            ("/cluster/x", Endpoint::Cluster),
            ("/history", Endpoint::History),
            ("/explain", Endpoint::Explain),
            ("/metrics", Endpoint::Metrics),
            ("/liveness", Endpoint::Liveness),
            ("/readiness", Endpoint::Readiness),
            ("/patroni", Endpoint::Node),
            ("/config", Endpoint::Unserved),
            ("/nope", Endpoint::Unknown),
            ("/favicon.ico", Endpoint::Unknown),
            ("//", Endpoint::Health(Health::Primary)),
        ];
        for (path, want) in cases {
            assert_eq!(Endpoint::of(path), want, "{path}");
        }
    }

    #[test]
    fn a_lag_limit_is_a_size_or_none() {
        let cases = [
            ("lag=0", Some(0)),
            ("lag=16MB", Some(16 << 20)),
            ("x=1&lag=2kB", Some(2048)),
            ("lag=1tb", Some(1 << 40)),
            ("", None),
            ("lag=", None),
            ("lag=-1", None),
            ("lag=1 MB", None),
            ("lag=99999999999TB", None),
            ("flag=1", None),
        ];
        for (query, want) in cases {
            assert_eq!(max_lag(query), want, "{query}");
        }
    }
}
