//! The JSON documents. Optional keys are absent, never null.

use crate::source::{Change, Facts, Failover, Member, MemberRole, Read};
use crate::timestamp::iso;
use pgherd_topology::node::{Node, Role, Tags};
use pgherd_topology::snapshot::Snapshot;
use serde_json::{Map, Value, json};

/// `GET /cluster`: Patroni's shape, with our own fields added to members and at the top.
pub fn cluster(snapshot: &Snapshot, facts: &Facts, mut members: Vec<Member>) -> Value {
    members.sort_by(|a, b| a.name.cmp(&b.name));
    let led = snapshot.primary.is_some();
    let listed: Vec<Value> = members.iter().map(|one| member(one, led)).collect();
    let mut document = Map::new();
    document.insert("members".into(), listed.into());
    document.insert("scope".into(), facts.scope.as_str().into());
    if facts.paused {
        document.insert("pause".into(), true.into());
    }
    document.insert("sentence_facts".into(), sentence_facts(snapshot, facts, &members));
    document.into()
}

/// `GET /history`: one list per change, Patroni's five columns; the timeline is the one that ended.
pub fn history(changes: &[Change]) -> Value {
    let line = |change: &Change| {
        let mut line = vec![json!(change.timeline.0), json!(change.at.0), json!(change.reason)];
        if let Some(time) = change.time {
            line.push(iso(time).into());
            line.extend(change.leader.as_deref().map(Value::from));
        }
        Value::from(line)
    };
    changes.iter().map(line).collect()
}

/// The document of this pgherd, which stands for its cluster as one virtual node: the body of health answers. It is that of
/// `replica` where one was asked for and there is one, else that of the primary.
pub fn node(snapshot: &Snapshot, facts: &Facts, is_ready: bool, replica: Option<&Node>) -> Value {
    let primary = snapshot.primary_node();
    let role = match (replica, primary) {
        (Some(_), _) => "replica",
        (None, Some(_)) => "primary",
        (None, None) if snapshot.eligible_replicas().next().is_some() => "replica",
        (None, None) => "uninitialized",
    };
    let mut document = Map::new();
    document.insert("state".into(), if is_ready { "running" } else { "starting" }.into());
    document.insert("role".into(), role.into());
    if let Some(node) = replica.or(primary.map(|node| &**node)) {
        let xlog = match replica {
            Some(node) => json!({
                "received_location": node.received.0,
                "replayed_location": node.replayed.0,
                "replayed_timestamp": null,
            }),
            None => json!({ "location": node.received.0 }),
        };
        document.insert("server_version".into(), node.version.into());
        document.insert("xlog".into(), xlog);
    }
    if primary.is_none() {
        document.insert("cluster_unlocked".into(), true.into());
    }
    document.insert("timeline".into(), snapshot.timeline.0.into());
    if snapshot.system != 0 {
        document.insert("database_system_identifier".into(), snapshot.system.to_string().into());
    }
    if facts.paused {
        document.insert("pause".into(), true.into());
    }
    let version = env!("CARGO_PKG_VERSION");
    document.insert("patroni".into(), json!({ "version": version, "scope": facts.scope, "name": "pgherd" }));
    document.into()
}

/// Whether any node was seen in a role: what `/health` asks.
pub fn any_node_runs(snapshot: &Snapshot) -> bool {
    snapshot.nodes.iter().any(|node| node.role != Role::Unknown)
}

fn member(member: &Member, led: bool) -> Value {
    let mut document = Map::new();
    let mut put = |key: &str, value: Value| document.insert(key.to_string(), value);
    put("name", (*member.name).into());
    put("role", role_word(member.role).into());
    put("state", member.state.as_str().into());
    put("seen_as", seen_word(member.seen).into());
    put("host", member.host.as_str().into());
    put("port", member.port.into());
    if let Some(url) = &member.api_url {
        put("api_url", url.as_str().into());
    }
    if let Some(timeline) = member.timeline {
        put("timeline", timeline.0.into());
    }
    if member.tags != Tags::default() {
        put("tags", tags(&member.tags));
    }
    if !matches!(member.role, MemberRole::Leader | MemberRole::StandbyLeader) {
        // Patroni's `lsn` is the furthest position the member has, received or replayed.
        let furthest = member.received.max(member.replayed);
        let least = member.receive_lag.min(member.replay_lag);
        for (name, at, lag) in [
            ("receive_", member.received, member.receive_lag),
            ("replay_", member.replayed, member.replay_lag),
            ("", furthest, least),
        ] {
            let lag = lag.filter(|_| led);
            put(&format!("{name}lsn"), at.map_or("unknown".into(), |at| at.to_string().into()));
            put(&format!("{name}lag"), lag.map_or("unknown".into(), Value::from));
        }
        if let Some(delay) = member.replay_delay {
            put("lag_seconds", delay.as_secs_f64().into());
        }
    } else if let Some(at) = member.replayed.max(member.received) {
        // Ours: where the leader writes.
        put("replay_lsn", at.to_string().into());
    }
    put_use(&mut put, member);
    document.into()
}

