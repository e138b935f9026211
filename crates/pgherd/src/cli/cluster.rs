//! `/cluster` as JSON gives it: Patroni's document with fields of ours, every one of which may be absent.

use crate::cli::moment::{ago, epoch, size};
use serde_json::Value;

/// One member's row and what there is to say below the table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Member {
    /// Cells in the order of [`HEAD`].
    pub cells: Vec<String>,
    /// It leads.
    pub leader: bool,
    /// Reads go there (a leader's word is `rw`).
    pub reads: bool,
    /// Its process runs.
    pub runs: bool,
    /// Why it gets no reads.
    pub read_note: Option<String>,
    /// Why it cannot become primary.
    pub failover_note: Option<String>,
    /// It accepts writes without being the routed primary.
    pub rival: bool,
}

/// Columns of the table.
pub const HEAD: [&str; 13] = [
    "Member",
    "Host",
    "Role",
    "State",
    "TL",
    "Receive LSN",
    "Lag",
    "Replay LSN",
    "Lag",
    "Reads",
    "Failover",
    "Conns",
    "Check",
];
/// Columns whose cells stand to the right.
pub const RIGHT: [bool; 13] =
    [false, false, false, false, true, false, false, false, false, false, false, true, false];
/// Index of the column Reads; Failover is the next.
pub const READS: usize = 9;

/// Text of a field, when there is any.
pub fn text(value: &Value, key: &str) -> Option<String> {
    match value.get(key)? {
        Value::String(text) if !text.is_empty() => Some(plain(text)),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(yes) => Some(yes.to_string()),
        _ => None,
    }
}

/// Foreign text without control characters: a name must not move the cursor.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).take(300).collect()
}

impl Member {
    /// Reads one entry of the `members` of a cluster.
    pub fn read(member: &Value, cluster: &Value) -> Member {
        let role = text(member, "role").unwrap_or_default();
        let leader = matches!(role.as_str(), "leader" | "standby_leader" | "master" | "primary");
        let state = text(member, "state").unwrap_or_else(|| "unknown".to_string());
        let runs = matches!(state.as_str(), "running" | "streaming" | "in archive recovery");
        let reads = text(member, "read").unwrap_or_else(|| "-".to_string());
        let failover = failover(member);
        // Patroni's word for a position nobody told.
        let dash =
            |text: Option<String>| text.filter(|text| text != "unknown").unwrap_or_else(|| "-".to_string());
        let receive = if leader { None } else { text(member, "receive_lsn") };
        let replay = text(member, "replay_lsn").or_else(|| text(member, "lsn"));
        // What does not run has no lag worth a word.
        let lagless = leader || !runs;
        let cells = vec![
            dash(text(member, "name")),
            host(member),
            if leader { words(&role) } else { shown_role(member, &role, runs, cluster) },
            state,
            dash(text(member, "timeline")),
            dash(receive),
            if lagless { "-".to_string() } else { bytes(member, "receive_lag") },
            dash(replay),
            if lagless { "-".to_string() } else { lag(member) },
            reads.clone(),
            failover.clone(),
            connections(member),
            member
                .get("check_age_seconds")
                .and_then(Value::as_f64)
                .map_or("-".to_string(), |s| ago(s) + " ago"),
        ];
        Member {
            leader,
            rival: !leader && runs && seen_as(member, "primary"),
            runs,
            // A server that does not say is Patroni: then a running replica is read from.
            reads: if reads == "-" { runs && !leader } else { matches!(reads.as_str(), "ok" | "rw") },
            read_note: if reads == "no" { note(member, "read_reason") } else { None },
            failover_note: if failover == "no" { note(member, "failover_reason") } else { None },
            cells,
        }
    }
}

/// What its last answered probe showed; never so where the server does not say (Patroni).
fn seen_as(member: &Value, role: &str) -> bool {
    text(member, "seen_as").is_some_and(|seen| seen == role)
}

