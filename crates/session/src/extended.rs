//! Requests of the extended protocol: Parse, Bind, Describe, Execute, Close, Sync (documentation, chapter 55.2.3).

use crate::effect::{Effects, effects};
use crate::loss::{Ending, closes_block, ending};
use crate::machine::{Bound, MAX_HELD, MAX_PREPARED, Machine, Verdict, answer};
use crate::names::mark;
use crate::pending::{Fate, Kind, Owed, Undo};
use crate::pin::Pin;
use crate::prepared::{SERVER_PREFIX, Statement};
use crate::renamed::refused_name;
use crate::server::{Known, SOMEBODYS};
use crate::spoken::may_speak;
use crate::step::{Halt, Sink};
use pgherd_wire::backend::Status;
use pgherd_wire::frame::{HEADER_LEN, Header, c_string};
use pgherd_wire::frontend::{BindNames, Parse, Target, query_text, tag};
use pgherd_wire::sqlstate::code;
use pgherd_wire::write::{self, Report, Severity};
use std::sync::Arc;

impl Machine {
    pub(crate) fn extended(
        &mut self,
        frame: Header,
        body: &[u8],
        up: &mut impl Sink,
        down: &mut impl Sink,
    ) -> Verdict {
        if frame.tag == tag::CLOSE && self.close_here(body, down) {
            return Verdict::Skip;
        }
        if frame.tag == tag::PARSE && self.parse_here(frame, body, down) {
            return Verdict::Skip;
        }
        if self.server.is_none() {
            return Verdict::Stop(Halt::Server(self.extended_demand(frame, body)));
        }
        let forget = self.meets_others_values() && self.batch_asks_for_last_value(frame.tag, body);
        self.prelude(up, forget);
        self.open_batch(frame.tag, body, up);
        self.batch = true;
        match frame.tag {
            tag::PARSE => self.parse(frame, body, up, down),
            tag::BIND => self.bind(frame, body, up),
            tag::DESCRIBE => self.describe(body, up),
            tag::EXECUTE => self.execute(body),
            // Close, what is left of it: of a portal, or malformed.
            _ => {
                self.owe(Kind::Close);
                Verdict::Pass
            }
        }
    }

    fn extended_demand(&self, frame: Header, body: &[u8]) -> crate::step::Demand {
        match frame.tag {
            tag::PARSE => self.demand(Parse::view(body).map_or(&[][..], |view| view.query)),
            tag::BIND => {
                let name = BindNames::view(body).map_or(&[][..], |names| names.statement);
                match self.names.get(name) {
                    Some(statement) => self.demand(statement.query()),
                    None if name.is_empty() && self.unnamed.serial != 0 => {
                        self.demand(query_text(&self.unnamed.rest))
                    }
                    None => self.demand(b""),
                }
            }
            _ => self.demand(b""),
        }
    }

    pub(crate) fn sync(&mut self, frame: Header, up: &mut impl Sink, down: &mut impl Sink) -> Verdict {
        if self.copy_in {
            // The server would ignore it while it copies.
            return Verdict::Skip;
        }
        self.discard = false;
        if self.server.is_none() && frame.total > HEADER_LEN {
            // Malformed: a server says so in its own words.
            return Verdict::Stop(Halt::Server(self.demand(b"")));
        }
        if self.server.is_none() {
            let status = self.status;
            answer(down, |out| write::ready(out, status));
            return Verdict::Skip;
        }
        self.prelude(up, false);
        self.batches += 1;
        self.batch = false;
        self.owe(Kind::Sync);
        Verdict::Pass
    }

    /// Close of a statement: the server keeps its copy for others, so we answer it.
    fn close_here(&mut self, body: &[u8], down: &mut impl Sink) -> bool {
        let Some(Target::Statement(name)) = Target::view(body) else { return false };
        let undo = if name.is_empty() {
            if let Some(server) = self.server.as_mut().filter(|server| server.unnamed == Some((self.id, 0))) {
                // One too large to be remembered: nobody's from now on, so that it is closed before the next use.
                server.unnamed = Some(SOMEBODYS);
            }
            self.unnamed_in = self.batches;
            Undo::Dropped(self.unnamed.clear())
        } else {
            match self.names.remove(name) {
                Some(statement) => Undo::Closed(name.into(), statement),
                // A pinned session may have statements that only its server knows: too large ones, and those of SQL's PREPARE.
                None if self.pin.is_some() && self.is_attached() && !name.starts_with(SERVER_PREFIX) => {
                    return false;
                }
                None => Undo::Nothing,
            }
        };
        self.has_named |= matches!(undo, Undo::Closed(..));
        self.fake(Kind::Close, undo, down);
        true
    }

