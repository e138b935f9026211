//! One stream type for everything pgherd talks over (TCP, Unix socket, TLS, an in-memory pipe in tests), TLS material that can be
//! reloaded, and the lane: one direction of a relay.
//!
//! Invariants: nothing here knows the PostgreSQL protocol beyond "bytes"; a lane never reorders and never invents bytes.
//! Deliberately absent: timeouts (whoever waits owns the deadline) and protocol decisions.
pub mod keepalive;
pub mod lane;
pub mod plan;
pub mod tcp;
pub mod tls;
pub mod transport;
