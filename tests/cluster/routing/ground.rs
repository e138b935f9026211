//! A primary and a replica that log every statement with who sent it, and pgherd in front.

use pgherd_lab::front::{Front, FrontOptions, Ports};
use pgherd_lab::lab::Lab;
use pgherd_lab::node::Node;
use pgherd_lab::options::{Auth, Database, Options, Role};
use pgherd_tests::fixture;
use pgherd_tests::raw::{Event, Raw, frame};
use pgherd_tests::stand::{PASSWORD, USER, executable};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A second database with the same content, changed by the same statements in the same order, but never through pgherd.
pub(crate) const TWIN: &str = "twin";

pub(crate) struct Ground {
    // First, so that the proxy ends before its servers.
    pub(crate) front: Front,
    pub(crate) lab: Lab,
}

impl Ground {
    pub(crate) async fn start() -> Ground {
        let owner = || USER.to_owned();
        let lab = Lab::start(Options {
            prefix: "pgherd-routing".to_owned(),
            replicas: 1,
            auth: Auth::Trust,
            settings: [
                "wal_level = logical",
                "max_prepared_transactions = 10",
                "log_statement = 'all'",
                "log_line_prefix = '%a|'",
            ]
            .map(String::from)
            .to_vec(),
            roles: vec![Role {
                name: USER.to_owned(),
                password: Some(PASSWORD.to_owned()),
                attributes: "SUPERUSER".to_owned(),
            }],
            databases: [USER, TWIN].map(|name| Database { name: name.to_owned(), owner: owner() }).to_vec(),
            ..Options::default()
        });
        let lab = lab.await.expect("a cluster");
        fixture::build(&lab, USER).await.expect("the fixture");
        fixture::build_again(&lab, TWIN).await.expect("the fixture again");
        lab.wait_replicated().await.expect("a replica");
        let settings = [
            ("auth", "method = \"trust\""),
            ("health", "max_lag_threshold = \"60s\""),
            // A read after a write shows that it may leave; by default it would be too early for it.
            ("routing", "read_after_write_wait = \"5s\""),
        ];
        let options = FrontOptions {
            executable: executable().expect("a pgherd"),
            ports: Ports::free().expect("ports"),
            cluster: "routing".to_owned(),
            users: vec![(USER.to_owned(), PASSWORD.to_owned())],
            settings: settings.map(|(section, line)| (section.to_owned(), line.to_owned())).to_vec(),
        };
        let front = Front::start(&lab, &options).await.expect("pgherd");
        let ground = Ground { front, lab };
        ground.until("the replica is read from", "pgherd_node_eligible{node=\"pg2\",use=\"read\"} 1").await;
        ground
    }

    async fn until(&self, what: &str, line: &str) {
        let begun = Instant::now();
        while !self.front.get("/metrics").await.is_ok_and(|(_, text)| text.lines().any(|l| l == line)) {
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "waited for: {what}\n{}",
                self.front.log_tail()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until pgherd knows the catalog as it is now.
    pub(crate) async fn read_catalog(&self) {
        let question = json!({ "statements": ["SELECT 1"], "database": USER, "user": USER }).to_string();
        let begun = Instant::now();
        loop {
            let (status, body) = self.front.post("/explain", &question).await.expect("an answer");
            let answer: Value = serde_json::from_str(&body).expect("an explanation");
            if status == 200 && answer["catalog"]["loaded"] == true {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "the catalog is not read: {body}");
        }
    }

    /// The sum of a metric over its labels.
    pub(crate) async fn metric(&self, name: &str) -> BTreeMap<String, f64> {
        let (_, text) = self.front.get("/metrics").await.expect("metrics");
        let samples =
            text.lines().filter(|line| line.starts_with(name)).filter_map(|line| line.rsplit_once(' '));
        samples.map(|(series, value)| (series.to_owned(), value.parse().expect("a number"))).collect()
    }

    /// Runs a text as the only one of its session; gives the messages up to the end.
    pub(crate) fn run(port: u16, database: &str, name: &str, text: &str) -> Vec<Event> {
        let settings = [("user", USER), ("database", database), ("application_name", name)];
        let mut raw = Raw::connect(port, &settings, PASSWORD).expect("a connection");
        assert!(raw.is_in(), "{name}: {:?}", raw.login);
        raw.patience = Duration::from_secs(20);
        raw.send(&pgherd_tests::raw::query(text)).expect("a request");
        let mut events = Vec::new();
        loop {
            let event = raw.receive();
            let tag = if let Event::Message(message) = &event { message.tag } else { b'Z' };
            events.push(event);
            match tag {
                // What would be copied in is refused.
                b'G' => raw.send(&frame(b'f', b"not now\0")).expect("an answer"),
                b'Z' => break,
                _ => {}
            }
        }
        let _ = raw.send(&frame(b'X', b""));
        events
    }
}

/// Who sent what to a node, by its own log: the statements of each application name.
pub(crate) fn statements(node: &Node) -> BTreeMap<String, Vec<String>> {
    let text = std::fs::read(node.log()).expect("the server's log");
    let text = String::from_utf8_lossy(&text);
    // A line feed inside of a message is followed by a tab.
    let messages = text.split('\n').fold(Vec::<String>::new(), |mut messages, line| {
        match (line.strip_prefix('\t'), messages.last_mut()) {
            (Some(more), Some(message)) => message.extend(["\n", more]),
            _ => messages.push(line.to_owned()),
        }
        messages
    });
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, rest) in messages.iter().filter_map(|message| message.split_once('|')) {
        let marks = ["LOG:  statement: ", "STATEMENT:  ", "LOG:  fastpath function call: "];
        let plain = marks.iter().find_map(|mark| rest.strip_prefix(mark));
        // `execute <unnamed>: SELECT 1`, `execute fetch from s1/p1: SELECT 1`.
        let executed = rest.strip_prefix("LOG:  execute ").and_then(|rest| rest.split_once(": "));
        if let Some(statement) = plain.or(executed.map(|(_, text)| text)) {
            found.entry(name.to_owned()).or_default().push(statement.to_owned());
        }
    }
    found
}
