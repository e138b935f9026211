//! Names of SQL's PREPARE, EXECUTE and DEALLOCATE in a Query. Servers know statements by names of ours, so that one server can have those of many sessions, and a
//! session can have the same statement on each server: the names in the text are replaced, and what the server lacks is prepared before.
//!
//! What a command did to a name is known by its tag, as with settings. PREPARE is no part of a transaction: ROLLBACK does not take it back.

use crate::effect::{Effect, Effects, effects};
use crate::loss::{Ending, ending};
use crate::machine::{MAX_HELD, Machine};
use crate::pending::{Fate, Kind, Owed, Undo};
use crate::pin::Pin;
use crate::prepared::{SERVER_PREFIX, Statement};
use crate::retold::{Edit, Naming, Renaming};
use crate::sequences::asks_for_last_value;
use crate::sights::may_be_kept;
use crate::spoken::{Command, Deed, Spoken, lone, may_speak, spoken};
use crate::step::Sink;
use pgherd_wire::backend::Status;
use pgherd_wire::frame::{HEADER_LEN, Header};
use pgherd_wire::frontend::{query_text, tag};
use pgherd_wire::sqlstate::code;
use pgherd_wire::write::{self, Report, Severity};
use std::ops::Range;
use std::sync::Arc;

/// What servers know nothing by: numbers begin with 1.
const NOBODYS: &[u8] = b"pgherd_0";

/// A name, and what has it.
type Named = (Box<[u8]>, Option<Arc<Statement>>);

/// What is to be done for a Query that speaks of prepared statements.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    renaming: Renaming,
    /// The server must have them before.
    needs: Vec<Arc<Statement>>,
    /// The server must not have them before.
    remade: Vec<Arc<Statement>>,
    /// A PREPARE goes as it is, which pins.
    keeps: bool,
    /// One of the commands gives or takes a name.
    changes: bool,
    /// The text cannot be read: the session's statements go to the server under their own names, and the session stays there.
    makes_real: bool,
    /// Names that were given or taken by the commands so far.
    view: Vec<Named>,
    /// All names known before were taken away by a command.
    cleared: bool,
}

impl Plan {
    fn edit(&mut self, span: Range<usize>, ours: &[u8], theirs: &[u8]) {
        self.renaming.edits.push(Edit { span, ours: ours.into(), theirs: theirs.into() });
    }

    /// Prepared by a command of this text.
    fn makes(&self, statement: &Statement) -> bool {
        self.renaming
            .namings
            .iter()
            .any(|naming| matches!(naming, Naming::Gives(_, made) if made.id == statement.id))
    }

    fn need(&mut self, statement: &Arc<Statement>) {
        if !self.makes(statement) && !self.needs.iter().any(|other| other.id == statement.id) {
            self.needs.push(statement.clone());
        }
    }

    /// Another name of this text means the same statement on the server.
    fn is_taken(&self, statement: &Statement, name: &[u8]) -> bool {
        self.renaming.edits.iter().any(|edit| edit.ours == statement.name && *edit.theirs != *name)
    }

    /// The client's text with the server's names.
    fn rewritten(&self, text: &[u8]) -> Vec<u8> {
        let (mut out, mut at) = (Vec::with_capacity(text.len() + 16), 0);
        for edit in &self.renaming.edits {
            out.extend_from_slice(text.get(at..edit.span.start).unwrap_or_default());
            out.extend_from_slice(&edit.written(text));
            at = edit.span.end;
        }
        out.extend_from_slice(text.get(at..).unwrap_or_default());
        out
    }
}

impl Machine {
    /// What must be done before the Query `text` can go to the server; `None` for nearly every text. With an answer to be given in place of the server's, if it
    /// must not go.
    pub(crate) fn plan_names(
        &mut self,
        text: &[u8],
        whole: bool,
        effects: Option<&Effects>,
    ) -> Result<Option<Box<Plan>>, Report> {
        if !may_speak(text) || !self.owed.is_empty() {
            return Ok(None);
        }
        let mut plan = Plan::default();
        match if whole { spoken(text) } else { Spoken::Unclear } {
            Spoken::Unclear if speaks_of_ours(text) => return Err(not_theirs()),
            Spoken::Unclear => plan.makes_real = true,
            Spoken::Commands(commands, code) => {
                plan.makes_real = code && self.names.has_sql();
                if commands.is_empty() && !plan.makes_real {
                    return Ok(None);
                }
                plan.keeps =
                    self.has_real || self.settings_unknown(effects) || !all_may_be_kept(text, &commands);
                plan.changes =
                    commands.iter().any(|c| !matches!(c, Command::Names { deed: Deed::Execute, .. }));
                for command in commands {
                    match command {
                        Command::ForgetsAll => (plan.cleared, plan.view) = (true, Vec::new()),
                        Command::Names { deed, name, span } => {
                            self.plan_one(&mut plan, text, deed, name, span)?
                        }
                    }
                }
            }
        }
        if self.status == Status::Failed && ending(text, whole) == Ending::Any && self.lacks(&plan) {
            return Err(ends_block());
        }
        Ok(Some(Box::new(plan)))
    }

