//! Running pgbench and reading what it says (PostgreSQL documentation, "pgbench").

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pgherd_bench::cluster::{DATABASE, SCRAM_PASSWORD, SCRAM_USER, USER};
use pgherd_bench::median::quantile;

use crate::metric::{Metric, Sample};
use crate::workload::{Cell, PIPELINE_DEPTH, Workload};

/// What a pgbench run may take beyond its duration.
const GRACE: Duration = Duration::from_secs(90);

/// Transactions that each client runs before a measured run, so that pools are filled.
const WARM_UP: u32 = 10;

/// Share of the transactions that pgbench writes to its log; enough for a p99, too few to slow it down.
const LOG_SHARE: f64 = 0.2;

/// How long a run is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Length {
    Seconds(u32),
    /// Transactions of each client.
    Transactions(u32),
}

/// The programs and files of every run.
#[derive(Clone, Debug)]
pub(crate) struct Pgbench {
    program: PathBuf,
    directory: PathBuf,
    threads: u32,
    scale: u32,
}

impl Pgbench {
    /// Runs will leave their short-lived files in `directory`; `scale` is what the tables were filled with.
    pub(crate) fn new(bin: &Path, directory: &Path, threads: u32, scale: u32) -> io::Result<Self> {
        let pgbench = Self {
            program: bin.join("pgbench"),
            directory: directory.to_owned(),
            threads: threads.max(1),
            scale,
        };
        std::fs::write(pgbench.pipeline_script(), pipeline())?;
        Ok(pgbench)
    }

    /// Creates and fills pgbench's tables.
    pub(crate) fn fill(&self, port: u16) -> io::Result<()> {
        let mut command = Command::new(&self.program);
        command.args(["-i", "-q", "-s", &self.scale.to_string()]);
        self.finish(&mut command, port, USER, Duration::from_secs(600)).map(|_| ())
    }

    /// A short run whose result nobody looks at.
    pub(crate) fn warm_up(&self, cell: Cell, port: u16) -> io::Result<()> {
        self.run(cell, port, Length::Transactions(WARM_UP)).map(|_| ())
    }

    /// One run; fails when any transaction failed.
    pub(crate) fn run(&self, cell: Cell, port: u16, length: Length) -> io::Result<Sample> {
        let prefix = self.directory.join("transactions");
        let mut command = self.command(cell, length);
        let duration = match length {
            // With -C the log leaves the login out of the time, which is what that workload is about.
            Length::Seconds(seconds) if cell.workload == Workload::ConnectScram => {
                Duration::from_secs(seconds.into())
            }
            Length::Seconds(seconds) => {
                command.arg("--log").arg(format!("--sampling-rate={}", log_share(cell)));
                command.arg(format!("--log-prefix={}", prefix.display()));
                Duration::from_secs(seconds.into())
            }
            Length::Transactions(_) => Duration::ZERO,
        };
        let user = if cell.workload == Workload::ConnectScram { SCRAM_USER } else { USER };
        let said = self.finish(&mut command, port, user, duration + GRACE);
        let latencies = self.take_log("transactions.")?;
        let mut sample = parse(&said?)?;
        for (metric, share) in
            [(Metric::LatencyP50, 0.5), (Metric::LatencyP95, 0.95), (Metric::LatencyP99, 0.99)]
        {
            if let Some(value) = quantile(&latencies, share) {
                sample.insert(metric, value / 1000.0);
            }
        }
        Ok(sample)
    }

    fn command(&self, cell: Cell, length: Length) -> Command {
        let mut command = Command::new(&self.program);
        let threads = self.threads.min(cell.clients);
        command.args(["-n", "-c", &cell.clients.to_string(), "-j", &threads.to_string()]);
        command.args(["-M", cell.mode.word(), "-s", &self.scale.to_string()]);
        match cell.workload {
            Workload::TpcbLike => command.args(["-b", "tpcb-like"]),
            Workload::Pipeline => command.arg("-f").arg(self.pipeline_script()),
            Workload::ConnectScram => command.args(["-b", "select-only", "-C"]),
            _ => command.args(["-b", "select-only"]),
        };
        match length {
            Length::Seconds(seconds) => command.args(["-T", &seconds.to_string()]),
            Length::Transactions(number) => command.args(["-t", &number.to_string()]),
        };
        command
    }

