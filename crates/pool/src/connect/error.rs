//! Why there is no server connection.

use rustix::io::Errno;
use std::io;

/// Whose fault it is that a connection could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Ours: this machine is out of descriptors, ports or memory. Says nothing about the node.
    Local,
    /// The node's, or the network's on the way to it.
    Node,
    /// The settings': wrong user, password, database or TLS files. Another node of the cluster would say the same.
    Settings,
}

/// An ErrorResponse the server sent instead of letting us in (PostgreSQL documentation, "Error and Notice Message Fields").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerError {
    /// Severity, not translated.
    pub severity: Box<str>,
    /// Five characters; `XX000` when the server sent none that could be one.
    pub sqlstate: Box<str>,
    /// Primary message.
    pub message: Box<str>,
    /// Detail.
    pub detail: Option<Box<str>>,
    /// Hint.
    pub hint: Option<Box<str>>,
}

impl ServerError {
    /// Reads the body of an ErrorResponse. Anything readable gives an error to show; bytes that are no UTF-8 are replaced.
    pub fn parse(body: &[u8]) -> ServerError {
        let mut error = ServerError {
            severity: "".into(),
            sqlstate: "XX000".into(),
            message: "".into(),
            detail: None,
            hint: None,
        };
        let mut translated = None;
        for field in body.split(|&byte| byte == 0) {
            let Some((&kind, text)) = field.split_first() else { break };
            let text: Box<str> = String::from_utf8_lossy(text).into();
            match kind {
                b'V' => error.severity = text,
                b'S' => translated = Some(text),
                b'C' if text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                    error.sqlstate = text;
                }
                b'M' => error.message = text,
                b'D' => error.detail = Some(text),
                b'H' => error.hint = Some(text),
                _ => {}
            }
        }
        if error.severity.is_empty() {
            // Servers before 9.6 send the translated word only.
            error.severity = translated.unwrap_or_else(|| "FATAL".into());
        }
        error
    }
}

/// Why there is no server connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// Out of descriptors, ports, buffers or memory here.
    #[error("could not connect to server: {0} (local resources)")]
    Local(String),
    /// The host name means nothing.
    #[error("could not translate host name to address: {0}")]
    Unresolved(String),
    /// Nobody listens there, or there is no way there.
    #[error("could not connect to server: {0}")]
    Refused(String),
    /// Not logged in before the connect timeout.
    #[error("could not connect to server: timeout expired")]
    Timeout,
    /// The server, or something on the way, ended the connection.
    #[error("server closed the connection unexpectedly: {0}")]
    Reset(String),
    /// No encryption, or not with this server.
    #[error("could not establish TLS with server: {0}")]
    Tls(String),
    /// We cannot do what the server asks for to let us in, or it could not prove that it knows us.
    #[error("could not authenticate to server: {0}")]
    Auth(String),
    /// The server's own refusal.
    #[error("{}: {} (SQLSTATE {})", .0.severity, .0.message, .0.sqlstate)]
    Server(Box<ServerError>),
    /// Whatever listens there does not speak the protocol as it should.
    #[error("server violates the protocol: {0}")]
    Protocol(&'static str),
}

