//! What reading each statement costs, and what it brings: the port that splits (5002) beside the replicas' port (5001) and the primary's (5000).
//!
//! `pgherd demo --no-load` gives the cluster and the proxy. Cells take turns, round by round; a number is the median over rounds, a ratio the median of the
//! rounds' ratios. What a cell's transactions were routed by is read from `/metrics`.

mod front;
mod load;

use crate::front::Front;
use crate::load::{Load, Run};
use clap::Parser;
use pgherd_bench::median::median;
use pgherd_bench::table::{Table, number};
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

/// Compares the port that splits with the others.
#[derive(Debug, Parser)]
struct Options {
    /// The pgherd to measure.
    #[arg(long, default_value = "target/release/pgherd")]
    pgherd: PathBuf,
    /// Clients of each run.
    #[arg(long, default_value_t = 16)]
    clients: u32,
    /// Seconds of each run.
    #[arg(long, default_value_t = 3)]
    seconds: u32,
    /// Interleaved rounds.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Print the tables as Markdown.
    #[arg(long)]
    markdown: bool,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("split: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> io::Result<()> {
    let front = Front::start(&options.pgherd)?;
    front.fill()?;
    let load = Load { clients: options.clients, seconds: options.seconds };
    let show = |table: &Table| println!("{}", if options.markdown { table.markdown() } else { table.text() });
    show(&cost(&front, &load, options.rounds)?);
    show(&scaling(&front, &load, options.rounds)?);
    Ok(())
}

/// CPU per select-only transaction through the replicas' port and through the one that splits.
fn cost(front: &Front, load: &Load, rounds: usize) -> io::Result<Table> {
    let mut table = Table::new(["select-only, mode", "5001 CPU us/tx", "5002 CPU us/tx", "x", "on replicas"]);
    for mode in ["simple", "extended", "prepared"] {
        let (mut plain, mut split) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            plain.push(load.run(front, front.replicas, mode, 0)?);
            split.push(load.run(front, front.any, mode, 0)?);
        }
        let cpu = |runs: &[Run]| middle(runs.iter().map(|run| run.cpu_microseconds));
        let ratios = plain.iter().zip(&split).map(|(a, b)| b.cpu_microseconds / a.cpu_microseconds);
        table.row([
            mode.to_owned(),
            number(cpu(&plain)),
            number(cpu(&split)),
            number(middle(ratios)),
            percent(middle(split.iter().map(|run| run.on_replicas))),
        ]);
    }
    Ok(table)
}

/// Throughput with writes mixed in, through the primary's port and through the one that splits.
fn scaling(front: &Front, load: &Load, rounds: usize) -> io::Result<Table> {
    let mut table = Table::new(["writes, session asks for", "5000 TPS", "5002 TPS", "x", "on replicas"]);
    for writes in [0, 10, 50] {
        for consistency in ["read_after_write", "eventual"] {
            let (mut one, mut all) = (Vec::new(), Vec::new());
            for _ in 0..rounds {
                one.push(load.run(front, front.primary, "prepared", writes)?);
                all.push(load.run_as(front, front.any, "prepared", writes, consistency)?);
            }
            let tps = |runs: &[Run]| middle(runs.iter().map(|run| run.tps));
            let ratios = one.iter().zip(&all).map(|(a, b)| b.tps / a.tps);
            table.row([
                format!("{writes} %, {consistency}"),
                number(tps(&one)),
                number(tps(&all)),
                number(middle(ratios)),
                percent(middle(all.iter().map(|run| run.on_replicas))),
            ]);
        }
    }
    Ok(table)
}

fn middle(samples: impl Iterator<Item = f64>) -> f64 {
    median(&samples.collect::<Vec<_>>()).unwrap_or(f64::NAN)
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}
