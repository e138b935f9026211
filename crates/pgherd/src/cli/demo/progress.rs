//! What pgbench says, read (PostgreSQL documentation, "pgbench", "Notes").

/// One line of `--progress`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Progress {
    /// Seconds since the beginning.
    pub(super) second: f64,
    /// Transactions per second in the last interval.
    pub(super) tps: f64,
    /// Mean latency of the last interval in milliseconds, retries included; `None` when nothing ended in it.
    pub(super) latency_ms: Option<f64>,
    /// Transactions given up in the last interval; `None` before PostgreSQL 15, which does not tell.
    pub(super) failed: Option<u64>,
    /// Transactions that needed another try in the last interval.
    pub(super) retried: u64,
}

/// The totals of a run that ended by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Totals {
    /// Transactions whose success the server acknowledged.
    pub(super) processed: u64,
    /// Transactions given up.
    pub(super) failed: u64,
    /// Transactions that needed another try.
    pub(super) retried: u64,
}

/// Reads `progress: 3.0 s, 1203.4 tps, lat 6.645 ms stddev 2.101, 0 failed, 3 retried, 4 retries`.
#[must_use]
pub(super) fn line(text: &str) -> Option<Progress> {
    let mut progress = Progress { second: 0.0, tps: 0.0, latency_ms: None, failed: None, retried: 0 };
    let mut seen = 0;
    for part in text.strip_prefix("progress: ")?.split(", ") {
        let words: Vec<&str> = part.split_whitespace().collect();
        match words.as_slice() {
            [number, "s"] => (progress.second, seen) = (number.parse().ok()?, seen + 1),
            [number, "tps"] => (progress.tps, seen) = (number.parse().ok()?, seen + 1),
            // "nan" when no transaction ended in the interval.
            ["lat", number, "ms", ..] => {
                progress.latency_ms = number.parse().ok().filter(|n: &f64| n.is_finite())
            }
            [number, "failed"] => progress.failed = number.parse().ok(),
            [number, "retried"] => progress.retried = number.parse().ok()?,
            _ => {}
        }
    }
    (seen == 2).then_some(progress)
}

/// Reads the report at the end of a run; `None` when there is none, because the run was cut short.
#[must_use]
pub(super) fn totals(report: &str) -> Option<Totals> {
    let number = |label: &str| {
        let rest = report.lines().find_map(|l| l.strip_prefix(label))?;
        let digits: String = rest.trim().chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    };
    Some(Totals {
        processed: number("number of transactions actually processed:")?,
        failed: number("number of failed transactions:").unwrap_or(0),
        retried: number("number of transactions retried:").unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_progress_lines_of_old_and_new_versions() {
        let old = line("progress: 1.0 s, 900.5 tps, lat 8.801 ms stddev 2.0").expect("a progress line");
        assert_eq!((old.second, old.tps, old.latency_ms, old.failed), (1.0, 900.5, Some(8.801), None));
        let new =
            line("progress: 3.0 s, 1203.4 tps, lat 6.645 ms stddev 2.101, 2 failed, 3 retried, 4 retries");
        let new = new.expect("a progress line");
        assert_eq!((new.failed, new.retried), (Some(2), 3));
        let still =
            line("progress: 4.0 s, 0.0 tps, lat 0.000 ms stddev 0.000, 0 failed").expect("a progress line");
        assert_eq!(still.tps, 0.0);
        let nan = line("progress: 4.0 s, 0.0 tps, lat -nan ms stddev -nan").expect("a progress line");
        assert_eq!(nan.latency_ms, None);
        assert_eq!(line("pgbench: error: client 3 aborted"), None);
        assert_eq!(line("progress: nonsense"), None);
    }

    #[test]
    fn reads_totals() {
        let report = "transaction type: <builtin: TPC-B (sort of)>\n\
            number of transactions actually processed: 41213\n\
            number of failed transactions: 2 (0.005%)\nnumber of transactions retried: 8 (0.019%)\n";
        assert_eq!(totals(report), Some(Totals { processed: 41_213, failed: 2, retried: 8 }));
        let asked = "number of transactions actually processed: 100/100\n";
        assert_eq!(totals(asked), Some(Totals { processed: 100, failed: 0, retried: 0 }));
        assert_eq!(totals("pgbench (15.20)\n"), None);
    }
}
