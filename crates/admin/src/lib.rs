//! The operator's doors: metrics, probes and cluster state over HTTP, and the console that speaks PostgreSQL's protocol.
//!
//! Invariants: it looks and asks, it never decides. Whatever it shows comes through [`source::Source`] and
//! [`console::office::Office`], so it knows nothing of how a failover works. A visitor costs bounded time, bytes and
//! connections ([`guard`], [`console::visit`]). Over HTTP a reader can change nothing: only GET, HEAD and OPTIONS have
//! an answer, and one POST that asks a long question ([`explain`]); the shapes are Patroni's REST contract where one
//! exists, because health checks and dashboards in the field are written for it. The console is PgBouncer's, for the
//! same reason; whoever comes to it was authenticated before. Deliberately absent: authentication (over HTTP there is
//! nothing to protect yet but reading; bind it where its readers are), TLS, and any state of its own.
pub mod action;
pub mod console;
pub mod document;
pub mod explain;
pub mod guard;
pub mod http;
pub mod path;
pub mod source;
pub mod timestamp;
