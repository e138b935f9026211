//! Statements of SQL's PREPARE made on a server by PREPARE commands of ours, under the server's names or, where names in a text cannot be replaced, under the session's own.

use crate::machine::Machine;
use crate::names::Names;
use crate::pending::{Fate, Kind, Owed, Undo};
use crate::pin::Pin;
use crate::prepared::Statement;
use crate::retold::Renaming;
use crate::server::Known;
use crate::step::Sink;
use bytes::BytesMut;
use pgherd_wire::backend::Status;
use pgherd_wire::write;
use std::sync::Arc;

/// The statement and portal by which a PREPARE is executed inside a batch.
const MAKER: &[u8] = b"pgherd_prepare";

impl Machine {
    /// The statement of this name, when it may have to be prepared on the server now. One of SQL's means what the settings say at that moment, and others may share
    /// it: were they other ones then, or are they not known, it becomes another statement.
    pub(crate) fn statement_of(&mut self, name: &[u8]) -> Option<Arc<Statement>> {
        let statement = self.names.get(name)?.clone();
        let is_there = self.server.as_ref().is_some_and(|server| server.has(statement.id));
        let unknown = self.touched || self.before.is_some();
        let meaning = self.settings.meaning();
        if !statement.is_sql() || is_there || !unknown && statement.meaning == meaning {
            return Some(statement);
        }
        let other = if unknown { self.texts.copy(&statement) } else { self.texts.under(&statement, meaning) };
        self.names.insert(name.into(), other.clone());
        Some(other)
    }

    /// Prepares a statement by requests of their own, which end before the client's begins.
    pub(crate) fn prepare_apart(&mut self, statement: &Arc<Statement>, up: &mut impl Sink) {
        let most = self.limits.max_prepared_statements;
        let Some(server) = self.server.as_mut() else { return };
        let known = server.knows(statement.id, most, self.batches);
        if known == Known::Yes {
            return;
        }
        if statement.is_sql() {
            server.learn(statement.id, most, self.batches);
            server.unnamed = None;
            if known != Known::No {
                up.compose(|out| write::close_statement(out, &statement.name));
                self.owed.push(Owed::new(Kind::Close, Fate::Swallow));
            }
            let sql = statement.prepare_as(&statement.name);
            up.compose(|out| write::query(out, &sql));
            self.counts.server_parses += 1;
            self.owed.push(Owed::new(Kind::Query, Fate::Swallow)).learned = Some(statement.clone());
        } else {
            self.prepare(statement, known, Fate::Swallow, up);
            up.compose(write::sync);
            self.owed.push(Owed::new(Kind::Sync, Fate::Swallow));
        }
        self.batches += 1;
    }

    /// All statements of SQL's PREPARE get the session's own names on its server, which it keeps: before a Query that speaks of them in a way that cannot be followed.
    pub(crate) fn make_real_apart(&mut self, up: &mut impl Sink) {
        if self.status == Status::Failed || !self.names.has_sql() {
            return;
        }
        self.pin_for(Pin::SqlPrepare);
        for (name, statement) in self.names.take_sql() {
            let sql = statement.prepare_as(&quoted(&name));
            up.compose(|out| write::query(out, &sql));
            self.owed.push(Owed::new(Kind::Query, Fate::Swallow)).undo = Undo::Closed(name, statement);
        }
        if let Some(server) = self.server.as_mut() {
            server.unnamed = None;
        }
    }

    /// The same within a batch.
    pub(crate) fn make_real(&mut self, up: &mut impl Sink) {
        if self.status == Status::Failed || !self.names.has_sql() {
            return;
        }
        self.pin_for(Pin::SqlPrepare);
        for (name, statement) in self.names.take_sql() {
            let sql = statement.prepare_as(&quoted(&name));
            self.execute_ours(&sql, up).undo = Undo::Closed(name, statement);
        }
    }

    /// Executes a command inside a batch. The reply that is returned is the one of its Execute.
    pub(crate) fn execute_ours(&mut self, sql: &[u8], up: &mut impl Sink) -> &mut Owed {
        up.compose(|out| {
            // One that failed has left its statement there.
            write::close_statement(out, MAKER);
            write::parse(out, MAKER, &[sql, b"\0\0\0"].concat());
            write::bind_front(out, MAKER, MAKER, 6);
            out.extend_from_slice(&[0; 6]);
            with_portal(out, b'E', b"", b"\0\0\0\0");
            with_portal(out, b'C', b"P", b"");
        });
        for kind in [Kind::Close, Kind::Parse, Kind::Bind] {
            self.owed.push(Owed::new(kind, Fate::Swallow));
        }
        let at = self.owed.len();
        self.owed.push(Owed::new(Kind::Execute, Fate::Swallow));
        self.owed.push(Owed::new(Kind::Close, Fate::Swallow));
        self.owed.at(at)
    }

    /// A request of ours that prepares something for the client's Query failed: nothing of it is on the server, and the client hears of it when it is its turn.
    pub(crate) fn not_prepared(&mut self, body: &[u8]) {
        let Some(head) = self.owed.head() else { return };
        let (made, names) = (head.learned.as_ref(), &self.names);
        let reason = reason(names, made, body);
        let learned = head.learned.take();
        let (kind, undo) = (head.kind, std::mem::take(&mut head.undo));
        if let Some(renaming) = self.owed.renaming() {
            renaming.unprepared.get_or_insert(reason);
        }
        if let (Some(statement), Some(server)) = (learned, self.server.as_mut())
            && !server.refused(statement.id, body)
        {
            server.forget(statement.id);
        }
        if kind == Kind::Query {
            // It goes by its own name again.
            if let Undo::Closed(name, statement) = undo {
                self.names.insert(name, statement);
            }
            return;
        }
        if let Some(head) = self.owed.head() {
            head.undo = undo;
        }
        let mut owed = std::mem::take(&mut self.owed);
        owed.clear_to_sync(|one| self.undo(one));
        self.owed = owed;
    }
}

/// Why this statement could not be prepared, as if the client had asked for it by the shortest of texts.
fn reason(names: &Names, statement: Option<&Arc<Statement>>, body: &[u8]) -> Box<[u8]> {
    let known = statement.and_then(|made| Some((made, names.of_servers(&made.name, 0)?)));
    let Some((made, name)) = known else { return body.into() };
    Renaming::of_one(b"PREPARE ".len(), &made.name, name).retold(body).into()
}

/// An Execute or Close of the portal, with what stands before and after its name.
fn with_portal(out: &mut BytesMut, tag: u8, before: &[u8], after: &[u8]) {
    write::frame(out, tag, |out| {
        out.extend_from_slice(before);
        out.extend_from_slice(MAKER);
        out.extend_from_slice(b"\0");
        out.extend_from_slice(after);
    });
}

/// As an identifier in quotes. It holds no quote.
fn quoted(name: &[u8]) -> Vec<u8> {
    [b"\"", name, b"\""].concat()
}
