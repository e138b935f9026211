//! What a server must have, or must not have, before a request that names a statement can go to it.

use crate::effect::effects;
use crate::machine::Machine;
use crate::pending::{Fate, Kind, Owed, Undo};
use crate::prepared::Statement;
use crate::server::Known;
use crate::step::Sink;
use pgherd_wire::frame::{HEADER_LEN, Header};
use pgherd_wire::frontend::{BindNames, Parse, Target, tag};
use pgherd_wire::write;
use std::sync::Arc;

impl Machine {
    /// Before a new batch, where nothing can fail before it: statements that made room for others are closed, never within the batch that might still use
    /// them; and another session's unnamed statement, unless the batch begins with replacing it, because any later request may be skipped after an error.
    pub(crate) fn open_batch(&mut self, kind: u8, body: &[u8], up: &mut impl Sink) {
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
            self.owed.push(Owed::new(Kind::Close, Fate::Swallow)).undo = Undo::Lent(0);
        }
        for id in server.take_evicted() {
            let name = format!("pgherd_{id}");
            up.compose(|out| write::close_statement(out, name.as_bytes()));
            self.owed.push(Owed::new(Kind::Close, Fate::Swallow)).undo = Undo::Evicted(id);
        }
    }

    /// A named Parse, while the session holds no server, of a text that some server accepted under the same settings: it need not wait for a server to hear the
    /// same again. The one that runs it will prepare it then.
    pub(crate) fn parse_here(&mut self, frame: Header, body: &[u8], down: &mut impl Sink) -> bool {
        let alone = self.server.is_none() && self.owed.is_empty() && HEADER_LEN + body.len() == frame.total;
        let Some(view) = Parse::view(body).filter(|view| alone && !view.name.is_empty()) else {
            return false;
        };
        if self.names.is_full(self.limits.max_client_statements, frame.total)
            || self.names.get(view.name).is_some()
        {
            return false;
        }
        let known = self.texts.find(view.rest).filter(|known| known.is_proven(self.settings.digest()));
        let Some(statement) = known.filter(|_| effects(view.query).is_none()) else { return false };
        self.note_text(view.query);
        self.counts.client_parses += 1;
        self.names.insert(view.name.into(), statement);
        self.has_named = true;
        self.fake(Kind::Parse, Undo::Named(view.name.into()), down);
        true
    }

    /// Prepares a statement on this server when it does not have it; the answer is swallowed.
    pub(crate) fn ensure(&mut self, statement: &Arc<Statement>, up: &mut impl Sink) {
        let Some(server) = self.server.as_mut() else { return };
        let known = server.knows(statement.id, self.limits.max_prepared_statements, self.batches);
        if known != Known::Yes {
            self.prepare(statement, known, Fate::Swallow, up);
        }
    }

    /// Sends a Parse under our name. If the server may have the statement already, a Close goes first: of what is not there it is no error.
    pub(crate) fn prepare(
        &mut self,
        statement: &Arc<Statement>,
        known: Known,
        fate: Fate,
        up: &mut impl Sink,
    ) -> &mut Owed {
        if known != Known::No {
            up.compose(|out| write::close_statement(out, &statement.name));
            self.owed.push(Owed::new(Kind::Close, Fate::Swallow));
        }
        self.counts.server_parses += 1;
        if let Some(server) = self.server.as_mut() {
            server.learn(statement.id, self.limits.max_prepared_statements, self.batches);
        }
        if statement.is_sql() {
            let owed = self.execute_ours(&statement.prepare_as(&statement.name), up);
            owed.learned = Some(statement.clone());
            return owed;
        }
        up.compose(|out| write::parse(out, &statement.name, &statement.rest));
        let mut owed = Owed::new(Kind::Parse, fate);
        owed.learned = Some(statement.clone());
        self.owed.push(owed)
    }

    /// Makes the server's unnamed statement this session's, or none when the session has none: another client's must never be used.
    pub(crate) fn ensure_unnamed(&mut self, up: &mut impl Sink) {
        let Some(server) = self.server.as_mut() else { return };
        let serial = self.unnamed.serial;
        if server.unnamed == Some((self.id, serial)) {
            return;
        }
        if serial == 0 {
            if server.unnamed.take().is_some() {
                up.compose(|out| write::close_statement(out, b""));
                self.owed.push(Owed::new(Kind::Close, Fate::Swallow)).undo = Undo::Lent(0);
            }
            return;
        }
        server.unnamed = Some((self.id, serial));
        let rest = &self.unnamed.rest;
        up.compose(|out| write::parse(out, b"", rest));
        self.owed.push(Owed::new(Kind::Parse, Fate::Swallow)).undo = Undo::Lent(serial);
    }
}
