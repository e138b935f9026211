//! What a session did, for statistics. Whoever drives the machine takes it away now and then.

use pgherd_wire::backend::Status;

/// Numbers since they were taken last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that were answered with ReadyForQuery.
    pub queries: u32,
    /// Transactions that ended.
    pub transactions: u32,
    /// Statements that the client prepared under a name.
    pub client_parses: u32,
    /// Statements that were prepared on servers under names of ours.
    pub server_parses: u32,
    /// Bind of statements with a name.
    pub binds: u32,
}

impl Counts {
    /// ReadyForQuery came.
    pub(crate) fn answered(&mut self, status: Status) {
        self.queries = self.queries.wrapping_add(1);
        self.transactions = self.transactions.wrapping_add(u32::from(status == Status::Idle));
    }
}
