//! Requests that speak of something an earlier batch may yet take back.
//!
//! A client may send the next batch before it has heard how the last one went. Was a Parse in that one skipped after an error, then its name means nothing, or
//! what it meant before; and a server to which we sent the statement's own name would execute it all the same. So whoever speaks of it waits for the answer.

use crate::machine::Machine;
use crate::pending::{Fate, Owed, Undo};
use crate::step::Sink;
use pgherd_wire::frontend::{BindNames, Parse, Target, tag};
use pgherd_wire::write;

impl Machine {
    /// The client's next message must wait until everything before it is answered. With `waited` it does already.
    pub(crate) fn must_wait_to_know(
        &mut self,
        kind: u8,
        body: &[u8],
        waited: bool,
        up: &mut impl Sink,
    ) -> bool {
        if self.owed.is_empty() {
            self.has_named = false;
            return false;
        }
        let heeded = !self.discard && !self.copy_in && self.doomed.is_none();
        if !heeded || !self.speaks_of_doubtful(kind, body) {
            return false;
        }
        if self.batch && !waited {
            // Else the server keeps its answers until a Sync that stands behind what waits.
            up.compose(write::flush);
        }
        self.turns.waiting = true;
        true
    }

    fn speaks_of_doubtful(&self, kind: u8, body: &[u8]) -> bool {
        let (name, uses) = match kind {
            tag::PARSE => (Parse::view(body).map(|view| view.name), false),
            tag::BIND => (BindNames::view(body).map(|names| names.statement), true),
            tag::DESCRIBE => (statement(body), true),
            tag::CLOSE => (statement(body), false),
            _ => return false,
        };
        match name {
            // Whoever makes it anew need not know what it was.
            Some(b"") => uses && self.unnamed_in != self.batches && self.is_in_doubt(b""),
            Some(name) => self.has_named && self.is_in_doubt(name) || uses && self.may_be_forgotten(name),
            None => false,
        }
    }

    /// What gave this name to a statement, or took it away, is on its way in a unit that ended.
    fn is_in_doubt(&self, name: &[u8]) -> bool {
        let speaks = |undo: &Undo| match undo {
            Undo::Named(named) | Undo::Closed(named, _) => **named == *name,
            // Also where it was only made anew on the server.
            Undo::Unnamed(_) | Undo::Lent(1..) => name.is_empty(),
            Undo::Dropped(end) => name.is_empty() && end.serial != 0,
            _ => false,
        };
        self.owed.iter().skip_while(|owed| !speaks(&owed.undo)).any(ends_unit)
    }

    /// A DISCARD ALL or DEALLOCATE ALL is on its way, and this name was not given anew behind it.
    fn may_be_forgotten(&self, name: &[u8]) -> bool {
        self.server.as_ref().is_some_and(|server| server.is_in_doubt())
            && !self.owed.iter().any(|owed| owed.undo.named() == Some(name))
    }

    /// A unit of the client is on its way, so what the block will be when the next message is read is not known.
    pub(crate) fn has_unit_ahead(&self) -> bool {
        self.owed.iter().any(ends_unit)
    }
}

/// A request of the client that ends a unit.
fn ends_unit(owed: &Owed) -> bool {
    owed.kind.ends_unit() && owed.fate != Fate::Swallow
}

fn statement(body: &[u8]) -> Option<&[u8]> {
    match Target::view(body) {
        Some(Target::Statement(name)) => Some(name),
        _ => None,
    }
}
