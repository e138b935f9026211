//! Where instruments are made and found again at scrape.

use crate::counter::{Counter, Gauge};
use crate::latency::Latency;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What one series measures.
#[derive(Clone, Debug)]
pub enum Instrument {
    /// Only rises.
    Counter(Arc<Counter>),
    /// Rises and falls.
    Gauge(Arc<Gauge>),
    /// Durations.
    Latency(Arc<Latency>),
}

/// One family: all series of one name. Several instruments with the same labels are summed at scrape (one per worker).
#[derive(Debug, Default)]
pub struct Family {
    /// The HELP text.
    pub help: &'static str,
    /// Instruments by their rendered label set (`node="pg1",user="app"`).
    pub series: BTreeMap<String, Vec<Instrument>>,
}

/// Makes instruments; one per process, made in `main` and handed down.
#[derive(Debug, Default)]
pub struct Registry {
    pub(crate) families: Mutex<BTreeMap<&'static str, Family>>,
}

impl Registry {
    /// A new counter; each call makes its own instrument, and those with equal name and labels are summed at scrape.
    pub fn counter(&self, name: &'static str, help: &'static str, labels: &[(&str, &str)]) -> Arc<Counter> {
        let counter = Arc::new(Counter::default());
        self.add(name, help, labels, Instrument::Counter(counter.clone()));
        counter
    }

    /// A new gauge.
    pub fn gauge(&self, name: &'static str, help: &'static str, labels: &[(&str, &str)]) -> Arc<Gauge> {
        let gauge = Arc::new(Gauge::default());
        self.add(name, help, labels, Instrument::Gauge(gauge.clone()));
        gauge
    }

    /// A new latency recorder.
    pub fn latency(&self, name: &'static str, help: &'static str, labels: &[(&str, &str)]) -> Arc<Latency> {
        let latency = Arc::new(Latency::default());
        self.add(name, help, labels, Instrument::Latency(latency.clone()));
        latency
    }

    fn add(&self, name: &'static str, help: &'static str, labels: &[(&str, &str)], instrument: Instrument) {
        let mut families = self.families.lock();
        let family = families.entry(name).or_default();
        family.help = help;
        family.series.entry(crate::expose::label_text(labels)).or_default().push(instrument);
    }
}
