//! What the messages at the front ask for, before any of them is decided: the texts of one unit, up to its Query or Sync. For whoever chooses the server.

use crate::begin::{End, leading_end};
use crate::machine::Machine;
use crate::prepared::Statement;
use pgherd_wire::frame::{HEADER_LEN, header};
use pgherd_wire::frontend::{BindNames, Parse, Target, has_custom_types, query_text, tag};

/// One thing a unit asks for.
#[derive(Clone, Copy, Debug)]
pub enum Part<'a> {
    /// The text of a Query or a Parse, and whether that has parameters of types that are not built in.
    Text(&'a [u8], bool),
    /// A statement that was prepared before.
    Statement(&'a Statement),
    /// Something that cannot be read: a function call, a text that is too long, a message that makes no sense.
    Unreadable,
}

/// How far the unit is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// To its end.
    Whole,
    /// More of it must come.
    Partial,
    /// To a Flush: the client may wait for answers before it says how it goes on.
    Flushed,
}

/// Most statements a unit may prepare for itself before it is not read any further.
const MAX_PARSED: usize = 64;

impl Machine {
    /// Reads the unit that begins with the undecided bytes of a session that holds no server, and shows each part to `each`. A message of more
    /// than `limit` bytes is not waited for, and not read where only a whole one tells anything.
    pub fn survey<'a>(&'a self, bytes: &'a [u8], limit: usize, mut each: impl FnMut(Part<'a>)) -> Extent {
        let mut rest = bytes;
        let mut parsed: [Option<&[u8]>; MAX_PARSED] = [None; MAX_PARSED];
        let (mut count, mut bound) = (0, false);
        loop {
            let frame = match header(rest) {
                Ok(Some(frame)) => frame,
                Ok(None) => return Extent::Partial,
                Err(_) => {
                    each(Part::Unreadable);
                    return Extent::Whole;
                }
            };
            // What is complete is read whole; of a longer Bind its names are enough, and what is too long for both is not read.
            let body = &rest[HEADER_LEN..frame.total.min(rest.len())];
            let complete = frame.total <= rest.len();
            if !complete && (frame.total <= limit || frame.tag == tag::BIND) {
                return Extent::Partial;
            }
            match frame.tag {
                tag::QUERY if complete && frame.total <= limit => {
                    each(Part::Text(query_text(body), false));
                    return Extent::Whole;
                }
                tag::SYNC => return Extent::Whole,
                tag::FLUSH => return Extent::Flushed,
                tag::PARSE if complete && count < MAX_PARSED => match Parse::view(body) {
                    Some(view) => {
                        parsed[count] = Some(view.name);
                        count += 1;
                        each(Part::Text(view.query, has_custom_types(view.rest)));
                    }
                    None => each(Part::Unreadable),
                },
                tag::BIND => {
                    bound = true;
                    match BindNames::view(body) {
                        Some(names) if parsed[..count].contains(&Some(names.statement)) => {}
                        Some(names) => each(self.named(names.statement)),
                        None => each(Part::Unreadable),
                    }
                }
                tag::DESCRIBE => match Target::view(body) {
                    Some(Target::Statement(name)) if !parsed[..count].contains(&Some(name)) => {
                        each(self.named(name));
                    }
                    Some(Target::Portal(_)) if !bound => each(Part::Unreadable),
                    Some(_) => {}
                    None => each(Part::Unreadable),
                },
                // A portal of an earlier unit: what it runs was read then, and cannot be had elsewhere.
                tag::EXECUTE if !bound => each(Part::Unreadable),
                // They run or end what the messages before them named.
                tag::EXECUTE | tag::CLOSE => {}
                _ => {
                    each(Part::Unreadable);
                    return Extent::Whole;
                }
            }
            if !complete {
                return Extent::Partial;
            }
            rest = &rest[frame.total..];
        }
    }

    /// The end of a block that the unit at the front runs before anything else.
    pub fn leading_end(&self, bytes: &[u8]) -> Option<End> {
        let (mut rest, mut found) = (bytes, None);
        loop {
            let frame = header(rest).ok()?.filter(|frame| frame.total <= rest.len())?;
            let body = &rest[HEADER_LEN..frame.total];
            match frame.tag {
                tag::QUERY => return leading_end(query_text(body)),
                tag::PARSE if found.is_none() => {
                    found = Some(Parse::view(body).and_then(|view| leading_end(view.query))?)
                }
                tag::BIND if found.is_none() => match self.named(BindNames::view(body)?.statement) {
                    Part::Text(text, _) => found = Some(leading_end(text)?),
                    Part::Statement(statement) => found = Some(leading_end(statement.query())?),
                    Part::Unreadable => return None,
                },
                tag::BIND | tag::DESCRIBE => {}
                tag::EXECUTE => return found,
                _ => return None,
            }
            rest = &rest[frame.total..];
        }
    }

    /// The statement a client has under this name.
    fn named<'a>(&'a self, name: &[u8]) -> Part<'a> {
        match self.names.get(name) {
            // Of which types its parameters are is not known here.
            Some(statement) if statement.is_sql() => Part::Text(statement.query(), true),
            Some(statement) => Part::Statement(statement),
            None if name.is_empty() && self.unnamed.serial != 0 => {
                let rest = &self.unnamed.rest;
                Part::Text(query_text(rest), has_custom_types(rest))
            }
            None => Part::Unreadable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{Limits, MAX_HELD};
    use crate::params::Settings;
    use bytes::BytesMut;
    use pgherd_wire::write;
    use std::sync::Arc;

    fn machine() -> Machine {
        let limits = Limits {
            max_prepared_statements: 10,
            max_client_statements: 10,
            session_mode: false,
            probing: Default::default(),
            unnamed: Default::default(),
        };
        Machine::new(1, Arc::default(), Settings::default(), limits)
    }

    fn seen(machine: &Machine, bytes: &[u8]) -> (Extent, Vec<String>) {
        let mut parts = Vec::new();
        let extent = machine.survey(bytes, MAX_HELD, |part| {
            parts.push(match part {
                Part::Text(text, _) => String::from_utf8_lossy(text).into_owned(),
                Part::Statement(statement) => format!("known {}", String::from_utf8_lossy(statement.query())),
                Part::Unreadable => "?".into(),
            });
        });
        (extent, parts)
    }

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let mut out = BytesMut::new();
        write::frame(&mut out, tag, |out| out.extend_from_slice(body));
        out.to_vec()
    }

    #[test]
    fn a_query_is_one_unit() {
        let bytes = [message(b'Q', b"select 1\0"), message(b'Q', b"delete from t\0")].concat();
        assert_eq!(seen(&machine(), &bytes), (Extent::Whole, vec!["select 1".into()]));
        for cut in 0..message(b'Q', b"select 1\0").len() {
            assert_eq!(seen(&machine(), &bytes[..cut]), (Extent::Partial, vec![]), "{cut}");
        }
    }

    #[test]
    fn a_batch_is_read_to_its_sync() {
        let mut machine = machine();
        let known = machine.texts.intern(b"select 2\0\0\0");
        machine.names.insert(b"s2"[..].into(), known);
        let batch = [
            message(b'P', b"\0select 1\0\0\0"),
            message(b'B', b"\0\0\0\0\0\0\0\0"),
            message(b'D', b"P\0"),
            message(b'E', b"\0\0\0\0\0"),
            message(b'B', b"\0s2\0\0\0\0\0\0\0"),
            message(b'E', b"\0\0\0\0\0"),
        ]
        .concat();
        let parts = vec!["select 1".to_string(), "known select 2".to_string()];
        assert_eq!(seen(&machine, &batch), (Extent::Partial, parts.clone()));
        assert_eq!(
            seen(&machine, &[&batch[..], &message(b'S', b"")].concat()),
            (Extent::Whole, parts.clone())
        );
        assert_eq!(seen(&machine, &[&batch[..], &message(b'H', b"")].concat()), (Extent::Flushed, parts));
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let long = message(b'Q', &vec![b'x'; MAX_HELD]);
        for bytes in [
            message(b'F', b"\0\0\0\x01"),
            message(b'B', b"\0nobody\0\0\0\0\0\0\0"),
            message(b'P', b"no end"),
            long[..100].to_vec(),
            b"Q\xff\xff\xff\xff".to_vec(),
        ] {
            let whole = [bytes, message(b'S', b"")].concat();
            assert_eq!(seen(&machine(), &whole), (Extent::Whole, vec!["?".into()]));
        }
    }

    #[test]
    fn the_limit_is_the_callers() {
        let (machine, query) = (machine(), message(b'Q', &[b'x'; 100]));
        let parts = |bytes: &[u8], limit| {
            let mut texts = 0;
            let extent =
                machine.survey(bytes, limit, |part| texts += usize::from(matches!(part, Part::Text(..))));
            (extent, texts)
        };
        assert_eq!(parts(&query, query.len()), (Extent::Whole, 1));
        assert_eq!(parts(&query, query.len() - 1), (Extent::Whole, 0));
        assert_eq!(parts(&query[..50], query.len()), (Extent::Partial, 0));
        assert_eq!(parts(&query[..50], query.len() - 1), (Extent::Whole, 0));
    }

    #[test]
    fn no_bytes_make_it_panic() {
        for first in 0..=255u8 {
            for second in [0, 1, 4, 5, 0x7f, 0xff] {
                let _ = seen(&machine(), &[first, 0, 0, 0, second, b'a', 0, b'b', 0, first, 0, 0, 0, 4]);
            }
        }
    }
}
