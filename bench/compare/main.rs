//! The same work done directly, through PgBouncer and through pgherd, interleaved in one run.
//!
//! Rounds rotate the order of the targets (A B C, B C A, ...), so that a slow minute of the machine falls on all of
//! them; every number is the median over rounds and every ratio the median of the rounds' ratios. System calls are
//! counted in a run of their own, because counting disturbs.
//!
//! One cell in seconds, while tuning:
//! `compare --pgherd target/release/pgherd --workload select-only/simple --clients 16 --quick --workers 1`

mod count;
mod measure;
mod metric;
mod options;
mod outcome;
mod pgbench;
mod profile;
mod report;
mod target;
mod workload;

use std::io;
use std::process::ExitCode;

use clap::Parser;
use pgherd_bench::cluster::{Cluster, DATABASE, SCRAM_USER};
use pgherd_bench::machine::Machine;
use pgherd_bench::scratch::Scratch;

use crate::metric::Sample;
use crate::options::Options;
use crate::outcome::{CellOutcome, Outcome, TargetOutcome};
use crate::pgbench::Pgbench;
use crate::target::{Frame, Kind, Target};
use crate::workload::{Cell, Workload};

/// Why a target sits a cell out.
const NO_PREPARED: &str = "keeps no prepared statements in transaction mode (PgBouncer does since 1.21)";

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> io::Result<()> {
    let cells = options.cells();
    if options.list || cells.is_empty() {
        let all = workload::catalogue(&options.clients, options.idle_clients);
        let shown = if cells.is_empty() { &all } else { &cells };
        shown.iter().for_each(|cell| println!("{cell}"));
        return if cells.is_empty() { Err(io::Error::other("no cell matches; these exist")) } else { Ok(()) };
    }
    raise_file_limit(options.idle_clients);
    let kinds = options.kinds()?;
    let bin = options.postgres_bin()?;
    let scratch = Scratch::create("compare", options.keep)?;
    let machine = Machine::look(&bin, options.pgbouncer().as_deref());
    eprintln!("starting PostgreSQL and filling pgbench's tables at scale {}", options.scale);
    let cluster = Cluster::start(&bin, scratch.path())?;
    let pgbench = Pgbench::new(&bin, scratch.path(), options.threads, options.scale)?;
    pgbench.fill(cluster.port())?;
    let verifier = cluster
        .psql(DATABASE, &format!("SELECT rolpassword FROM pg_authid WHERE rolname = '{SCRAM_USER}'"))?;
    let frame = Frame {
        cluster: &cluster,
        directory: scratch.path(),
        pool: options.pool,
        idle_clients: options.idle_clients,
        verifier: &verifier,
    };
    let targets = kinds.iter().map(|kind| kind.start(frame)).collect::<io::Result<Vec<_>>>()?;
    let bench = Bench { options, kinds: &kinds, targets: &targets, frame, pgbench: &pgbench };
    if options.profiles() {
        return bench.profile(&cells);
    }
    let mut outcome = bench.outcome(&cells, machine);
    bench.rounds(&mut outcome);
    bench.syscalls(&mut outcome);
    outcome.conclude();
    show(options, &outcome)
}

/// What every run needs.
struct Bench<'a> {
    options: &'a Options,
    kinds: &'a [Kind],
    targets: &'a [Target],
    frame: Frame<'a>,
    pgbench: &'a Pgbench,
}

