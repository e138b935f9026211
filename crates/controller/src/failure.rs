//! From an error of a connection or a query to what it proves.

use pgherd_failover::observation::{Failure, FailureKind};
use std::error::Error as _;
use std::io;
use std::time::Duration;
use tokio_postgres::Error;

/// What the error proves about the node.
pub fn classify(error: &Error) -> Failure {
    let kind = kind(error);
    let text = match error.as_db_error() {
        Some(answer) => {
            format!("{}: {} (SQLSTATE {})", answer.severity(), answer.message(), answer.code().code())
        }
        None => match error.source() {
            Some(source) => source.to_string(),
            None => error.to_string(),
        },
    };
    Failure { kind, text: text.into(), broke: false }
}

/// Nothing came within `limit`.
pub fn timeout(limit: Duration) -> Failure {
    let text = format!("no answer within {:.1}s", limit.as_secs_f64()).into();
    Failure { kind: FailureKind::Timeout, text, broke: false }
}

/// The connection itself is gone, not only the query.
pub fn is_broken(error: &Error) -> bool {
    error.is_closed()
        || match error.as_db_error() {
            Some(answer) => {
                answer.severity() == "FATAL" || answer.severity() == "PANIC" || class(answer) == "57"
            }
            None => io_error(error).is_some(),
        }
}

fn class(answer: &tokio_postgres::error::DbError) -> &str {
    answer.code().code().get(..2).unwrap_or("")
}

fn kind(error: &Error) -> FailureKind {
    if let Some(answer) = error.as_db_error() {
        return refusal(answer.code().code(), answer.message());
    }
    match io_error(error) {
        Some(error) => io_kind(error),
        None if error.is_closed() => FailureKind::Reset,
        None => FailureKind::Rejected,
    }
}

/// What a server's own answer proves.
fn refusal(code: &str, message: &str) -> FailureKind {
    match code {
        // One code for both; where the words are not English it is the commoner of the two.
        "57P03" if message.contains("shutting down") => FailureKind::ShuttingDown,
        "57P03" => FailureKind::StartingUp,
        "57P01" | "57P02" => FailureKind::ShuttingDown,
        "57014" => FailureKind::Timeout,
        "53300" => FailureKind::TooManyConnections,
        "3D000" | "42501" => FailureKind::Rejected,
        login if login.starts_with("28") => FailureKind::Rejected,
        _ => FailureKind::Query,
    }
}

fn io_error(error: &Error) -> Option<&io::Error> {
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(found) = inner.downcast_ref::<io::Error>() {
            return Some(found);
        }
        source = inner.source();
    }
    None
}

fn io_kind(error: &io::Error) -> FailureKind {
    /// Linux numbers of what our own side runs out of: ENOMEM, ENFILE, EMFILE, EADDRNOTAVAIL, ENOBUFS.
    const OURS: [i32; 5] = [12, 23, 24, 99, 105];
    if error.raw_os_error().is_some_and(|code| OURS.contains(&code)) {
        return FailureKind::Local;
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => FailureKind::Refused,
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => FailureKind::Reset,
        io::ErrorKind::TimedOut => FailureKind::Timeout,
        // A certificate that does not please us comes as invalid data: the peer is alive.
        io::ErrorKind::InvalidData | io::ErrorKind::PermissionDenied => FailureKind::Rejected,
        _ => FailureKind::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shutting_down_is_not_starting_up() {
        for (code, message, kind) in [
            ("57P03", "the database system is shutting down", FailureKind::ShuttingDown),
            ("57P03", "the database system is starting up", FailureKind::StartingUp),
            ("57P03", "the database system is in recovery mode", FailureKind::StartingUp),
            ("57P03", "das Datenbanksystem startet", FailureKind::StartingUp),
            ("57P01", "terminating connection due to administrator command", FailureKind::ShuttingDown),
            ("28P01", "password authentication failed", FailureKind::Rejected),
            ("XX000", "", FailureKind::Query),
        ] {
            assert_eq!(refusal(code, message), kind, "{code} {message}");
        }
    }

    #[test]
    fn our_own_exhaustion_is_not_the_nodes_death() {
        for (code, kind) in [
            (24, FailureKind::Local),
            (99, FailureKind::Local),
            (111, FailureKind::Refused),
            (104, FailureKind::Reset),
            (110, FailureKind::Timeout),
            (113, FailureKind::Unreachable),
        ] {
            assert_eq!(io_kind(&io::Error::from_raw_os_error(code)), kind, "{code}");
        }
    }
}
