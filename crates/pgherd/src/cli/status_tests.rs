//! The status as an operator reads it.

use super::*;
use serde_json::json;

fn email_cluster() -> Value {
    json!({
        "scope": "email-cluster",
        "members": [
            { "name": "pg1", "role": "leader", "state": "running", "host": "10.0.0.1", "port": 5432, "timeline": 7,
              "lsn": "0/9F001A8", "read": "rw", "connections": "18/50", "check_age_seconds": 1.2 },
            { "name": "pg2", "role": "replica", "state": "streaming", "host": "10.0.0.2", "port": 5432, "timeline": 7,
              "receive_lsn": "0/9F001A8", "receive_lag": 0, "replay_lsn": "0/9F001A8", "replay_lag": 0,
              "lag_seconds": 0.0, "read": "ok", "failover": "1st", "connections": { "open": 9, "limit": 20 },
              "check_age_seconds": 2 },
            { "name": "pg3", "role": "replica", "state": "streaming", "host": "10.0.0.3", "port": 5432, "timeline": 7,
              "receive_lsn": "0/9F001A8", "receive_lag": 0, "replay_lsn": "0/8000060", "replay_lag": 32505856,
              "lag_seconds": 14.2, "read": "no", "read_reason": "lag 14.2s > max_lag_seconds 10.0s",
              "read_reason_since": "2026-01-15T00:03:10Z", "failover": "no", "failover_reason": "tag nofailover",
              "connections": 0, "connections_limit": 15, "check_age_seconds": 2.9 }
        ],
        "sentence_facts": { "primary": "pg1", "primary_since": "2026-01-11T22:00:00Z", "timeline": 7, "eligible": 1,
            "replicas": 2, "phase": "steady", "auto_failover": "on (supervised)", "candidates": 1 }
    })
}

#[test]
fn reads_as_the_manual_shows() {
    let cluster = email_cluster();
    let members = members(&cluster);
    let now = 1_768_442_700.0; // 2026-01-15 02:05
    assert_eq!(
        sentence(&cluster, &members, now),
        "email-cluster  pg1 is primary for 3d 4h, timeline 7.  Reads on 1 of 2 replicas.  \
         Auto failover: on (supervised), 1 candidate."
    );
    let want = " Member  Host           Role     State      TL  Receive LSN  Lag  Replay LSN  Lag           Reads   Failover  Conns  Check
 pg1     10.0.0.1:5432  Leader   running     7  -            -    0/9F001A8   -             rw      -         18/50  1s ago
 pg2     10.0.0.2:5432  Replica  streaming   7  0/9F001A8    0    0/9F001A8   0.0s / 0      ok      1st        9/20  2s ago
 pg3     10.0.0.3:5432  Replica  streaming   7  0/9F001A8    0    0/8000060   14.2s / 31MB  no (1)  no (2)     0/15  2s ago
(1) lag 14.2s > max_lag_seconds 10.0s since 00:03:10Z   (2) tag nofailover
";
    assert_eq!(body(&members), want);
    assert_eq!(Health::of(&cluster, &members).code(), 3);
}

#[test]
fn an_old_primary_is_named_with_what_to_type_and_a_stranger_is_unknown() {
    let mut cluster = email_cluster();
    cluster["members"][1]["seen_as"] = json!("primary");
    cluster["members"][1]["timeline"] = json!(6);
    cluster["members"][2]["seen_as"] = json!("unknown");
    let shown = members(&cluster);
    assert_eq!((shown[1].cells[2].as_str(), shown[2].cells[2].as_str()), ("Old primary", "Unknown"));
    let text = warnings(&shown);
    assert!(text.starts_with("pg2 also accepts writes (timeline 6); it is not routed."), "{text}");
    assert!(text.contains("pg_rewind") && text.contains("host=10.0.0.1 port=5432"), "{text}");
    cluster["members"][1]["timeline"] = json!(7);
    assert_eq!(members(&cluster)[1].cells[2], "Second primary");
    cluster["members"][1]["state"] = json!("unknown");
    assert_eq!(members(&cluster)[1].cells[2], "Was primary");
    cluster["members"][1] = json!({ "name": "pg2", "seen_as": "primary", "state": "running", "timeline": 6 });
    cluster["members"][0]["role"] = json!("replica");
    assert_eq!(warnings(&members(&cluster)), "pg2 accepts writes (timeline 6); it is not routed.\n");
    assert_eq!(warnings(&members(&email_cluster())), "");
}

