//! Server connections: connect, log in, check out, hand over, reset, retire.
//!
//! Invariants: a server connection belongs to exactly one of shelf, session, reset, nobody; nobody waits while a server is idle; a server opened before the
//! node's `valid_since` epoch is never handed out; a limit is never exceeded, whoever connects; running out of descriptors here never counts against a node.
//! Deliberately absent: which node a transaction goes to (`route`), what a session leaves on a server (`session`; here it is [`server::Baggage`]).
pub mod budget;
pub mod clock;
pub mod connect;
pub mod exchange;
pub mod growth;
pub mod janitor;
pub mod line;
pub mod pause;
pub mod pool;
pub mod pools;
pub mod reset;
pub mod scram;
pub mod server;
pub mod shape;
pub mod shelf;
pub mod sslmode;
pub mod stats;
