//! The cluster as a value: nodes, roles, LSNs, timelines, lag, and the cell where the whole is swapped.
//!
//! Invariants: a [`snapshot::Snapshot`] is never edited, only replaced; its epoch only rises; at most one node of a
//! snapshot is the routed primary. Deliberately absent: any policy (who *should* be primary is `failover`'s business,
//! which replica a read goes to is `route`'s) and any arrow to another crate of ours.
pub mod cell;
pub mod gauge;
pub mod lsn;
pub mod node;
pub mod snapshot;
