//! A change of primary under way. It is written down before each step, so that whoever comes after a crash goes on where it stands.

use pgherd_topology::lsn::{Lsn, Timeline};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The primary is lost.
    Failover,
    /// An operator wants another one.
    Switchover,
}

impl Kind {
    /// The word in journals and reports.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Failover => "failover",
            Kind::Switchover => "switchover",
        }
    }
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Planned only: the old primary comes to rest.
    Quiesce,
    /// Planned only: the candidate gets the rest.
    CatchUp,
    /// The standbys' streams are cut, so that what they have stays what was compared, and no commit of the old primary is confirmed by any of them. The old primary is
    /// fenced meanwhile, as far as it can be reached.
    Freeze,
    /// The candidate gets what another standby has.
    Forward,
    /// The candidate is made ready.
    Prepare,
    /// The candidate is being promoted. From here on there is no way back.
    Promote,
    /// The others are pointed at it.
    Follow,
    /// The plan was given up: all goes back to how it was.
    Revert,
}

impl Step {
    /// All steps.
    pub const ALL: [Step; 8] = [
        Step::Quiesce,
        Step::CatchUp,
        Step::Freeze,
        Step::Forward,
        Step::Prepare,
        Step::Promote,
        Step::Follow,
        Step::Revert,
    ];

    /// The word in journals, files and reports.
    pub fn word(self) -> &'static str {
        match self {
            Step::Quiesce => "quiesce",
            Step::CatchUp => "catch_up",
            Step::Freeze => "freeze",
            Step::Forward => "forward",
            Step::Prepare => "prepare",
            Step::Promote => "promote",
            Step::Follow => "follow",
            Step::Revert => "revert",
        }
    }

    /// The step with this word.
    pub fn from_word(word: &str) -> Option<Step> {
        Step::ALL.into_iter().find(|step| step.word() == word)
    }

    /// Until here the plan can be given up without anybody having been promoted.
    pub fn can_revert(self) -> bool {
        self < Step::Promote
    }
}

/// A standby that is to be frozen for the plan, or is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frozen {
    /// What it has; `None` while it may still receive.
    pub at: Option<Lsn>,
    /// Where it received from before: written down before anything is done to it. May hold a password.
    pub conninfo: Arc<str>,
}

/// What was done to a server and is to be undone some day, also when the plan is long over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Debt {
    /// It was frozen: where it received from before. May hold a password.
    pub conninfo: Option<Arc<str>>,
    /// It was told to take no writes.
    pub held_down: bool,
}

/// The plan. Servers stand in it by name: their numbers are another process' own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Its number; greater than that of any plan before.
    pub id: u64,
    /// What is changed.
    pub kind: Kind,
    /// How far it is.
    pub step: Step,
    /// The primary before.
    pub old: Option<Arc<str>>,
    /// The primary after, once it is known.
    pub candidate: Option<Arc<str>>,
    /// Who has what the candidate lacks.
    pub source: Option<Arc<str>>,
    /// The timeline that ends.
    pub timeline: Timeline,
    /// How far the old primary is known to have been.
    pub known: Lsn,
    /// What the candidate must have when it is promoted.
    pub least: Lsn,
    /// Standbys that receive nothing now, or soon.
    pub frozen: BTreeMap<Arc<str>, Frozen>,
    /// An operator accepts that what nobody has any more is lost.
    pub allow_loss: bool,
    /// Why it was begun.
    pub reason: String,
}

impl Plan {
    /// One line for people.
    pub fn sentence(&self) -> String {
        let name = |name: &Option<Arc<str>>| name.as_deref().unwrap_or("?").to_owned();
        let (word, old) = (self.kind.word(), name(&self.old));
        match &self.candidate {
            Some(candidate) => format!("{word} from {old} to {candidate}: {}", self.reason),
            None => format!("{word} from {old}: {}", self.reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_have_words_of_their_own() {
        for step in Step::ALL {
            assert_eq!(Step::from_word(step.word()), Some(step));
        }
        assert!(Step::Prepare.can_revert() && !Step::Promote.can_revert() && !Step::Revert.can_revert());
    }
}
