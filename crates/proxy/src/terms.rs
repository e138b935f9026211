//! What was agreed with a client when it came in: which pools it uses, how, and under which limits.

use pgherd_route::floor::Consistency;
use pgherd_route::intent::{Preference, Routing};
use pgherd_session::cached::Keeping;
use pgherd_session::probe::Probing;
use std::sync::Arc;
use std::time::Duration;

/// When a server is given back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// At the end of the session.
    Session,
    /// After each transaction.
    #[default]
    Transaction,
    /// After each statement; transactions of several statements are refused.
    Statement,
}

/// Limits in time; `None` is no limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timeouts {
    /// Time in line for a server of a full pool.
    pub query_wait: Duration,
    /// Time a transaction waits for a node it can go to.
    pub hold: Duration,
    /// In a transaction, without a request.
    pub idle_in_transaction: Option<Duration>,
    /// A request without its complete answer.
    pub query: Option<Duration>,
    /// Outside a transaction, without a request.
    pub client_idle: Option<Duration>,
}

/// Terms for one session.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Database as clients know it; what an alias adds to the name is removed.
    pub name: Arc<str>,
    /// Database on the servers.
    pub database: Arc<str>,
    /// User on the servers.
    pub user: Arc<str>,
    /// What the listener (or the database's alias) promises.
    pub routing: Routing,
    /// Read preference, when it is not the default.
    pub preference: Option<Preference>,
    /// How fresh reads must be, when the session does not say.
    pub consistency: Consistency,
    /// What was read once does not disappear again.
    pub monotonic: bool,
    /// Time a read waits for a fresh replica before it goes to the primary.
    pub fresh_wait: Duration,
    /// Everything goes to the primary, and where it would go is only counted.
    pub shadow: bool,
    /// What a replica refuses is run again on the primary.
    pub rerun: bool,
    /// When a server is given back.
    pub mode: Mode,
    /// Limits in time.
    pub timeouts: Timeouts,
    /// Clients this user may have.
    pub max_clients_of_user: usize,
    /// Clients this database may have.
    pub max_clients_of_database: usize,
    /// Prepared statements kept per server connection.
    pub max_prepared_statements: usize,
    /// When a server is asked what a session has left in it.
    pub probing: Probing,
    /// What becomes of statements without a name.
    pub unnamed: Keeping,
}

/// Which comings and goings of clients are worth a line in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Visits {
    /// `log_connections`.
    pub arrivals: bool,
    /// `log_disconnections`.
    pub departures: bool,
}

/// Why a client is not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No such database here.
    UnknownDatabase,
}

/// Draws up terms; the binary implements it from its settings.
pub trait Steward: Send + Sync + 'static {
    /// Terms for a client of this listener.
    ///
    /// # Errors
    /// [`Refused`] when it is not to be served.
    fn terms(&self, listener: &str, database: &Arc<str>, user: &Arc<str>) -> Result<Terms, Refused>;
    /// Most clients in all.
    fn max_clients(&self) -> usize;
    /// Which comings and goings are logged.
    fn visits(&self) -> Visits;
    /// What a choice of node depends on.
    fn policy(&self) -> pgherd_route::choose::Policy;
}
