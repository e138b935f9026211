//! From observations to actions: who is primary, who may be read from, and what a failover would do. Pure.
//!
//! One function, [`step::step`], takes the state, the time and one event, and says what to publish, what to write down
//! and when to look again. Time is an argument (a duration since some start that never goes back), nothing waits and
//! nothing is read from the outside. Invariants: epochs only rise; at most one node is the routed primary; a node once
//! fenced is not routed again before it was seen as a standby of the current timeline; every refusal has a reason.
//! Today the machine runs in *advice mode*: it withdraws and follows routes, and says what it would promote.
pub mod candidate;
pub mod claim;
pub mod eligibility;
pub mod event;
pub mod journal;
pub mod lag;
pub mod member;
pub mod observation;
pub mod phase;
pub mod policy;
pub mod publish;
pub mod state;
pub mod step;
pub mod suspicion;
