//! The front door: from a raw socket to an admitted client.
//!
//! Invariants: nothing a stranger sends before authentication costs more than the door's limits in bytes, time or memory; bytes
//! received in clear before a TLS handshake never count as received through it; unknown user and wrong password are told
//! apart by nobody. Deliberately absent: sessions, pools, routing. A cancel request becomes a value, never a session.
pub mod authenticate;
pub mod badge;
pub mod balancer;
pub mod directory;
pub mod door;
pub mod error;
pub mod ident;
pub mod origin;
pub mod prelude;
pub mod random;
pub mod scram;
pub mod secret;
pub mod settings;
pub mod startup;
pub mod stream;
pub mod users;
