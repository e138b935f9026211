//! One primary, one pgherd, and what every test asks of them.
use pgherd_lab::front::{Front, FrontOptions, Ports};
use pgherd_lab::lab::Lab;
use pgherd_lab::options::{Auth, Database, Options, Role};
use pgherd_tests::raw::{Event, Raw, column, sqlstate, tags};
use pgherd_tests::stand::executable;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

pub(crate) const USER: &str = "app";
pub(crate) const PASSWORD: &str = "right";

pub(crate) struct House {
    pub(crate) front: Option<Front>,
    pub(crate) lab: Option<Lab>,
    runtime: Runtime,
}

impl House {
    /// `settings` are (section, line) pairs; clients are trusted.
    pub(crate) fn start(settings: &[(&str, &str)]) -> Self {
        Self::with(settings, "trust", executable().unwrap())
    }

    pub(crate) fn with(settings: &[(&str, &str)], method: &str, executable: PathBuf) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (lab, front) = runtime.block_on(build(settings, method, executable));
        Self { front: Some(front), lab: Some(lab), runtime }
    }

    pub(crate) fn front(&self) -> &Front {
        self.front.as_ref().unwrap()
    }

    pub(crate) fn lab(&self) -> &Lab {
        self.lab.as_ref().unwrap()
    }

    pub(crate) fn port(&self) -> u16 {
        self.front().ports().primary
    }

    /// Waits for something asynchronous.
    pub(crate) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// A session through pgherd.
    pub(crate) fn client(&self) -> Raw {
        let raw = self.knock();
        assert!(raw.is_in(), "refused: {:?}\n{}", raw.login.last(), self.front().log_tail());
        raw
    }

    /// The same, which may be refused.
    pub(crate) fn knock(&self) -> Raw {
        Raw::connect(self.port(), &[("user", USER), ("database", USER)], PASSWORD).unwrap()
    }

    /// What the primary says when asked past pgherd.
    pub(crate) fn direct(&self, sql: &str) -> String {
        self.wait(self.lab().primary().sql(USER, sql)).unwrap()
    }

    /// Waits until the primary says so.
    pub(crate) fn until(&self, sql: &str, expected: &str) {
        let begin = Instant::now();
        loop {
            let said = self.direct(sql);
            if said == expected {
                return;
            }
            assert!(begin.elapsed() < Duration::from_secs(10), "{sql}: {said}, not {expected}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// No session of the application is in a transaction, works, or holds a lock.
    pub(crate) fn nothing_left(&self) {
        self.until(
            &format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{USER}' AND state <> 'idle'"),
            "0",
        );
        self.until(
            "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE a.usename = 'app'",
            "0",
        );
    }

    /// Memory of pgherd in kilobytes.
    pub(crate) fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.front().pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.front().pid().to_string();
        assert!(std::process::Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// pgherd still runs and ends with success when asked to.
    pub(crate) fn close(mut self) {
        let (front, lab) = (self.front.take().unwrap(), self.lab.take().unwrap());
        let log = front.log_tail();
        let ended = self.wait(front.shutdown());
        self.wait(lab.shutdown()).unwrap();
        assert!(!log.contains("panicked"), "{log}");
        ended.unwrap();
    }
}

async fn build(settings: &[(&str, &str)], method: &str, executable: PathBuf) -> (Lab, Front) {
    let lab = Lab::start(Options {
        prefix: "pgherd-torture".to_owned(),
        replicas: 0,
        auth: Auth::Trust,
        roles: vec![Role { name: USER.to_owned(), password: None, attributes: String::new() }],
        databases: vec![Database { name: USER.to_owned(), owner: USER.to_owned() }],
        ..Options::default()
    })
    .await
    .unwrap();
    lab.primary().sql(USER, "GRANT ALL ON SCHEMA public TO app").await.unwrap();
    let method = format!("method = \"{method}\"");
    let mut all = vec![("auth".to_owned(), method)];
    all.extend(settings.iter().map(|(section, line)| ((*section).to_owned(), (*line).to_owned())));
    let front = Front::start(
        &lab,
        &FrontOptions {
            executable,
            ports: Ports::free().unwrap(),
            cluster: "torture".to_owned(),
            users: vec![(USER.to_owned(), PASSWORD.to_owned())],
            settings: all,
        },
    )
    .await
    .unwrap();
    (lab, front)
}

/// The one value a query gives; panics with all that came when it did not.
pub(crate) fn value(raw: &mut Raw, sql: &str) -> String {
    let events = raw.query(sql);
    assert_eq!(sqlstate(&events), "", "{sql}: {events:?}");
    assert!(tags(&events).ends_with('Z'), "{sql}: {events:?}");
    column(&events).into_iter().next().unwrap_or_default()
}

/// The SQLSTATE a query is refused with; the connection must live on.
pub(crate) fn refused(raw: &mut Raw, sql: &str) -> String {
    let events = raw.query(sql);
    assert!(tags(&events).ends_with('Z'), "{sql}: {events:?}");
    sqlstate(&events)
}

/// The SQLSTATE with which the connection ends.
pub(crate) fn last_words(raw: &mut Raw) -> String {
    let events = raw.until_ready();
    assert_eq!(events.last(), Some(&Event::Closed), "{events:?}");
    sqlstate(&events)
}