impl Bench<'_> {
    fn outcome(&self, cells: &[Cell], machine: Machine) -> Outcome {
        let target = |cell: &Cell, target: &Target| TargetOutcome {
            label: target.label.clone(),
            rounds: Vec::new(),
            counted: Sample::new(),
            medians: Sample::new(),
            ratios: Sample::new(),
            remark: self.excuse(*cell, target).map(str::to_owned),
        };
        let cell = |cell: &Cell| CellOutcome {
            name: cell.to_string(),
            cell: *cell,
            targets: self.targets.iter().map(|t| target(cell, t)).collect(),
        };
        let (rounds, seconds, pool) = (self.options.rounds, self.options.seconds(), self.options.pool);
        Outcome { machine, rounds, seconds, pool, cells: cells.iter().map(cell).collect() }
    }

    /// All rounds; a failure becomes a remark and the run goes on.
    fn rounds(&self, outcome: &mut Outcome) {
        for round in 0..self.options.rounds as usize {
            for cell in &mut outcome.cells {
                for turn in 0..self.targets.len() {
                    let place = (round + turn) % self.targets.len();
                    let (target, outcome) = (&self.targets[place], &mut cell.targets[place]);
                    if self.excuse(cell.cell, target).is_some() {
                        continue;
                    }
                    eprintln!(
                        "round {} of {}: {} {}",
                        round + 1,
                        self.options.rounds,
                        cell.name,
                        target.label
                    );
                    let sample = self.measure(cell.cell, place);
                    if let Err(error) = &sample {
                        outcome.remark = Some(format!("round {} failed: {error}", round + 1));
                        eprintln!("  failed: {error}; {}", target.last_words());
                    }
                    outcome.rounds.push(sample.ok());
                }
            }
        }
    }

    fn measure(&self, cell: Cell, place: usize) -> io::Result<Sample> {
        let (target, cluster) = (&self.targets[place], self.frame.cluster);
        let seconds = self.options.seconds();
        if cell.workload == Workload::Idle {
            let fresh = self.kinds[place].start(self.frame)?;
            return measure::run(cell, &fresh, self.pgbench, cluster, seconds);
        }
        measure::run(cell, target, self.pgbench, cluster, seconds)
    }

    fn syscalls(&self, outcome: &mut Outcome) {
        if self.options.no_syscalls {
            return;
        }
        for cell in &mut outcome.cells {
            for (target, outcome) in self.targets.iter().zip(&mut cell.targets) {
                if self.excuse(cell.cell, target).is_some() {
                    continue;
                }
                eprintln!("system calls: {} {}", cell.name, target.label);
                match count::run(cell.cell, target, self.pgbench, self.frame.directory) {
                    Ok(counted) => outcome.counted = counted.unwrap_or_default(),
                    Err(error) => outcome.remark = Some(format!("system calls not counted: {error}")),
                }
            }
        }
    }

    fn profile(&self, cells: &[Cell]) -> io::Result<()> {
        for &cell in cells {
            for target in self.targets.iter().filter(|target| target.pid().is_some()) {
                println!("\n{cell} {}", target.label);
                let seconds = self.options.seconds();
                print!("{}", profile::run(cell, target, self.pgbench, self.frame.directory, seconds)?);
            }
        }
        Ok(())
    }

    /// Why a target cannot do a cell.
    fn excuse(&self, cell: Cell, target: &Target) -> Option<&'static str> {
        if cell.mode == workload::Mode::Prepared && !target.prepares {
            return Some(NO_PREPARED);
        }
        (cell.workload == Workload::Idle && target.pid().is_none()).then_some("has no proxy to weigh")
    }
}

/// Every idle client is a socket here and one in the proxy, which inherits the limit.
fn raise_file_limit(idle_clients: u32) {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        eprintln!("the limit of open files stays as it is: {error}");
    }
    let wanted = u64::from(idle_clients) + 1000;
    if limit.maximum.is_some_and(|maximum| maximum < wanted) {
        eprintln!("{idle_clients} idle clients need a hard limit of {wanted} open files (ulimit -Hn)");
    }
}

fn show(options: &Options, outcome: &Outcome) -> io::Result<()> {
    print!("{}", report::text(outcome));
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_string_pretty(outcome).map_err(io::Error::other)?)?;
    }
    if let Some(path) = &options.markdown {
        std::fs::write(path, report::markdown(outcome))?;
    }
    Ok(())
}