/// What pgherd does with the member: our own fields.
fn put_use(put: &mut impl FnMut(&str, Value) -> Option<Value>, member: &Member) {
    match &member.read {
        Read::Write => put("read", "rw".into()),
        Read::Eligible => put("read", "ok".into()),
        Read::No { reason, since } => {
            put("read_reason", reason.as_str().into());
            if let Some(since) = since {
                put("read_reason_since", iso(*since).into());
            }
            put("read", "no".into())
        }
    };
    match &member.failover {
        Failover::Leader => put("failover", "leader".into()),
        Failover::Candidate(place) => {
            put("failover_place", (*place).into());
            put("failover", "candidate".into())
        }
        Failover::No(reason) => {
            put("failover_reason", reason.as_str().into());
            put("failover", "no".into())
        }
    };
    if let Some(age) = member.check_age {
        put("check_age_seconds", age.as_secs_f64().into());
    }
    put("connections", member.connections.into());
    if let Some(limit) = member.connections_limit {
        put("connections_limit", limit.into());
    }
}

/// What the one sentence of `pgherd status` is made of.
fn sentence_facts(snapshot: &Snapshot, facts: &Facts, members: &[Member]) -> Value {
    let mut document = Map::new();
    if let Some(primary) = snapshot.primary_node() {
        document.insert("primary".into(), (*primary.name).into());
        if let Some(since) = facts.primary_since {
            document.insert("primary_since".into(), iso(since).into());
        }
    }
    // A node that was never reached, or that accepts writes without being routed, is none.
    let replicas = members.iter().filter(|m| m.role != MemberRole::Leader && m.seen == Role::Standby).count();
    let candidates = members.iter().filter(|m| matches!(m.failover, Failover::Candidate(_))).count();
    document.insert("timeline".into(), snapshot.timeline.0.into());
    document.insert("eligible".into(), snapshot.eligible_replicas().count().into());
    document.insert("replicas".into(), replicas.into());
    document.insert("candidates".into(), candidates.into());
    document.insert("phase".into(), snapshot.phase.into());
    document.insert("auto_failover".into(), facts.auto_failover.into());
    document.insert("epoch".into(), snapshot.epoch.into());
    document.into()
}

fn role_word(role: MemberRole) -> &'static str {
    match role {
        MemberRole::Leader => "leader",
        MemberRole::StandbyLeader => "standby_leader",
        MemberRole::SyncStandby => "sync_standby",
        MemberRole::QuorumStandby => "quorum_standby",
        MemberRole::Replica => "replica",
    }
}

fn seen_word(role: Role) -> &'static str {
    match role {
        Role::Primary => "primary",
        Role::Standby => "standby",
        Role::Unknown => "unknown",
    }
}

fn tags(tags: &Tags) -> Value {
    let mut document = Map::new();
    let flags = [
        ("noloadbalance", tags.noloadbalance),
        ("nofailover", tags.nofailover),
        ("nosync", tags.nosync),
        ("clonefrom", tags.clonefrom),
    ];
    for (name, _) in flags.iter().filter(|(_, set)| *set) {
        document.insert((*name).to_string(), true.into());
    }
    if let Some(upstream) = &tags.replicatefrom {
        document.insert("replicatefrom".into(), (**upstream).into());
    }
    if tags.failover_priority != Tags::default().failover_priority {
        document.insert("failover_priority".into(), tags.failover_priority.into());
    }
    document.into()
}
