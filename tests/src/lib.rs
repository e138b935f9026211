//! Tests that look at the whole house
//!
//! [`stand`] is a lab with pgherd in front, as the tests of `cluster/` and `drivers/` want it; [`raw`] is a client that shows
//! every message as it came.
pub mod fixture;
pub mod raw;
pub mod stand;
