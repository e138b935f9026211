//! What comes back for a Query in which names of prepared statements were replaced: confirmations, and errors in the client's words.

use crate::cached::is_outdated;
use crate::machine::{Machine, answer};
use crate::prepared::{SERVER_PREFIX, Statement};
use crate::replies::Delivery;
use crate::step::Sink;
use pgherd_wire::backend::{self, Fields};
use pgherd_wire::frame::{HEADER_LEN, Header};
use pgherd_wire::write;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// What a command does to a name, once its tag came.
#[derive(Clone, Debug)]
pub(crate) enum Naming {
    /// PREPARE gives it.
    Gives(Box<[u8]>, Arc<Statement>),
    /// DEALLOCATE takes it away.
    Takes(Box<[u8]>, Arc<Statement>),
}

/// A name that was replaced.
#[derive(Clone, Debug)]
pub(crate) struct Edit {
    /// Where it stands in the client's text.
    pub(crate) span: Range<usize>,
    pub(crate) ours: Box<[u8]>,
    pub(crate) theirs: Box<[u8]>,
}

/// How a Query differs from what its client sent.
#[derive(Clone, Debug, Default)]
pub struct Renaming {
    pub(crate) edits: Vec<Edit>,
    /// Not confirmed yet, in the order of the commands.
    pub(crate) namings: VecDeque<Naming>,
    /// They are executed.
    pub(crate) runs: Vec<Arc<Statement>>,
    /// Why something could not be prepared that it needs: the answer, when the server refuses it for that.
    pub(crate) unprepared: Option<Box<[u8]>>,
}

impl Edit {
    /// With quotes if the client's has them: nothing else may part it from its neighbours.
    pub(crate) fn written(&self, text: &[u8]) -> Vec<u8> {
        match text.get(self.span.start) {
            Some(b'"') => [b"\"", &*self.ours, b"\""].concat(),
            _ => self.ours.to_vec(),
        }
    }
}

impl Machine {
    /// The server says of a name of ours that nothing has it: somebody has taken it away behind our back.
    pub(crate) fn heed_unknown(&mut self, renaming: &Renaming, body: &[u8]) {
        if Fields::view(body).sqlstate() != Some(b"26000") {
            return;
        }
        let Some(server) = self.server.as_mut() else { return };
        for edit in renaming.edits.iter().filter(|edit| memchr::memmem::find(body, &edit.ours).is_some()) {
            let number =
                edit.ours.get(SERVER_PREFIX.len()..).and_then(|n| std::str::from_utf8(n).ok()?.parse().ok());
            if let Some(id) = number {
                server.forget(id);
            }
        }
    }

    /// A PREPARE was done. False when it was none whose name was replaced.
    pub(crate) fn confirm_given(&mut self) -> bool {
        let Some(Naming::Gives(name, statement)) = self.next_naming(|next| matches!(next, Naming::Gives(..)))
        else {
            return false;
        };
        if let Some(server) = self.server.as_mut() {
            server.learn(statement.id, self.limits.max_prepared_statements, self.batches);
            server.confirm(statement.id);
        }
        self.names.insert(name, statement);
        true
    }

    /// A DEALLOCATE of this name was done, which may be one that was replaced.
    pub(crate) fn confirm_taken(&mut self, name: &[u8]) {
        let is_it = |next: &Naming| matches!(next, Naming::Takes(taken, _) if **taken == *name);
        let Some(Naming::Takes(name, statement)) = self.next_naming(is_it) else { return };
        if let Some(server) = self.server.as_mut() {
            server.forget(statement.id);
        }
        self.names.remove(&name);
    }

    fn next_naming(&mut self, is_it: impl Fn(&Naming) -> bool) -> Option<Naming> {
        let namings = &mut self.owed.head()?.renaming.as_mut()?.namings;
        if namings.front().is_some_and(is_it) { namings.pop_front() } else { None }
    }

    /// An error of a Query: in the client's words and with its positions, if names were replaced; or why something could not be prepared for it.
    pub(crate) fn retell(
        &mut self,
        frame: Header,
        renaming: Option<Box<Renaming>>,
        body: &[u8],
        down: &mut impl Sink,
    ) -> Delivery {
        let Some(mut renaming) = renaming.filter(|_| body.len() + HEADER_LEN == frame.total) else {
            return Delivery::Pass;
        };
        let due = matches!(Fields::view(body).sqlstate(), Some(b"26000" | b"25P02"));
        let words = match renaming.unprepared.take().filter(|_| due) {
            Some(reason) => reason.into(),
            None => {
                self.heed_unknown(&renaming, body);
                if is_outdated(body) {
                    renaming.runs.iter().for_each(|statement| self.texts.retire(statement));
                }
                renaming.retold(body)
            }
        };
        answer(down, |out| write::frame(out, backend::tag::ERROR, |out| out.extend_from_slice(&words)));
        self.relayed = true;
        Delivery::Drop
    }
}

impl Renaming {
    /// One name that stands at this place.
    pub(crate) fn of_one(at: usize, ours: &[u8], theirs: &[u8]) -> Renaming {
        let edit = Edit { span: at..at + theirs.len(), ours: ours.into(), theirs: theirs.into() };
        Renaming { edits: vec![edit], ..Renaming::default() }
    }

    pub(crate) fn retold(&self, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(body.len());
        for field in body.split(|b| *b == 0).take_while(|field| !field.is_empty()) {
            match field[0] {
                b'P' => {
                    let place = std::str::from_utf8(&field[1..]).ok().and_then(|place| place.parse().ok());
                    match place {
                        Some(place) => out.extend(format!("P{}", self.place(place)).into_bytes()),
                        None => out.extend_from_slice(field),
                    }
                }
                b'M' | b'D' | b'H' | b'W' => out.extend(self.words(field)),
                _ => out.extend_from_slice(field),
            }
            out.push(0);
        }
        out.push(0);
        out
    }

    /// The place in the client's text. Places count characters, of which a name of ours has as many as bytes; the client's is taken for UTF-8.
    fn place(&self, place: usize) -> usize {
        // Where the server's text is, as the names before it were longer or shorter.
        let mut shift = 0isize;
        for edit in &self.edits {
            let theirs = edit.theirs.iter().filter(|b| **b & 0xc0 != 0x80).count();
            let begins = edit.span.start.saturating_add_signed(shift);
            if place > begins + 1 {
                shift += edit.ours.len() as isize - theirs as isize;
            }
        }
        place.saturating_add_signed(-shift)
    }

    fn words(&self, field: &[u8]) -> Vec<u8> {
        let mut words = field.to_vec();
        for edit in &self.edits {
            let Some(at) = memchr::memmem::find(&words, &edit.ours) else { continue };
            let end = at + edit.ours.len();
            if words.get(end).is_none_or(|next| !next.is_ascii_digit()) {
                words.splice(at..end, edit.theirs.iter().copied());
            }
        }
        words
    }
}

#[cfg(test)]
#[path = "retold_tests.rs"]
mod tests;
