//! Requests of the simple protocol: Query, FunctionCall, and the messages of COPY.

use crate::begin::{Begin, Control, control};
use crate::effect::{Effect, effects};
use crate::machine::{Machine, Verdict, answer};
use crate::pending::Kind;
use crate::step::{Demand, Halt, Sink};
use pgherd_wire::backend::Status;
use pgherd_wire::frame::Header;
use pgherd_wire::frontend::{query_text, tag};
use pgherd_wire::write;

impl Machine {
    pub(crate) fn query(
        &mut self,
        frame: Header,
        body: &[u8],
        up: &mut impl Sink,
        down: &mut impl Sink,
    ) -> Verdict {
        if self.discard {
            return Verdict::Skip;
        }
        let text = query_text(body);
        if self.answered_here(text, down) {
            return Verdict::Skip;
        }
        if self.server.is_none() {
            return Verdict::Stop(Halt::Server(self.demand(text)));
        }
        let effects = effects(text);
        if let Some(pin) = effects.as_ref().and_then(|effects| effects.pin) {
            self.pin_for(pin);
        }
        self.prelude(up);
        // A simple query destroys the unnamed statement (documentation, chapter 55.2.3).
        self.unnamed.clear();
        if let Some(server) = self.server.as_mut() {
            server.unnamed = None;
        }
        debug_assert!(frame.total >= body.len());
        self.note_commit(text);
        self.batch = false;
        self.owe(Kind::Query).effects = effects.map(Box::new);
        Verdict::Pass
    }

    /// What a request that begins with `text` needs.
    pub(crate) fn demand(&self, text: &[u8]) -> Demand {
        let declared = |begin: &Begin| begin.read_only == Some(true) && !begin.serializable;
        match (&self.begin, control(text)) {
            (Some(begin), _) => Demand { read_only: declared(begin), lone: false },
            (None, Some(Control::Begin(begin))) => Demand { read_only: declared(&begin), lone: false },
            (None, _) => Demand { read_only: false, lone: true },
        }
    }

    /// Transaction control that needs no server, and DEALLOCATE of a statement that only we know by that name.
    fn answered_here(&mut self, text: &[u8], down: &mut impl Sink) -> bool {
        if !self.owed.is_empty() || self.batch || self.copy_in {
            return false;
        }
        if matches!(text.first(), Some(b'd' | b'D')) && self.deallocate(text, down) {
            return true;
        }
        if self.server.is_some() {
            return false;
        }
        match (control(text), self.begin.is_some()) {
            // SERIALIZABLE is refused by a standby already at BEGIN, and an error must answer the statement that caused it.
            (Some(Control::Begin(begin)), false) if !begin.serializable => {
                self.status = Status::Open;
                complete(down, begin.tag, self.status);
                self.begin = Some(Box::new(begin));
                true
            }
            (Some(Control::Commit), true) => self.end_unbegun(b"COMMIT", down),
            (Some(Control::Rollback), true) => self.end_unbegun(b"ROLLBACK", down),
            _ => false,
        }
    }

    fn end_unbegun(&mut self, tag: &[u8], down: &mut impl Sink) -> bool {
        self.begin = None;
        self.status = Status::Idle;
        complete(down, tag, Status::Idle);
        true
    }

    fn deallocate(&mut self, text: &[u8], down: &mut impl Sink) -> bool {
        if self.status == Status::Failed || self.pin.is_some() || self.is_mid_reply() {
            return false;
        }
        let Some(mut effects) = effects(text).filter(|effects| effects.list.len() == 1) else { return false };
        let tag: &[u8] = match effects.list.pop_front() {
            Some(Effect::Deallocate(None)) => {
                self.names.clear();
                b"DEALLOCATE ALL"
            }
            Some(Effect::Deallocate(Some(name))) if self.names.remove(&name).is_some() => b"DEALLOCATE",
            _ => return false,
        };
        complete(down, tag, self.status);
        true
    }

    pub(crate) fn function_call(&mut self, up: &mut impl Sink) -> Verdict {
        if self.discard {
            return Verdict::Skip;
        }
        if self.server.is_none() {
            return Verdict::Stop(Halt::Server(self.demand(b"")));
        }
        // What a function does is not known.
        self.uncertain = true;
        self.prelude(up);
        self.batch = false;
        self.owe(Kind::Function);
        Verdict::Pass
    }

    /// The server reads a copy from the client.
    pub fn is_copying_in(&self) -> bool {
        self.copy_in
    }

    /// CopyData, CopyDone and CopyFail pass while the server reads a copy, and while a request that may turn out to be one is not answered: a client need
    /// not wait for CopyInResponse. At any other time PostgreSQL ignores them, and so do we.
    pub(crate) fn copy_message(&mut self, kind: u8) -> Verdict {
        let ends = kind != tag::COPY_DATA;
        if self.copy_in {
            self.copy_in = !ends;
            return Verdict::Pass;
        }
        match self.owed.last() {
            Some(last) if self.server.is_some() => {
                last.copy_ends += u32::from(ends);
                Verdict::Pass
            }
            _ => Verdict::Skip,
        }
    }
}

/// Answers a command: its tag, then ReadyForQuery.
pub(crate) fn complete(down: &mut impl Sink, tag: &[u8], status: Status) {
    answer(down, |out| {
        write::command_complete(out, tag);
        write::ready(out, status);
    });
}
