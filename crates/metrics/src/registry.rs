//! Where instruments are made and found again at scrape.
//!
//! The registry remembers every instrument it made. One that nobody else holds any more is *retired*: its series goes
//! with its last instrument, so keep a handle as long as the thing it measures exists. While other instruments of the
//! same series live (other workers'), the counts of a retired one stay in the sum, so that a total never falls.

use crate::counter::{Counter, Gauge};
use crate::expose::{Kind, Sheet, label_text};
use crate::latency::{Distribution, Latency};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

/// How many series one family may have. An instrument beyond that works but is not exposed: labels are meant to come
/// from closed sets, and a scrape must not grow without bound when one does not.
pub const MAX_SERIES: usize = 10_000;

/// Instruments made between two sweeps for retired ones, at least; scrapes sweep too.
const SWEEP_AFTER: usize = 256;

/// Makes instruments; one per process, made in `main` and handed down.
#[derive(Debug, Default)]
pub struct Registry {
    shelf: Mutex<Shelf>,
}

/// What a series held at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// A total.
    Counter(u64),
    /// A level.
    Gauge(i64),
    /// Durations.
    Latency(Distribution),
}

/// What there is to know about a family without its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Name as exposed.
    pub name: &'static str,
    /// Counter, gauge or histogram.
    pub kind: Kind,
    /// One sentence.
    pub help: &'static str,
    /// Number of live series.
    pub series: usize,
}

impl Registry {
    /// A new counter. Each call makes its own instrument; those with equal name and labels are summed at scrape. `name`
    /// ends with `_total`.
    pub fn counter(&self, name: &'static str, help: &'static str, labels: &[(&str, &str)]) -> Arc<Counter> {
        let counter = Arc::new(Counter::default());
        self.add(name, help, labels, Instrument::Counter(counter.clone()));
        counter
    }

    /// A new gauge; summed like counters.
    pub fn gauge(&self, name: &'static str, help: &'static str, labels: &[(&str, &str)]) -> Arc<Gauge> {
        let gauge = Arc::new(Gauge::default());
        self.add(name, help, labels, Instrument::Gauge(gauge.clone()));
        gauge
    }

    /// A new latency recorder; merged at scrape into one histogram in seconds. `name` ends with `_seconds`.
    pub fn latency(&self, name: &'static str, help: &'static str, labels: &[(&str, &str)]) -> Arc<Latency> {
        let latency = Arc::new(Latency::default());
        self.add(name, help, labels, Instrument::Latency(latency.clone()));
        latency
    }

    /// Forgets one series now, also when somebody still holds its instruments. Tells whether there was one.
    pub fn remove(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        let mut shelf = self.shelf.lock();
        let removed = shelf.families.get_mut(name).and_then(|family| family.series.remove(&key(labels)));
        removed.is_some()
    }

    /// The live series of one family with their merged values, by label text (`node="pg1",user="app"`).
    pub fn read(&self, name: &str) -> Vec<(String, Reading)> {
        let mut shelf = self.shelf.lock();
        shelf.sweep();
        let Some(family) = shelf.families.get(name) else { return Vec::new() };
        family.series.iter().map(|(labels, series)| (labels.clone(), series.read())).collect()
    }

    /// Every family there is, in order of the names: documentation and dashboards are checked against it.
    pub fn describe(&self) -> Vec<Description> {
        let shelf = self.shelf.lock();
        let describe = |(name, family): (&&'static str, &Family)| Description {
            name,
            kind: family.kind,
            help: family.help,
            series: family.series.len(),
        };
        shelf.families.iter().map(describe).collect()
    }

    /// Everything in the Prometheus text format ([`crate::expose::CONTENT_TYPE`]).
    pub fn render(&self) -> String {
        let mut sheet = Sheet::default();
        self.render_into(&mut sheet);
        sheet.finish()
    }

    /// As [`Registry::render`], for those who have families of their own to add to the sheet.
    pub fn render_into(&self, sheet: &mut Sheet) {
        let mut shelf = self.shelf.lock();
        shelf.sweep();
        for (name, family) in &shelf.families {
            if family.series.is_empty() {
                continue;
            }
            sheet.family(name, family.kind, family.help);
            for (labels, series) in &family.series {
                match series.read() {
                    Reading::Counter(total) => sheet.count(labels, total),
                    Reading::Gauge(level) => sheet.level(labels, level),
                    Reading::Latency(distribution) => sheet.histogram(labels, &distribution),
                }
            }
        }
    }

