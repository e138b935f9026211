//! How sure we are that a node does not answer.

use crate::observation::{Failure, FailureKind};
use std::sync::Arc;
use std::time::Duration;

/// Refusals that, together with an earlier failure, are as good as the whole threshold.
const REFUSALS: u32 = 2;

/// Failures in a row of one node.
#[derive(Clone, Debug, Default)]
pub struct Suspicion {
    /// Probes failed in a row; a kept connection that broke counts as one more.
    pub failures: u32,
    /// Among them those that were definite refusals.
    pub refusals: u32,
    /// When the first of them was noticed.
    pub first: Option<Duration>,
    /// Since when it has been saying that it is starting up.
    pub starting_since: Option<Duration>,
    /// The newest failure.
    pub last: Option<Failure>,
}

impl Suspicion {
    /// One more failure. Failures of our own side say nothing and are not counted.
    pub fn note(&mut self, at: Duration, failure: Failure) {
        if failure.kind == FailureKind::Local {
            return;
        }
        self.failures = self.failures.saturating_add(1 + u32::from(failure.broke));
        self.refusals = self.refusals.saturating_add(u32::from(failure.kind.is_definite()));
        self.first.get_or_insert(at);
        self.starting_since = match failure.kind {
            FailureKind::StartingUp => self.starting_since.or(Some(at)),
            _ => None,
        };
        self.last = Some(failure);
    }

    /// It answered.
    pub fn clear(&mut self) {
        *self = Suspicion::default();
    }

    /// Anything to be suspicious about?
    pub fn is_empty(&self) -> bool {
        self.failures == 0
    }

    /// A primary's route is withdrawn: `threshold` failures in a row, or one failure and then two plain refusals, and
    /// the newest of them speaks against it.
    pub fn condemns_primary(&self, threshold: u32) -> bool {
        let accused = self.last.as_ref().is_some_and(|failure| failure.kind.accuses_primary());
        accused
            && (self.failures >= threshold.max(1) || (self.refusals >= REFUSALS && self.failures > REFUSALS))
    }

    /// A replica gets no reads: `threshold` failures of any kind, or one definite refusal, since sending reads
    /// elsewhere costs nothing.
    pub fn excludes_replica(&self, threshold: u32) -> bool {
        self.failures >= threshold.max(1) || self.refusals > 0
    }

    /// The newest failure's text.
    pub fn text(&self) -> Arc<str> {
        self.last.as_ref().map_or_else(|| "no answer".into(), |failure| failure.text.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use FailureKind::*;

    fn after(kinds: &[(FailureKind, bool)]) -> Suspicion {
        let mut suspicion = Suspicion::default();
        for (index, (kind, broke)) in kinds.iter().enumerate() {
            let failure = Failure { kind: *kind, text: kind.word().into(), broke: *broke };
            suspicion.note(Duration::from_secs(index as u64), failure);
        }
        suspicion
    }

    #[test]
    fn what_condemns_a_primary() {
        for (kinds, threshold, condemned) in [
            (vec![(Timeout, false)], 3, false),
            (vec![(Timeout, false); 2], 3, false),
            (vec![(Timeout, false); 3], 3, true),
            (vec![(Refused, false); 2], 5, false),
            (vec![(Refused, true), (Refused, false)], 5, true),
            (vec![(Timeout, false), (Refused, false), (Refused, false)], 5, true),
            (vec![(Timeout, true), (Timeout, false)], 3, true),
            (vec![(Rejected, false); 9], 3, false),
            (vec![(TooManyConnections, false); 9], 3, false),
            (vec![(Query, false); 9], 3, false),
            (vec![(Local, false); 9], 3, false),
            (vec![(StartingUp, true), (StartingUp, false)], 3, true),
        ] {
            assert_eq!(after(&kinds).condemns_primary(threshold), condemned, "{kinds:?}");
        }
    }

    #[test]
    fn a_replica_goes_at_the_first_refusal_and_stays_through_one_silence() {
        assert!(after(&[(Refused, false)]).excludes_replica(3));
        assert!(!after(&[(Timeout, false)]).excludes_replica(3));
        assert!(after(&[(Rejected, false); 3]).excludes_replica(3));
        assert!(!after(&[(Local, false); 3]).excludes_replica(3));
    }

    #[test]
    fn starting_up_has_its_own_clock() {
        let suspicion = after(&[(Refused, false), (StartingUp, false), (StartingUp, false)]);
        assert_eq!(suspicion.starting_since, Some(Duration::from_secs(1)));
        assert_eq!(suspicion.first, Some(Duration::ZERO));
    }
}