/// Patroni has no word for a node that accepts writes beside the leader, or that nobody has seen yet.
fn shown_role(member: &Value, role: &str, runs: bool, cluster: &Value) -> String {
    let newest =
        cluster.get("sentence_facts").and_then(|facts| facts.get("timeline")).and_then(Value::as_u64);
    let own = member.get("timeline").and_then(Value::as_u64);
    if seen_as(member, "primary") {
        match (own < newest, runs) {
            (true, _) => "Old primary".to_string(),
            (false, true) => "Second primary".to_string(),
            (false, false) => "Was primary".to_string(),
        }
    } else if seen_as(member, "unknown") {
        "Unknown".to_string()
    } else {
        words(role)
    }
}

/// What an operator must know and do about nodes that accept writes without being routed; empty without any.
pub fn warnings(members: &[Member]) -> String {
    let leader = members.iter().find(|member| member.leader);
    let mut out = String::new();
    for rival in members.iter().filter(|member| member.rival) {
        let (name, timeline) = (&rival.cells[0], &rival.cells[4]);
        let also = if leader.is_some() { "also accepts" } else { "accepts" };
        out.push_str(&format!("{name} {also} writes (timeline {timeline}); it is not routed."));
        let Some(leader) = leader else {
            out.push('\n');
            continue;
        };
        let (host, port) = leader.cells[1].rsplit_once(':').unwrap_or((leader.cells[1].as_str(), "5432"));
        let host = host.trim_matches(['[', ']']);
        out.push_str(&format!(
            "  To make it a replica of {}, on its host, as the user PostgreSQL runs as:\n  \
             pg_ctl -D $PGDATA stop -m fast\n  \
             pg_rewind -D $PGDATA -R --source-server=\"host={host} port={port} user=postgres dbname=postgres\"\n  \
             pg_ctl -D $PGDATA start\n  \
             What only {name} has is lost with it. Where pg_rewind refuses, empty $PGDATA and use pg_basebackup -R.\n",
            leader.cells[0]
        ));
    }
    out
}

/// `1st`, `2nd` for candidates: in which order they would be taken.
fn failover(member: &Value) -> String {
    let place = member.get("failover_place").and_then(Value::as_u64);
    match (text(member, "failover"), place) {
        (Some(word), Some(place)) if word == "candidate" => {
            let end = match (place % 10, place % 100) {
                (1, tens) if tens != 11 => "st",
                (2, tens) if tens != 12 => "nd",
                (3, tens) if tens != 13 => "rd",
                _ => "th",
            };
            format!("{place}{end}")
        }
        (Some(word), _) if word != "leader" => word,
        _ => "-".to_string(),
    }
}

fn host(member: &Value) -> String {
    match (text(member, "host"), text(member, "port")) {
        (Some(host), Some(port)) if host.contains(':') => format!("[{host}]:{port}"),
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host,
        _ => "-".to_string(),
    }
}

/// `sync_standby` is `Sync Standby`.
fn words(role: &str) -> String {
    let words = role.split('_').filter(|word| !word.is_empty()).map(|word| {
        let mut letters = word.chars();
        letters
            .next()
            .map(|first| first.to_uppercase().chain(letters).collect::<String>())
            .unwrap_or_default()
    });
    let words = words.collect::<Vec<_>>().join(" ");
    if words.is_empty() { "-".to_string() } else { words }
}

fn bytes(member: &Value, key: &str) -> String {
    match member.get(key) {
        Some(Value::Number(number)) => number.as_u64().map_or("-".to_string(), size),
        Some(Value::String(text)) => plain(text),
        _ => "-".to_string(),
    }
}

/// `14.2s / 31MB`.
fn lag(member: &Value) -> String {
    let amount = match bytes(member, "replay_lag").as_str() {
        "-" => bytes(member, "lag"),
        amount => amount.to_string(),
    };
    match member.get("lag_seconds").and_then(Value::as_f64) {
        Some(seconds) => format!("{seconds:.1}s / {amount}"),
        None => amount,
    }
}

