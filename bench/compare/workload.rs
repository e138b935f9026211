//! The catalogue: which cells there are. A cell is one workload in one protocol mode at one number of clients.

use std::fmt;

use serde::Serialize;

/// Queries in one pipeline.
pub(crate) const PIPELINE_DEPTH: u32 = 20;

/// How pgbench sends its statements (`pgbench -M`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    Simple,
    Extended,
    Prepared,
}

/// What the clients of a cell do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Workload {
    /// pgbench's select-only: one row by primary key.
    SelectOnly,
    /// pgbench's tpcb-like: seven statements in a transaction.
    TpcbLike,
    /// [`PIPELINE_DEPTH`] single-row selects sent without waiting, with one Sync behind them: one pipeline is one transaction.
    Pipeline,
    /// select-only with a new connection and a SCRAM-SHA-256 login for every transaction.
    ConnectScram,
    /// Sixteen rows of 1 MB each.
    WideRows,
    /// 100 000 short rows.
    ManyRows,
    /// One row of 256 MB: shows whether a proxy's memory follows the size of a row.
    HugeRow,
    /// Clients that have logged in and do nothing.
    Idle,
}

/// One cell of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Cell {
    pub(crate) workload: Workload,
    pub(crate) mode: Mode,
    pub(crate) clients: u32,
}

impl Mode {
    /// pgbench's word for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Extended => "extended",
            Self::Prepared => "prepared",
        }
    }
}

impl Workload {
    /// The name used in cell names and filters.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SelectOnly => "select-only",
            Self::TpcbLike => "tpcb-like",
            Self::Pipeline => "pipeline-20",
            Self::ConnectScram => "connect-scram",
            Self::WideRows => "rows-1mb",
            Self::ManyRows => "rows-100k",
            Self::HugeRow => "row-256mb",
            Self::Idle => "idle",
        }
    }

    /// The statement of the workloads that only read and discard.
    pub(crate) fn bulk_statement(self) -> Option<&'static str> {
        match self {
            Self::WideRows => Some("SELECT repeat('x', 1048576) FROM generate_series(1, 16)"),
            Self::ManyRows => Some("SELECT aid, bid, abalance, filler FROM pgbench_accounts LIMIT 100000"),
            Self::HugeRow => Some("SELECT repeat('x', 268435456)"),
            Self::SelectOnly | Self::TpcbLike | Self::Pipeline | Self::ConnectScram | Self::Idle => None,
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.workload.name(), self.mode.word(), self.clients)
    }
}

/// All cells for these numbers of clients; `idle` is the number of clients of the idle cell.
pub(crate) fn catalogue(clients: &[u32], idle: u32) -> Vec<Cell> {
    let mut cells = Vec::new();
    let mut add = |workload, modes: &[Mode], clients: &[u32]| {
        for &mode in modes {
            cells.extend(clients.iter().map(|&clients| Cell { workload, mode, clients }));
        }
    };
    let every = [Mode::Simple, Mode::Extended, Mode::Prepared];
    add(Workload::SelectOnly, &every, clients);
    add(Workload::TpcbLike, &every, clients);
    add(Workload::Pipeline, &every[1..], clients);
    add(Workload::ConnectScram, &every[..1], clients);
    // A result takes its server for long; more clients than servers would only measure the queue.
    let few: Vec<u32> = clients.iter().copied().filter(|&clients| clients <= 16).collect();
    add(Workload::WideRows, &every[..1], &few);
    add(Workload::ManyRows, &every[..1], &few);
    add(Workload::HugeRow, &every[..1], &[1]);
    add(Workload::Idle, &every[..1], &[idle]);
    cells
}

/// Whether a cell's name matches a filter: one of its alternatives, separated by `|`, occurs in the name. `^` at
/// the start and `$` at the end of an alternative bind it to the ends of the name.
pub(crate) fn matches(filter: &str, name: &str) -> bool {
    filter.split('|').any(|alternative| {
        let (bound_left, rest) =
            alternative.strip_prefix('^').map_or((false, alternative), |rest| (true, rest));
        let (bound_right, text) = rest.strip_suffix('$').map_or((false, rest), |text| (true, text));
        match (bound_left, bound_right) {
            (true, true) => name == text,
            (true, false) => name.starts_with(text),
            (false, true) => name.ends_with(text),
            (false, false) => name.contains(text),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<String> = catalogue(&[1, 16, 64], 5000).iter().map(Cell::to_string).collect();
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all);
        assert_eq!(all, 9 + 9 + 6 + 3 + 2 + 2 + 1 + 1);
    }

    #[test]
    fn filters_bind_where_they_are_told() {
        assert!(matches("select|tpcb", "select-only/simple/1"));
        assert!(matches("^select-only/simple/1$", "select-only/simple/1"));
        assert!(!matches("^select-only/simple/1$", "select-only/simple/16"));
        assert!(!matches("simple$", "select-only/simple/16"));
    }
}
