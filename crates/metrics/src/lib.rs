//! Counters, gauges and latency recorders: handed out at birth, recorded without contention, merged at scrape.
//!
//! Invariants: recording never blocks and never allocates; labels come from closed sets and are fixed when a handle is made;
//! an instrument knows nothing of what it measures (no arrow points back). Deliberately absent: globals, HTTP.
pub mod counter;
pub mod expose;
pub mod latency;
pub mod registry;