    /// What a text means under the settings in force is not known to us, because this transaction has changed them, or this text may.
    fn settings_unknown(&self, effects: Option<&Effects>) -> bool {
        let names = |effect: &Effect| matches!(effect, Effect::Pins(Pin::SqlPrepare) | Effect::Deallocate(_));
        let changes =
            |effects: &Effects| effects.pin.is_some() || effects.list.iter().any(|effect| !names(effect));
        self.touched || self.before.is_some() || effects.is_some_and(changes)
    }

    /// Something that the server would need first.
    fn lacks(&self, plan: &Plan) -> bool {
        let is_there =
            |statement: &Statement| self.server.as_ref().is_some_and(|server| server.has(statement.id));
        plan.makes_real && self.names.has_sql() || plan.needs.iter().any(|needed| !is_there(needed))
    }

    /// The statement that a command of the plan means by this name; `None` when it is nobody's, or the server's.
    fn planned(&mut self, plan: &Plan, name: &[u8]) -> Option<Arc<Statement>> {
        if let Some((_, found)) = plan.view.iter().rev().find(|(known, _)| **known == *name) {
            return found.clone();
        }
        let known = self.statement_of(name).filter(|_| !plan.cleared)?;
        if plan.makes_real && known.is_sql() && !name.starts_with(SERVER_PREFIX) {
            return None;
        }
        if plan.changes && plan.is_taken(&known, name) {
            let own = self.texts.copy(&known);
            self.names.insert(name.into(), own.clone());
            return Some(own);
        }
        Some(known)
    }

    fn plan_one(
        &mut self,
        plan: &mut Plan,
        text: &[u8],
        deed: Deed,
        name: Box<[u8]>,
        span: Range<usize>,
    ) -> Result<(), Report> {
        let known = self.planned(plan, &name);
        let is_ours = name.starts_with(SERVER_PREFIX);
        match (deed, known) {
            (Deed::Prepare { .. }, None) if plan.keeps => {
                // The server has it under the session's own name, and is kept; it knows which are taken.
                return if is_ours { Err(not_theirs()) } else { Ok(()) };
            }
            (Deed::Prepare { clause, body }, None) => {
                let words = &text[clause.clone()];
                if self.names.is_full(self.limits.max_client_statements, words.len()) {
                    return Err(self.full());
                }
                let mut statement =
                    self.texts.intern_sql(words, body - clause.start, self.settings.meaning());
                if plan.is_taken(&statement, &name) {
                    statement = self.texts.copy(&statement);
                }
                plan.edit(span, &statement.name, &name);
                plan.remade.push(statement.clone());
                plan.renaming.namings.push_back(Naming::Gives(name.clone(), statement.clone()));
                plan.view.push((name, Some(statement)));
            }
            // The server refuses a name that is taken.
            (Deed::Prepare { .. }, Some(statement)) => {
                plan.need(&statement);
                plan.edit(span, &statement.name, &name);
            }
            (Deed::Execute, Some(statement)) => {
                plan.need(&statement);
                plan.edit(span, &statement.name, &name);
                plan.renaming.runs.push(statement);
            }
            (Deed::Deallocate, Some(statement)) => {
                plan.need(&statement);
                plan.edit(span, &statement.name, &name);
                plan.renaming.namings.push_back(Naming::Takes(name.clone(), statement));
                plan.view.push((name, None));
            }
            (Deed::Execute | Deed::Deallocate, None) if is_ours => plan.edit(span, NOBODYS, &name),
            (Deed::Execute | Deed::Deallocate, None) => {}
        }
        Ok(())
    }

    /// The answer to a client that has prepared too many statements.
    pub(crate) fn full(&self) -> Report {
        Report::new(Severity::Error, "53200", "out of memory")
            .detail(format!("The client has {} prepared statements.", self.names.len()))
            .hint("Close statements that are not used any more.")
    }

    /// What the statements that are executed do beyond what the text says; true when one asks for the last value of a sequence.
    pub(crate) fn heed_plan(&mut self, plan: &Plan) -> bool {
        let mut asks = false;
        for statement in &plan.renaming.runs {
            let text = statement.query();
            self.note_text(text);
            if let Some(effects) = effects(text) {
                self.heed(&effects, text);
            }
            asks |= asks_for_last_value(text);
        }
        asks
    }

