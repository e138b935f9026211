//! Words for clients: the only place that turns what went wrong into an ErrorResponse.

use crate::cards::Full;
use pgherd_pool::connect::error::ConnectError;
use pgherd_pool::line::NoServer;
use pgherd_route::choose::Want;
use pgherd_session::pin::Pin;
use pgherd_session::step::{Broken, Stake};
use pgherd_wire::backend::Fields;
use pgherd_wire::sqlstate::code;
use pgherd_wire::write::{Report, Severity};
use std::time::Duration;

/// Why a transaction got no server.
#[derive(Clone, Debug)]
pub enum Unserved {
    /// No node it could go to, for this long; the control plane's phase.
    NoNode(Want, Duration, &'static str),
    /// The pool gave none within the time.
    NoServer(NoServer, Duration, PoolFacts),
    /// A write on a replica listener.
    ReadOnlyListener,
}

/// What a client may know of the pool it waited for.
#[derive(Clone, Debug, Default)]
pub struct PoolFacts {
    /// Database.
    pub database: String,
    /// User.
    pub user: String,
    /// Node.
    pub node: String,
    /// `max_pool_size`.
    pub size: usize,
    /// Sessions in line.
    pub waiting: usize,
    /// Connections that sessions keep beyond their transactions.
    pub kept: usize,
}

impl PoolFacts {
    /// What the pool's connections are doing, when there is none for somebody.
    fn usage(&self) -> String {
        let kept = match self.kept {
            0 => String::new(),
            kept => format!(", {kept} of them kept by sessions for what cannot be moved"),
        };
        format!(
            "The pool of user \"{}\" and database \"{}\" on node \"{}\" has {} connections, all in use{kept}",
            self.user, self.database, self.node, self.size
        )
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// No position covers what a session wrote, for want of a primary.
pub(crate) fn no_token() -> Report {
    let message = "the position of the session's last write could not be found out in time";
    Report::new(Severity::Error, code::QUERY_CANCELED, message)
        .detail("A token needs a look at the primary that was begun after the write.")
        .hint("Ask again once there is a primary that can be reached.")
}

/// An advisory lock in a transaction that a replica has, and that cannot go to the primary any more.
pub(crate) fn lock_on_replica() -> Report {
    let message = "cannot take an advisory lock in a transaction that runs on a replica";
    Report::new(Severity::Error, code::NOT_IN_PREREQUISITE_STATE, message)
        .detail("It would exclude nobody on the primary, and the transaction cannot go there any more.")
        .hint("Take the lock before anything else in the transaction, or put /* pgherd: primary */ before its first statement.")
}

/// A failed transaction on a replica is ended with COMMIT, and in the same request goes on what only the primary can do.
pub(crate) fn goes_on_after_end() -> Report {
    let message = "cannot go on after the end of a failed transaction that runs on a replica";
    Report::new(Severity::Error, code::NOT_IN_PREREQUISITE_STATE, message)
        .detail("What follows the COMMIT in the same request must run on the primary.")
        .hint("Send ROLLBACK alone, and then the rest.")
}

/// A setting of ours cannot have this value.
pub(crate) fn bad_setting(name: &str, value: &str, hint: String) -> Report {
    let message = format!("invalid value for parameter \"{name}\": \"{value}\"");
    Report::new(Severity::Error, code::INVALID_PARAMETER_VALUE, message).hint(hint)
}

/// The answer to a request that got no server.
pub fn unserved(why: &Unserved) -> Report {
    match why {
        Unserved::NoNode(want, waited, phase) => {
            let message = match want {
                Want::Topology => "the cluster's topology is not known yet",
                Want::Primary => "no primary is available",
                Want::Replica => "no replica is eligible",
                Want::Fresh => "no replica is fresh enough",
            };
            Report::new(Severity::Error, code::CANNOT_CONNECT_NOW, message)
                .detail(format!(
                    "The request waited {} (hold_timeout); the control plane's phase is {phase}.",
                    seconds(*waited)
                ))
                .hint("Retry the transaction; nothing of it was sent to a server.")
        }
        Unserved::NoServer(NoServer::Timeout, waited, pool) => Report::new(
            Severity::Error,
            code::TOO_MANY_CONNECTIONS,
            "timed out waiting for a server connection",
        )
        .detail(format!(
            "{}. This client waited {} (query_wait_timeout), {} more wait.",
            pool.usage(),
            seconds(*waited),
            pool.waiting
        ))
        .hint(match pool.kept {
            0 => "Raise max_pool_size, or shorten transactions.",
            _ => "Raise max_pool_size; the metric pgherd_client_pins tells why sessions keep their servers.",
        }),
        Unserved::NoServer(NoServer::Connect(ConnectError::Server(error)), ..) => {
            // Only refusals every node would repeat come here, in the server's own words.
            let mut report = Report::new(Severity::Error, known_code(&error.sqlstate), &*error.message);
            report.detail = error.detail.as_deref().unwrap_or_default().into();
            report.hint = error.hint.as_deref().unwrap_or_default().into();
            report
        }
        Unserved::NoServer(NoServer::Connect(error), waited, pool) => Report::new(
            Severity::Error,
            code::CANNOT_CONNECT_NOW,
            format!("could not get a connection to node \"{}\"", pool.node),
        )
        .detail(format!("After {}: {error}.", seconds(*waited)))
        .hint(remedy(error)),
        Unserved::NoServer(NoServer::Closed | NoServer::Paused, ..) => {
            Report::new(Severity::Error, code::CANNOT_CONNECT_NOW, "the route to the server was closed")
                .hint("Retry the transaction; nothing of it was sent to a server.")
        }
        Unserved::ReadOnlyListener => Report::new(
            Severity::Error,
            code::READ_ONLY_SQL_TRANSACTION,
            "cannot execute a write through the replica port",
        )
        .hint("Use the primary's port, or the one that splits reads and writes."),
    }
}

/// What helps against a connection that could not be made: trying again does not where settings are at odds.
fn remedy(error: &ConnectError) -> &'static str {
    match error {
        ConnectError::Auth(_) => {
            "Give pgherd what this user's servers ask for: server_password in its [[user]] section, or a password instead of a hash."
        }
        ConnectError::Tls(_) => "Compare the node's ssl settings with what the server offers.",
        _ => "Retry the transaction; nothing of it was sent to a server.",
    }
}

/// SQLSTATEs a server may refuse a login with, or end a session with, and that clients must see; all others become a connection failure.
fn known_code(sqlstate: &str) -> &'static str {
    const KNOWN: [&str; 18] = [
        "3D000", "28000", "28P01", "53300", "57P01", "57P02", "57P03", "42501", "55000", "0A000", "22023",
        "53400", "25P03", "25P04", "53200", "57P04", "57P05", "XX000",
    ];
    KNOWN.into_iter().find(|known| *known == sqlstate).unwrap_or(code::CONNECTION_FAILURE)
}

/// The answer when a server was lost under a client; `words` are the server's own last ones.
pub fn lost(stake: Stake, node: &str, words: Option<&[u8]>) -> Report {
    let said = |field| words.and_then(|words| Fields::view(words).get(field)).map(String::from_utf8_lossy);
    let facts = match said(b'M') {
        Some(message) => format!("Node \"{node}\" said: {message}."),
        None => format!("Node \"{node}\" closed the connection."),
    };
    match stake {
        Stake::Transaction | Stake::Nothing => Report::new(
            Severity::Error,
            code::SERIALIZATION_FAILURE,
            format!("transaction lost with node \"{node}\""),
        )
        .detail(format!("Nothing was committed. {facts}"))
        .hint("Run the transaction again."),
        Stake::Statement => Report::new(
            Severity::Error,
            code::SERIALIZATION_FAILURE,
            format!("statement lost with node \"{node}\""),
        )
        .detail(format!("Nothing was committed. {facts}"))
        .hint("Run the statement again."),
        Stake::Unknown => {
            let message = "connection to the server was lost while a commit may have been in progress";
            Report::new(Severity::Error, code::TRANSACTION_RESOLUTION_UNKNOWN, message)
                .detail(facts)
                .hint("Check whether the change happened before running it again.")
        }
    }
}

/// The last words of a session that held its server and cannot go on without it: the server's own, if it had any, and why `report` does not do. Pool mode
/// `session` needs no reason: its client hears what a direct one would.
pub fn pinned(pin: Pin, report: Report, words: Option<&[u8]>) -> Report {
    let held = pin != Pin::SessionMode;
    let Some(words) = words else {
        let last = Report::new(Severity::Fatal, code::ADMIN_SHUTDOWN, report.message);
        return if held {
            last.detail(what_was_held(pin, &report.detail))
        } else {
            last.detail(report.detail)
        };
    };
    let mut last = in_the_servers_words(words);
    if held {
        last.detail = what_was_held(pin, &report.message);
    }
    last
}

fn what_was_held(pin: Pin, fact: &str) -> String {
    let mut detail = format!("The session held what cannot be rebuilt: {}. {fact}", pin.word());
    if !detail.ends_with('.') {
        detail.push('.');
    }
    detail
}

fn in_the_servers_words(words: &[u8]) -> Report {
    let fields = Fields::view(words);
    let text =
        |field| fields.get(field).map(|text| String::from_utf8_lossy(text).into_owned()).unwrap_or_default();
    Report::new(Severity::Fatal, known_code(&text(b'C')), text(b'M')).detail(text(b'D')).hint(text(b'H'))
}

/// A server that ended the connection because of what the client sent: the client's connection ends with the same words. `None` for all other last words.
pub fn misunderstood(words: Option<&[u8]>) -> Option<Report> {
    let fields = Fields::view(words?);
    let message = String::from_utf8_lossy(fields.get(b'M')?).into_owned();
    let protocol = fields.sqlstate() == Some(code::PROTOCOL_VIOLATION.as_bytes());
    protocol.then(|| Report::new(Severity::Fatal, code::PROTOCOL_VIOLATION, message))
}

/// The last words of a session that cannot go on.
pub fn broken(why: &Broken) -> Report {
    match why {
        Broken::ClientLength(_) => {
            Report::new(Severity::Fatal, code::PROTOCOL_VIOLATION, "invalid message length")
        }
        Broken::ClientTag(tag) => Report::new(
            Severity::Fatal,
            code::PROTOCOL_VIOLATION,
            format!("invalid frontend message type {tag}"),
        ),
        Broken::Server(..) => Report::new(
            Severity::Fatal,
            code::CONNECTION_FAILURE,
            "the server's answer could not be understood",
        )
        .detail(why.to_string()),
        Broken::Preparation(words) => in_the_servers_words(words),
    }
}

/// A client that is one too many.
pub fn full(why: &Full) -> Report {
    let report = |message: &str| Report::new(Severity::Fatal, code::TOO_MANY_CONNECTIONS, message);
    match why {
        Full::All(max) => {
            report("sorry, too many clients already").detail(format!("max_client_connections is {max}."))
        }
        Full::User(max) => report("too many connections for this user")
            .detail(format!("Its limit is {max} client connections.")),
        Full::Database(max) => report("too many connections for this database")
            .detail(format!("Its limit is {max} client connections.")),
        Full::Closing => shutdown(),
    }
}

/// pgherd goes away.
pub fn shutdown() -> Report {
    Report::new(Severity::Fatal, code::ADMIN_SHUTDOWN, "terminating connection due to administrator command")
        .detail("pgherd is shutting down.")
}

/// An operator ended the session.
pub fn killed() -> Report {
    Report::new(Severity::Fatal, code::ADMIN_SHUTDOWN, "terminating connection due to administrator command")
}

/// A limit in time ended the session.
pub fn timed_out(bell: crate::card::Bell) -> Report {
    use crate::card::Bell;
    match bell {
        Bell::ClientIdle => Report::new(
            Severity::Fatal,
            code::IDLE_SESSION_TIMEOUT,
            "terminating connection due to idle-session timeout",
        ),
        Bell::IdleInTransaction => {
            let message = "terminating connection due to idle-in-transaction timeout";
            Report::new(Severity::Fatal, code::IDLE_IN_TRANSACTION_TIMEOUT, message)
        }
        _ => {
            Report::new(Severity::Fatal, code::QUERY_CANCELED, "terminating connection due to query timeout")
                .hint("The limit is query_timeout in pgherd's settings.")
        }
    }
}

/// No such database.
pub fn unknown_database(name: &str) -> Report {
    Report::new(Severity::Fatal, code::INVALID_CATALOG_NAME, format!("database \"{name}\" does not exist"))
}

/// An operator lets nobody in there.
pub fn disabled(name: &str) -> Report {
    Report::new(Severity::Fatal, code::NOT_IN_PREREQUISITE_STATE, format!("database \"{name}\" is disabled"))
}

/// A long wait in line; the client goes on waiting.
pub fn waits(pool: &PoolFacts) -> Report {
    Report::new(Severity::Notice, "00000", "waiting for a server connection").detail(format!(
        "{}; {} clients wait.",
        pool.usage(),
        pool.waiting
    ))
}

/// Replication connections are not pooled.
pub fn no_replication() -> Report {
    Report::new(Severity::Fatal, code::FEATURE_NOT_SUPPORTED, "replication connections are not supported")
        .hint("Connect to the node directly.")
}

/// A transaction block in pool mode `statement`.
pub fn no_transactions() -> Report {
    let message = "transaction blocks are not allowed in statement pooling mode";
    Report::new(Severity::Fatal, code::PROTOCOL_VIOLATION, message)
        .hint("Use pool mode transaction for this user or database.")
}
