//! The hot path: one client from door to goodbye.
//!
//! A [`session::Session`] owns a client and a state machine and asks, once a transaction, for a server: [`checkout`] routes and waits, [`relay`] carries bytes until the
//! machine says that the server is free. Whatever comes from outside (a deadline, an operator, a fence) reaches a session through its [`card::Card`].
//!
//! Invariants: an idle session holds no server and no buffer; a server whose accounting is in doubt is closed; a deadline never needs a timer of the session's own;
//! [`answer`] is the only place that turns an error into words for a client. Deliberately absent: `controller` (the topology cell is all that is shared with it), SQL.
pub mod age;
pub mod answer;
pub mod cancel;
pub mod card;
pub mod cards;
pub mod checkout;
pub mod desk;
pub mod explain;
pub mod follow;
pub mod fresh;
pub mod library;
pub mod listen;
pub mod manner;
pub mod relay;
pub mod rerun;
pub mod routed;
pub mod serve;
pub mod session;
pub mod shared;
pub mod sweep;
pub mod tally;
pub mod tell;
pub mod terms;
pub mod vacate;
pub mod wait;
pub mod welcome;
pub mod wish;
pub mod written;
