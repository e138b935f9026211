//! Why a client is not let in, and how it is told so.

use bytes::{BufMut, BytesMut};

/// A refusal, in PostgreSQL's words where it has some. All but the last four are the client's fault, and only those four may go
/// away by trying again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// The first packet announces an impossible length.
    #[error("invalid length of startup packet")]
    StartupLength,
    /// The startup packet does not end where its settings end.
    #[error("invalid startup packet layout: expected terminator as last byte")]
    StartupLayout,
    /// A cancel request whose secret is shorter than 4 or longer than 256 bytes.
    #[error("invalid length of query cancel packet")]
    CancelLength,
    /// A name, value or password is not UTF-8.
    #[error("invalid byte sequence for encoding \"UTF8\"")]
    Encoding,
    /// Not protocol 3.
    #[error("unsupported frontend protocol {0}.{1}: server supports 3.0 to 3.2")]
    Protocol(u16, u16),
    /// The startup packet names no user.
    #[error("no PostgreSQL user name specified in startup packet")]
    NoUser,
    /// A value of `replication` that is neither a truth value nor `database`.
    #[error("invalid value for parameter \"replication\": \"{0}\"")]
    Replication(Box<str>),
    /// A switch in `options` that a client may not give, or that does not exist.
    #[error("invalid command-line argument for server process: {0}")]
    Switch(Box<str>),
    /// A `-c` or `--` without `=`.
    #[error("{0} requires a value")]
    SwitchValue(Box<str>),
    /// Bytes in clear between the request for encryption and its handshake.
    #[error("received unencrypted data after {0} request")]
    Unencrypted(&'static str),
    /// This listener wants TLS.
    #[error("connection requires TLS: no encryption")]
    TlsRequired,
    /// Passwords are not taken in clear.
    #[error("cleartext password authentication requires TLS")]
    Cleartext,
    /// Something else than an answer to our authentication request.
    #[error("expected password response, got message type {0}")]
    Answer(u8),
    /// An answer of impossible length.
    #[error("invalid message length")]
    AnswerLength,
    /// A PasswordMessage that is no string.
    #[error("invalid password packet size")]
    PasswordSize,
    /// A password of no characters.
    #[error("empty password returned by client")]
    EmptyPassword,
    /// A mechanism we did not offer.
    #[error("client selected an invalid SASL authentication mechanism")]
    Mechanism,
    /// A SCRAM message that is not what RFC 5802 says; why.
    #[error("malformed SCRAM message")]
    Scram(&'static str),
    /// A SCRAM feature that PostgreSQL has not either.
    #[error("{0}")]
    ScramFeature(&'static str),
    /// A SCRAM answer to another challenge.
    #[error("invalid SCRAM response")]
    ScramNonce,
    /// Client and server saw different offers: somebody between them may have changed ours.
    #[error("SCRAM channel binding negotiation error")]
    BindingNegotiation,
    /// Client and server saw different certificates: somebody sits between them.
    #[error("SCRAM channel binding check failed")]
    Binding,
    /// Wrong password, or no such user: nobody outside can tell which.
    #[error("password authentication failed for user \"{0}\"")]
    Password(Box<str>, Mismatch),
    /// No certificate, where one is asked for.
    #[error("connection requires a valid client certificate")]
    CertificateRequired,
    /// Another's certificate; what is wrong is for the log.
    #[error("certificate authentication failed for user \"{0}\"")]
    Certificate(Box<str>, Box<str>),
    /// Another user of the operating system; which is for the log.
    #[error("peer authentication failed for user \"{0}\"")]
    Peer(Box<str>, Box<str>),
    /// Who knows the users did not say whether this is one.
    #[error("could not look up user \"{0}\"")]
    Lookup(Box<str>),
    /// More strangers at the door than it holds.
    #[error("sorry, too many clients already")]
    Full,
    /// Not through the door in time.
    #[error("canceling authentication due to timeout")]
    Timeout,
    /// We could not do our part (no random numbers, no thread).
    #[error("could not complete authentication")]
    Internal,
}

impl LoginError {
    /// The SQLSTATE to tell the client (PostgreSQL documentation, "PostgreSQL Error Codes").
    pub fn sqlstate(&self) -> &'static str {
        match self {
            LoginError::StartupLength
            | LoginError::StartupLayout
            | LoginError::CancelLength
            | LoginError::Unencrypted(_)
            | LoginError::Answer(_)
            | LoginError::AnswerLength
            | LoginError::PasswordSize
            | LoginError::Mechanism
            | LoginError::Scram(_)
            | LoginError::ScramNonce => "08P01",
            LoginError::Encoding => "22021",
            LoginError::Protocol(..) | LoginError::ScramFeature(_) => "0A000",
            LoginError::NoUser
            | LoginError::TlsRequired
            | LoginError::Cleartext
            | LoginError::BindingNegotiation
            | LoginError::CertificateRequired
            | LoginError::Certificate(..)
            | LoginError::Peer(..)
            | LoginError::Binding => "28000",
            LoginError::Replication(_) => "22023",
            LoginError::Switch(_) | LoginError::SwitchValue(_) => "42601",
            LoginError::EmptyPassword | LoginError::Password(..) => "28P01",
            LoginError::Lookup(_) => "57P03",
            LoginError::Full => "53300",
            LoginError::Timeout => "57014",
            LoginError::Internal => "XX000",
        }
    }

    /// True when trying again may help.
    pub fn retryable(&self) -> bool {
        matches!(self, LoginError::Lookup(_) | LoginError::Full | LoginError::Timeout | LoginError::Internal)
    }

    /// True when the client is at fault, false when we are.
    pub fn of_client(&self) -> bool {
        !matches!(self, LoginError::Lookup(_) | LoginError::Full | LoginError::Internal)
    }

    /// What only the log may know, as PostgreSQL's `errdetail_log`.
    pub(crate) fn detail_log(&self) -> Option<&str> {
        match self {
            LoginError::Password(_, Mismatch::NoUser) => Some("there is no such user"),
            LoginError::Password(_, Mismatch::NoSecret) => Some("the user has no password"),
            LoginError::Password(_, Mismatch::Md5Hash) => {
                Some("the user's secret is an md5 hash, which scram-sha-256 cannot check")
            }
            LoginError::Password(_, Mismatch::Wrong) => Some("the password does not match"),
            LoginError::Password(_, Mismatch::Certificate) => {
                Some("the password is right, but the certificate is another's")
            }
            LoginError::Certificate(_, why) | LoginError::Peer(_, why) => Some(why),
            _ => None,
        }
    }

    fn detail(&self) -> Option<&'static str> {
        match self {
            LoginError::Unencrypted(_) => Some(
                "This could be either a client-software bug or evidence of an attempted man-in-the-middle attack.",
            ),
            LoginError::Scram(detail) => Some(detail),
            LoginError::ScramNonce => Some("Nonce does not match."),
            LoginError::BindingNegotiation => Some(
                "The client supports SCRAM channel binding but thinks the server does not. However, this server does support channel binding.",
            ),
            _ => None,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            LoginError::Replication(_) => Some("Valid values are: \"false\", 0, \"true\", 1, \"database\"."),
            LoginError::TlsRequired => Some("Connect with sslmode=require or stronger."),
            LoginError::Cleartext => {
                Some("Connect with sslmode=require or stronger, or let this user log in with SCRAM.")
            }
            LoginError::Lookup(_) => Some("The servers that know the users did not answer; try again."),
            _ => None,
        }
    }

    /// Appends the ErrorResponse: severity FATAL, because every refusal ends the connection.
    pub fn encode(&self, out: &mut BytesMut) {
        let text = self.to_string();
        let fields = [
            (b'S', Some("FATAL")),
            (b'V', Some("FATAL")),
            (b'C', Some(self.sqlstate())),
            (b'M', Some(&*text)),
            (b'D', self.detail()),
            (b'H', self.hint()),
        ];
        out.put_u8(b'E');
        let start = out.len();
        out.put_u32(0);
        for (kind, text) in fields {
            let Some(text) = text else { continue };
            out.put_u8(kind);
            out.put_slice(text.as_bytes());
            out.put_u8(0);
        }
        out.put_u8(0);
        let length = (out.len() - start) as u32;
        out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    }
}

/// Why a password did not let its user in. Never shown to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// There is no such user.
    NoUser,
    /// The user has no secret.
    NoSecret,
    /// The user's secret is an md5 hash, and the method is SCRAM.
    Md5Hash,
    /// Another password.
    Wrong,
    /// A certificate that may not be this user.
    Certificate,
}

/// How a login ends early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Refused; the client is told.
    Refused(LoginError),
    /// The client left, or speaks something we do not answer.
    Left,
}

impl From<LoginError> for Stop {
    fn from(error: LoginError) -> Stop {
        Stop::Refused(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_response_has_postgresqls_form() {
        let mut out = BytesMut::new();
        LoginError::Replication("maybe".into()).encode(&mut out);
        let body = b"SFATAL\0VFATAL\0C22023\0Minvalid value for parameter \"replication\": \"maybe\"\0\
            HValid values are: \"false\", 0, \"true\", 1, \"database\".\0\0";
        assert_eq!(out[0], b'E');
        assert_eq!(out[1..5], (4 + body.len() as u32).to_be_bytes());
        assert_eq!(&out[5..], body);
    }
}
