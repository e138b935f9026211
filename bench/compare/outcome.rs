//! Everything that was measured, and the medians and ratios drawn from it.

use std::collections::BTreeMap;

use pgherd_bench::machine::Machine;
use pgherd_bench::median::median;
use serde::Serialize;

use crate::metric::{Metric, Sample};
use crate::workload::{Cell, Mode};

/// The target that the others are compared with.
pub(crate) const BASELINE: &str = "pgbouncer";

/// A whole run.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) machine: Machine,
    pub(crate) rounds: u32,
    pub(crate) seconds: u32,
    pub(crate) pool: u32,
    pub(crate) cells: Vec<CellOutcome>,
}

/// One cell through every target.
#[derive(Debug, Serialize)]
pub(crate) struct CellOutcome {
    pub(crate) name: String,
    #[serde(skip)]
    pub(crate) cell: Cell,
    pub(crate) targets: Vec<TargetOutcome>,
}

/// One cell through one target.
#[derive(Debug, Serialize)]
pub(crate) struct TargetOutcome {
    pub(crate) label: String,
    /// One entry per round; `None` when that round failed.
    pub(crate) rounds: Vec<Option<Sample>>,
    /// System calls, counted apart from the rounds.
    pub(crate) counted: Sample,
    /// Medians over the rounds, and what was counted.
    pub(crate) medians: Sample,
    /// Medians of the rounds' ratios to [`BASELINE`].
    pub(crate) ratios: Sample,
    /// Why there is nothing, or less than all rounds.
    pub(crate) remark: Option<String>,
}

impl Outcome {
    /// Fills in medians and ratios when all rounds are over.
    pub(crate) fn conclude(&mut self) {
        for cell in &mut self.cells {
            cell.add_latency();
            for target in &mut cell.targets {
                target.medians = medians(&target.rounds);
                target.medians.extend(target.counted.clone());
            }
        }
        let baselines: Vec<Option<Baseline>> =
            self.cells.iter().map(|cell| self.baseline_of(cell.cell)).collect();
        for (cell, baseline) in self.cells.iter_mut().zip(baselines) {
            for target in &mut cell.targets {
                let Some(baseline) = &baseline else { continue };
                target.ratios = baseline.ratios(target);
            }
        }
    }

    /// What a cell is compared with: PgBouncer in the same cell, or, where it cannot prepare statements, in the
    /// simple protocol; tables say so.
    pub(crate) fn baseline_name(&self, cell: Cell) -> Option<String> {
        let with = |mode| Cell { mode, ..cell };
        let candidates = match cell.mode {
            Mode::Prepared => vec![cell, with(Mode::Simple), with(Mode::Extended)],
            Mode::Simple | Mode::Extended => vec![cell],
        };
        candidates
            .into_iter()
            .find(|&candidate| self.baseline_target(candidate).is_some())
            .map(|c| c.to_string())
    }

    fn baseline_of(&self, cell: Cell) -> Option<Baseline> {
        let name = self.baseline_name(cell)?;
        let cell = self.cells.iter().find(|candidate| candidate.name == name)?.cell;
        let target = self.baseline_target(cell)?;
        Some(Baseline { rounds: target.rounds.clone(), counted: target.counted.clone() })
    }

    fn baseline_target(&self, cell: Cell) -> Option<&TargetOutcome> {
        let outcome = self.cells.iter().find(|candidate| candidate.cell == cell)?;
        outcome.targets.iter().find(|target| target.label == BASELINE && !target.medians.is_empty())
    }
}

impl CellOutcome {
    /// Latency that a proxy adds, from the same round's direct run.
    fn add_latency(&mut self) {
        if self.cell.clients != 1 {
            return;
        }
        let Some(direct) = self.targets.iter().find(|target| target.label == "direct") else { return };
        let direct: Vec<Option<f64>> =
            direct.rounds.iter().map(|round| round.as_ref()?.get(&Metric::LatencyP50).copied()).collect();
        for target in self.targets.iter_mut().filter(|target| target.label != "direct") {
            for (round, direct) in target.rounds.iter_mut().zip(&direct) {
                let (Some(sample), Some(direct)) = (round, direct) else { continue };
                if let Some(&latency) = sample.get(&Metric::LatencyP50) {
                    sample.insert(Metric::AddedLatency, (latency - direct) * 1000.0);
                }
            }
        }
    }

    /// The metrics that at least one target has, in their order.
    pub(crate) fn metrics(&self) -> Vec<Metric> {
        let present: BTreeMap<Metric, ()> = self
            .targets
            .iter()
            .flat_map(|target| target.medians.keys().map(|&metric| (metric, ())))
            .collect();
        present.into_keys().filter(|&metric| metric != Metric::Transactions).collect()
    }
}

struct Baseline {
    rounds: Vec<Option<Sample>>,
    counted: Sample,
}

impl Baseline {
    /// Each round against the same round, so that a slow minute of the machine weighs on both sides.
    fn ratios(&self, target: &TargetOutcome) -> Sample {
        let rounds: Vec<Option<Sample>> = target
            .rounds
            .iter()
            .zip(&self.rounds)
            .map(|(mine, theirs)| Some(divide(mine.as_ref()?, theirs.as_ref()?)))
            .collect();
        let mut ratios = medians(&rounds);
        ratios.extend(divide(&target.counted, &self.counted));
        ratios
    }
}

fn divide(mine: &Sample, theirs: &Sample) -> Sample {
    let shared = mine.iter().filter_map(|(metric, mine)| Some((*metric, mine / theirs.get(metric)?)));
    shared.filter(|(_, ratio)| ratio.is_finite()).collect()
}

fn medians(rounds: &[Option<Sample>]) -> Sample {
    let mut values: BTreeMap<Metric, Vec<f64>> = BTreeMap::new();
    for (metric, value) in rounds.iter().flatten().flatten() {
        values.entry(*metric).or_default().push(*value);
    }
    values.into_iter().filter_map(|(metric, values)| Some((metric, median(&values)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(tps: f64) -> Option<Sample> {
        Some(Sample::from([(Metric::Tps, tps)]))
    }

    #[test]
    fn ratios_pair_the_rounds() {
        let target = TargetOutcome {
            label: "pgherd/1".to_owned(),
            rounds: vec![round(200.0), None, round(22.0)],
            counted: Sample::new(),
            medians: Sample::new(),
            ratios: Sample::new(),
            remark: None,
        };
        let baseline =
            Baseline { rounds: vec![round(100.0), round(1.0), round(10.0)], counted: Sample::new() };
        assert!((baseline.ratios(&target)[&Metric::Tps] - 2.1).abs() < 1e-9);
    }
}
