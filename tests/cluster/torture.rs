//! Clients that break off, lie, dawdle and flood, and a pgherd that must not mind: each test ends with the proof that others are served and that
//! nothing is left behind on the servers.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[path = "torture/arrivals.rs"]
mod arrivals;
#[path = "torture/balancers.rs"]
mod balancers;
#[path = "torture/cancels.rs"]
mod cancels;
#[path = "torture/departures.rs"]
mod departures;
#[path = "torture/handovers.rs"]
mod handovers;
#[path = "torture/house.rs"]
mod house;
#[path = "torture/limits.rs"]
mod limits;
#[path = "torture/memory.rs"]
mod memory;
#[path = "torture/residue.rs"]
mod residue;
#[path = "torture/signals.rs"]
mod signals;
