//! From a request to an intent, and from an intent to a node.
//!
//! Pure: a snapshot, an intent, a policy and a random number go in, a [`choose::Decision`] with its reason comes out; a text
//! and what the catalog says of its database go in, a [`verdict::Verdict`] with its rule comes out. Invariants: writes only
//! ever go to the routed primary; what cannot be classified is a write; nothing on this path allocates, waits or looks at a
//! clock.
//!
//! A text is a read only if all of it can be seen and everything in it has been vouched for: the functions it calls by
//! [`builtin`] or by the database's [`digest`], and every name in it by not being tainted there.
pub mod builtin;
pub mod choose;
pub mod classify;
pub mod digest;
pub mod explain;
pub mod floor;
pub mod hint;
pub mod intent;
pub mod rule;
pub mod staleness;
pub mod verdict;