    /// Adds the address, runs, and returns standard output; its output goes through files because a hundred
    /// failing clients would fill a pipe.
    fn finish(&self, command: &mut Command, port: u16, user: &str, limit: Duration) -> io::Result<String> {
        let (out, err) = (self.directory.join("pgbench.out"), self.directory.join("pgbench.err"));
        command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-U", user, DATABASE]);
        command.env("PGPASSWORD", SCRAM_PASSWORD).env("PGSSLMODE", "disable").env("PGGSSENCMODE", "disable");
        command.stdin(Stdio::null()).stdout(File::create(&out)?).stderr(File::create(&err)?);
        let mut child = command.spawn()?;
        let deadline = Instant::now() + limit;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break Some(status);
            }
            if Instant::now() > deadline {
                child.kill()?;
                child.wait()?;
                break None;
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        if status.is_some_and(|status| status.success()) {
            return std::fs::read_to_string(&out);
        }
        let complaints = std::fs::read_to_string(&err)?;
        let first = complaints.lines().find(|line| line.contains("error")).unwrap_or("no answer in time");
        Err(io::Error::other(first.to_owned()))
    }

    /// Reads and removes pgbench's transaction logs: microseconds, ascending.
    fn take_log(&self, prefix: &str) -> io::Result<Vec<f64>> {
        let mut latencies = Vec::new();
        for entry in std::fs::read_dir(&self.directory)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(prefix) {
                // client_id transaction_no time script_no time_epoch time_us
                let text = std::fs::read_to_string(entry.path())?;
                latencies.extend(text.lines().filter_map(|line| line.split(' ').nth(2)?.parse::<f64>().ok()));
                std::fs::remove_file(entry.path())?;
            }
        }
        latencies.sort_by(f64::total_cmp);
        Ok(latencies)
    }

    fn pipeline_script(&self) -> PathBuf {
        self.directory.join("pipeline.sql")
    }
}

/// Slow cells log every transaction.
fn log_share(cell: Cell) -> f64 {
    match cell.workload {
        Workload::SelectOnly => LOG_SHARE,
        _ => 1.0,
    }
}

fn pipeline() -> String {
    let select = "SELECT abalance FROM pgbench_accounts WHERE aid = :aid;\n";
    let selects = select.repeat(PIPELINE_DEPTH as usize);
    format!("\\set aid random(1, 100000 * :scale)\n\\startpipeline\n{selects}\\endpipeline\n")
}

fn parse(said: &str) -> io::Result<Sample> {
    let value = |start: &str| {
        let line = said.lines().find(|line| line.starts_with(start))?;
        line.split(['=', ':']).nth(1)?.split_whitespace().next()?.split('/').next()?.parse::<f64>().ok()
    };
    if value("number of failed transactions").is_some_and(|failed| failed > 0.0) {
        return Err(io::Error::other("pgbench counted failed transactions"));
    }
    let missing = || io::Error::other("pgbench did not say what it did");
    let mut sample = Sample::new();
    sample.insert(Metric::Tps, value("tps").ok_or_else(missing)?);
    sample.insert(Metric::LatencyAverage, value("latency average").ok_or_else(missing)?);
    sample.insert(
        Metric::Transactions,
        value("number of transactions actually processed").ok_or_else(missing)?,
    );
    Ok(sample)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_is_read() {
        let said = "transaction type: <builtin: select only>\nduration: 1 s\n\
                    number of transactions actually processed: 12000/12000\n\
                    number of failed transactions: 0 (0.000%)\n\
                    latency average = 0.083 ms\ninitial connection time = 1.2 ms\n\
                    tps = 12012.345678 (without initial connection time)\n";
        let sample = parse(said).expect("complete");
        assert_eq!(sample[&Metric::Tps], 12012.345678);
        assert_eq!(sample[&Metric::Transactions], 12000.0);
        assert!(parse(&said.replace("transactions: 0 (", "transactions: 3 (")).is_err());
        assert!(parse("").is_err());
    }
}
