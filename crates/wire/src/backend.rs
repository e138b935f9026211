//! Views of messages a server sends in a session.

use crate::frame::c_string;

/// Tags of session-phase messages (documentation, chapter 55.7).
pub mod tag {
    /// BindComplete.
    pub const BIND_COMPLETE: u8 = b'2';
    /// CloseComplete.
    pub const CLOSE_COMPLETE: u8 = b'3';
    /// CommandComplete.
    pub const COMMAND_COMPLETE: u8 = b'C';
    /// CopyBothResponse.
    pub const COPY_BOTH: u8 = b'W';
    /// CopyData.
    pub const COPY_DATA: u8 = b'd';
    /// CopyDone.
    pub const COPY_DONE: u8 = b'c';
    /// CopyInResponse.
    pub const COPY_IN: u8 = b'G';
    /// CopyOutResponse.
    pub const COPY_OUT: u8 = b'H';
    /// DataRow.
    pub const DATA_ROW: u8 = b'D';
    /// EmptyQueryResponse.
    pub const EMPTY_QUERY: u8 = b'I';
    /// ErrorResponse.
    pub const ERROR: u8 = b'E';
    /// FunctionCallResponse.
    pub const FUNCTION_RESULT: u8 = b'V';
    /// NoData.
    pub const NO_DATA: u8 = b'n';
    /// NoticeResponse.
    pub const NOTICE: u8 = b'N';
    /// NotificationResponse.
    pub const NOTIFICATION: u8 = b'A';
    /// ParameterDescription.
    pub const PARAMETER_DESCRIPTION: u8 = b't';
    /// ParameterStatus.
    pub const PARAMETER_STATUS: u8 = b'S';
    /// ParseComplete.
    pub const PARSE_COMPLETE: u8 = b'1';
    /// PortalSuspended.
    pub const PORTAL_SUSPENDED: u8 = b's';
    /// ReadyForQuery.
    pub const READY: u8 = b'Z';
    /// RowDescription.
    pub const ROW_DESCRIPTION: u8 = b'T';
}

/// Transaction status in ReadyForQuery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Status {
    /// Not in a transaction block (`I`).
    #[default]
    Idle,
    /// In a transaction block (`T`).
    Open,
    /// In a failed transaction block (`E`).
    Failed,
}

impl Status {
    /// Reads the body of ReadyForQuery; `None` for anything but its one known byte.
    pub fn view(body: &[u8]) -> Option<Status> {
        match body {
            b"I" => Some(Status::Idle),
            b"T" => Some(Status::Open),
            b"E" => Some(Status::Failed),
            _ => None,
        }
    }

    /// The byte on the wire.
    pub fn byte(self) -> u8 {
        match self {
            Status::Idle => b'I',
            Status::Open => b'T',
            Status::Failed => b'E',
        }
    }
}

/// Name and value of a ParameterStatus body; `None` when it is malformed.
pub fn parameter_status(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let (name, rest) = c_string(body)?;
    let (value, rest) = c_string(rest)?;
    rest.is_empty().then_some((name, value))
}

/// The tag text of a CommandComplete body, without its NUL.
pub fn command_tag(body: &[u8]) -> &[u8] {
    body.strip_suffix(b"\0").unwrap_or(body)
}

/// Fields of ErrorResponse or NoticeResponse (documentation, chapter 55.8).
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// Views a body; fields are read as they are asked for.
    pub fn view(body: &'a [u8]) -> Fields<'a> {
        Fields(body)
    }

    /// The first field of this type, if the body has it and is well-formed up to there.
    pub fn get(&self, kind: u8) -> Option<&'a [u8]> {
        let mut rest = self.0;
        loop {
            let (&found, after) = rest.split_first()?;
            if found == 0 {
                return None;
            }
            let (value, after) = c_string(after)?;
            if found == kind {
                return Some(value);
            }
            rest = after;
        }
    }

    /// SQLSTATE (`C`).
    pub fn sqlstate(&self) -> Option<&'a [u8]> {
        self.get(b'C')
    }

    /// True when the server closes the connection after this message. Reads the severity that is never translated (`V`), and `S` when a
    /// very old or odd server sends no `V`.
    pub fn is_fatal(&self) -> bool {
        matches!(self.get(b'V').or_else(|| self.get(b'S')), Some(b"FATAL" | b"PANIC"))
    }
}

/// Columns of a DataRow's body, NULL as `None`; nothing when the body is not one whole row (PostgreSQL documentation, chapter 55.7).
pub fn columns(body: &[u8]) -> Option<Vec<Option<&[u8]>>> {
    let (count, mut rest) = body.split_first_chunk::<2>()?;
    let mut columns = Vec::new();
    for _ in 0..u16::from_be_bytes(*count) {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let length = i32::from_be_bytes(*length);
        let (text, after) = after.split_at_checked(usize::try_from(length).unwrap_or(0))?;
        columns.push((length >= 0).then_some(text));
        rest = after;
    }
    rest.is_empty().then_some(columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_or_not_understood() {
        let row = b"\0\x02\0\0\0\x01a\xff\xff\xff\xff";
        assert_eq!(columns(row), Some(vec![Some(&b"a"[..]), None]));
        for cut in 0..row.len() {
            assert_eq!(columns(&row[..cut]), None, "{cut}");
        }
        assert_eq!(columns(b"\xff\xff\0\0\0\x01a"), None);
        assert_eq!(columns(b"\0\0x"), None);
    }

    #[test]
    fn reads_error_fields() {
        let body = b"SFATAL\0VFATAL\0C57P01\0Mgone\0\0";
        let fields = Fields::view(body);
        assert_eq!(fields.sqlstate(), Some(&b"57P01"[..]));
        assert_eq!(fields.get(b'M'), Some(&b"gone"[..]));
        assert_eq!(fields.get(b'H'), None);
        assert!(fields.is_fatal());
        for cut in 0..body.len() {
            Fields::view(&body[..cut]).get(b'H');
        }
    }

    #[test]
    fn a_translated_severity_does_not_hide_fatal() {
        assert!(Fields::view(b"SFATAL\0VFATAL\0\0").is_fatal());
        assert!(Fields::view("SSCHWERWIEGEND\0VFATAL\0\0".as_bytes()).is_fatal());
        assert!(!Fields::view(b"SERROR\0VERROR\0\0").is_fatal());
    }

    #[test]
    fn reads_status_and_parameters() {
        assert_eq!(Status::view(b"T"), Some(Status::Open));
        assert_eq!(Status::view(b"TT"), None);
        assert_eq!(parameter_status(b"a\0b\0"), Some((&b"a"[..], &b"b"[..])));
        assert_eq!(parameter_status(b"a\0b"), None);
    }
}
