use super::*;
use crate::action::{Denied, Doing};
use crate::explain::{Explanation, Verdict};
use crate::guard::{MAX_CONNECTIONS, MAX_REQUEST_BYTES, REQUEST_TIME};
use crate::source::{Change, Explaining, Facts, Failover, Member, MemberRole, Read};
use pgherd_topology::lsn::{Lsn, Timeline};
use pgherd_topology::node::{Address, Ineligible, Node, NodeId, Role, Tags};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::UNIX_EPOCH;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[path = "action_tests.rs"]
mod action_tests;

struct Fake {
    snapshot: Snapshot,
    ready: AtomicBool,
}

impl Source for Fake {
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::new(self.snapshot.clone())
    }
    fn ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }
    fn alive(&self) -> bool {
        true
    }
    fn facts(&self) -> Facts {
        let since = UNIX_EPOCH + Duration::from_secs(951_782_400);
        Facts { scope: "main".into(), primary_since: Some(since), auto_failover: true, paused: false }
    }
    fn members(&self) -> Vec<Member> {
        let since = Some(UNIX_EPOCH);
        let excluded = Read::No { reason: "tag noloadbalance".into(), since };
        let mut lagging = member("pg2", MemberRole::Replica, excluded, Failover::No("tag nofailover".into()));
        lagging.tags.noloadbalance = true;
        vec![
            member("pg3", MemberRole::SyncStandby, Read::Eligible, Failover::Candidate(1)),
            lagging,
            member("pg1", MemberRole::Leader, Read::Write, Failover::Leader),
        ]
    }
    fn metrics(&self) -> String {
        "# TYPE pgherd_x counter\npgherd_x 1\n".into()
    }
    fn history(&self) -> Vec<Change> {
        let change = |timeline, time, leader: Option<&str>| Change {
            timeline: Timeline(timeline),
            at: Lsn(100),
            reason: "no recovery target specified".into(),
            time,
            leader: leader.map(String::from),
        };
        vec![change(1, None, None), change(2, Some(UNIX_EPOCH), Some("pg1"))]
    }
    fn admits(&self, asking: &Asking) -> Result<(), Denied> {
        match &asking.basic {
            None => Err(Denied::NoPassword),
            Some((user, password)) if (&**user, &**password) == ("admin", "a:b") => Ok(()),
            Some(_) => Err(Denied::Wrong),
        }
    }
    fn act(&self, order: Order) -> Doing {
        let Order::Switchover { to, .. } = order else { unreachable!("nobody asks for it here") };
        Box::pin(async move {
            // Longer than any other request may take.
            tokio::time::sleep(REQUEST_TIME + Duration::from_secs(1)).await;
            (200, format!("Successfully switched over to \"{}\"", to.unwrap_or_default()))
        })
    }
    fn explain(&self, question: Question) -> Explaining {
        let Some(database) = question.database else {
            return Box::pin(std::future::ready(Err("no such database".into())));
        };
        let verdict = Verdict { class: "read", target: "replica", ..Verdict::default() };
        let verdicts = vec![verdict; question.statements.len()];
        Box::pin(std::future::ready(Ok(Explanation { database, verdicts, ..Explanation::default() })))
    }
}

fn member(name: &str, role: MemberRole, read: Read, failover: Failover) -> Member {
    Member {
        name: name.into(),
        role,
        state: "streaming".into(),
        api_url: None,
        host: "127.0.0.1".into(),
        port: 5432,
        timeline: Some(Timeline(3)),
        seen: if role == MemberRole::Leader { Role::Primary } else { Role::Standby },
        received: Some(Lsn(0x900)),
        replayed: Some(Lsn(0x800)),
        receive_lag: Some(0x700),
        replay_lag: Some(0x800),
        replay_delay: Some(Duration::from_millis(250)),
        tags: Tags::default(),
        read,
        failover,
        check_age: Some(Duration::from_millis(500)),
        connections: 4,
        connections_limit: Some(20),
    }
}

