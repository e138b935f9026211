//! How clients get in: users looked up on the servers, certificates, the users of the operating system. With psql, as an operator tries it.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[path = "auth/badge.rs"]
mod badge;
#[path = "auth/house.rs"]
mod house;
#[path = "auth/query.rs"]
mod query;
