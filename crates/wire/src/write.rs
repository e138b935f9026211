//! The messages pgherd writes itself, appended to a buffer.

use crate::backend::Status;
use bytes::{BufMut, BytesMut};

/// Appends one frame: tag, length, and whatever `body` writes.
pub fn frame(out: &mut BytesMut, tag: u8, body: impl FnOnce(&mut BytesMut)) {
    out.put_u8(tag);
    let at = out.len();
    out.put_u32(0);
    body(out);
    let length = u32::try_from(out.len() - at).unwrap_or(u32::MAX);
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

fn c_str(out: &mut BytesMut, text: &[u8]) {
    out.put_slice(text);
    out.put_u8(0);
}

/// Query (to a server). `sql` must hold no NUL.
pub fn query(out: &mut BytesMut, sql: &[u8]) {
    frame(out, b'Q', |out| c_str(out, sql));
}

/// Parse (to a server): `rest` is query text, NUL and parameter types as a client sent them.
pub fn parse(out: &mut BytesMut, name: &[u8], rest: &[u8]) {
    frame(out, b'P', |out| {
        c_str(out, name);
        out.put_slice(rest);
    });
}

/// The front of Bind (to a server): header and both names, for a body of which `rest_len` bytes follow the names.
pub fn bind_front(out: &mut BytesMut, portal: &[u8], statement: &[u8], rest_len: usize) {
    out.put_u8(b'B');
    let length = 4 + portal.len() + 1 + statement.len() + 1 + rest_len;
    out.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    c_str(out, portal);
    c_str(out, statement);
}

/// Describe of a statement (to a server).
pub fn describe_statement(out: &mut BytesMut, name: &[u8]) {
    frame(out, b'D', |out| {
        out.put_u8(b'S');
        c_str(out, name);
    });
}

/// Close of a statement (to a server).
pub fn close_statement(out: &mut BytesMut, name: &[u8]) {
    frame(out, b'C', |out| {
        out.put_u8(b'S');
        c_str(out, name);
    });
}

/// Flush (to a server).
pub fn flush(out: &mut BytesMut) {
    frame(out, b'H', |_| {});
}

/// Sync (to a server).
pub fn sync(out: &mut BytesMut) {
    out.put_slice(b"S\0\0\0\x04");
}

/// CopyFail (to a server).
pub fn copy_fail(out: &mut BytesMut, why: &[u8]) {
    frame(out, b'f', |out| c_str(out, why));
}

/// Terminate (to a server).
pub const TERMINATE: [u8; 5] = *b"X\0\0\0\x04";

/// ParseComplete (to a client).
pub const PARSE_COMPLETE: [u8; 5] = *b"1\0\0\0\x04";

/// CloseComplete (to a client).
pub const CLOSE_COMPLETE: [u8; 5] = *b"3\0\0\0\x04";

/// ReadyForQuery (to a client).
pub fn ready(out: &mut BytesMut, status: Status) {
    out.put_slice(b"Z\0\0\0\x05");
    out.put_u8(status.byte());
}

/// CommandComplete (to a client).
pub fn command_complete(out: &mut BytesMut, tag: &[u8]) {
    frame(out, b'C', |out| c_str(out, tag));
}

/// ParameterStatus (to a client).
pub fn parameter_status(out: &mut BytesMut, name: &[u8], value: &[u8]) {
    frame(out, b'S', |out| {
        c_str(out, name);
        c_str(out, value);
    });
}

/// BackendKeyData (to a client).
pub fn backend_key(out: &mut BytesMut, pid: i32, secret: &[u8]) {
    frame(out, b'K', |out| {
        out.put_i32(pid);
        out.put_slice(secret);
    });
}

/// How bad a report is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The statement failed.
    Error,
    /// The connection ends.
    Fatal,
    /// Only told (sent as NoticeResponse).
    Notice,
    /// Only told, but it matters (sent as NoticeResponse).
    Warning,
}

