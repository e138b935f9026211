//! Session-phase messages of the PostgreSQL frontend/backend protocol (documentation, chapter 55) as borrowed slices, a resumable frame
//! scanner, and the few messages pgherd writes itself.
//!
//! Invariants: a view never reads past the frame it was given and never panics on any bytes; nothing is copied to be read.
//! Deliberately absent: I/O, startup and authentication (`login`, `pool`), any state (`session`).
pub mod backend;
pub mod frame;
pub mod frontend;
pub mod sqlstate;
pub mod write;