/// `9/20`, from text, a number, or an object of used and limit.
fn connections(member: &Value) -> String {
    match member.get("connections") {
        Some(Value::Object(both)) => {
            let number = |keys: [&str; 3]| keys.iter().find_map(|key| both.get(*key)?.as_u64());
            match (number(["used", "open", "active"]), number(["limit", "max", "size"])) {
                (Some(used), Some(limit)) => format!("{used}/{limit}"),
                (Some(used), None) => used.to_string(),
                _ => "-".to_string(),
            }
        }
        _ => match (text(member, "connections"), text(member, "connections_limit")) {
            (Some(used), Some(limit)) => format!("{used}/{limit}"),
            (Some(used), None) => used,
            (None, _) => "-".to_string(),
        },
    }
}

/// A reason, with since when.
fn note(member: &Value, key: &str) -> Option<String> {
    let reason = text(member, key)?;
    let since =
        member.get(format!("{key}_since")).filter(|since| epoch(since).is_some()).and_then(
            |since| match since {
                // The clock of an ISO time is what people compare with their logs.
                Value::String(text) => {
                    let zone = if text.ends_with("+00:00") || text.ends_with('Z') { "Z" } else { "" };
                    text.get(11..19).map(|clock| format!("{clock}{zone}"))
                }
                other => epoch(other).map(clock),
            },
        );
    Some(since.map_or(reason.clone(), |since| format!("{reason} since {since}")))
}

/// `HH:MM:SS` in UTC.
fn clock(seconds: f64) -> String {
    let of_day = (seconds.max(0.0) as u64) % 86_400;
    format!("{:02}:{:02}:{:02}Z", of_day / 3600, of_day / 60 % 60, of_day % 60)
}

/// The first line: who is primary, for how long, where reads go, whether it would fail over.
pub fn sentence(cluster: &Value, members: &[Member], now: f64) -> String {
    let facts = cluster.get("sentence_facts").cloned().unwrap_or_default();
    let scope = text(cluster, "scope").unwrap_or_else(|| "cluster".to_string());
    let leader = members.iter().find(|member| member.leader);
    let primary = text(&facts, "primary").or_else(|| leader.and_then(|m| m.cells.first().cloned()));
    let since = facts.get("primary_since").and_then(epoch).map(|since| ago(now - since));
    let phase = text(&facts, "phase").filter(|phase| !phase.eq_ignore_ascii_case("steady"));
    let mut out = format!("{scope}  ");
    match (&primary, &since) {
        (Some(primary), Some(since)) => out.push_str(&format!("{primary} is primary for {since}")),
        (Some(primary), None) => out.push_str(&format!("{primary} is primary")),
        (None, Some(since)) => out.push_str(&format!("no primary for {since}")),
        (None, None) => out.push_str("no primary"),
    }
    let timeline = text(&facts, "timeline").or_else(|| leader.and_then(|m| m.cells.get(4).cloned()));
    if let Some(timeline) = timeline.filter(|timeline| timeline != "-" && timeline != "0") {
        out.push_str(&format!(", timeline {timeline}"));
    }
    out.push_str(&phase.map(|phase| format!(", phase {phase}")).unwrap_or_default());
    let replicas = facts.get("replicas").and_then(Value::as_u64);
    let replicas = replicas.unwrap_or(members.iter().filter(|m| !m.leader).count() as u64);
    let eligible = facts.get("eligible").and_then(Value::as_u64);
    let eligible = eligible.unwrap_or(members.iter().filter(|m| !m.leader && m.reads).count() as u64);
    let noun = if replicas == 1 { "replica" } else { "replicas" };
    out.push_str(&format!(".  Reads on {eligible} of {replicas} {noun}."));
    if let Some(auto) = text(&facts, "auto_failover") {
        let auto = match auto.as_str() {
            "true" => "on",
            "false" => "off",
            other => other,
        };
        out.push_str(&format!("  Auto failover: {auto}"));
        if let Some(count) = facts.get("candidates").and_then(Value::as_u64) {
            out.push_str(&format!(", {count} candidate{}", if count == 1 { "" } else { "s" }));
        }
        out.push('.');
    }
    if cluster.get("pause").and_then(Value::as_bool) == Some(true) {
        out.push_str("  Maintenance mode: on.");
    }
    out
}
