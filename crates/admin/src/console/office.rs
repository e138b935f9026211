//! Where the console gets its tables from, and who carries out what is asked for.

use crate::console::act::Act;
use crate::console::cell::Cell;
use crate::console::show::Show;
use pgherd_wire::write::Report;
use std::pin::Pin;

/// One row; as many cells as the table has columns.
pub type Row = Vec<Cell>;

/// Something that is being done; the error is what the client is told.
pub type Acting = Pin<Box<dyn Future<Output = Result<(), Report>> + Send>>;

/// What a user of the console may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Everything (`auth.admin_users`).
    Admin,
    /// Look at everything but SHOW FDS (`auth.stats_users`).
    Stats,
}

/// The running process as the console sees it; the binary implements it. No method may wait, except in what [`Office::act`]
/// gives back.
pub trait Office: Send + Sync + 'static {
    /// The rows of a table. May take a few milliseconds: consoles have a thread of their own.
    fn rows(&self, show: Show) -> Vec<Row>;

    /// The names of settings that SET knows, for completion.
    fn settings(&self) -> Vec<String>;

    /// The names of databases, for completion.
    fn databases(&self) -> Vec<String>;

    /// Does something. Dropping what is given back ends the waiting, and undoes nothing.
    fn act(&self, act: Act) -> Acting;

    /// A command was asked for; for the statistics of the console's own database.
    fn asked(&self);
}
