//! Unnamed statements that stand on servers under names of ours, so that the server need not read the same text again and again.
//!
//! To the client nothing changes. A Parse is answered by us only when this very server has accepted the text under settings of the same meaning, and its answer
//! waits for the server's next: then it is known whether the statement is still good. When it is not, because somebody changed tables behind our back, the
//! request is shown to a server again with its text. So all this is for the first request of a transaction, which can be shown again; later ones go as they are.

use crate::effect::{Effects, effects};
use crate::machine::{Machine, Verdict};
use crate::pending::{Fate, Kind, Owed, Undo};
use crate::prepared::Statement;
use crate::server::Known;
use crate::sights::{MAX_TEXT, may_read_or_write};
use crate::step::Sink;
use crate::unnamed::Trust;
use pgherd_wire::backend::{Fields, Status, tag};
use pgherd_wire::frame::{HEADER_LEN, header};
use pgherd_wire::frontend::{Parse, query_text};
use std::sync::Arc;

/// Most bytes that are sent before the server has told whether the statement is still good: it must be possible to show them again, and the driver keeps no
/// more than 64 KiB.
const MAX_SHOWN_AGAIN: usize = 32 * 1024;

/// What becomes of statements without a name whose text comes again (`prepared_statements`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keeping {
    /// They go to the server as they come.
    Never,
    /// They stand on servers under names of ours, and are prepared anew before the server would take a plan that was not made for their values: the one of a
    /// statement without a name is made at each of its first five Binds, and few have more (documentation, PREPARE, notes).
    #[default]
    CustomPlans,
    /// They stand on servers, and any plan will do.
    AnyPlan,
}

/// What the server's undecided bytes say about the statement that stands for the unnamed one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Omen {
    /// Nothing yet: more of them must be there.
    Open,
    /// It is good, or whatever is wrong is not that.
    Good,
    /// It is out of date, or might be.
    Outdated,
}

impl Machine {
    /// A Parse of the unnamed statement. What stood there before is gone as soon as the server has read it.
    pub(crate) fn parse_unnamed(
        &mut self,
        view: Parse<'_>,
        effects: Option<Box<Effects>>,
        up: &mut impl Sink,
    ) -> Verdict {
        let statement = self.standing_for(&view, effects.is_some());
        let serial = self.unnamed.replace(view.rest, statement.clone());
        self.unnamed_in = self.batches;
        self.unnamed_effects = effects;
        let Some(server) = self.server.as_mut() else { return Verdict::Skip };
        let Some(statement) = statement else {
            server.unnamed = Some((self.id, serial));
            self.owe(Kind::Parse).undo = Undo::Unnamed(serial);
            return Verdict::Pass;
        };
        let mut known = server.knows(statement.id, self.limits.max_prepared_statements, self.batches);
        let for_values = self.limits.unnamed == Keeping::CustomPlans && statement.takes_values;
        if known == Known::Yes && for_values && server.may_be_generic(statement.id) {
            // It is closed and prepared again.
            known = Known::Perhaps;
        }
        if known == Known::Yes {
            let mut owed = Owed::new(Kind::Parse, Fate::Fake);
            (owed.waits, owed.undo) = (true, Undo::Unnamed(serial));
            owed.uses = Some(statement);
            self.owed.push(owed);
            (self.unnamed.trust, self.unnamed.hoping) = (Trust::Hoped, true);
        } else {
            self.prepare(&statement, known, Fate::Forward, up).undo = Undo::Unnamed(serial);
            self.unnamed.trust = Trust::Fresh;
        }
        Verdict::Skip
    }

    /// The statement that stands for this text on servers, if there is one and it may be used here.
    fn standing_for(&mut self, view: &Parse<'_>, has_effects: bool) -> Option<Arc<Statement>> {
        if self.limits.unnamed == Keeping::Never
            || has_effects
            || view.rest.len() > MAX_TEXT
            || !may_read_or_write(view.query)
            || !self.comes_first(HEADER_LEN + 1 + view.rest.len())
        {
            return None;
        }
        let meaning = self.settings.meaning();
        let last = self
            .unnamed
            .statement
            .as_ref()
            .filter(|last| *last.rest == *view.rest && last.meaning == meaning);
        match last.filter(|last| self.texts.is_current(last)) {
            Some(last) => Some(last.clone()),
            None => self.texts.see(view.rest, meaning),
        }
    }

    /// The request at the front (of so many bytes) is the first of its transaction, and could be shown again; and all settings are known.
    fn comes_first(&self, bytes: usize) -> bool {
        let ours = |owed: &Owed| owed.fate == Fate::Swallow;
        self.status != Status::Failed
            && self.unnamed.shown as usize + bytes <= MAX_SHOWN_AGAIN
            && !self.touched
            && self.before.is_none()
            && self.owed.iter().all(ours)
            && self.can_rewind()
    }

