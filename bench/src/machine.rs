//! Where a number was measured: it says little without.

use std::path::Path;
use std::process::Command;

use serde::Serialize;

use crate::cluster::checked;

/// The facts that stand beside every result.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Model name of the first CPU.
    pub cpu: String,
    /// CPUs that this process may use.
    pub cores: usize,
    /// Total memory in GiB.
    pub memory_gib: u64,
    /// Kernel release.
    pub kernel: String,
    /// Load average of the last minute when the run began: what else was running.
    pub load: String,
    /// `postgres --version`.
    pub postgresql: String,
    /// First line of `pgbouncer --version`, or "none".
    pub pgbouncer: String,
    /// Commit of the working tree that the benchmark was started in, with "+" when it had changes.
    pub commit: String,
    /// The command line, without the directory of the program.
    pub command: String,
}

impl Machine {
    /// Looks around; what cannot be found out says "unknown".
    pub fn look(postgres_bin: &Path, pgbouncer: Option<&Path>) -> Self {
        let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let after_colon = |text: &str, key: &str| {
            let line = text.lines().find(|line| line.starts_with(key)).unwrap_or(": unknown");
            line.split_once(':').map_or("unknown", |(_, value)| value.trim()).to_owned()
        };
        let memory = after_colon(&file("/proc/meminfo"), "MemTotal");
        let memory_kib: u64 = memory.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0);
        Self {
            cpu: after_colon(&file("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: memory_kib.div_ceil(1024 * 1024),
            kernel: file("/proc/sys/kernel/osrelease").trim().to_owned(),
            load: file("/proc/loadavg").split_whitespace().next().unwrap_or("unknown").to_owned(),
            postgresql: version(&postgres_bin.join("postgres")),
            pgbouncer: pgbouncer.map_or_else(|| "none".to_owned(), version),
            commit: commit(),
            command: command_line(),
        }
    }
}

/// First line of what `program --version` prints.
pub fn version(program: &Path) -> String {
    let said = checked(Command::new(program).arg("--version")).unwrap_or_else(|_| "unknown".to_owned());
    said.lines().next().unwrap_or("unknown").to_owned()
}

fn commit() -> String {
    let Ok(commit) = checked(Command::new("git").args(["rev-parse", "--short=10", "HEAD"])) else {
        return "unknown".to_owned();
    };
    let changed = checked(Command::new("git").args(["status", "--porcelain", "-uno"]));
    if changed.is_ok_and(|changed| changed.is_empty()) { commit } else { format!("{commit}+") }
}

fn command_line() -> String {
    let mut arguments = std::env::args();
    let program = arguments.next().unwrap_or_default();
    let name = Path::new(&program).file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    std::iter::once(name).chain(arguments).collect::<Vec<_>>().join(" ")
}
