//! Tests that look at the whole house
//!
//! [`stand`] is a lab with pgherd in front, as the tests of `cluster/` and `drivers/` want it.
pub mod raw;
pub mod stand;