    /// Owes an answer of our own, and gives it at once when nothing is owed before it.
    pub(crate) fn fake(&mut self, kind: Kind, undo: Undo, down: &mut impl Sink) {
        let owed = self.owed.push(Owed::new(kind, Fate::Fake));
        owed.undo = undo;
        self.answer_fakes(down);
    }

    fn parse(&mut self, frame: Header, body: &[u8], up: &mut impl Sink, down: &mut impl Sink) -> Verdict {
        let whole = HEADER_LEN + body.len() == frame.total;
        let Some(view) = Parse::view(body).filter(|_| whole) else {
            if frame.total > MAX_PREPARED {
                return self.parse_large(frame, body, up);
            }
            // Malformed: the server says so in its own words.
            self.owe(Kind::Parse);
            return Verdict::Pass;
        };
        self.note_text(view.query);
        let effects = effects(view.query).map(Box::new);
        let vetoed = self.veto.take().map(|report| *report).or_else(|| refused_name(view.query));
        if let Some(report) = vetoed.or_else(|| self.refused_setting(effects.as_deref())) {
            return self.refuse(Kind::Parse, report, up);
        }
        if let Some(effects) = &effects {
            self.heed(effects, view.query);
        }
        if self.names.has_sql() && may_speak(view.query) {
            self.make_real(up);
        }
        if view.name.is_empty() {
            return self.parse_unnamed(view, effects, up);
        }
        self.parse_named(frame, view, up, down)
    }

    fn parse_named(
        &mut self,
        frame: Header,
        view: Parse<'_>,
        up: &mut impl Sink,
        down: &mut impl Sink,
    ) -> Verdict {
        if self.names.get(view.name).is_some() && !self.is_doubtful(view.name) {
            return self.refuse_duplicate(view, up);
        }
        if self.names.is_full(self.limits.max_client_statements, frame.total) {
            return self.refuse(Kind::Parse, self.full(), up);
        }
        let statement = self.texts.intern(view.rest);
        self.counts.client_parses += 1;
        self.names.insert(view.name.into(), statement.clone());
        let undo = Undo::Named(view.name.into());
        self.has_named = true;
        let ahead = self.has_unit_ahead();
        let Some(server) = self.server.as_mut() else { return Verdict::Skip };
        let known = server.knows(statement.id, self.limits.max_prepared_statements, self.batches);
        if known == Known::Yes && self.status != Status::Failed && !ahead {
            self.fake(Kind::Parse, undo, down);
            return Verdict::Skip;
        }
        // In a failed block only PostgreSQL knows which statements it accepts, so it must prepare this one afresh; and where something is on its way, whether the block
        // will have failed.
        self.prepare(&statement, known, Fate::Forward, up).undo = undo;
        Verdict::Skip
    }

    /// A DISCARD ALL or DEALLOCATE ALL on its way will take this name away. If that fails it fails in a transaction block, and so will what follows.
    fn is_doubtful(&self, name: &[u8]) -> bool {
        self.server.as_ref().is_some_and(|server| server.is_in_doubt())
            && !self.owed.iter().any(|owed| owed.undo.named() == Some(name))
    }

