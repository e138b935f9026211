//! What happens to the machine when its server is lost: what was at stake, and whether the request can be shown to another server.

use crate::flow::Flow;
use crate::machine::Machine;
use crate::step::Stake;
use crate::tokens::{Token, Tokens};
use pgherd_wire::backend::Status;

/// What a text can do to the transaction block it runs in; worse ones are greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ending {
    /// It stays in the block.
    #[default]
    No,
    /// It rolls the block back.
    Rollback,
    /// It commits the block, unless that has failed.
    Commit,
    /// Anything: several statements, or more text than was read.
    Any,
}

/// Reads what a text can do to its block. When in doubt, the worse.
pub(crate) fn ending(text: &[u8], whole: bool) -> Ending {
    let one = text.trim_ascii_end();
    if !whole || memchr::memchr(b';', one.strip_suffix(b";").unwrap_or(one)).is_some() {
        return Ending::Any;
    }
    let mut tokens = Tokens::new(text);
    match tokens.next() {
        Some(t) if t.is("commit") || t.is("end") => Ending::Commit,
        Some(t) if t.is("prepare") && tokens.next().is_some_and(|t| t.is("transaction")) => Ending::Commit,
        // To a savepoint: the block goes on.
        Some(t) if t.is("rollback") && tokens.any(|t| t.is("to")) => Ending::No,
        Some(t) if t.is("rollback") || t.is("abort") => Ending::Rollback,
        _ => Ending::No,
    }
}

/// Does the block end with this text, when every statement of it succeeds? When in doubt, no.
pub(crate) fn closes_block(text: &[u8]) -> bool {
    let mut open = true;
    let mut tokens = Tokens::new(text);
    loop {
        let Some(first) = tokens.next() else { return !open };
        // What is left of this statement, as far as it matters here.
        let (mut chained, mut to, mut transaction, mut no) = (false, false, false, false);
        let mut last = false;
        loop {
            match tokens.next() {
                None => last = true,
                Some(Token::Opaque) => return false,
                Some(t) if t.is_byte(b';') => {}
                Some(t) => {
                    chained |= t.is("chain") && !no;
                    no = t.is("no");
                    to |= t.is("to") || t.is("prepared");
                    transaction |= t.is("transaction");
                    continue;
                }
            }
            break;
        }
        match first {
            t if t.is("begin") || t.is("start") => open = true,
            t if t.is("commit") || t.is("end") || t.is("rollback") || t.is("abort") => open &= chained || to,
            t if t.is("prepare") && transaction => open = false,
            _ => {}
        }
        if last {
            return !open;
        }
    }
}

impl Machine {
    /// What is at stake when the server is lost now.
    pub fn stake(&self) -> Stake {
        // After an error whose Sync was not sent yet, nothing is in flight but what the server ignores.
        let in_flight = (!self.owed.is_empty() || self.batch) && !self.discard;
        match self.status {
            _ if self.uncertain && in_flight => Stake::Unknown,
            Status::Idle if self.owed.is_empty() && !self.batch => Stake::Nothing,
            Status::Idle => Stake::Statement,
            Status::Open | Status::Failed => Stake::Transaction,
        }
    }

    /// A request that can do this to its block is about to run: notes whether something may be committed by it.
    pub(crate) fn note_ending(&mut self, ending: Ending) {
        self.uncertain |= match self.status {
            Status::Idle => true,
            Status::Open => self.leaving || ending >= Ending::Commit,
            Status::Failed => self.leaving || ending == Ending::Any,
        };
        self.leaving |= ending != Ending::No;
    }

    /// When nothing is in flight, nothing is uncertain any more.
    pub(crate) fn settle_endings(&mut self) {
        if self.owed.is_empty() && !self.batch {
            (self.uncertain, self.leaving, self.begun) = (false, false, None);
            self.unproven = false;
            if let Some(server) = self.server.as_mut() {
                server.doubt_nothing();
            }
            if self.status == Status::Idle {
                // Portals end with their transaction.
                (self.bound, self.bound_ending) = (None, Ending::No);
            }
        }
    }

    /// True when the request can be shown again to another server: nothing of its reply went to the client, the transaction that was open before it, if any, can
    /// be begun anew, and no pin ties the session to the server.
    pub fn can_rewind(&self) -> bool {
        !self.relayed
            && (!self.turns.later || self.can_move())
            && self.pin.is_none()
            && !self.copy_in
            && self.doomed.is_none()
    }

    /// The server was lost before anything was relayed: forgets the request. The driver shows its bytes again from the start of the transaction.
    pub fn rewind(&mut self) {
        // Of the first unit nothing is left; what came before a later one must be made anew.
        let keeps = self.turns.later || self.can_reopen();
        let mut owed = std::mem::take(&mut self.owed);
        owed.clear(|one| self.undo(one));
        self.owed = owed;
        self.rewind_unnamed();
        let (begin, block) = (self.begun.take().or(self.begin.take()), self.block.take());
        self.forget_server();
        self.block = block.filter(|_| keeps);
        self.begin = begin.or_else(|| self.reopening());
        self.status = if self.begin.is_some() { Status::Open } else { Status::Idle };
        // All bytes come again, so nothing is half-way.
        self.up = Flow::default();
    }

    /// There is no server any more: forgets what was known of it and of the requests it had. What of a message of the client is still to come is dropped.
    pub(crate) fn forget_server(&mut self) {
        self.forget_changes();
        self.take_back();
        self.probe = Default::default();
        self.veto = None;
        (self.server, self.begun, self.block, self.fatal) = (None, None, None, None);
        self.down = Flow::default();
        self.up.drop_rest();
        (self.batch, self.copy_in, self.discard, self.touched) = (false, false, false, false);
        (self.failed, self.rolled_back, self.mixed) = (false, false, false);
        (self.reset_from, self.naming) = (None, false);
        (self.uncertain, self.leaving, self.unproven) = (false, false, false);
        (self.bound, self.bound_ending) = (None, Ending::No);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_what_ends_a_block() {
        for (text, wanted) in [
            ("select 1", Ending::No),
            ("select 1;", Ending::No),
            ("commit", Ending::Commit),
            ("/* x */ End work ;", Ending::Commit),
            ("commit and chain", Ending::Commit),
            ("prepare transaction 'x'", Ending::Commit),
            ("prepare p as select 1", Ending::No),
            ("rollback", Ending::Rollback),
            ("abort", Ending::Rollback),
            ("rollback work to savepoint a", Ending::No),
            ("select 1; commit", Ending::Any),
            ("select ';'", Ending::Any),
        ] {
            assert_eq!(ending(text.as_bytes(), true), wanted, "{text}");
        }
        assert_eq!(ending(b"select 1", false), Ending::Any);
    }

    #[test]
    fn knows_when_the_block_is_over() {
        for text in [
            "commit",
            "END;",
            "insert; commit",
            "rollback work",
            "prepare transaction 'x'",
            "select ';'; abort ;",
            "commit and no chain",
        ] {
            assert!(closes_block(text.as_bytes()), "{text}");
        }
        for text in [
            "insert",
            "",
            "update a; update b",
            "commit; begin",
            "rollback to a",
            "commit and chain",
            "commit prepared 'x'",
            "prepare p as select 1",
            "select $$; commit",
        ] {
            assert!(!closes_block(text.as_bytes()), "{text}");
        }
    }
}
