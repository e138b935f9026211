//! Where a proxy spends its time: `perf record` on its process while one cell runs.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use pgherd_bench::cluster::checked;

use crate::pgbench::{Length, Pgbench};
use crate::target::Target;
use crate::workload::Cell;

/// Symbols that are printed.
const SYMBOLS: usize = 45;

/// Samples per second of CPU time; a prime, so as not to beat with timers.
const FREQUENCY: &str = "4999";

/// Runs `cell` under perf and returns the symbols that cost most, self time first.
pub(crate) fn run(
    cell: Cell,
    target: &Target,
    pgbench: &Pgbench,
    directory: &Path,
    seconds: u32,
) -> io::Result<String> {
    let pid = target.pid().ok_or_else(|| io::Error::other("a direct connection has no proxy to profile"))?;
    let data = directory.join("perf.data");
    pgbench.warm_up(cell, target.port)?;
    // cpu-clock works in virtual machines that have no hardware counters.
    let mut perf = Command::new("perf")
        .args(["record", "-q", "-e", "cpu-clock", "-F", FREQUENCY, "-p", &pid.to_string(), "-o"])
        .arg(&data)
        .args(["--", "sleep", &seconds.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()?;
    let ran = pgbench.run(cell, target.port, Length::Seconds(seconds + 1));
    perf.wait()?;
    ran?;
    let mut report = Command::new("perf");
    report
        .args(["report", "--stdio", "--percent-limit", "0.4", "--fields", "overhead,symbol,dso", "-i"])
        .arg(&data);
    let report = checked(&mut report)?;
    let lines = report.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    Ok(lines.take(SYMBOLS).map(|line| format!("{}\n", line.trim_end())).collect())
}
