//! The session state machine: who owes which reply, what may pass, what must be held. Pure: bytes in, verdicts out, no I/O, no clock.
//!
//! A driver shows the machine what a client and a server sent ([`machine::Machine::client`], [`machine::Machine::server`]); the machine answers through two
//! [`step::Sink`]s (what goes on to the server, what goes on to the client) and says when it needs a server, and when it has no more use for it.
//!
//! Invariants: every reply a client asked for is answered once, in order, or the connection ends; a reply it did not ask for never reaches it; a server
//! is free only when nothing is owed and no transaction is open; any reply that does not fit breaks the session, it is never guessed.
//! The result does not depend on how the bytes were cut into pieces. Deliberately absent: sockets, pools, routing.
pub mod asked;
pub mod assign;
pub mod begin;
pub mod block;
pub mod cached;
pub mod confirm;
pub mod counts;
pub mod datestyle;
pub mod doomed;
pub mod effect;
pub mod extended;
pub mod flow;
pub mod loss;
pub mod machine;
pub mod names;
pub mod outcome;
pub mod outlook;
pub mod params;
pub mod pending;
pub mod pin;
pub mod prelude;
pub mod preparation;
pub mod prepared;
pub mod probe;
pub mod realized;
pub mod renamed;
pub mod replies;
pub mod reports;
pub mod requests;
pub mod residue;
pub mod retold;
pub mod sequences;
pub mod server;
pub mod sights;
pub mod simple;
pub mod spoken;
pub mod step;
pub mod survey;
pub mod tokens;
pub mod turns;
pub mod undo;
pub mod unnamed;
pub mod vacate;
