//! One run of pgbench.

use crate::front::Front;
use pgherd_bench::cluster::checked;
use std::io;

/// How much load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Clients.
    pub(crate) clients: u32,
    /// Seconds.
    pub(crate) seconds: u32,
}

/// What one run gave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    /// Transactions a second.
    pub(crate) tps: f64,
    /// pgherd's CPU time for each.
    pub(crate) cpu_microseconds: f64,
    /// Share that replicas answered.
    pub(crate) on_replicas: f64,
}

impl Load {
    /// Select-only with this share of writes, in percent, as a session begins.
    pub(crate) fn run(&self, front: &Front, port: u16, mode: &str, writes: u32) -> io::Result<Run> {
        self.run_as(front, port, mode, writes, "")
    }

    /// The same for sessions that ask for a consistency.
    pub(crate) fn run_as(
        &self,
        front: &Front,
        port: u16,
        mode: &str,
        writes: u32,
        consistency: &str,
    ) -> io::Result<Run> {
        let mut pgbench = front.pgbench(port);
        pgbench.args(["-n", "-M", mode, "-c", &self.clients.to_string(), "-T", &self.seconds.to_string()]);
        if writes < 100 {
            pgbench.args(["-b", &format!("select-only@{}", 100 - writes)]);
        }
        if writes > 0 {
            pgbench.args(["-b", &format!("simple-update@{writes}")]);
        }
        if !consistency.is_empty() {
            pgbench.env("PGOPTIONS", format!("-c pgherd.consistency={consistency}"));
        }
        let (cpu, routed) = (front.cpu()?, front.routed()?);
        let said = checked(&mut pgbench)?;
        let (cpu, after) = (front.cpu()?.saturating_sub(cpu), front.routed()?);
        let number = |word: &str| {
            let rest = said.split_once(word).map_or("", |(_, rest)| rest);
            let digits = rest.trim_start().split(|c: char| !(c.is_ascii_digit() || c == '.')).next();
            digits.and_then(|digits| digits.parse::<f64>().ok())
        };
        let lost = || io::Error::other(format!("pgbench's words are not understood: {said}"));
        let transactions = number("number of transactions actually processed:").ok_or_else(lost)?;
        let all = (after.0 - routed.0).max(1.0);
        Ok(Run {
            tps: number("tps =").ok_or_else(lost)?,
            cpu_microseconds: cpu.as_secs_f64() * 1e6 / transactions.max(1.0),
            on_replicas: (after.1 - routed.1) / all,
        })
    }
}
