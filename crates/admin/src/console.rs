//! The console: PgBouncer's commands and tables, and ours, over PostgreSQL's protocol.
//!
//! [`command`] reads what was typed, [`show`] says what each table looks like, [`talk`] takes messages apart and answers
//! them, [`visit`] is the one place that waits. What there is to show and to do comes through [`office::Office`].
pub mod act;
pub mod cell;
pub mod command;
pub mod complete;
pub mod office;
pub mod reply;
pub mod show;
pub mod talk;
pub mod visit;
