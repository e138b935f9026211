//! From observations to actions: who is primary, who may be read from, and what a failover would do. Pure.
//!
//! One function, [`step::step`], takes the state, the time and one event, and says what to publish, what to write down
//! and when to look again. Time is an argument (a duration since some start that never goes back), nothing waits and
//! nothing is read from the outside. Invariants: epochs only rise; at most one node is the routed primary; a node once
//! fenced is not routed again before it was seen as a standby of the current timeline; every refusal has a reason.
//! Unless [`policy::Policy::acts`] it runs in *advice mode*: it withdraws and follows routes, and says what it would promote. A change of primary of its own is a
//! [`plan::Plan`], of which each step is on disk before its deeds are asked for.
pub mod asked;
pub mod candidate;
pub mod claim;
pub mod conduct;
pub mod deed;
pub mod elect;
pub mod eligibility;
pub mod errand;
pub mod event;
pub mod journal;
pub mod lag;
pub mod member;
pub mod observation;
pub mod phase;
pub mod plan;
pub mod policy;
pub mod publish;
pub mod state;
pub mod step;
pub mod steps;
pub mod suspicion;
pub mod sync;
pub mod tend;
