//! One run of one cell through one target.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pgherd_bench::cluster::{Cluster, DATABASE, USER};
use pgherd_bench::process;
use pgherd_bench::visitor::Visitor;

use crate::metric::{Metric, Sample};
use crate::pgbench::{Length, Pgbench};
use crate::target::Target;
use crate::workload::{Cell, Workload};

/// Bytes that a discarding reader takes at once.
const SCRATCH: usize = 256 * 1024;

/// Clients that come and go before idle clients are counted, so that a proxy has touched its own pages.
const EARLY_VISITORS: u32 = 64;

/// How long a proxy may settle before its memory is read.
const SETTLE: Duration = Duration::from_millis(1500);

/// Runs `cell` for `seconds`; what it gave, and what it cost the proxy.
pub(crate) fn run(
    cell: Cell,
    target: &Target,
    pgbench: &Pgbench,
    cluster: &Cluster,
    seconds: u32,
) -> io::Result<Sample> {
    if cell.workload == Workload::Idle {
        return idle(cell, target);
    }
    if cell.workload == Workload::TpcbLike {
        // pgbench's own housekeeping before a run, done directly so that no proxy is charged for it.
        cluster.psql(DATABASE, "VACUUM pgbench_branches")?;
        cluster.psql(DATABASE, "VACUUM pgbench_tellers")?;
        cluster.psql(DATABASE, "TRUNCATE pgbench_history")?;
    }
    if let Some(statement) = cell.workload.bulk_statement() {
        return bulk(cell, statement, target, Duration::from_secs(seconds.into()));
    }
    pgbench.warm_up(cell, target.port)?;
    let before = target.pid().map(process::cpu_time).transpose()?;
    let mut sample = pgbench.run(cell, target.port, Length::Seconds(seconds))?;
    let after = target.pid().map(process::cpu_time).transpose()?;
    if let (Some(before), Some(after), Some(transactions)) =
        (before, after, sample.get(&Metric::Transactions))
    {
        let microseconds = after.saturating_sub(before).as_secs_f64() * 1e6;
        sample.insert(Metric::CpuPerTransaction, microseconds / transactions.max(1.0));
    }
    Ok(sample)
}

/// Every client asks again and again and throws the rows away.
fn bulk(cell: Cell, statement: &str, target: &Target, duration: Duration) -> io::Result<Sample> {
    Visitor::log_in(target.port, USER, DATABASE)?.query("SELECT 1", &mut [0; 4096])?;
    let memory = target.pid().map(process::resident_kib).transpose()?;
    if let Some(pid) = target.pid() {
        process::forget_peak(pid)?;
    }
    let before = target.pid().map(process::cpu_time).transpose()?;
    let started = Instant::now();
    let over = AtomicBool::new(false);
    let answers = std::thread::scope(|scope| {
        let readers: Vec<_> =
            (0..cell.clients).map(|_| scope.spawn(|| read_until(&over, target.port, statement))).collect();
        std::thread::sleep(duration);
        over.store(true, Ordering::Relaxed);
        readers.into_iter().map(join).collect::<io::Result<Vec<_>>>()
    })?;
    let elapsed = started.elapsed().as_secs_f64();
    let (answers, bytes) = answers.iter().fold((0, 0), |sum, answer| (sum.0 + answer.0, sum.1 + answer.1));
    let megabytes = bytes as f64 / 1e6;
    let mut sample = Sample::new();
    sample.insert(Metric::Transactions, f64::from(answers));
    sample.insert(Metric::Tps, f64::from(answers) / elapsed);
    sample.insert(Metric::MegabytesPerSecond, megabytes / elapsed);
    if let (Some(pid), Some(before), Some(memory)) = (target.pid(), before, memory) {
        let microseconds = process::cpu_time(pid)?.saturating_sub(before).as_secs_f64() * 1e6;
        sample.insert(Metric::CpuPerMegabyte, microseconds / megabytes);
        sample.insert(Metric::PeakMemory, process::peak_kib(pid)?.saturating_sub(memory) as f64);
    }
    Ok(sample)
}

/// Answers and bytes of one reader; it always finishes the answer it has begun.
fn read_until(over: &AtomicBool, port: u16, statement: &str) -> io::Result<(u32, u64)> {
    let mut visitor = Visitor::log_in(port, USER, DATABASE)?;
    let mut scratch = vec![0; SCRATCH];
    let (mut answers, mut bytes) = (0, 0);
    while answers == 0 || !over.load(Ordering::Relaxed) {
        bytes += visitor.query(statement, &mut scratch)?;
        answers += 1;
    }
    Ok((answers, bytes))
}

/// Logs many clients in and weighs the proxy, then lets each ask once and weighs it again. The target must be
/// fresh: memory that an earlier crowd left in the heap would hide what this one costs.
fn idle(cell: Cell, target: &Target) -> io::Result<Sample> {
    let Some(pid) = target.pid() else {
        return Ok(Sample::new());
    };
    let mut scratch = vec![0; SCRATCH];
    let mut early = crowd(EARLY_VISITORS, target.port)?;
    for visitor in &mut early {
        visitor.query("SELECT 1", &mut scratch)?;
    }
    drop(early);
    std::thread::sleep(SETTLE);
    let empty = process::resident_kib(pid)?;
    let started = Instant::now();
    let mut visitors = crowd(cell.clients, target.port)?;
    let logins = f64::from(cell.clients) / started.elapsed().as_secs_f64();
    std::thread::sleep(SETTLE);
    let full = process::resident_kib(pid)?;
    for visitor in &mut visitors {
        visitor.query("SELECT 1", &mut scratch)?;
    }
    std::thread::sleep(SETTLE);
    let used = process::resident_kib(pid)?;
    let each = |weight: u64| weight.saturating_sub(empty) as f64 / f64::from(cell.clients);
    Ok(Sample::from([
        (Metric::Logins, logins),
        (Metric::IdleMemory, each(full)),
        (Metric::UsedMemory, each(used)),
    ]))
}

fn crowd(clients: u32, port: u16) -> io::Result<Vec<Visitor>> {
    (0..clients).map(|_| Visitor::log_in(port, USER, DATABASE)).collect()
}

fn join<T>(reader: std::thread::ScopedJoinHandle<'_, io::Result<T>>) -> io::Result<T> {
    reader.join().unwrap_or_else(|_| Err(io::Error::other("a reader panicked")))
}