    /// Before the Query itself: what it needs is prepared, apart from it.
    pub(crate) fn prepare_plan(&mut self, plan: &Plan, up: &mut impl Sink) {
        if plan.makes_real {
            self.make_real_apart(up);
        }
        if let Some(server) = self.server.as_mut() {
            for id in server.take_evicted() {
                let name = format!("pgherd_{id}");
                up.compose(|out| write::close_statement(out, name.as_bytes()));
                self.owed.push(Owed::new(Kind::Close, Fate::Swallow)).undo = Undo::Evicted(id);
            }
        }
        for statement in &plan.remade {
            let Some(server) = self.server.as_mut() else { return };
            if server.has(statement.id) && !plan.needs.iter().any(|needed| needed.id == statement.id) {
                server.forget(statement.id);
                up.compose(|out| write::close_statement(out, &statement.name));
                self.owed.push(Owed::new(Kind::Close, Fate::Swallow));
            }
        }
        if self.status == Status::Failed {
            return;
        }
        for statement in &plan.needs {
            self.prepare_apart(statement, up);
        }
    }

    /// Sends the Query with the server's names, if some differ.
    pub(crate) fn send_plan(&mut self, plan: Plan, text: &[u8], up: &mut impl Sink) -> Option<Box<Renaming>> {
        if plan.renaming.edits.is_empty() {
            return None;
        }
        let rewritten = plan.rewritten(text);
        up.compose(|out| write::query(out, &rewritten));
        self.naming = !plan.renaming.namings.is_empty();
        Some(Box::new(plan.renaming))
    }

    /// A DEALLOCATE that is answered in its turn, or one of all, which the server answers.
    fn is_answered_in_turn(&self, text: &[u8]) -> bool {
        match lone(text) {
            Some(Command::ForgetsAll) => true,
            Some(Command::Names { deed: Deed::Deallocate, name, .. }) => self.names.get(&name).is_some(),
            _ => false,
        }
    }

    /// A message of the client must wait: for names that a Query gives or takes away, or, if it speaks of names itself, for all that is owed.
    /// With `waited` it does already.
    pub(crate) fn waits_for_names(
        &mut self,
        frame: Header,
        have: &[u8],
        waited: bool,
        up: &mut impl Sink,
    ) -> bool {
        let free = self.owed.is_empty() || self.copy_in || self.discard || self.server.is_none();
        let exempt = matches!(frame.tag, tag::COPY_DATA | tag::COPY_DONE | tag::COPY_FAIL | tag::TERMINATE);
        if free || exempt || self.doomed.is_some() || self.refusal.is_some() {
            return false;
        }
        let speaks = || {
            let body = have.get(HEADER_LEN..frame.total.min(MAX_HELD)).unwrap_or_default();
            let text = query_text(body);
            frame.tag == tag::QUERY && may_speak(text) && !self.is_answered_in_turn(text)
        };
        let waits = self.naming || speaks();
        if waits && self.batch && !waited {
            // Without a Sync its answers would lie in the server's buffer.
            up.compose(write::flush);
        }
        waits
    }
}

/// No PREPARE of the text has a constant that depends on when it is read.
fn all_may_be_kept(text: &[u8], commands: &[Command]) -> bool {
    commands.iter().all(|command| match command {
        Command::Names { deed: Deed::Prepare { clause, body }, .. } => {
            text.get(*body..clause.end).is_some_and(may_be_kept)
        }
        _ => true,
    })
}

/// Why a text of the extended protocol is refused that speaks of statements by names of ours.
pub(crate) fn refused_name(text: &[u8]) -> Option<Report> {
    if !may_speak(text) || !speaks_of_ours(text) {
        return None;
    }
    let is_ours = |command: &Command| match command {
        Command::Names { name, .. } => name.starts_with(SERVER_PREFIX),
        Command::ForgetsAll => false,
    };
    let refused = match spoken(text) {
        Spoken::Commands(commands, _) => commands.iter().any(is_ours),
        Spoken::Unclear => true,
    };
    refused.then(not_theirs)
}

/// A name of ours may stand in the text.
fn speaks_of_ours(text: &[u8]) -> bool {
    text.windows(SERVER_PREFIX.len()).any(|window| window.eq_ignore_ascii_case(SERVER_PREFIX))
}

/// A statement cannot be prepared in a failed block, and behind the end of the block it is too late.
fn ends_block() -> Report {
    let message =
        "a failed transaction block cannot be ended by the query that executes a prepared statement";
    Report::new(Severity::Error, code::FEATURE_NOT_SUPPORTED, message)
        .hint("End the block by a query of its own.")
}

/// Names of ours are not for clients, where they cannot be told apart from their own.
fn not_theirs() -> Report {
    Report::new(
        Severity::Error,
        code::FEATURE_NOT_SUPPORTED,
        "a name of a prepared statement may not begin with \"pgherd_\" here",
    )
    .hint("Use another name, or send the command alone and without backslashes or escapes in it.")
}
