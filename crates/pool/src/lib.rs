//! Server connections: connect, log in, check out, hand over, reset, retire
pub mod connect;
pub mod scram;
pub mod sslmode;
