//! The controller's hands: deeds take time, fail, or are done and their answer is lost.

use crate::world::{TICK, World};
use pgherd_failover::deed::{Deed, Ended, Report};
use pgherd_failover::event::Event;
use pgherd_topology::lsn::{Lsn, Timeline};
use pgherd_topology::node::NodeId;
use std::time::Duration;

/// A deed on its way to a server, or its answer on the way back.
pub(crate) struct Flight {
    pub(crate) at: Duration,
    /// Which life of the controller asked.
    asked_by: u32,
    plan: u64,
    node: usize,
    deed: Deed,
    /// `None`: not done yet.
    answer: Option<Result<Report, String>>,
}

impl World {
    pub(crate) fn fly(&mut self, plan: u64, node: usize, deed: Deed) {
        let delay = TICK * (1 + self.dice.pick(6)) as u32;
        // One after the other on each server: whoever asks holds its lock, and ends who held it before.
        let before = self.flights.iter().filter(|flight| flight.node == node && flight.answer.is_none());
        let free = before.map(|flight| flight.at + TICK).max().unwrap_or_default();
        let (at, asked_by) = ((self.now + delay).max(free), self.life);
        self.flights.push(Flight { at, asked_by, plan, node, deed, answer: None });
    }

    pub(crate) fn deliver(&mut self) {
        let (landed, flying): (Vec<Flight>, Vec<Flight>) =
            std::mem::take(&mut self.flights).into_iter().partition(|flight| flight.at <= self.now);
        self.flights = flying;
        for mut flight in landed {
            match flight.answer.take() {
                None => {
                    let answer = self.execute(flight.node, &flight.deed, flight.plan);
                    let slow = if matches!(flight.deed, Deed::Promote { .. }) { 8 } else { 1 };
                    flight.at = self.now + TICK * slow;
                    flight.answer = Some(answer);
                    if !(self.lossy && self.dice.once_in(4)) {
                        self.flights.push(flight);
                    }
                }
                Some(answer) if flight.asked_by == self.life => {
                    let answer = self.promoted(&flight, answer);
                    let outcome = answer.map_err(|text| text.as_str().into());
                    let (plan, node, word) = (flight.plan, NodeId(flight.node as u16), flight.deed.word());
                    self.happens(Event::Ended(Ended { plan, node, word, outcome }));
                }
                Some(_) => {}
            }
        }
    }

    /// What whoever polls a promotion sees at the end.
    fn promoted(&self, flight: &Flight, answer: Result<Report, String>) -> Result<Report, String> {
        let (Deed::Promote { from }, Ok(_)) = (&flight.deed, &answer) else { return answer };
        let server = &self.servers[flight.node];
        match !server.standby && server.works() && server.timeline > from.0 {
            true => Ok(Report::Promoted { timeline: Timeline(server.timeline) }),
            false => Err("it is still in recovery".to_owned()),
        }
    }

    fn execute(&mut self, index: usize, deed: &Deed, plan: u64) -> Result<Report, String> {
        if !self.servers[index].works() || !self.reaches(index) {
            return Err("no answer".to_owned());
        }
        if let Deed::Promote { .. } = deed {
            self.check_promotion(index, plan);
        }
        let count = self.servers.len();
        let source = match deed {
            Deed::Forward { from, .. } => Some(self.servers[usize::from(from.0)].clone()),
            _ => None,
        };
        let synchronous = self.synchronous;
        let server = &mut self.servers[index];
        let at = Report::At(Lsn(server.lsn()));
        let no_standby = || Err("it is no standby".to_owned());
        match deed {
            Deed::Fence | Deed::Quiesce { .. } => {
                server.read_only = true;
                Ok(at)
            }
            Deed::Unfence => {
                server.read_only = false;
                Ok(Report::Done)
            }
            Deed::CatchUp { to } if server.lsn() >= to.0 => Ok(at),
            Deed::CatchUp { .. } => Err("it is behind".to_owned()),
            Deed::Freeze if !server.standby || server.promoting.is_some() => no_standby(),
            Deed::Freeze => {
                server.upstream = None;
                Ok(at)
            }
            Deed::Thaw { conninfo } | Deed::Follow { conninfo, .. } if server.standby => {
                server.upstream = match deed {
                    Deed::Follow { to, .. } => Some(usize::from(to.0)),
                    _ => conninfo.strip_prefix("pg").and_then(|number| number.parse().ok()),
                };
                Ok(Report::Done)
            }
            Deed::Thaw { .. } | Deed::Follow { .. } => no_standby(),
            Deed::Forward { .. } => match source {
                Some(from) if from.works() && server.is_behind(&from) => {
                    server.log = from.log;
                    Ok(Report::Done)
                }
                _ => Err("it cannot stream from there".to_owned()),
            },
            Deed::Prepare => {
                if synchronous {
                    server.quorum = Some((1, (0..count).filter(|other| *other != index).collect()));
                }
                Ok(Report::Done)
            }
            Deed::Promote { from } => {
                if server.standby && server.promoting.is_none() && server.timeline == from.0 {
                    server.promoting = Some(self.dice.pick(6) as u32);
                    self.promotions += 1;
                }
                Ok(Report::Done)
            }
            Deed::Settle => Ok(Report::Done),
        }
    }

    /// Whoever is promoted has all that any frozen standby has, and none of them receives any more.
    fn check_promotion(&self, index: usize, plan: u64) {
        let Some(plan) = self.plan().filter(|found| found.id == plan) else { return };
        for (name, frozen) in &plan.frozen {
            let other: usize = name.trim_start_matches("pg").parse().expect("a name");
            if frozen.at.is_some() && other != index {
                let (candidate, other) = (&self.servers[index], &self.servers[other]);
                assert!(
                    candidate.lsn() >= other.lsn() || !other.standby || other.upstream.is_some(),
                    "pg{index} is promoted, {name} has more"
                );
            }
        }
    }
}