    /// A Parse too large to remember goes on as it is, and its session keeps the server, where the client's own name is then known.
    fn parse_large(&mut self, frame: Header, front: &[u8], up: &mut impl Sink) -> Verdict {
        debug_assert!(frame.total > MAX_PREPARED);
        let name = c_string(front).map_or(&[][..], |(name, _)| name);
        if name.starts_with(SERVER_PREFIX) {
            let message = "prepared statement \"\" is too long for a name that begins with \"pgherd_\"";
            return self.refuse(
                Kind::Parse,
                Report::new(Severity::Error, code::FEATURE_NOT_SUPPORTED, message).name(name),
                up,
            );
        }
        if self.names.get(name).is_some() {
            return self.refuse(Kind::Parse, duplicate(name), up);
        }
        self.pin_for(Pin::LargeStatement);
        let mut undo = Undo::Nothing;
        if name.is_empty() {
            self.unnamed_in = self.batches;
            undo = Undo::Dropped(self.unnamed.clear());
            if let Some(server) = self.server.as_mut() {
                // Serial 0: the one that only the server has.
                server.unnamed = Some((self.id, 0));
            }
        }
        self.owe(Kind::Parse).undo = undo;
        Verdict::Pass
    }

    /// The client must get an error that the server would not give by itself: a request that is sure to fail goes in place of the client's, so that the
    /// transaction fails as it must, and `report` takes the place of the server's words.
    fn refuse(&mut self, kind: Kind, report: Report, up: &mut impl Sink) -> Verdict {
        up.compose(|out| match kind {
            // A failed transaction refuses a Parse before it looks at names.
            Kind::Parse => write::parse(out, b"pgherd_refused", b"SELECT pgherd_refused\0\0\0"),
            _ => write::describe_statement(out, b"pgherd_refused"),
        });
        self.owe(kind).instead = Some(Box::new(report));
        Verdict::Skip
    }

    /// A Parse under a name that is taken. PostgreSQL reads its text first, and an error in that is what the client hears; so the text is prepared under another
    /// name, and given up.
    fn refuse_duplicate(&mut self, view: Parse<'_>, up: &mut impl Sink) -> Verdict {
        up.compose(|out| {
            write::parse(out, b"pgherd_refused", view.rest);
            write::close_statement(out, b"pgherd_refused");
            // In a failed block this is refused for its name only, as PostgreSQL refuses a ROLLBACK that is prepared under a name that is taken.
            write::describe_statement(out, b"pgherd_refused");
        });
        self.owed.push(Owed::new(Kind::Parse, Fate::Swallow));
        self.owed.push(Owed::new(Kind::Close, Fate::Swallow));
        self.owe(Kind::DescribeStatement).instead = Some(Box::new(duplicate(view.name)));
        Verdict::Skip
    }

    fn bind(&mut self, frame: Header, body: &[u8], up: &mut impl Sink) -> Verdict {
        let Some(names) = BindNames::view(body) else {
            if frame.total > MAX_HELD {
                // Behind a name this long might stand one of ours.
                return self.refuse(
                    Kind::Bind,
                    Report::new(Severity::Error, "42622", "identifier too long"),
                    up,
                );
            }
            self.owe(Kind::Bind);
            return Verdict::Pass;
        };
        if let Some(report) = self.veto.take() {
            return self.refuse(Kind::Bind, *report, up);
        }
        if self.watch.asked
            && let Some(text) = self.text_of(names.statement)
            && let Some(report) = self.refused_question(text)
        {
            return self.refuse(Kind::Bind, report, up);
        }
        if !names.portal.is_empty() {
            self.anchor();
        }
        if self.names.has_sql() && self.text_of(names.statement).is_some_and(may_speak) {
            self.make_real(up);
        }
        if names.statement.is_empty() {
            let ending = ending(query_text(&self.unnamed.rest), true);
            self.bound_closes = ending != Ending::No && closes_block(query_text(&self.unnamed.rest));
            self.bound_ending = self.bound_ending.max(ending);
            let effects = self.unnamed_effects.as_deref().filter(|_| self.unnamed.serial != 0).cloned();
            let rest = std::mem::take(&mut self.unnamed.rest);
            self.heed_again(effects.as_ref(), query_text(&rest));
            self.unnamed.rest = rest;
            self.bound = effects.map(|effects| Box::new(Bound { portal: names.portal.into(), effects }));
            if let Some(statement) = self.stand_in(frame.total) {
                return self.bind_to(statement, frame, &names, up);
            }
            self.ensure_unnamed(up);
            self.owe(Kind::Bind);
            return Verdict::Pass;
        }
        let Some(statement) = self.statement_of(names.statement) else {
            self.bound = None;
            if names.statement.starts_with(SERVER_PREFIX) {
                return self.unknown(Kind::Bind, names.statement, up);
            }
            self.owe(Kind::Bind);
            return Verdict::Pass;
        };
        self.counts.binds += 1;
        let ending = ending(statement.query(), true);
        self.bound_closes = ending != Ending::No && closes_block(statement.query());
        self.bound_ending = self.bound_ending.max(ending);
        let effects = effects(statement.query());
        self.heed_again(effects.as_ref(), statement.query());
        self.bound = effects.map(|effects| Box::new(Bound { portal: names.portal.into(), effects }));
        self.bind_to(statement, frame, &names, up)
    }

