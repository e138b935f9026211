//! Requests of the extended protocol: Parse, Bind, Describe, Execute, Close, Sync (documentation, chapter 55.2.3).

use crate::effect::effects;
use crate::machine::{MAX_PREPARED, Machine, Verdict, answer};
use crate::pending::{Fate, Kind, Owed, Undo};
use crate::pin::Pin;
use crate::prepared::{SERVER_PREFIX, Statement};
use crate::server::Known;
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
        self.prelude(up);
        self.open_batch(frame.tag, body, up);
        self.batch = true;
        match frame.tag {
            tag::PARSE => self.parse(frame, body, up, down),
            tag::BIND => self.bind(frame, body, up),
            tag::DESCRIBE => self.describe(frame, body, up),
            tag::EXECUTE => {
                let effects = self.bound.clone();
                self.owe(Kind::Execute).effects = effects;
                Verdict::Pass
            }
            // Close, what is left of it: of a portal, or malformed.
            _ => {
                self.owe(Kind::Close);
                Verdict::Pass
            }
        }
    }

    fn extended_demand(&self, frame: Header, body: &[u8]) -> crate::step::Demand {
        match frame.tag {
            tag::PARSE => self.demand(c_string(body).map_or(&[][..], |(_, rest)| query_text(rest))),
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
        self.prelude(up);
        self.batches += 1;
        self.batch = false;
        self.owe(Kind::Sync);
        Verdict::Pass
    }

    /// Before a new batch, where nothing can fail before it: statements that made room for others are closed, never within the batch that might still use
    /// them; and another session's unnamed statement, unless the batch begins with replacing it, because any later request may be skipped after an error.
    fn open_batch(&mut self, kind: u8, body: &[u8], up: &mut impl Sink) {
        if self.batch {
            return;
        }
        let Some(server) = self.server.as_mut() else { return };
        let replaced = match kind {
            tag::PARSE => body.first() == Some(&0),
            tag::BIND => BindNames::view(body).is_some_and(|names| names.statement.is_empty()),
            tag::DESCRIBE => Target::view(body) == Some(Target::Statement(b"")),
            _ => false,
        };
        if !replaced && server.unnamed.is_some_and(|(owner, _)| owner != self.id) {
            server.unnamed = None;
            up.compose(|out| write::close_statement(out, b""));
            self.owed.push(Owed::new(Kind::Close, Fate::Swallow));
        }
        if server.evicted.is_empty() {
            return;
        }
        for id in std::mem::take(&mut server.evicted) {
            let name = format!("pgherd_{id}");
            up.compose(|out| write::close_statement(out, name.as_bytes()));
            self.owed.push(Owed::new(Kind::Close, Fate::Swallow));
        }
    }

    /// Close of a statement: the server keeps its copy for others, so we answer it.
    fn close_here(&mut self, body: &[u8], down: &mut impl Sink) -> bool {
        let Some(Target::Statement(name)) = Target::view(body) else { return false };
        // A pinned server may have a statement that was prepared there under the client's own name (by SQL, or too large to be remembered).
        let theirs = !name.starts_with(SERVER_PREFIX) && !self.names.contains_key(name);
        if theirs && !name.is_empty() && self.pin.is_some() && self.server.is_some() {
            return false;
        }
        let undo = if name.is_empty() {
            if let Some(server) = self.server.as_mut().filter(|server| server.unnamed == Some((self.id, 0))) {
                // One too large to be remembered: nobody's from now on, so that it is closed before the next use.
                server.unnamed = Some((0, 0));
            }
            self.unnamed.clear();
            Undo::Nothing
        } else {
            self.names.remove(name).map_or(Undo::Nothing, |statement| Undo::Closed(name.into(), statement))
        };
        self.fake(Kind::Close, undo, down);
        true
    }

    /// Owes an answer of our own, and gives it at once when nothing is owed before it.
    fn fake(&mut self, kind: Kind, undo: Undo, down: &mut impl Sink) {
        let owed = self.owed.push(Owed::new(kind, Fate::Fake));
        owed.undo = undo;
        self.answer_fakes(down);
    }

    fn parse(&mut self, frame: Header, body: &[u8], up: &mut impl Sink, down: &mut impl Sink) -> Verdict {
        let whole = HEADER_LEN + body.len() == frame.total;
        let Some(view) = Parse::view(body).filter(|_| whole) else {
            if frame.total > MAX_PREPARED {
                return self.parse_large(body);
            }
            // Malformed: the server says so in its own words.
            self.owe(Kind::Parse);
            return Verdict::Pass;
        };
        let effects = effects(view.query).map(Box::new);
        if let Some(pin) = effects.as_ref().and_then(|effects| effects.pin) {
            self.pin_for(pin);
        }
        if view.name.is_empty() {
            let serial = self.unnamed.replace(view.rest);
            self.unnamed_effects = effects;
            if let Some(server) = self.server.as_mut() {
                server.unnamed = Some((self.id, serial));
            }
            self.owe(Kind::Parse).undo = Undo::Unnamed(serial);
            return Verdict::Pass;
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
        if self.names.contains_key(view.name) {
            let name = String::from_utf8_lossy(view.name);
            let message = format!("prepared statement \"{name}\" already exists");
            return self.refuse(
                Kind::Parse,
                Report::new(Severity::Error, code::DUPLICATE_PREPARED_STATEMENT, message),
                frame,
                up,
            );
        }
        if self.names.len() >= self.limits.max_client_statements {
            let report = Report::new(Severity::Error, "53200", "out of memory")
                .detail(format!("The client has {} prepared statements.", self.names.len()))
                .hint("Close statements that are not used any more.");
            return self.refuse(Kind::Parse, report, frame, up);
        }
        let statement = self.texts.intern(view.rest);
        self.names.insert(view.name.into(), statement.clone());
        let undo = Undo::Named(view.name.into());
        let Some(server) = self.server.as_mut() else { return Verdict::Skip };
        let limit = self.limits.max_prepared_statements;
        let known = server.knows(statement.id, limit, self.batches);
        if known == Known::Yes && self.status != Status::Failed {
            self.fake(Kind::Parse, undo, down);
            return Verdict::Skip;
        }
        if known != Known::No {
            // In a failed transaction the server must refuse it; but that may have ended by the time this arrives.
            self.close_first(&statement, up);
        }
        up.compose(|out| write::parse(out, &statement.name, view.rest));
        if let Some(server) = self.server.as_mut() {
            server.learn(statement.id, limit, self.batches);
        }
        let owed = self.owe(Kind::Parse);
        owed.undo = undo;
        owed.learned = Some(statement);
        Verdict::Skip
    }

    /// A named Parse, while the session holds no server, of a text that some server accepted under the same settings: it need not wait for a server to hear the
    /// same again. The one that runs it will prepare it then.
    fn parse_here(&mut self, frame: Header, body: &[u8], down: &mut impl Sink) -> bool {
        let alone = self.server.is_none() && self.owed.is_empty() && HEADER_LEN + body.len() == frame.total;
        let Some(view) = Parse::view(body).filter(|view| alone && !view.name.is_empty()) else {
            return false;
        };
        let room =
            self.names.len() < self.limits.max_client_statements && !self.names.contains_key(view.name);
        let known =
            self.texts.find(view.rest).filter(|known| room && known.is_proven(self.settings.digest()));
        let Some(statement) = known.filter(|_| effects(view.query).is_none()) else { return false };
        self.names.insert(view.name.into(), statement);
        self.fake(Kind::Parse, Undo::Named(view.name.into()), down);
        true
    }

    /// A Parse too large to remember goes on as it is, and its session keeps the server, where the client's own name is then known.
    fn parse_large(&mut self, front: &[u8]) -> Verdict {
        self.pin_for(Pin::LargeStatement);
        if c_string(front).is_some_and(|(name, _)| name.is_empty()) {
            self.unnamed.clear();
            if let Some(server) = self.server.as_mut() {
                server.unnamed = Some((self.id, 0));
            }
        }
        self.owe(Kind::Parse);
        Verdict::Pass
    }

    /// The client must get an error that the server would not give by itself: a request that is sure to fail goes in place of the client's, so that the
    /// transaction fails as it must, and `report` takes the place of the server's words.
    fn refuse(&mut self, kind: Kind, report: Report, frame: Header, up: &mut impl Sink) -> Verdict {
        debug_assert!(frame.total > 0);
        up.compose(|out| match kind {
            // A failed transaction refuses a Parse before it looks at names.
            Kind::Parse => write::parse(out, b"pgherd_refused", b"SELECT pgherd_refused\0\0\0"),
            _ => write::describe_statement(out, b"pgherd_refused"),
        });
        self.owe(kind).instead = Some(Box::new(report));
        Verdict::Skip
    }

    fn bind(&mut self, frame: Header, body: &[u8], up: &mut impl Sink) -> Verdict {
        let Some(names) = BindNames::view(body) else {
            self.owe(Kind::Bind);
            return Verdict::Pass;
        };
        if names.statement.is_empty() {
            let unnamed = std::mem::take(&mut self.unnamed);
            self.note_commit(query_text(&unnamed.rest));
            self.unnamed = unnamed;
            self.bound = self.unnamed_effects.clone();
            self.ensure_unnamed(up);
            self.owe(Kind::Bind);
            return Verdict::Pass;
        }
        let Some(statement) = self.names.get(names.statement).cloned() else {
            self.bound = None;
            if names.statement.starts_with(SERVER_PREFIX) {
                return self.unknown(Kind::Bind, names.statement, frame, up);
            }
            self.owe(Kind::Bind);
            return Verdict::Pass;
        };
        self.note_commit(statement.query());
        self.bound = effects(statement.query()).map(Box::new);
        self.ensure(&statement, up);
        let rest = frame.total - HEADER_LEN - names.len;
        up.compose(|out| write::bind_front(out, names.portal, &statement.name, rest));
        self.owe(Kind::Bind);
        Verdict::Replaced(HEADER_LEN + names.len)
    }

    fn describe(&mut self, frame: Header, body: &[u8], up: &mut impl Sink) -> Verdict {
        match Target::view(body) {
            Some(Target::Statement(b"")) => {
                self.ensure_unnamed(up);
                self.owe(Kind::DescribeStatement);
                Verdict::Pass
            }
            Some(Target::Statement(name)) => {
                let Some(statement) = self.names.get(name).cloned() else {
                    if name.starts_with(SERVER_PREFIX) {
                        return self.unknown(Kind::DescribeStatement, name, frame, up);
                    }
                    self.owe(Kind::DescribeStatement);
                    return Verdict::Pass;
                };
                self.ensure(&statement, up);
                up.compose(|out| write::describe_statement(out, &statement.name));
                self.owe(Kind::DescribeStatement);
                Verdict::Skip
            }
            Some(Target::Portal(_)) | None => {
                self.owe(Kind::DescribePortal);
                Verdict::Pass
            }
        }
    }

    /// A name that might be a server-side name of ours but is none of this client's.
    fn unknown(&mut self, kind: Kind, name: &[u8], frame: Header, up: &mut impl Sink) -> Verdict {
        let message = format!("prepared statement \"{}\" does not exist", String::from_utf8_lossy(name));
        self.refuse(kind, Report::new(Severity::Error, "26000", message), frame, up)
    }

    /// Prepares a statement on this server when it does not have it; the answer is swallowed.
    fn ensure(&mut self, statement: &Arc<Statement>, up: &mut impl Sink) {
        let Some(server) = self.server.as_mut() else { return };
        let limit = self.limits.max_prepared_statements;
        match server.knows(statement.id, limit, self.batches) {
            Known::Yes => return,
            Known::Perhaps => self.close_first(statement, up),
            Known::No => {}
        }
        let Some(server) = self.server.as_mut() else { return };
        server.learn(statement.id, limit, self.batches);
        up.compose(|out| write::parse(out, &statement.name, &statement.rest));
        let mut owed = Owed::new(Kind::Parse, Fate::Swallow);
        owed.learned = Some(statement.clone());
        self.owed.push(owed);
    }

    /// Whether the server has the statement is not known yet: it is closed (which never fails) to be prepared anew.
    fn close_first(&mut self, statement: &Statement, up: &mut impl Sink) {
        up.compose(|out| write::close_statement(out, &statement.name));
        self.owed.push(Owed::new(Kind::Close, Fate::Swallow));
    }

    /// Makes the server's unnamed statement this session's, or none when the session has none: another client's must never be used.
    fn ensure_unnamed(&mut self, up: &mut impl Sink) {
        let Some(server) = self.server.as_mut() else { return };
        let serial = self.unnamed.serial;
        if server.unnamed == Some((self.id, serial)) {
            return;
        }
        if serial == 0 {
            if server.unnamed.take().is_some() {
                up.compose(|out| write::close_statement(out, b""));
                self.owed.push(Owed::new(Kind::Close, Fate::Swallow)).undo = Undo::Slot;
            }
            return;
        }
        server.unnamed = Some((self.id, serial));
        let rest = &self.unnamed.rest;
        up.compose(|out| write::parse(out, b"", rest));
        self.owed.push(Owed::new(Kind::Parse, Fate::Swallow)).undo = Undo::Slot;
    }
}
