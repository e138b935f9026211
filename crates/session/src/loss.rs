//! What happens to the machine when its server is lost: what was at stake, and whether the request can be shown to another server.

use crate::begin::{Control, control};
use crate::flow::Flow;
use crate::machine::Machine;
use crate::step::Stake;
use pgherd_wire::backend::Status;

impl Machine {
    /// What is at stake when the server is lost now.
    pub fn stake(&self) -> Stake {
        match self.status {
            _ if self.uncertain && !self.owed.is_empty() => Stake::Unknown,
            Status::Idle if self.owed.is_empty() && !self.batch => Stake::Nothing,
            Status::Idle => Stake::Statement,
            Status::Open | Status::Failed => Stake::Transaction,
        }
    }

    /// Notes whether a request with this text may commit something.
    pub(crate) fn note_commit(&mut self, text: &[u8]) {
        let several =
            || memchr::memchr(b';', text.trim_ascii_end().strip_suffix(b";").unwrap_or(text)).is_some();
        self.uncertain |= match self.status {
            Status::Idle => self.begun.is_none(),
            Status::Open => {
                matches!(control(text), Some(Control::Commit)) || several() || prepares_transaction(text)
            }
            Status::Failed => false,
        };
    }

    /// True when the request can be shown again to another server: nothing of its reply went to the client, no transaction was open before it, and no
    /// pin ties the session to the server.
    pub fn can_rewind(&self) -> bool {
        !self.relayed
            && self.unnamed.reaches_back()
            && self.pin.is_none()
            && !self.copy_in
            && self.doomed.is_none()
    }

    /// The server was lost before anything was relayed: forgets the request. The driver shows its bytes again from the start of the transaction.
    pub fn rewind(&mut self) {
        let mut owed = std::mem::take(&mut self.owed);
        owed.clear(|one| self.undo(one));
        self.owed = owed;
        self.server = None;
        self.begin = self.begun.take();
        self.status = if self.begin.is_some() { Status::Open } else { Status::Idle };
        (self.up, self.down) = (Flow::default(), Flow::default());
        (self.batch, self.discard, self.failed) = (false, false, false);
        (self.rolled_back, self.committed, self.uncertain) = (false, false, false);
        self.forget_changes();
        self.fatal = None;
    }

    /// Settings changed in a transaction that is gone.
    pub(crate) fn forget_changes(&mut self) {
        if let Some((settings, applied)) = self.before.take() {
            self.settings = settings;
            if let Some(server) = self.server.as_mut() {
                server.applied = applied;
            }
        }
    }
}

fn prepares_transaction(text: &[u8]) -> bool {
    let mut tokens = crate::tokens::Tokens::new(text);
    let first = tokens.next();
    first.is_some_and(|t| t.is("prepare") || t.is("commit"))
        && tokens.next().is_some_and(|t| t.is("transaction") || t.is("prepared"))
}
