//! The operator's door: metrics, probes and cluster state over HTTP.
//!
//! Invariants: it looks and asks, it never decides. Whatever it shows comes through [`source::Source`], so it knows
//! nothing of how a failover works. A visitor costs bounded time, bytes and connections ([`guard`]), and a reader can
//! change nothing: only GET, HEAD and OPTIONS have an answer, and one POST that asks a long question ([`explain`]). The shapes are Patroni's REST contract where one exists,
//! because health checks and dashboards in the field are written for it. Deliberately absent: authentication (there
//! is nothing to protect yet but reading; bind it where its readers are), TLS, and any state of its own.
pub mod document;
pub mod explain;
pub mod guard;
pub mod http;
pub mod path;
pub mod source;
pub mod timestamp;
