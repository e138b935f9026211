//! A real local PostgreSQL cluster from nothing: one primary and its streaming standbys in a temporary directory.
//!
//! `pgherd demo`, the cluster and driver tests and the benchmarks stand on it. [`lab::Lab::start`] finds the server
//! binaries, runs `initdb` once, copies the cold directory for each standby, starts everything on free loopback ports and
//! returns when every standby streams *and a row was seen to arrive on it*: a standby that accepts connections proves nothing.
//! Nodes are then stopped, killed, paused and restarted by their process id, never by name.
//!
//! Invariants: PostgreSQL never runs as root (it refuses); every postmaster ends with the [`lab::Lab`], also when the
//! process that owns it is killed (parent-death signal where `setpriv` is there); a lab that is not kept leaves no file.
//!
//! [`front::Front`] puts a pgherd process before the cluster: the program itself, started with a settings file as any operator would.
//!
//! Deliberately absent: any arrow to another crate of ours, any SQL client but the `psql` of the server under test, and
//! durability (`fsync = off`: a lab survives `kill -9`, not a power cut).
pub mod account;
pub mod binaries;
pub mod directory;
pub mod error;
pub mod front;
pub mod lab;
pub mod node;
pub mod nursery;
pub mod options;
pub mod port;
pub mod stale;
