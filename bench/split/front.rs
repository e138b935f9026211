//! A cluster with pgherd in front, as `pgherd demo --no-load` makes it.

use pgherd_bench::cluster::checked;
use pgherd_bench::daemon::{Daemon, Stop};
use pgherd_bench::process;
use pgherd_bench::scratch::Scratch;
use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Time until the demo must be up.
const START: Duration = Duration::from_secs(60);

/// A running demo.
#[derive(Debug)]
pub(crate) struct Front {
    daemon: Daemon,
    _scratch: Scratch,
    /// The primary's port.
    pub(crate) primary: u16,
    /// The replicas' port.
    pub(crate) replicas: u16,
    /// The port that splits.
    pub(crate) any: u16,
    api: String,
}

impl Front {
    /// Starts it and waits until it says that it is up.
    pub(crate) fn start(pgherd: &Path) -> io::Result<Front> {
        let scratch = Scratch::create("split", false)?;
        let log = scratch.path().join("demo.log");
        let arguments = [OsStr::new("demo"), OsStr::new("--no-load")];
        let daemon = Daemon::start(pgherd, &arguments, None, Stop::Interrupt, &log)?;
        let (said, deadline) = (|| std::fs::read_to_string(&log).unwrap_or_default(), Instant::now() + START);
        while !said().contains("Ctrl-C") {
            if Instant::now() > deadline {
                return Err(io::Error::other(format!("the demo is not up: {}", daemon.last_words())));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let said = said();
        let after = |word: &str| {
            let rest = said.split_once(word).map_or("", |(_, rest)| rest);
            rest.split(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok())
        };
        let lost = || io::Error::other(format!("the demo's words are not understood: {said}"));
        Ok(Front {
            primary: after("rw  postgres://demo:demo@127.0.0.1:").ok_or_else(lost)?,
            replicas: after("ro :").ok_or_else(lost)?,
            any: after("any :").ok_or_else(lost)?,
            api: format!("127.0.0.1:{}", after("api http://127.0.0.1:").ok_or_else(lost)?),
            daemon,
            _scratch: scratch,
        })
    }

    /// pgbench's tables, and time for the replicas and the catalog's reader to see them.
    pub(crate) fn fill(&self) -> io::Result<()> {
        checked(self.pgbench(self.primary).args(["-i", "-q", "-s", "10"]))?;
        checked(self.pgbench(self.any).args(["-n", "-S", "-t", "100", "-c", "4"]))?;
        std::thread::sleep(Duration::from_secs(3));
        Ok(())
    }

    /// pgbench against one of the ports; the caller says the rest.
    pub(crate) fn pgbench(&self, port: u16) -> Command {
        let mut pgbench = Command::new("pgbench");
        pgbench.env("PGPASSWORD", "demo").env("PGUSER", "demo").env("PGDATABASE", "demo");
        pgbench.env("PGHOST", "127.0.0.1").env("PGPORT", port.to_string());
        pgbench
    }

    /// CPU time of pgherd: the process that was started and those it has started under its own name.
    pub(crate) fn cpu(&self) -> io::Result<Duration> {
        let mut sum = Duration::ZERO;
        for pid in family(self.daemon.pid()) {
            sum += process::cpu_time(pid).unwrap_or_default();
        }
        Ok(sum)
    }

    /// Transactions so far, in all and on replicas.
    pub(crate) fn routed(&self) -> io::Result<(f64, f64)> {
        let text = get(&self.api, "/metrics")?;
        let count = |line: &str| line.rsplit(' ').next().and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0);
        let lines = || text.lines().filter(|line| line.starts_with("pgherd_transactions_total{"));
        let replicas = |line: &&str| ["weight", "region"].iter().any(|word| line.contains(word));
        Ok((lines().map(count).sum(), lines().filter(replicas).map(count).sum()))
    }
}

/// What this path answers.
fn get(address: &str, path: &str) -> io::Result<String> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(socket, "GET {path} HTTP/1.0\r\nHost: pgherd\r\n\r\n")?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The process and its descendants that are called pgherd.
fn family(root: u32) -> Vec<u32> {
    let mut found = vec![root];
    let mut at = 0;
    while at < found.len() {
        let is_ours = |pid: &u32| {
            std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "pgherd")
        };
        // Any of its threads may have started it.
        let threads = std::fs::read_dir(format!("/proc/{}/task", found[at])).into_iter().flatten().flatten();
        let children = threads.map(|thread| std::fs::read_to_string(thread.path().join("children")));
        for text in children.map(Result::unwrap_or_default) {
            found.extend(text.split_whitespace().filter_map(|pid| pid.parse().ok()).filter(is_ours));
        }
        at += 1;
    }
    found
}
