//! System calls of a process, counted by `strace -c`.
//!
//! Tracing slows a process by an order of magnitude, so the counts come from a run of their own and never from a
//! run whose time is measured.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// A running `strace` that counts.
#[derive(Debug)]
pub struct Tracer {
    strace: Child,
    /// Held open: strace would be killed by SIGPIPE for saying something.
    talk: BufReader<ChildStderr>,
    summary: PathBuf,
}

/// Calls by what they are for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    /// Calls by name.
    pub calls: BTreeMap<String, f64>,
    /// Calls that read from a socket or file and failed, nearly always with EAGAIN.
    pub failed_reads: f64,
}

/// The classes that a proxy's calls fall into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// read, recvfrom and their like.
    Read,
    /// write, sendto and their like.
    Write,
    /// Waiting for readiness, and registering for it.
    Epoll,
    /// Waiting for and waking threads.
    Futex,
    /// Everything else.
    Other,
}

impl Tracer {
    /// Attaches to every thread of `pid`; returns when strace has said that it is attached.
    pub fn attach(pid: u32, summary: &Path) -> io::Result<Self> {
        let mut strace = Command::new("strace")
            .args(["-c", "-f", "-p", &pid.to_string(), "-o"])
            .arg(summary)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let stderr = strace.stderr.take().ok_or_else(|| io::Error::other("strace has no standard error"))?;
        let mut talk = BufReader::new(stderr);
        let mut line = String::new();
        while talk.read_line(&mut line)? > 0 {
            if line.contains("attached") {
                return Ok(Self { strace, talk, summary: summary.to_owned() });
            }
        }
        let _ = strace.wait();
        Err(io::Error::other(format!("strace could not attach: {}", line.trim())))
    }

    /// Detaches and returns what was counted.
    pub fn detach(mut self) -> io::Result<Counts> {
        let pid = i32::try_from(self.strace.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.ok_or_else(|| io::Error::other("strace has no process id"))?, Signal::INT)?;
        let mut rest = String::new();
        while self.talk.read_line(&mut rest)? > 0 {}
        self.strace.wait()?;
        Ok(parse(&std::fs::read_to_string(&self.summary)?))
    }
}

impl Counts {
    /// What was counted more than in `base`, per `operations`. Two runs of different length subtracted cancel
    /// out logins, attaching and everything else that happens once.
    pub fn beyond(&self, base: &Self, operations: f64) -> Self {
        let calls = self
            .calls
            .iter()
            .map(|(name, count)| {
                (name.clone(), (count - base.calls.get(name).copied().unwrap_or(0.0)) / operations)
            })
            .collect();
        Self { calls, failed_reads: (self.failed_reads - base.failed_reads) / operations }
    }

    /// Calls of one class.
    pub fn of(&self, class: Class) -> f64 {
        self.calls.iter().filter(|(name, _)| class_of(name) == class).map(|(_, count)| count).sum()
    }

    /// All calls.
    pub fn total(&self) -> f64 {
        self.calls.values().sum()
    }
}

fn class_of(name: &str) -> Class {
    match name {
        "read" | "readv" | "recvfrom" | "recvmsg" => Class::Read,
        "write" | "writev" | "sendto" | "sendmsg" => Class::Write,
        "epoll_wait" | "epoll_pwait" | "epoll_pwait2" | "epoll_ctl" | "poll" | "ppoll" => Class::Epoll,
        "futex" => Class::Futex,
        _ => Class::Other,
    }
}

/// Reads strace's summary table: `% time, seconds, usecs/call, calls, [errors], syscall`.
fn parse(summary: &str) -> Counts {
    let mut counts = Counts::default();
    for line in summary.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (Some(calls), Some(&name)) = (fields.get(3).and_then(|n| n.parse::<f64>().ok()), fields.last())
        else {
            continue;
        };
        // "100.00  0.001  3  29  1 total" sums up; the calls of a strace that has just detached are no one's.
        if name == "total" || name == "restart_syscall" {
            continue;
        }
        counts.calls.insert(name.to_owned(), calls);
        if fields.len() == 6 && class_of(name) == Class::Read {
            counts.failed_reads += fields[4].parse::<f64>().unwrap_or(0.0);
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUMMARY: &str = "\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 61.00    0.101000           5     20000      5000 recvfrom
 30.00    0.050000           5     10000           sendto
  9.00    0.010000           5      2000         1 epoll_wait
------ ----------- ----------- --------- --------- ----------------
100.00    0.161000           5     32000      5001 total
";

    #[test]
    fn the_summary_is_read_by_class() {
        let counts = parse(SUMMARY);
        assert_eq!(counts.of(Class::Read), 20_000.0);
        assert_eq!(counts.of(Class::Epoll), 2_000.0);
        assert_eq!(counts.failed_reads, 5_000.0);
        assert_eq!(counts.total(), 32_000.0);
        let per_operation = counts.beyond(&Counts::default(), 10_000.0);
        assert_eq!(per_operation.of(Class::Write), 1.0);
    }
}