    fn bind_to(
        &mut self,
        statement: Arc<Statement>,
        frame: Header,
        names: &BindNames<'_>,
        up: &mut impl Sink,
    ) -> Verdict {
        self.ensure(&statement, up);
        if let Some(server) = self.server.as_mut() {
            server.bound(statement.id);
        }
        let rest = frame.total - HEADER_LEN - names.len;
        up.compose(|out| write::bind_front(out, names.portal, &statement.name, rest));
        let owed = self.owe(Kind::Bind);
        (owed.uses, owed.mark) = (Some(statement), mark(names.statement));
        Verdict::Replaced(HEADER_LEN + names.len)
    }

    /// Only the portal bound last has effects that are foreseen; those of others are known by their tags, which pins.
    fn execute(&mut self, body: &[u8]) -> Verdict {
        self.note_ending(self.bound_ending);
        let portal = c_string(body).map_or(&[][..], |(portal, _)| portal);
        let effects =
            self.bound.as_ref().filter(|bound| *bound.portal == *portal).map(|bound| bound.effects.clone());
        if effects.as_ref().is_some_and(Effects::forgets_statements)
            && let Some(server) = self.server.as_mut()
        {
            server.doubt_all();
        }
        let closes = self.bound_closes;
        let owed = self.owe(Kind::Execute);
        owed.effects = effects.map(Box::new);
        (owed.closes, owed.single) = (closes, true);
        Verdict::Pass
    }

    fn describe(&mut self, body: &[u8], up: &mut impl Sink) -> Verdict {
        match Target::view(body) {
            Some(Target::Statement(b"")) => {
                if let Some(statement) = self.stand_in(0) {
                    return self.describe_that(statement, b"", up);
                }
                self.ensure_unnamed(up);
                self.owe(Kind::DescribeStatement);
                Verdict::Pass
            }
            Some(Target::Statement(name)) => {
                let Some(statement) = self.statement_of(name) else {
                    if name.starts_with(SERVER_PREFIX) {
                        return self.unknown(Kind::DescribeStatement, name, up);
                    }
                    self.owe(Kind::DescribeStatement);
                    return Verdict::Pass;
                };
                self.describe_that(statement, name, up)
            }
            Some(Target::Portal(_)) | None => {
                self.owe(Kind::DescribePortal);
                Verdict::Pass
            }
        }
    }

    fn describe_that(&mut self, statement: Arc<Statement>, name: &[u8], up: &mut impl Sink) -> Verdict {
        self.ensure(&statement, up);
        up.compose(|out| write::describe_statement(out, &statement.name));
        let owed = self.owe(Kind::DescribeStatement);
        (owed.uses, owed.mark) = (Some(statement), mark(name));
        Verdict::Skip
    }

    /// A name that might be a server-side name of ours but is none of this client's.
    fn unknown(&mut self, kind: Kind, name: &[u8], up: &mut impl Sink) -> Verdict {
        let report = Report::new(
            Severity::Error,
            code::INVALID_STATEMENT_NAME,
            "prepared statement \"\" does not exist",
        );
        self.refuse(kind, report.name(name), up)
    }
}

/// PostgreSQL's answer to a Parse under a name that is taken.
pub(crate) fn duplicate(name: &[u8]) -> Report {
    let message = "prepared statement \"\" already exists";
    Report::new(Severity::Error, code::DUPLICATE_PREPARED_STATEMENT, message).name(name)
}
