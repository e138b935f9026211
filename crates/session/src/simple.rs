//! Requests of the simple protocol: Query, FunctionCall, and the messages of COPY.

use crate::begin::{Begin, Control, control};
use crate::effect::{Effect, Effects, effects, effects_of_cut, effects_of_query};
use crate::loss::{Ending, closes_block, ending};
use crate::machine::{MAX_HELD, Machine, Verdict, answer};
use crate::pending::{Fate, Kind, Owed, Undo};
use crate::sequences::asks_for_last_value;
use crate::step::{Demand, Halt, Sink};
use pgherd_wire::backend::Status;
use pgherd_wire::frame::Header;
use pgherd_wire::frontend::{query_text, tag};
use pgherd_wire::write;

/// A text that fails on any server, in place of one that is to fail.
const FAILS: &[u8] = b"SELECT pgherd_refused";

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
        let whole = frame.total <= MAX_HELD;
        let known = whole_text(frame, body);
        if self.answered_here(known, down) {
            return Verdict::Skip;
        }
        if self.server.is_none() {
            return Verdict::Stop(Halt::Server(self.demand(known)));
        }
        let effects = if whole { effects_of_query(text) } else { effects_of_cut(text) };
        let vetoed = self.veto.take().map(|report| *report);
        let mut refused =
            vetoed.or_else(|| self.refused_setting(effects.as_ref())).or_else(|| self.refused_question(text));
        let well_formed = !whole || body.len() == text.len() + 1;
        let plan = match self.plan_names(text, whole, effects.as_ref()) {
            Err(report) => {
                refused.get_or_insert(report);
                None
            }
            Ok(plan) => plan.filter(|_| refused.is_none() && well_formed),
        };
        let effects = effects.filter(|_| refused.is_none());
        if let Some(effects) = &effects {
            self.heed(effects, text);
        }
        self.note_text(text);
        let asks = plan.as_ref().is_some_and(|plan| self.heed_plan(plan));
        let forget = self.meets_others_values() && (asks || asks_for_last_value(text));
        self.prelude(up, forget);
        if let Some(plan) = &plan {
            self.prepare_plan(plan, up);
        }
        // A simple query destroys the unnamed statement (documentation, chapter 55.2.3).
        let unnamed = self.unnamed.clear();
        if let Some(server) = self.server.as_mut() {
            server.unnamed = None;
            if effects.as_ref().is_some_and(Effects::forgets_statements) {
                server.doubt_all();
            }
        }
        let ending = ending(text, whole);
        self.note_ending(ending);
        // Its ReadyForQuery ends a batch as Sync would.
        self.batch = false;
        let renaming = plan.and_then(|plan| self.send_plan(*plan, text, up));
        let renamed = renaming.is_some();
        let owed = self.owe(Kind::Query);
        owed.renaming = renaming;
        owed.effects = effects.map(Box::new);
        owed.undo = Undo::Dropped(unnamed);
        owed.closes = whole && ending != Ending::No && closes_block(text);
        owed.single = ending != Ending::Any;
        let Some(report) = refused else { return if renamed { Verdict::Skip } else { Verdict::Pass } };
        owed.instead = Some(Box::new(report));
        up.compose(|out| write::query(out, FAILS));
        Verdict::Skip
    }

    /// What a request that begins with `text` needs.
    pub(crate) fn demand(&self, text: &[u8]) -> Demand {
        let block = |begin: &Begin| Demand {
            read_only: begin.read_only,
            serializable: begin.serializable,
            lone: false,
        };
        match (&self.begin, control(text)) {
            (Some(begin), _) => block(begin),
            (None, Some(Control::Begin(begin))) => block(&begin),
            (None, _) => Demand { lone: true, ..Demand::default() },
        }
    }

    /// Transaction control that needs no server, and DEALLOCATE of a statement that only we know by that name.
    fn answered_here(&mut self, text: &[u8], down: &mut impl Sink) -> bool {
        if self.batch || self.copy_in {
            return false;
        }
        if matches!(text.first(), Some(b'd' | b'D')) && self.deallocate(text, down) {
            return true;
        }
        if self.server.is_some() || !self.owed.is_empty() {
            return false;
        }
        match (control(text), self.begin.is_some()) {
            // SERIALIZABLE is refused by a standby already at BEGIN, and an error must answer the statement that caused it.
            (Some(Control::Begin(begin)), false) if begin.serializable != Some(true) => {
                self.status = Status::Open;
                self.counts.answered(Status::Open);
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
        self.counts.answered(Status::Idle);
        complete(down, tag, Status::Idle);
        true
    }

    /// DEALLOCATE of a statement that only we know by that name is answered in its turn. One of all needs the server only when that has statements of SQL's
    /// PREPARE, which pin, or when something is owed before it.
    fn deallocate(&mut self, text: &[u8], down: &mut impl Sink) -> bool {
        // What follows it in the same text must not be lost.
        let alone = |effects: &Effects| effects.list.len() == 1 && ending(text, true) != Ending::Any;
        let Some(mut effects) = effects(text).filter(alone) else { return false };
        match effects.list.pop_front() {
            Some(Effect::Deallocate(None)) => {
                let alone = self.owed.is_empty() && self.pin.is_none() && !self.is_mid_reply();
                if !alone || self.status == Status::Failed {
                    return false;
                }
                self.names.clear();
                complete(down, b"DEALLOCATE ALL", self.status);
            }
            Some(Effect::Deallocate(Some(name))) => {
                let Some(statement) = self.names.remove(&name) else { return false };
                let mut owed = Owed::new(Kind::Query, Fate::Fake);
                owed.undo = Undo::Closed(name, statement);
                self.has_named = true;
                self.owed.push(owed);
                self.answer_fakes(down);
            }
            _ => return false,
        }
        true
    }

    /// A DEALLOCATE of ours has its turn.
    pub(crate) fn answer_deallocate(&mut self, owed: Owed, down: &mut impl Sink) {
        if self.status == Status::Failed {
            self.undo(owed);
            crate::doomed::refuse(down, true);
        } else {
            complete(down, b"DEALLOCATE", self.status);
        }
    }

    pub(crate) fn function_call(&mut self, up: &mut impl Sink) -> Verdict {
        if self.discard {
            return Verdict::Skip;
        }
        if self.server.is_none() {
            return Verdict::Stop(Halt::Server(self.demand(b"")));
        }
        self.prelude(up, false);
        self.note_ending(Ending::No);
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
            Some(last) if !self.discard && self.server.is_some() => {
                last.copy_ends += u32::from(ends);
                Verdict::Pass
            }
            _ => Verdict::Skip,
        }
    }
}

/// The text of a Query, or nothing when only its front is there: what follows a BEGIN or ROLLBACK might be anything.
pub(crate) fn whole_text(frame: Header, body: &[u8]) -> &[u8] {
    if frame.total <= MAX_HELD { query_text(body) } else { b"" }
}

/// Answers a command: its tag, then ReadyForQuery.
pub(crate) fn complete(down: &mut impl Sink, tag: &[u8], status: Status) {
    answer(down, |out| {
        write::command_complete(out, tag);
        write::ready(out, status);
    });
}