#[test]
fn exit_codes() {
    let code = |cluster: &Value| Health::of(cluster, &members(cluster)).code();
    let mut cluster = email_cluster();
    cluster["members"][2]["read"] = json!("ok");
    assert_eq!(code(&cluster), 0);
    cluster["members"][2]["state"] = json!("stopped");
    assert_eq!(code(&cluster), 3);
    cluster["sentence_facts"]["primary"] = Value::Null;
    assert_eq!(code(&cluster), 4);
    assert_eq!(code(&json!({ "members": [] })), 4);
}

#[test]
fn patronis_own_document_is_understood() {
    let cluster = json!({ "scope": "c", "members": [
        { "name": "a", "role": "leader", "state": "running", "host": "::1", "port": 5432, "timeline": 1 },
        { "name": "b", "role": "sync_standby", "state": "streaming", "timeline": 1, "lag": "unknown" }
    ]});
    let members = members(&cluster);
    assert_eq!(sentence(&cluster, &members, 0.0), "c  a is primary, timeline 1.  Reads on 1 of 1 replica.");
    assert_eq!(members[1].cells[2], "Sync Standby");
    assert_eq!(members[1].cells[8], "unknown");
    assert_eq!(members[0].cells[1], "[::1]:5432");
    assert_eq!(Health::of(&cluster, &members).code(), 0);
}

#[test]
fn odd_documents_are_taken_calmly() {
    for cluster in [
        json!({ "members": [null, 1, "x", [], {}, { "name": 7, "connections": {}, "read": true, "lag": -1 }] }),
        json!({ "members": [{ "name": "a\u{1b}[31m\n", "read": "no", "read_reason": 5, "read_reason_since": "é" }],
                "sentence_facts": [1] }),
        json!({ "members": [], "sentence_facts": { "primary_since": -1e300, "replicas": "many" } }),
    ] {
        let members = members(&cluster);
        let text = format!("{}{}{}", sentence(&cluster, &members, 1.0), body(&members), tsv(&members));
        assert!(!text.contains('\u{1b}'), "{text}");
        let _ = Health::of(&cluster, &members);
    }
}

/// The page shows what the program prints: the sample's cells go through it once more.
#[test]
fn the_readme_shows_what_is_printed() {
    let readme = include_str!("../../../../README.md");
    let begin = readme.find("production  pg1 is primary").expect("the sample");
    let sample = &readme[begin..begin + readme[begin..].find("```").expect("its end")];
    let members: Vec<Value> = sample
        .lines()
        .skip(2)
        .map(|line| {
            let cells: Vec<&str> =
                line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
            let (host, port) = cells[1].rsplit_once(':').expect("a port");
            let number = |cell: &str| cell.parse::<u64>().expect("a number");
            let mut member = json!({ "name": cells[0], "host": host, "port": number(port), "role": cells[2].to_lowercase(),
                "state": cells[3], "timeline": number(cells[4]), "connections": number(cells[11]), "check_age_seconds": 0.4,
                "replay_lsn": cells[7], "read": cells[9], "failover": "leader" });
            if cells[2] == "Replica" {
                let place = number(&cells[10][..1]);
                let more = json!({ "receive_lsn": cells[5], "receive_lag": 0, "replay_lag": 0, "lag_seconds": 0.0,
                    "failover": "candidate", "failover_place": place });
                member.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            }
            member
        })
        .collect();
    let cluster = json!({ "scope": "production", "members": members, "sentence_facts": { "primary": "pg1",
        "primary_since": 1000, "timeline": 1, "eligible": 2, "replicas": 2, "phase": "steady", "auto_failover": false,
        "candidates": 2 } });
    let shown = super::members(&cluster);
    assert_eq!(format!("{}\n{}", sentence(&cluster, &shown, 1008.0), body(&shown)), sample);
}
