//! The eyes and hands of `failover`: probes, publishing, journal, and the handle operators pull at.
//!
//! [`driver::Driver`] owns the state and is the only one who steps it; [`probe::Probe`] looks at one node; everybody
//! else holds a [`handle::Handle`]. Invariants: only the driver publishes into the cell, and what must survive a restart
//! is on disk before the snapshot that depends on it is published; every wait has a deadline; nothing here decides.
pub mod clock;
pub mod connector;
pub mod conninfo;
pub mod deeds;
pub mod driver;
pub mod error;
pub mod facts;
pub mod failure;
pub mod grip;
pub mod handle;
pub mod hands;
pub mod ledger;
pub mod memory;
pub mod memory_json;
pub mod probe;
pub mod sampler;
pub mod secure;
pub mod settings;
pub mod view;
pub mod watcher;