    fn add(&self, name: &'static str, help: &'static str, labels: &[(&str, &str)], instrument: Instrument) {
        debug_assert!(is_metric_name(name), "{name} is not a metric name");
        let mut shelf = self.shelf.lock();
        shelf.sweep_when_due();
        let kind = instrument.kind();
        let family = shelf.families.entry(name).or_insert_with(|| Family::new(kind, help));
        debug_assert_eq!(family.kind, kind, "{name} is already another kind of metric");
        let key = key(labels);
        let has_place = family.series.len() < MAX_SERIES || family.series.contains_key(&key);
        if family.kind == kind && has_place {
            family.series.entry(key).or_insert_with(|| Series::new(kind)).live.push(instrument);
        }
    }
}

/// One series is its labels, in whatever order they were given.
fn key(labels: &[(&str, &str)]) -> String {
    let mut sorted = labels.to_vec();
    sorted.sort_unstable();
    label_text(&sorted)
}

fn is_metric_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')
}

#[derive(Debug, Default)]
struct Shelf {
    families: BTreeMap<&'static str, Family>,
    made_since_sweep: usize,
    live_after_sweep: usize,
}

impl Shelf {
    /// Without scrapes, instruments that come and go are still swept: once as many were made as there were alive.
    fn sweep_when_due(&mut self) {
        self.made_since_sweep += 1;
        if self.made_since_sweep > SWEEP_AFTER.max(self.live_after_sweep) {
            self.sweep();
        }
    }

    fn sweep(&mut self) {
        self.made_since_sweep = 0;
        self.live_after_sweep = 0;
        for family in self.families.values_mut() {
            family.series.retain(|_, series| {
                series.retire();
                !series.live.is_empty()
            });
            self.live_after_sweep += family.series.values().map(|series| series.live.len()).sum::<usize>();
        }
    }
}

/// All series of one name.
#[derive(Debug)]
struct Family {
    kind: Kind,
    help: &'static str,
    series: BTreeMap<String, Series>,
}

impl Family {
    fn new(kind: Kind, help: &'static str) -> Self {
        Family { kind, help, series: BTreeMap::new() }
    }
}

/// One label set: its live instruments, and what its retired ones had counted.
#[derive(Debug)]
struct Series {
    live: Vec<Instrument>,
    retired: Reading,
}

impl Series {
    fn new(kind: Kind) -> Self {
        let retired = match kind {
            Kind::Counter => Reading::Counter(0),
            Kind::Gauge => Reading::Gauge(0),
            Kind::Histogram => Reading::Latency(Distribution::default()),
        };
        Series { live: Vec::new(), retired }
    }

    fn read(&self) -> Reading {
        let mut sum = self.retired.clone();
        for instrument in &self.live {
            instrument.merge_into(&mut sum);
        }
        sum
    }

    /// Moves instruments that only the registry still holds into the retired sum. Nobody can write them any more: a
    /// handle is only ever given out when it is made.
    fn retire(&mut self) {
        let retired = &mut self.retired;
        self.live.retain(|instrument| {
            let held = instrument.is_held();
            // What a gauge stood at went with the thing it measured.
            if !held && instrument.kind() != Kind::Gauge {
                // Pairs with the release of the last handle's drop: its last counts are seen.
                fence(Ordering::Acquire);
                instrument.merge_into(retired);
            }
            held
        });
    }
}

#[derive(Debug)]
enum Instrument {
    Counter(Arc<Counter>),
    Gauge(Arc<Gauge>),
    Latency(Arc<Latency>),
}

impl Instrument {
    fn kind(&self) -> Kind {
        match self {
            Instrument::Counter(_) => Kind::Counter,
            Instrument::Gauge(_) => Kind::Gauge,
            Instrument::Latency(_) => Kind::Histogram,
        }
    }

    fn is_held(&self) -> bool {
        match self {
            Instrument::Counter(counter) => Arc::strong_count(counter) > 1,
            Instrument::Gauge(gauge) => Arc::strong_count(gauge) > 1,
            Instrument::Latency(latency) => Arc::strong_count(latency) > 1,
        }
    }

    fn merge_into(&self, sum: &mut Reading) {
        match (self, sum) {
            (Instrument::Counter(counter), Reading::Counter(total)) => *total += counter.get(),
            (Instrument::Gauge(gauge), Reading::Gauge(level)) => *level += gauge.get(),
            (Instrument::Latency(latency), Reading::Latency(distribution)) => {
                latency.merge_into(distribution)
            }
            // A family holds one kind only: `Registry::add` sees to it.
            (Instrument::Counter(_) | Instrument::Gauge(_) | Instrument::Latency(_), _) => {}
        }
    }
}

#[cfg(test)]
mod tests;
