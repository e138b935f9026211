//! The outcome for people: aligned text per cell, and Markdown for RESULTS.md.

use std::fmt::Write;

use pgherd_bench::machine::Machine;
use pgherd_bench::table::{Table, number};

use crate::metric::Metric;
use crate::outcome::{BASELINE, CellOutcome, Outcome, TargetOutcome};
use crate::workload::Workload;

/// Columns of the Markdown tables, which have to fit a page; the text has them all.
const MARKDOWN_COLUMNS: [Metric; 12] = [
    Metric::Tps,
    Metric::MegabytesPerSecond,
    Metric::LatencyP50,
    Metric::LatencyP99,
    Metric::AddedLatency,
    Metric::CpuPerTransaction,
    Metric::CpuPerMegabyte,
    Metric::PeakMemory,
    Metric::IdleMemory,
    Metric::UsedMemory,
    Metric::Logins,
    Metric::Syscalls,
];

/// Every cell with every metric.
pub(crate) fn text(outcome: &Outcome) -> String {
    let mut out = String::new();
    for cell in &outcome.cells {
        let _ = writeln!(out, "\n{}{}", cell.name, compared_with(outcome, cell));
        out.push_str(&table("target", &[cell], &cell.metrics(), |_, target| target.label.clone()).text());
        for remark in remarks(cell) {
            let _ = writeln!(out, "  {remark}");
        }
    }
    out
}

/// One table per workload, headed by how it was measured.
pub(crate) fn markdown(outcome: &Outcome) -> String {
    let mut out = heading(outcome);
    let mut rest = outcome.cells.as_slice();
    while let Some(first) = rest.first() {
        let workload = first.cell.workload;
        let length = rest.iter().take_while(|cell| cell.cell.workload == workload).count();
        let (group, behind) = rest.split_at(length);
        rest = behind;
        markdown_workload(&mut out, outcome, workload, group);
    }
    out
}

fn heading(outcome: &Outcome) -> String {
    let Machine { cpu, cores, memory_gib, kernel, load, postgresql, pgbouncer, commit, command } =
        &outcome.machine;
    format!(
        "Command: `{command}`\n\nMachine: {cpu}, {cores} cores, {memory_gib} GiB, Linux {kernel}, load {load} at the \
         start. {postgresql}; {pgbouncer}. Commit {commit}. Medians of {} interleaved rounds of {} s; pool of {}. \
         `x` is the median of the rounds' ratios to PgBouncer.\n\n",
        outcome.rounds, outcome.seconds, outcome.pool,
    )
}

fn markdown_workload(out: &mut String, outcome: &Outcome, workload: Workload, group: &[CellOutcome]) {
    let cells: Vec<&CellOutcome> = group.iter().collect();
    let present: Vec<Metric> = MARKDOWN_COLUMNS
        .into_iter()
        .filter(|metric| cells.iter().any(|cell| cell.metrics().contains(metric)))
        .collect();
    let _ = writeln!(out, "### {}\n", workload.name());
    let name = |cell: &CellOutcome, target: &TargetOutcome| {
        format!("{}, {}, {}", cell.cell.mode.word(), cell.cell.clients, target.label)
    };
    out.push_str(&table("mode, clients, target", &cells, &present, name).markdown());
    out.push('\n');
    for cell in group {
        let compared = compared_with(outcome, cell);
        if !compared.is_empty() {
            let _ = writeln!(out, "{}{compared}.\n", cell.name);
        }
        for remark in remarks(cell) {
            let _ = writeln!(out, "{}: {remark}.\n", cell.name);
        }
    }
}

fn table(
    first: &str,
    cells: &[&CellOutcome],
    metrics: &[Metric],
    name: impl Fn(&CellOutcome, &TargetOutcome) -> String,
) -> Table {
    let mut headings = vec![first.to_owned()];
    for metric in metrics {
        headings.push(metric.heading().to_owned());
        if metric.has_ratio() {
            headings.push("x".to_owned());
        }
    }
    let mut table = Table::new(headings);
    for cell in cells {
        for target in &cell.targets {
            table.row(std::iter::once(name(cell, target)).chain(values(target, metrics)));
        }
    }
    table
}

fn values(target: &TargetOutcome, metrics: &[Metric]) -> Vec<String> {
    let mut values = Vec::new();
    for metric in metrics {
        values.push(target.medians.get(metric).map_or_else(|| "-".to_owned(), |&value| number(value)));
        if metric.has_ratio() {
            let ratio = target.ratios.get(metric).map_or_else(String::new, |ratio| format!("{ratio:.2}"));
            values.push(ratio);
        }
    }
    values
}

/// A remark when a cell is not compared with itself.
fn compared_with(outcome: &Outcome, cell: &CellOutcome) -> String {
    match outcome.baseline_name(cell.cell) {
        Some(name) if name != cell.name => format!(" (x: against {BASELINE}'s {name})"),
        _ => String::new(),
    }
}

fn remarks(cell: &CellOutcome) -> Vec<String> {
    cell.targets
        .iter()
        .filter_map(|target| Some(format!("{}: {}", target.label, target.remark.as_ref()?)))
        .collect()
}