fn node_of(id: u16, role: Role, ineligible: Option<Ineligible>) -> Arc<Node> {
    Arc::new(Node {
        id: NodeId(id),
        name: format!("pg{}", id + 1).into(),
        address: Address::Tcp("127.0.0.1".into(), 5432),
        role,
        valid_since: 1,
        timeline: Timeline(3),
        received: Lsn(0x1000),
        replayed: Lsn(0x1000),
        lag_bytes: Some(2048),
        lag_time: None,
        ineligible,
        weight: 1,
        region: "".into(),
        tags: Tags::default(),
        proven_at: None,
        probe_time: None,
        version: 150_000,
    })
}

fn whole_cluster() -> Snapshot {
    Snapshot {
        epoch: 7,
        primary: Some(NodeId(0)),
        timeline: Timeline(3),
        system: 42,
        nodes: vec![node_of(0, Role::Primary, None), node_of(1, Role::Standby, None)],
        phase: "steady",
    }
}

/// Runs `visit` against a server over loopback; the server is stopped afterwards.
fn visited<F: Future<Output = ()>>(snapshot: Snapshot, visit: impl FnOnce(SocketAddr, Arc<Fake>) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let fake = Arc::new(Fake { snapshot, ready: AtomicBool::new(true) });
        let (tell, told) = oneshot::channel::<()>();
        let stop = async {
            let _ = told.await;
        };
        let server = tokio::spawn(serve(listener, fake.clone(), stop));
        visit(address, fake).await;
        tell.send(()).unwrap();
        let ended = tokio::time::timeout(STOP_TIME * 2, server).await.expect("the server stops in time");
        ended.unwrap().unwrap();
        assert!(TcpStream::connect(address).await.is_err(), "still listening after its end");
    });
}

/// The status line, the headers, and the body of one exchange; the server must close the connection.
async fn exchange(address: SocketAddr, request: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let reading = stream.read_to_string(&mut answer);
    tokio::time::timeout(Duration::from_secs(10), reading).await.expect("the connection ends").unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("an end of the headers");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_ascii_lowercase(), body.to_string())
}

