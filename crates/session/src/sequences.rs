//! `lastval()` and `currval()` answer from the memory of a server's process (documentation, chapter 9.17): another session's values must not come out of it.

use crate::machine::Machine;
use pgherd_wire::backend::Status;
use pgherd_wire::frontend::{BindNames, Parse, query_text, tag};

/// The text may ask for a sequence's last value. Works on bytes, so literals and comments count too: it only ever forgets too much.
pub(crate) fn asks_for_last_value(text: &[u8]) -> bool {
    let is = |at: usize, word: &[u8]| {
        at.checked_sub(4)
            .is_some_and(|from| text[from..].get(..word.len()).is_some_and(|t| t.eq_ignore_ascii_case(word)))
    };
    memchr::memchr2_iter(b'v', b'V', text).any(|at| is(at, b"lastval") || is(at, b"currval"))
}

impl Machine {
    /// The request at the front is the first of its transaction on a server that others had before. When it may ask for a last value, the order to forget what
    /// they left goes before it, once for each stay on a server. Later in a transaction there is nothing to do: what it drew itself is its own.
    pub(crate) fn meets_others_values(&self) -> bool {
        self.server.as_ref().is_some_and(|server| server.is_lent)
            && self.owed.is_empty()
            && !self.batch
            && (self.status == Status::Idle || self.begin.is_some())
    }

    /// The first message of a batch names a statement that may ask for a last value.
    pub(crate) fn batch_asks_for_last_value(&self, kind: u8, body: &[u8]) -> bool {
        let statement = match kind {
            tag::PARSE => return Parse::view(body).is_some_and(|view| asks_for_last_value(view.query)),
            tag::BIND => BindNames::view(body).map(|names| names.statement),
            _ => None,
        };
        match statement {
            Some(b"") => asks_for_last_value(query_text(&self.unnamed.rest)),
            Some(name) => self.names.get(name).is_some_and(|known| asks_for_last_value(known.query())),
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_who_asks() {
        for text in ["select lastval()", "SELECT CurrVal('s')", "select pg_catalog.lastval()"] {
            assert!(asks_for_last_value(text.as_bytes()), "{text}");
        }
        for text in
            ["select nextval('s')", "val", "select 1 from intervals", "", "v", "select last from vals"]
        {
            assert!(!asks_for_last_value(text.as_bytes()), "{text}");
        }
    }
}
