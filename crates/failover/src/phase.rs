//! What the control plane is doing, as a table that a test walks.

/// The phases. In advice mode only `Steady`, `Suspecting`, `Fencing` and `Halted` are entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// A primary is routed and answers.
    Steady,
    /// No primary was found yet, or the routed one missed a probe.
    Suspecting,
    /// The route is withdrawn; the old primary is kept away from clients.
    Fencing,
    /// Standbys are compared.
    Electing,
    /// The candidate is being promoted.
    Promoting,
    /// The other standbys are being pointed at the new primary.
    Following,
    /// A planned change of primary.
    Switching,
    /// Nothing more is done without an operator, or until a primary shows up by itself.
    Halted,
}

/// What moves the machine from phase to phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trigger {
    /// The routed primary missed a probe.
    Missed,
    /// The routed primary answered.
    Answered,
    /// The routed primary is lost.
    Lost,
    /// A primary is found and routed.
    Found,
    /// The phase's action is done.
    Done,
    /// The phase's action failed.
    Failed,
    /// A guard, a doubt or advice mode forbids to go on.
    Refused,
    /// An operator asks for a change of primary.
    Asked,
}

impl Phase {
    /// All phases, in the order of [`TABLE`].
    pub const ALL: [Phase; 8] = [
        Phase::Steady,
        Phase::Suspecting,
        Phase::Fencing,
        Phase::Electing,
        Phase::Promoting,
        Phase::Following,
        Phase::Switching,
        Phase::Halted,
    ];

    /// The word shown to waiting clients and operators.
    pub fn word(self) -> &'static str {
        match self {
            Phase::Steady => "steady",
            Phase::Suspecting => "suspecting",
            Phase::Fencing => "fencing",
            Phase::Electing => "electing",
            Phase::Promoting => "promoting",
            Phase::Following => "following",
            Phase::Switching => "switching",
            Phase::Halted => "halted",
        }
    }

    /// The phase after `trigger`; the same one when the table has no entry.
    pub fn after(self, trigger: Trigger) -> Phase {
        TABLE[self as usize][trigger as usize].unwrap_or(self)
    }
}

impl Trigger {
    /// All triggers, in the order of the columns of [`TABLE`].
    pub const ALL: [Trigger; 8] = [
        Trigger::Missed,
        Trigger::Answered,
        Trigger::Lost,
        Trigger::Found,
        Trigger::Done,
        Trigger::Failed,
        Trigger::Refused,
        Trigger::Asked,
    ];
}

const STEADY: Option<Phase> = Some(Phase::Steady);
const SUSPECT: Option<Phase> = Some(Phase::Suspecting);
const FENCE: Option<Phase> = Some(Phase::Fencing);
const ELECT: Option<Phase> = Some(Phase::Electing);
const PROMOTE: Option<Phase> = Some(Phase::Promoting);
const FOLLOW: Option<Phase> = Some(Phase::Following);
const SWITCH: Option<Phase> = Some(Phase::Switching);
const HALT: Option<Phase> = Some(Phase::Halted);
const STAY: Option<Phase> = None;

/// Phase by trigger: the phase that follows, `None` where the trigger changes nothing.
#[rustfmt::skip]
pub const TABLE: [[Option<Phase>; 8]; 8] = [
    //  Missed   Answered Lost   Found   Done     Failed  Refused Asked
    [SUSPECT, STAY,    FENCE, STAY,   STAY,    STAY,   STAY,   SWITCH], // Steady
    [STAY,    STEADY,  FENCE, STEADY, STAY,    STAY,   HALT,   STAY],   // Suspecting
    [STAY,    STAY,    STAY,  STEADY, ELECT,   HALT,   HALT,   STAY],   // Fencing
    [STAY,    STAY,    STAY,  STEADY, PROMOTE, HALT,   HALT,   STAY],   // Electing
    [STAY,    STAY,    STAY,  FOLLOW, FOLLOW,  HALT,   STAY,   STAY],   // Promoting
    [STAY,    STAY,    FENCE, STAY,   STEADY,  STEADY, STAY,   STAY],   // Following
    [STAY,    STAY,    FENCE, STEADY, FOLLOW,  HALT,   HALT,   STAY],   // Switching
    [STAY,    STAY,    STAY,  STEADY, STAY,    STAY,   STAY,   FENCE],  // Halted
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_columns_stand_where_their_names_say() {
        for (index, phase) in Phase::ALL.into_iter().enumerate() {
            assert_eq!(phase as usize, index);
        }
        for (index, trigger) in Trigger::ALL.into_iter().enumerate() {
            assert_eq!(trigger as usize, index);
        }
    }

    #[test]
    fn every_phase_is_reached_and_every_phase_comes_back_to_steady() {
        for start in Phase::ALL {
            let mut reached = vec![start];
            let mut index = 0;
            while index < reached.len() {
                for trigger in Trigger::ALL {
                    let next = reached[index].after(trigger);
                    if !reached.contains(&next) {
                        reached.push(next);
                    }
                }
                index += 1;
            }
            assert!(reached.contains(&Phase::Steady), "{start:?} has no way back");
            assert_eq!(reached.len(), Phase::ALL.len(), "{start:?} does not reach every phase");
        }
    }

    #[test]
    fn a_lost_primary_always_passes_through_the_fence() {
        for phase in Phase::ALL {
            let next = phase.after(Trigger::Lost);
            assert!(next == phase || next == Phase::Fencing, "{phase:?}");
        }
    }
}
