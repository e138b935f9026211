//! Taking back what a request had changed here that turns out never to have run.

use crate::effect::effects;
use crate::machine::Machine;
use crate::pending::{Owed, Undo};
use crate::server::SOMEBODYS;
use pgherd_wire::frontend::query_text;

impl Machine {
    /// Undoes what a request that never ran had changed here.
    pub(crate) fn undo(&mut self, owed: Owed) {
        if let (Some(statement), Some(server)) = (&owed.learned, self.server.as_mut()) {
            server.forget(statement.id);
        }
        let lent = match owed.undo {
            Undo::Nothing => return,
            Undo::Named(name) => {
                self.names.remove(&name);
                return;
            }
            Undo::Closed(name, statement) => return self.names.insert(name, statement),
            Undo::Evicted(id) => {
                if let Some(server) = self.server.as_mut() {
                    server.keep_evicted(id);
                }
                return;
            }
            Undo::Unnamed(serial) => {
                self.unnamed.undo(serial);
                let text = query_text(&self.unnamed.rest);
                self.unnamed_effects =
                    if self.unnamed.serial == 0 { None } else { effects(text).map(Box::new) };
                // What is on its way to be executed was bound to another statement than was thought.
                (self.unproven, self.uncertain, self.leaving) = (true, true, true);
                Some((self.id, serial))
            }
            Undo::Dropped(end) => {
                self.unnamed.restore(end);
                None
            }
            Undo::Lent(0) => None,
            Undo::Lent(serial) => Some((self.id, serial)),
        };
        // The server still has what it had before, perhaps another session's; unless a later request changed that.
        if let Some(server) = self.server.as_mut().filter(|server| server.unnamed == lent) {
            server.unnamed = Some(SOMEBODYS);
        }
    }
}
