//! Views of messages a client sends in a session.

use crate::frame::{MAX_LARGE_FRAME, MAX_SMALL_FRAME, c_string};

/// Tags of session-phase messages (documentation, chapter 55.7).
pub mod tag {
    /// Bind.
    pub const BIND: u8 = b'B';
    /// Close.
    pub const CLOSE: u8 = b'C';
    /// CopyData.
    pub const COPY_DATA: u8 = b'd';
    /// CopyDone.
    pub const COPY_DONE: u8 = b'c';
    /// CopyFail.
    pub const COPY_FAIL: u8 = b'f';
    /// Describe.
    pub const DESCRIBE: u8 = b'D';
    /// Execute.
    pub const EXECUTE: u8 = b'E';
    /// Flush.
    pub const FLUSH: u8 = b'H';
    /// FunctionCall.
    pub const FUNCTION_CALL: u8 = b'F';
    /// Parse.
    pub const PARSE: u8 = b'P';
    /// Query.
    pub const QUERY: u8 = b'Q';
    /// Sync.
    pub const SYNC: u8 = b'S';
    /// Terminate.
    pub const TERMINATE: u8 = b'X';
}

/// Longest frame PostgreSQL accepts with this tag, tag byte included; `None` for a tag no client may send in a session.
#[inline]
pub fn max_frame(tag: u8) -> Option<usize> {
    match tag {
        tag::QUERY | tag::PARSE | tag::BIND | tag::COPY_DATA | tag::FUNCTION_CALL => Some(MAX_LARGE_FRAME),
        tag::EXECUTE | tag::SYNC | tag::DESCRIBE | tag::CLOSE | tag::FLUSH => Some(MAX_SMALL_FRAME),
        tag::TERMINATE | tag::COPY_DONE | tag::COPY_FAIL => Some(MAX_SMALL_FRAME),
        _ => None,
    }
}

/// Parse: prepares a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parse<'a> {
    /// Name of the statement; empty for the unnamed one.
    pub name: &'a [u8],
    /// Query text, NUL, count and OIDs of parameter types: everything after the name, as it goes to a server.
    pub rest: &'a [u8],
    /// Query text without its NUL.
    pub query: &'a [u8],
}

/// First OID that no built-in object has (`FirstNormalObjectId`).
const FIRST_CUSTOM: u32 = 16_384;

/// A parameter has a type that is not built in. `rest`: what stands in a well-formed Parse after the name.
pub fn has_custom_types(rest: &[u8]) -> bool {
    let Some((_, types)) = c_string(rest) else { return false };
    let oids = types.get(2..).unwrap_or_default();
    oids.chunks_exact(4).any(|oid| oid.try_into().is_ok_and(|oid| u32::from_be_bytes(oid) >= FIRST_CUSTOM))
}

impl<'a> Parse<'a> {
    /// Views a whole body; `None` when it is malformed.
    pub fn view(body: &'a [u8]) -> Option<Parse<'a>> {
        let (name, rest) = c_string(body)?;
        let (query, types) = c_string(rest)?;
        let (count, oids) = types.split_first_chunk::<2>()?;
        let well_formed = oids.len() == 4 * usize::from(u16::from_be_bytes(*count));
        well_formed.then_some(Parse { name, rest, query })
    }
}

/// The two names at the start of Bind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BindNames<'a> {
    /// Destination portal.
    pub portal: &'a [u8],
    /// Source statement.
    pub statement: &'a [u8],
    /// Bytes of the body that the names take, NULs included.
    pub len: usize,
}

impl<'a> BindNames<'a> {
    /// Views the front of a body; `None` when the second NUL is not there.
    pub fn view(front: &'a [u8]) -> Option<BindNames<'a>> {
        let (portal, rest) = c_string(front)?;
        let (statement, rest) = c_string(rest)?;
        Some(BindNames { portal, statement, len: front.len() - rest.len() })
    }
}

/// What Describe and Close speak of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// A prepared statement.
    Statement(&'a [u8]),
    /// A portal.
    Portal(&'a [u8]),
}

impl<'a> Target<'a> {
    /// Views a whole body of Describe or Close; `None` when it is malformed.
    pub fn view(body: &'a [u8]) -> Option<Target<'a>> {
        let (&kind, rest) = body.split_first()?;
        let (name, rest) = c_string(rest)?;
        match kind {
            b'S' if rest.is_empty() => Some(Target::Statement(name)),
            b'P' if rest.is_empty() => Some(Target::Portal(name)),
            _ => None,
        }
    }
}

/// The text of a Query body: up to its NUL, or all of it when only a front is there.
pub fn query_text(front: &[u8]) -> &[u8] {
    c_string(front).map_or(front, |(text, _)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_parse() {
        let body = b"s1\0select $1\0\0\x01\0\0\0\x17";
        let view = Parse::view(body).unwrap();
        assert_eq!((view.name, view.query), (&b"s1"[..], &b"select $1"[..]));
        assert_eq!(view.rest, &body[3..]);
        for cut in 0..body.len() {
            assert_eq!(Parse::view(&body[..cut]), None, "cut at {cut}");
        }
    }

    #[test]
    fn views_bind_names_as_soon_as_they_are_there() {
        let body = b"p\0s\0\0\0";
        for have in 0..4 {
            assert_eq!(BindNames::view(&body[..have]), None);
        }
        assert_eq!(BindNames::view(body), Some(BindNames { portal: b"p", statement: b"s", len: 4 }));
    }

    #[test]
    fn views_targets() {
        assert_eq!(Target::view(b"Sx\0"), Some(Target::Statement(b"x")));
        assert_eq!(Target::view(b"P\0"), Some(Target::Portal(b"")));
        for bad in [&b""[..], b"S", b"Sx", b"Qx\0", b"Sx\0y"] {
            assert_eq!(Target::view(bad), None);
        }
    }
}