async fn ask(address: SocketAddr, method: &str, path: &str) -> (u16, String, String) {
    exchange(address, &format!("{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await
}

#[test]
fn health_follows_the_snapshot() {
    let without_primary =
        Snapshot { primary: None, nodes: vec![node_of(1, Role::Standby, None)], ..whole_cluster() };
    let lone_primary = Snapshot { nodes: vec![node_of(0, Role::Primary, None)], ..whole_cluster() };
    let dead = Some(Ineligible::Unprobed);
    let nothing = Snapshot { primary: None, nodes: vec![node_of(1, Role::Unknown, dead)], ..whole_cluster() };
    // Columns: /, /primary, /replica, /read-only, /health, /replica?lag=, /standby-leader.
    let paths = ["/", "/primary", "/replica", "/read-only", "/health", "/replica?lag=1kB", "/standby-leader"];
    for (snapshot, want) in [
        (whole_cluster(), [200, 200, 200, 200, 200, 503, 503]),
        (without_primary, [503, 503, 200, 200, 200, 503, 503]),
        (lone_primary, [200, 200, 503, 200, 200, 503, 503]),
        (nothing, [503, 503, 503, 503, 503, 503, 503]),
    ] {
        visited(snapshot, async |address, _| {
            for (path, want) in paths.into_iter().zip(want) {
                let (status, head, body) = ask(address, "GET", path).await;
                assert_eq!(status, want, "GET {path}");
                assert!(head.contains("content-type: application/json"), "{head}");
                let document: Value = serde_json::from_str(&body).unwrap();
                assert_eq!(document["patroni"]["scope"], "main");
                for method in ["HEAD", "OPTIONS"] {
                    let (status, _, body) = ask(address, method, path).await;
                    assert_eq!((status, body.as_str()), (want, ""), "{method} {path}");
                }
            }
        });
    }
}

#[test]
fn readiness_does_not_ask_for_a_primary() {
    visited(Snapshot { primary: None, ..whole_cluster() }, async |address, fake| {
        for path in ["/liveness", "/readiness"] {
            let (status, head, body) = ask(address, "GET", path).await;
            assert_eq!((status, body.as_str()), (200, ""), "{path}");
            assert!(!head.contains("content-type"), "{head}");
            assert_eq!(ask(address, "HEAD", path).await.0, 503, "HEAD is for health paths only");
        }
        fake.ready.store(false, Ordering::Relaxed);
        assert_eq!(ask(address, "GET", "/readiness").await.0, 503);
        assert_eq!(ask(address, "GET", "/liveness").await.0, 200);
    });
}

#[test]
fn metrics_say_what_they_are() {
    visited(whole_cluster(), async |address, _| {
        let (status, head, body) = ask(address, "GET", "/metrics").await;
        assert_eq!(status, 200);
        assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
        assert_eq!(body, "# TYPE pgherd_x counter\npgherd_x 1\n");
    });
}

#[test]
fn the_cluster_has_patronis_shape_and_our_facts() {
    visited(whole_cluster(), async |address, _| {
        let (status, _, body) = ask(address, "GET", "/cluster").await;
        assert_eq!(status, 200);
        let document: Value = serde_json::from_str(&body).unwrap();
        let members = &document["members"];
        assert_eq!(document["scope"], "main");
        let names: Vec<_> = members.as_array().unwrap().iter().map(|m| m["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["pg1", "pg2", "pg3"], "sorted by name");
        assert_eq!((&members[0]["role"], &members[0]["read"]), (&"leader".into(), &"rw".into()));
        assert_eq!((&members[0]["seen_as"], &members[1]["seen_as"]), (&"primary".into(), &"standby".into()));
        assert!(members[0].get("lag").is_none() && members[0].get("tags").is_none());
        let replica = &members[1];
        assert_eq!(replica["read_reason"], "tag noloadbalance");
        assert_eq!(replica["read_reason_since"], "1970-01-01T00:00:00.000000+00:00");
        assert_eq!(replica["failover_reason"], "tag nofailover");
        assert_eq!((&replica["receive_lsn"], &replica["receive_lag"]), (&"0/900".into(), &0x700.into()));
        assert_eq!((&replica["replay_lsn"], &replica["replay_lag"]), (&"0/800".into(), &0x800.into()));
        assert_eq!((&replica["lsn"], &replica["lag"]), (&"0/900".into(), &0x700.into()));
        assert_eq!((&replica["lag_seconds"], &replica["check_age_seconds"]), (&0.25.into(), &0.5.into()));
        assert_eq!(replica["tags"], serde_json::json!({ "noloadbalance": true }));
        assert_eq!((&members[2]["role"], &members[2]["failover_place"]), (&"sync_standby".into(), &1.into()));
        let facts = &document["sentence_facts"];
        assert_eq!((&facts["primary"], &facts["phase"]), (&"pg1".into(), &"steady".into()));
        assert_eq!(facts["primary_since"], "2000-02-29T00:00:00.000000+00:00");
        assert_eq!((&facts["eligible"], &facts["replicas"]), (&1.into(), &2.into()));
        assert_eq!((&facts["timeline"], &facts["auto_failover"]), (&3.into(), &true.into()));
    });
}

#[test]
fn a_check_for_a_replica_is_answered_by_a_replica() {
    visited(whole_cluster(), async |address, _| {
        for (path, role, at) in [
            ("/replica", "replica", "replayed_location"),
            ("/primary", "primary", "location"),
            ("/read-only", "primary", "location"),
            ("/replica?lag=1kB", "primary", "location"),
            ("/replica?lag=banana", "replica", "replayed_location"),
        ] {
            let document: Value = serde_json::from_str(&ask(address, "GET", path).await.2).unwrap();
            assert_eq!(document["role"], role, "{path}");
            assert_eq!(document["xlog"][at], 0x1000, "{path}");
        }
    });
}

#[test]
fn lag_is_unknown_without_a_primary() {
    visited(Snapshot { primary: None, ..whole_cluster() }, async |address, _| {
        let document: Value = serde_json::from_str(&ask(address, "GET", "/cluster").await.2).unwrap();
        assert_eq!(document["members"][1]["lag"], "unknown");
        assert!(document["sentence_facts"].get("primary").is_none());
    });
}

#[test]
fn history_is_what_the_journal_has() {
    visited(whole_cluster(), async |address, _| {
        let (_, _, body) = ask(address, "GET", "/history").await;
        let want = r#"[[1,100,"no recovery target specified"],
            [2,100,"no recovery target specified","1970-01-01T00:00:00.000000+00:00","pg1"]]"#;
        let [got, want] = [body.as_str(), want].map(|text| serde_json::from_str::<Value>(text).unwrap());
        assert_eq!(got, want);
    });
}

#[test]
fn nothing_can_be_changed() {
    visited(whole_cluster(), async |address, _| {
        for method in ["PUT", "PATCH", "DELETE", "TRACE", "BREW"] {
            let (status, head, body) = ask(address, method, "/switchover").await;
            assert_eq!((status, body.as_str()), (501, "Server does not support this operation"), "{method}");
            assert!(head.contains("connection: close"), "{head}");
        }
        let (status, _, body) = ask(address, "GET", "/config").await;
        assert_eq!(status, 503);
        assert!(body.starts_with('{'), "a path of Patroni's shows the node: {body}");
        let (status, _, body) = ask(address, "GET", "/nope").await;
        assert_eq!((status, body.starts_with('{')), (503, true), "{body}");
        assert_eq!(ask(address, "HEAD", "/nope").await.0, 503);
        assert_eq!(ask(address, "OPTIONS", "/cluster").await.0, 503);
    });
}

#[test]
fn bad_requests_end_their_connection() {
    visited(whole_cluster(), async |address, _| {
        for request in
            ["\r\r\r\n\n\n\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "\0\0\0\x08\x04\x02\x16\x2f"]
        {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut answer = Vec::new();
            let ended = tokio::time::timeout(Duration::from_secs(4), stream.read_to_end(&mut answer)).await;
            assert!(ended.is_ok(), "{request:?} hangs");
        }
        let mut stream = TcpStream::connect(address).await.unwrap();
        let endless = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(2 * MAX_REQUEST_BYTES));
        let _ = stream.write_all(endless.as_bytes()).await;
        let mut answer = Vec::new();
        // Either a refusal or a reset, but at once and not after the request's time.
        let ended = tokio::time::timeout(Duration::from_secs(2), stream.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "an endless header is read on");
        assert_eq!(ask(address, "GET", "/").await.0, 200);
    });
}

#[test]
fn an_explanation_is_asked_for_with_a_body() {
    visited(whole_cluster(), async |address, _| {
        let post = |kind: &str, body: &str| {
            let length = body.len();
            format!(
                "POST /explain HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
            )
        };
        let good = r#"{"statements": ["SELECT 1", ""], "database": "app"}"#;
        let (status, _, body) = exchange(address, &post("application/json; charset=utf-8", good)).await;
        let document: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            (status, &document["database"], &document["shape"]),
            (200, &"app".into(), &"pgherd.explain/1".into())
        );
        assert_eq!(document["verdicts"].as_array().map(Vec::len), Some(2));
        let long = format!("{{\"statements\": [\"{}\"]}}", "x".repeat(MAX_BODY_BYTES));
        for (kind, body, want) in [
            ("application/json", "{", 400),
            ("application/json", r#"{"statements": ["SELECT 1"]}"#, 400),
            ("text/plain", good, 415),
            ("application/json", long.as_str(), 413),
        ] {
            let (status, _, words) = exchange(address, &post(kind, body)).await;
            assert_eq!(status, want, "{words}");
        }
        assert_eq!(ask(address, "GET", "/explain").await.0, 405);
        assert_eq!(ask(address, "HEAD", "/explain").await.0, 503);
    });
}

#[test]
fn a_silent_visitor_does_not_keep_the_server_from_stopping() {
    visited(whole_cluster(), async |address, _| {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HT").await.unwrap();
        std::mem::forget(stream);
    });
}

#[test]
fn a_crowd_waits_for_a_place() {
    visited(whole_cluster(), async |address, _| {
        let mut crowd = Vec::new();
        for _ in 0..MAX_CONNECTIONS {
            crowd.push(TcpStream::connect(address).await.unwrap());
        }
        let mut waiting = std::pin::pin!(ask(address, "GET", "/"));
        let early = tokio::time::timeout(Duration::from_millis(200), &mut waiting).await;
        assert!(early.is_err(), "served beyond the limit");
        crowd.pop();
        assert_eq!(waiting.await.0, 200);
    });
}
