//! From a request to an intent, and from an intent to a node.
//!
//! Pure: a snapshot, an intent, a policy and a random number go in, a [`choose::Decision`] with its reason comes out.
//! Invariants: writes only ever go to the routed primary; what cannot be classified is a write; nothing on this path
//! allocates, waits or looks at a clock.
pub mod choose;
pub mod classify;
pub mod floor;
pub mod intent;
