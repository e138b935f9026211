//! Units one by one: on a server that was chosen for one unit, the next one must not follow before the choice can be made again.

use crate::machine::Machine;
use crate::pin::Pin;

/// What is remembered of the units since the server was attached.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Turns {
    /// The next unit waits until the one before it is answered.
    one_by_one: bool,
    /// A message of the client waits for that, or for the outcome of what is on its way.
    pub(crate) waiting: bool,
    /// The present unit may go to the server, where units of a block are asked about one by one.
    pub(crate) admitted: bool,
    /// It is not the first one that was.
    pub(crate) later: bool,
    /// Units that went to the server.
    pub(crate) units: u32,
}

impl Turns {
    /// The message at the front waits until nothing is owed.
    pub(crate) fn await_turn(&mut self) {
        self.waiting = true;
    }
}

/// What is watched for whoever chooses servers; for the whole session.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Watch {
    commits: bool,
    spoke: bool,
    /// The client has prepared or sent a question to pgherd.
    pub(crate) asked: bool,
    pub(crate) check: Option<crate::asked::Check>,
    pub(crate) defined: bool,
}

/// The text speaks of the setting that lets a commit be acknowledged before it is flushed.
fn speaks_of_commit(text: &[u8]) -> bool {
    const NAME: &[u8] = b"synchronous_commit";
    memchr::memchr_iter(b'_', text).any(|at| {
        at.checked_sub(11).is_some_and(|from| {
            text[from..].get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME))
        })
    })
}

/// A command with this tag puts something into the catalog that a statement could lead to, or may. What is taken out can lead nowhere.
pub(crate) fn defines(tag: &[u8]) -> bool {
    match tag.first() {
        Some(b'C') => tag.starts_with(b"CREATE ") || tag == b"CALL",
        Some(b'A') => tag.starts_with(b"ALTER "),
        Some(b'D') => tag == b"DO",
        Some(b'I') => tag == b"IMPORT FOREIGN SCHEMA",
        _ => false,
    }
}

impl Machine {
    /// Until the server is given back, a unit is sent only when the one before it is answered: then either the transaction goes on, or the server is free and the
    /// unit's own server can be chosen.
    pub fn take_turns(&mut self) {
        self.turns.one_by_one = true;
    }

    /// How many units went to the server since it was attached: those that ended with a Query, a FunctionCall or a Sync.
    pub fn units(&self) -> u32 {
        self.turns.units
    }

    /// A message of the client is there and waits for its turn.
    pub fn is_waiting_its_turn(&self) -> bool {
        self.turns.waiting
    }

    /// Its turn has come: the client's bytes are to be shown again. Where the server reads a copy meanwhile, the next message is what it reads, whatever it is.
    pub fn has_its_turn(&self) -> bool {
        self.turns.waiting && (self.owed.is_empty() || self.copy_in)
    }

    /// From now on it is noticed when the client speaks of `synchronous_commit`.
    pub fn watch_commits(&mut self) {
        self.watch.commits = true;
    }

    /// The client has spoken of `synchronous_commit`: its commits may be acknowledged before they are flushed.
    pub fn spoke_of_commit(&self) -> bool {
        self.watch.spoke
    }

    /// Since this was asked last a command changed the catalog, or may have.
    pub fn take_defined(&mut self) -> bool {
        std::mem::take(&mut self.watch.defined)
    }

    pub(crate) fn note_text(&mut self, text: &[u8]) {
        self.suspect_of_text(text);
        self.watch.asked |= crate::asked::asked(text).is_some();
        if self.watch.commits && !self.watch.spoke {
            self.watch.spoke = speaks_of_commit(text);
        }
    }

    pub(crate) fn must_wait_its_turn(&mut self) -> bool {
        let between = self.turns.units > 0 && !self.owed.is_empty() && !self.batch && !self.copy_in;
        self.turns.waiting = self.turns.one_by_one && between;
        self.turns.waiting
    }

    /// Gives up what pins the session, where it must not stay: what the server holds for it is cleaned away when it goes back. Only between transactions.
    pub fn shed_pin(&mut self) -> Option<Pin> {
        let pin = self.pin.filter(|_| !self.limits.session_mode && self.is_between_transactions())?;
        (self.pin, self.probe.due) = (None, false);
        if let Some(server) = self.server.as_mut() {
            server.dirty = Some(pin);
        }
        Some(pin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Limits;
    use crate::params::Settings;
    use crate::server::ServerState;
    use crate::step::{Halt, Sink};
    use bytes::BytesMut;
    use pgherd_wire::backend::Status;
    use pgherd_wire::frame::HEADER_LEN;
    use pgherd_wire::write;
    use std::sync::Arc;

    #[derive(Default)]
    struct Counted {
        passed: usize,
    }

    impl Sink for Counted {
        fn pass(&mut self, n: usize) {
            self.passed += n;
        }
        fn skip(&mut self, _: usize) {}
        fn compose(&mut self, _: impl FnOnce(&mut BytesMut)) {}
    }

    #[test]
    fn the_second_unit_waits_for_the_answer_to_the_first() {
        let limits = Limits {
            max_prepared_statements: 1,
            max_client_statements: 1,
            session_mode: false,
            probing: Default::default(),
            unnamed: Default::default(),
        };
        let mut machine = Machine::new(1, Arc::default(), Settings::default(), limits);
        machine.attach(Box::new(ServerState::default()), false);
        machine.take_turns();
        let mut bytes = BytesMut::new();
        write::query(&mut bytes, b"select 1");
        let one = bytes.len();
        write::query(&mut bytes, b"insert");
        let (mut up, mut down) = (Counted::default(), Counted::default());
        assert_eq!(machine.client(&bytes, &mut up, &mut down), Ok(Halt::More(HEADER_LEN)));
        assert_eq!((up.passed, machine.units()), (one, 1));
        assert!(machine.is_waiting_its_turn() && !machine.has_its_turn());
        let mut answer = BytesMut::new();
        write::command_complete(&mut answer, b"SELECT 1");
        write::ready(&mut answer, Status::Idle);
        machine.server(&answer, &mut down).unwrap();
        assert!(machine.has_its_turn() && machine.is_free());
    }
}
