//! SHOW STATS, STATS_TOTALS, STATS_AVERAGES, TOTALS.

use super::PGBOUNCER;
use super::facts::Facts;
use parking_lot::Mutex;
use pgherd_admin::console::cell::Cell;
use pgherd_admin::console::office::Row;
use pgherd_proxy::tally::Sums;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Averages are over the time since the period before the present one began: between one and two of these.
const PERIOD: Duration = Duration::from_secs(60);

type Book = BTreeMap<Arc<str>, Sums>;

/// The sums of the last two beginnings of a period.
pub struct History(Mutex<[(Instant, Book); 2]>);

impl History {
    /// Nothing was counted yet.
    pub fn begin() -> History {
        let now = Instant::now();
        History(Mutex::new([(now, Book::new()), (now, Book::new())]))
    }

    /// What there was at the beginning of the period before, and when that was. `now` begins a new period when it is time.
    fn older(&self, now: Instant, sums: &Book) -> (Instant, Book) {
        let mut both = self.0.lock();
        // A tick comes a moment early or late.
        if now.duration_since(both[1].0) >= PERIOD - PERIOD / 60 {
            both.swap(0, 1);
            both[1] = (now, sums.clone());
        }
        both[0].clone()
    }
}

/// Keeps the periods, whether anybody looks or not.
pub async fn run(house: Arc<crate::app::House>) {
    let mut ticks = tokio::time::interval(PERIOD);
    loop {
        ticks.tick().await;
        let facts = Facts::gather(&house);
        let _ = house.history.older(Instant::now(), &book(&facts));
    }
}

fn book(facts: &Facts) -> Book {
    let mut book: Book = facts.house.shared.tallies.all().into_iter().collect();
    for name in super::tables::database_names(facts) {
        book.entry(name.into()).or_default();
    }
    let consoles = &facts.house.consoles;
    let asked = consoles.asked.load(Ordering::Relaxed);
    let logins = consoles.came.load(Ordering::Relaxed);
    book.insert(PGBOUNCER.into(), Sums { transactions: asked, queries: asked, logins, ..Sums::default() });
    book
}

/// The twelve numbers of a database in PgBouncer's order.
fn totals(sums: &Sums) -> [u64; 12] {
    [
        sums.assignments,
        sums.transactions,
        sums.queries,
        sums.received,
        sums.sent,
        sums.transaction_time,
        sums.query_time,
        sums.wait_time,
        sums.client_parses,
        sums.server_parses,
        sums.binds,
        sums.logins,
    ]
}

/// The same as averages: each second, but times for each transaction, request and assignment.
fn averages(new: &Sums, old: &Sums, time: Duration) -> [u64; 12] {
    let change = new.since(old);
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1);
    let mut all = totals(&change).map(|n| (u128::from(n) * 1_000_000 / u128::from(micros)) as u64);
    for (at, sum, count) in [
        (5, change.transaction_time, change.transactions),
        (6, change.query_time, change.queries),
        (7, change.wait_time, change.assignments),
    ] {
        all[at] = sum.checked_div(count).unwrap_or(0);
    }
    all
}

fn cells(numbers: [u64; 12]) -> impl Iterator<Item = Cell> {
    numbers.into_iter().map(Cell::count)
}

/// Which numbers a table has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Both,
    Totals,
    Averages,
}

pub(super) fn databases(facts: &Facts, part: Part) -> Vec<Row> {
    let (now, book) = (Instant::now(), book(facts));
    let (began, older) = facts.house.history.older(now, &book);
    let row = |(name, sums): (&Arc<str>, &Sums)| {
        let old = older.get(name).copied().unwrap_or_default();
        let mut row = vec![Cell::text(name.to_string())];
        if part != Part::Averages {
            row.extend(cells(totals(sums)));
        }
        if part != Part::Totals {
            row.extend(cells(averages(sums, &old, now - began)));
        }
        row
    };
    book.iter().map(row).collect()
}

/// PgBouncer's names of the numbers in TOTALS, which are those of its own memory.
const NAMES: [&str; 12] = [
    "server_assignment_count",
    "xact_count",
    "query_count",
    "client_bytes",
    "server_bytes",
    "xact_time",
    "query_time",
    "wait_time",
    "ps_client_parse_count",
    "ps_server_parse_count",
    "ps_bind_count",
    "client_login_count",
];

pub(super) fn totals_of_all(facts: &Facts) -> Vec<Row> {
    let (now, book) = (Instant::now(), book(facts));
    let (began, older) = facts.house.history.older(now, &book);
    let all = |book: &Book| {
        let mut sums = Sums::default();
        book.values().for_each(|one| sums.add(one));
        sums
    };
    let (sums, old) = (all(&book), all(&older));
    let rows = |front: &'static str, numbers: [u64; 12]| {
        let row = move |(name, number): (&str, u64)| {
            vec![Cell::text(format!("{front}_{name}")), Cell::count(number)]
        };
        NAMES.into_iter().zip(numbers).map(row)
    };
    rows("total", totals(&sums)).chain(rows("avg", averages(&sums, &old, now - began))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_are_of_the_last_periods() {
        let old = Sums { transactions: 100, transaction_time: 1000, received: 7, ..Sums::default() };
        let new = Sums { transactions: 300, transaction_time: 5000, received: 1007, ..Sums::default() };
        let average = averages(&new, &old, Duration::from_secs(10));
        assert_eq!((average[1], average[3], average[5], average[6]), (20, 100, 20, 0));
    }

    #[test]
    fn a_period_is_closed_when_it_is_over() {
        let history = History::begin();
        let start = history.0.lock()[1].0;
        let book = |n| Book::from([("d".into(), Sums { queries: n, ..Sums::default() })]);
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(history.older(at(30), &book(3)).0, start);
        assert_eq!(history.older(at(60), &book(6)).0, start);
        let (began, older) = history.older(at(121), &book(12));
        assert_eq!((began, older), (at(60), book(6)));
    }
}
