//! What one operation of a pure part costs, in nanoseconds and allocations.
//!
//! A plain loop around `std::time::Instant`: each case is repeated until a sample lasts long enough, the table shows
//! the median and the fastest of several samples. Allocations are counted in a run of their own. A case that is on
//! the path of every message must not allocate; the program fails when it does, and so does this package's test.

mod answer;
mod case;
mod pool;
mod route;
mod session;
mod wire;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use pgherd_bench::machine::Machine;
use pgherd_bench::table::{Table, number};

use crate::case::Case;

/// Times the pure parts of pgherd.
#[derive(Debug, Parser)]
struct Options {
    /// Only cases whose name contains this.
    #[arg(default_value = "")]
    filter: String,
    /// Samples per case.
    #[arg(long, default_value_t = 11)]
    samples: usize,
    /// Milliseconds of one sample.
    #[arg(long, default_value_t = 20)]
    sample_ms: u64,
    /// Print the table as Markdown.
    #[arg(long)]
    markdown: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let mut table = Table::new(["case", "ns", "fastest", "allocations", "bytes allocated"]);
    let mut faults = Vec::new();
    for mut case in cases() {
        if !case.name.contains(&options.filter) {
            continue;
        }
        let allocated = case.allocations();
        let (median, fastest) = case.time(options.samples, Duration::from_millis(options.sample_ms));
        let cells = [median, fastest, allocated.count, allocated.bytes].map(number);
        table.row(std::iter::once(case.name.to_owned()).chain(cells));
        if case.is_hot() && allocated.count > 0.0 {
            faults.push(case.name);
        }
    }
    let machine = Machine::look(std::path::Path::new(""), None);
    let Machine { command, cpu, kernel, load, commit, .. } = &machine;
    println!("{command}: {cpu}, Linux {kernel}, load {load} at the end, commit {commit}\n");
    print!("{}", if options.markdown { table.markdown() } else { table.text() });
    for name in &faults {
        eprintln!("micro: {name} allocates, and it must not");
    }
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Every case, from the ground floor up.
fn cases() -> Vec<Case> {
    [wire::cases(), route::cases(), session::cases(), pool::cases()].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hot_cases_do_not_allocate() {
        let mut hot = 0;
        for mut case in cases().into_iter().filter(Case::is_hot) {
            assert_eq!(case.allocations().count, 0.0, "{} allocates", case.name);
            hot += 1;
        }
        assert!(hot > 0, "nothing was looked at");
    }

    #[test]
    fn the_counter_counts() {
        let mut case = Case::cold("a box", || drop(std::hint::black_box(Box::new(7_u64))));
        assert_eq!(case.allocations().count, 1.0);
        assert_eq!(case.allocations().bytes, 8.0);
    }
}
