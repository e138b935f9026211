//! The deeds of one step, each asked for until it is done or its time is over.

use crate::deed::{Deed, Ended, Report};
use pgherd_topology::node::NodeId;
use std::sync::Arc;
use std::time::Duration;

/// Pause before a deed that failed is asked for again.
pub(crate) const RETRY: Duration = Duration::from_millis(200);

/// One deed of the present step.
#[derive(Clone, Debug)]
pub(crate) struct Errand {
    pub(crate) node: NodeId,
    pub(crate) deed: Deed,
    /// One attempt may take this long; after it the answer counts as lost.
    pub(crate) limit: Duration,
    /// After this moment it is not asked for again; `None`: until it is done.
    pub(crate) until: Option<Duration>,
    pub(crate) state: Progress,
    /// Why it failed last.
    pub(crate) failed: Option<Arc<str>>,
}

/// What the end of an attempt is to an errand.
pub(crate) enum Taken {
    /// It is about another one.
    NotMine,
    /// Nothing that was not said before.
    Quietly,
    /// It failed for a reason that is new.
    Failed,
}

/// How far an errand is.
#[derive(Clone, Debug)]
pub(crate) enum Progress {
    /// To be asked for at this moment.
    Due(Duration),
    /// Asked for at this moment.
    Asked(Duration),
    Done(Report),
    GivenUp(Arc<str>),
}

impl Errand {
    pub(crate) fn report(&self) -> Option<&Report> {
        match &self.state {
            Progress::Done(report) => Some(report),
            Progress::Due(_) | Progress::Asked(_) | Progress::GivenUp(_) => None,
        }
    }

    pub(crate) fn is_settled(&self) -> bool {
        matches!(self.state, Progress::Done(_) | Progress::GivenUp(_))
    }

    pub(crate) fn new(
        node: NodeId,
        deed: Deed,
        limit: Duration,
        until: Option<Duration>,
        now: Duration,
    ) -> Errand {
        Errand { node, deed, limit, until, state: Progress::Due(now), failed: None }
    }

    /// Takes the end of an attempt.
    pub(crate) fn take(&mut self, now: Duration, ended: &Ended) -> Taken {
        let waited_for = matches!(self.state, Progress::Asked(_) | Progress::Due(_));
        if self.node != ended.node || self.deed.word() != ended.word || !waited_for {
            return Taken::NotMine;
        }
        match &ended.outcome {
            Ok(report) => self.state = Progress::Done(report.clone()),
            Err(text) => {
                self.fail(now, text);
                if self.failed.replace(text.clone()).as_ref() != Some(text) {
                    return Taken::Failed;
                }
            }
        }
        Taken::Quietly
    }

    fn fail(&mut self, now: Duration, text: &Arc<str>) {
        self.state = match self.until {
            Some(until) if now >= until => Progress::GivenUp(text.clone()),
            _ => Progress::Due(now + RETRY),
        };
    }

    /// Time passes.
    pub(crate) fn age(&mut self, now: Duration) {
        match self.state {
            Progress::Asked(at) if now >= at + self.limit => self.fail(now, &"no answer in time".into()),
            Progress::Due(_) if self.until.is_some_and(|until| now >= until) => {
                self.state = Progress::GivenUp("no time was left".into());
            }
            _ => {}
        }
    }

    /// Is it to be asked for now? Then it counts as asked for.
    pub(crate) fn is_due(&mut self, now: Duration) -> bool {
        let due = matches!(self.state, Progress::Due(at) if now >= at);
        if due {
            self.state = Progress::Asked(now);
        }
        due
    }

    /// When time alone changes something.
    pub(crate) fn wakes_at(&self) -> Option<Duration> {
        let next = match self.state {
            Progress::Due(at) => at,
            Progress::Asked(at) => return Some(at + self.limit),
            Progress::Done(_) | Progress::GivenUp(_) => return None,
        };
        Some(self.until.map_or(next, |until| next.min(until)))
    }
}