impl ConnectError {
    /// Sorts an I/O error from any phase.
    pub fn from_io(error: &io::Error) -> ConnectError {
        const EXHAUSTED: [Errno; 5] =
            [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::ADDRNOTAVAIL, Errno::NOMEM];
        let text = error.to_string();
        if Errno::from_io_error(error).is_some_and(|errno| EXHAUSTED.contains(&errno)) {
            return ConnectError::Local(text);
        }
        if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) {
            return ConnectError::Tls(text);
        }
        match error.kind() {
            io::ErrorKind::ConnectionRefused
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::NotFound
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::WouldBlock => ConnectError::Refused(text),
            io::ErrorKind::TimedOut => ConnectError::Timeout,
            _ => ConnectError::Reset(text),
        }
    }

    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            ConnectError::Local(_) => Fault::Local,
            ConnectError::Refused(_)
            | ConnectError::Timeout
            | ConnectError::Reset(_)
            | ConnectError::Protocol(_) => Fault::Node,
            ConnectError::Unresolved(_) | ConnectError::Tls(_) | ConnectError::Auth(_) => Fault::Settings,
            ConnectError::Server(error) if transient(&error.sqlstate) => Fault::Node,
            ConnectError::Server(_) => Fault::Settings,
        }
    }

    /// True when the same attempt may succeed a little later.
    pub fn retryable(&self) -> bool {
        match self {
            ConnectError::Local(_)
            | ConnectError::Unresolved(_)
            | ConnectError::Refused(_)
            | ConnectError::Timeout
            | ConnectError::Reset(_) => true,
            ConnectError::Tls(_) | ConnectError::Auth(_) | ConnectError::Protocol(_) => false,
            ConnectError::Server(error) => transient(&error.sqlstate),
        }
    }

    /// The SQLSTATE to tell a client (PostgreSQL documentation, "PostgreSQL Error Codes").
    pub fn sqlstate(&self) -> &str {
        match self {
            ConnectError::Local(_) => "53000",
            ConnectError::Unresolved(_)
            | ConnectError::Refused(_)
            | ConnectError::Timeout
            | ConnectError::Tls(_) => "08001",
            ConnectError::Reset(_) => "08006",
            ConnectError::Auth(_) => "28000",
            ConnectError::Server(error) => &error.sqlstate,
            ConnectError::Protocol(_) => "08P01",
        }
    }
}

/// Refusals that pass: full, starting up, shutting down, recovering.
fn transient(sqlstate: &str) -> bool {
    matches!(sqlstate, "57P01" | "57P02" | "57P03")
        || sqlstate.starts_with("53")
        || sqlstate.starts_with("08")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_exhaustion_is_never_the_nodes_fault() {
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::ADDRNOTAVAIL, Errno::NOMEM] {
            let error = ConnectError::from_io(&errno.into());
            assert_eq!((error.fault(), error.retryable()), (Fault::Local, true), "{error}");
        }
        let refused = ConnectError::from_io(&Errno::CONNREFUSED.into());
        assert!(matches!(refused, ConnectError::Refused(_)) && refused.fault() == Fault::Node);
        assert!(matches!(ConnectError::from_io(&Errno::CONNRESET.into()), ConnectError::Reset(_)));
        assert_eq!(ConnectError::from_io(&Errno::TIMEDOUT.into()), ConnectError::Timeout);
    }

    #[test]
    fn reads_the_servers_own_words() {
        let body = b"SFATAL\0VFATAL\0C3D000\0Mdatabase \"x\" does not exist\0Hcreate it\0Fpostinit.c\0\0";
        let error = ServerError::parse(body);
        assert_eq!((&*error.severity, &*error.sqlstate), ("FATAL", "3D000"));
        assert_eq!(&*error.message, "database \"x\" does not exist");
        assert_eq!(error.hint.as_deref(), Some("create it"));
        let error = ConnectError::Server(Box::new(error));
        assert_eq!((error.fault(), error.retryable(), error.sqlstate()), (Fault::Settings, false, "3D000"));
    }

    #[test]
    fn a_missing_sqlstate_is_an_internal_error() {
        for body in [&b""[..], b"\0", b"Mx\0\0", b"Cxx\0\0", b"C\xff\xff\xff\xff\xff\0\0", b"C12345"] {
            assert_eq!(ServerError::parse(body).sqlstate.len(), 5);
        }
        assert_eq!(&*ServerError::parse(b"SPANIQUE\0\0").severity, "PANIQUE");
    }

    #[test]
    fn passing_refusals_may_be_retried() {
        for (sqlstate, retryable) in [("53300", true), ("57P03", true), ("28P01", false), ("3D000", false)] {
            let error = ServerError::parse(format!("C{sqlstate}\0\0").as_bytes());
            assert_eq!(ConnectError::Server(Box::new(error)).retryable(), retryable);
        }
    }
}