    /// What a Bind (of this many bytes) or Describe of the unnamed statement goes to instead, if it may.
    pub(crate) fn stand_in(&mut self, bytes: usize) -> Option<Arc<Statement>> {
        let unnamed = &self.unnamed;
        let statement =
            unnamed.statement.as_ref().filter(|_| unnamed.serial != 0 && self.server.is_some())?;
        let hoped = unnamed.trust == Trust::Hoped && unnamed.shown as usize + bytes <= MAX_SHOWN_AGAIN;
        if hoped || unnamed.trust == Trust::Fresh {
            return Some(statement.clone());
        }
        let good = statement.meaning == self.settings.meaning() && self.texts.is_current(statement);
        let statement = statement.clone();
        if !good || !self.comes_first(bytes) {
            return None;
        }
        (self.unnamed.trust, self.unnamed.hoping) = (Trust::Hoped, true);
        Some(statement)
    }

    /// So much was sent in the hope that the statement is good that the next message (of this many bytes) must wait until that is known.
    pub(crate) fn hopes_too_much(&self, bytes: usize) -> bool {
        self.unnamed.hoping && self.unnamed.shown as usize + bytes > MAX_SHOWN_AGAIN
    }

    /// The server's next answer must be looked at with [`Machine::omen`] before it is shown to the machine.
    #[inline]
    pub fn is_hoping(&self) -> bool {
        self.unnamed.hoping
    }

    /// What the server's undecided bytes say, while nothing of them was decided.
    pub fn omen(&self, bytes: &[u8]) -> Omen {
        let ours = |owed: &&Owed| owed.fate == Fate::Swallow && owed.kind.ends_unit();
        let mut units = self.owed.iter().filter(ours).count();
        let mut rest = bytes;
        while let Ok(Some(frame)) = header(rest) {
            let complete = frame.total <= rest.len();
            match frame.tag {
                tag::ERROR if !complete => return Omen::Open,
                tag::ERROR if units == 0 && is_outdated(&rest[HEADER_LEN..frame.total]) => {
                    return Omen::Outdated;
                }
                tag::ERROR => return Omen::Good,
                tag::READY => match units.checked_sub(1) {
                    Some(left) => units = left,
                    None => return Omen::Good,
                },
                tag::NOTICE | tag::PARAMETER_STATUS | tag::NOTIFICATION => {}
                // To what we asked for before it; and parameters are told before the statement is looked at again.
                tag::CLOSE_COMPLETE | tag::PARSE_COMPLETE | tag::PARAMETER_DESCRIPTION => {}
                _ if units > 0 => {}
                _ => return Omen::Good,
            }
            if !complete {
                break;
            }
            rest = &rest[frame.total..];
        }
        Omen::Open
    }

    /// After [`Omen::Outdated`], before the request is shown again: its text goes to servers as it is, for a while.
    pub fn shun(&mut self) {
        if let Some(statement) = self.owed.iter().find_map(|owed| owed.uses.as_ref()) {
            self.texts.shun(statement);
        }
    }

    /// The server answers what comes behind a Parse of which we knew that it would be accepted.
    pub(crate) fn answer_waiting(&mut self, down: &mut impl Sink) {
        while let Some(head) = self.owed.head().filter(|head| head.waits) {
            head.waits = false;
            self.answer_fakes(down);
        }
    }

    /// The error answers what comes behind such a Parse. If it says that the text is not acceptable any more it takes the place of the answer.
    pub(crate) fn answer_waiting_with(&mut self, error: &[u8], down: &mut impl Sink) {
        let waits = self.owed.head().is_some_and(|head| head.waits);
        let used = self.owed.iter().nth(1).is_some_and(|next| {
            matches!(next.undo, Undo::Lent(_)) || next.uses.is_some() && next.kind != Kind::Parse
        });
        if waits && used && is_outdated(error) {
            let Some(Owed { undo: Undo::Unnamed(serial), .. }) = self.owed.pop() else { return };
            self.unnamed.failed(serial);
        }
        self.answer_waiting(down);
    }

    /// Flush: what the server is not asked for must not wait for it.
    pub(crate) fn flush(&mut self, down: &mut impl Sink) {
        if self.owed.let_go() {
            // The client hears of it, so nothing can be shown again: from here on it must be the text itself.
            (self.unnamed.trust, self.unnamed.hoping) = (Trust::None, false);
        }
        self.answer_fakes(down);
    }

    /// The server was lost, or refused the request for a reason of its own: the unnamed statement is the one from before it.
    pub(crate) fn rewind_unnamed(&mut self) {
        self.unnamed.go_back();
        let text = query_text(&self.unnamed.rest);
        self.unnamed_effects = if self.unnamed.serial == 0 { None } else { effects(text).map(Box::new) };
    }
}

/// A Bind or Describe that fails so may owe it to what the server remembers of the statement: the tables and types it was made for changed (a result type that
/// must not, a type that is gone). Were the same text prepared again it might work.
pub(crate) fn is_outdated(body: &[u8]) -> bool {
    let class = Fields::view(body).sqlstate().and_then(|code| code.get(..2));
    matches!(class, Some(b"0A" | b"42" | b"3F" | b"XX"))
}
