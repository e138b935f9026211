//! A PostgreSQL proxy with an embedded failover controller
pub mod cli;
