//! What goes to a server before the client's first request of a transaction.

use crate::machine::Machine;
use crate::params::{Settings, Value};
use crate::pending::{Fate, Kind, Owed};
use crate::step::Sink;
use pgherd_wire::backend::Status;

/// Takes back all that a session can have set.
const ANEW: &[u8] = b"SET SESSION AUTHORIZATION DEFAULT;RESET ROLE;RESET ALL;";

impl Machine {
    /// A request of the client is about to go: before it go the session's settings, when the server has others, and a BEGIN that waited. Inside a block the
    /// server has others only after a RESET, which took it to its own default. With `forget` others' values of sequences are forgotten, see `sequences`.
    pub(crate) fn prelude(&mut self, up: &mut impl Sink, forget: bool) {
        let inside = self.status != Status::Idle && self.begin.is_none();
        if !self.owed.is_empty()
            || self.batch
            || inside && !(self.status == Status::Open && self.before.is_some())
        {
            return;
        }
        // Whatever was begun before has ended.
        self.begun = None;
        let Some(server) = self.server.as_mut() else { return };
        let wanted = match self.read_only {
            false => self.settings.clone(),
            true => read_only(&self.settings),
        };
        if server.applied.digest() != wanted.digest() || server.foreign {
            let sql = match server.foreign {
                // Whose rights were taken is shown by no view, either.
                true => [ANEW, &*Settings::default().delta(&wanted)].concat(),
                false => server.applied.delta(&wanted),
            };
            (server.vague, server.foreign) = (server.vague && !server.foreign, false);
            up.compose(|out| pgherd_wire::write::query(out, &sql));
            self.owed.push(Owed::new(Kind::Query, Fate::Swallow));
            server.applied = wanted;
            // A simple query destroys it (documentation, chapter 55.2.3).
            server.unnamed = None;
        }
        if forget {
            up.compose(|out| pgherd_wire::write::query(out, b"DISCARD SEQUENCES"));
            self.owed.push(Owed::new(Kind::Query, Fate::Swallow));
            (server.is_lent, server.unnamed) = (false, None);
        }
        if let Some(begin) = self.begin.take() {
            up.compose(|out| pgherd_wire::write::query(out, &begin.text));
            self.owed.push(Owed::new(Kind::Query, Fate::Swallow));
            self.begun = Some(begin);
            server.unnamed = None;
        }
    }
}

/// The same settings with transactions READ ONLY by default.
pub(crate) fn read_only(settings: &Settings) -> Settings {
    let on = Value::Text(Box::from(&b"on"[..]));
    settings.with(b"default_transaction_read_only", Some(on))
}