impl Severity {
    /// PostgreSQL's word.
    pub fn word(self) -> &'static str {
        match self {
            Severity::Error => "ERROR",
            Severity::Fatal => "FATAL",
            Severity::Notice => "NOTICE",
            Severity::Warning => "WARNING",
        }
    }
}

/// A report to a client in PostgreSQL's form. Empty detail and hint are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// How bad.
    pub severity: Severity,
    /// SQLSTATE.
    pub code: &'static str,
    /// Primary message.
    pub message: String,
    /// What stands between the first two quotes of the message: a name in a client's bytes, which need be no text.
    pub name: Box<[u8]>,
    /// Facts.
    pub detail: String,
    /// One action.
    pub hint: String,
}

impl Report {
    /// A report without detail and hint.
    pub fn new(severity: Severity, code: &'static str, message: impl Into<String>) -> Report {
        let message = message.into();
        Report { severity, code, message, name: Box::default(), detail: String::new(), hint: String::new() }
    }

    /// The same with a name between the first two quotes of the message.
    pub fn name(mut self, name: &[u8]) -> Report {
        self.name = name.into();
        self
    }

    /// The same with facts.
    pub fn detail(mut self, detail: impl Into<String>) -> Report {
        self.detail = detail.into();
        self
    }

    /// The same with one action to take.
    pub fn hint(mut self, hint: impl Into<String>) -> Report {
        self.hint = hint.into();
        self
    }

    /// Appends it as ErrorResponse or NoticeResponse, by its severity.
    pub fn write(&self, out: &mut BytesMut) {
        let tag = match self.severity {
            Severity::Error | Severity::Fatal => b'E',
            Severity::Notice | Severity::Warning => b'N',
        };
        let word = self.severity.word();
        frame(out, tag, |out| {
            let message = match self.message.split_once("\"\"") {
                Some((before, after)) => {
                    [before.as_bytes(), b"\"", &self.name, b"\"", after.as_bytes()].concat()
                }
                None => self.message.as_bytes().to_vec(),
            };
            let fields = [
                (b'S', word.as_bytes()),
                (b'V', word.as_bytes()),
                (b'C', self.code.as_bytes()),
                (b'M', &message),
                (b'D', self.detail.as_bytes()),
                (b'H', self.hint.as_bytes()),
            ];
            for (kind, text) in fields.into_iter().filter(|(_, text)| !text.is_empty()) {
                out.put_u8(kind);
                // A NUL inside a text would end the field early and shift all that follow.
                out.extend(text.iter().filter(|&&b| b != 0));
                out.put_u8(0);
            }
            out.put_u8(0);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Fields;
    use crate::frame::header;

    #[test]
    fn frames_count_themselves() {
        let mut out = BytesMut::new();
        query(&mut out, b"select 1");
        bind_front(&mut out, b"", b"s", 6);
        assert_eq!(header(&out).unwrap().unwrap().total, 1 + 4 + 9);
        let bind = &out[14..];
        assert_eq!(header(bind).unwrap().unwrap().total, bind.len() + 6);
    }

    #[test]
    fn a_report_reads_back() {
        let mut out = BytesMut::new();
        Report::new(Severity::Fatal, "57P03", "no\0 primary").hint("wait").write(&mut out);
        let fields = Fields::view(&out[5..]);
        assert!(fields.is_fatal());
        assert_eq!(fields.get(b'M'), Some(&b"no primary"[..]));
        assert_eq!(fields.get(b'D'), None);
        assert_eq!(fields.get(b'H'), Some(&b"wait"[..]));
        // Clients show file, line and routine together; a routine alone makes psql print half a location.
        assert_eq!(fields.get(b'R'), None);
        assert_eq!(header(&out).unwrap().unwrap().total, out.len());
    }

    #[test]
    fn a_name_stands_as_it_came() {
        let mut out = BytesMut::new();
        Report::new(Severity::Error, "42P05", "statement \"\" exists").name(b"\xff\"").write(&mut out);
        assert_eq!(Fields::view(&out[5..]).get(b'M'), Some(&b"statement \"\xff\"\" exists"[..]));
    }
}
