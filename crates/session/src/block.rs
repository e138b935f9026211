//! A READ ONLY transaction on a server that was chosen for it: what it would take to begin it anew on another one.
//!
//! At READ COMMITTED every statement has a snapshot of its own (PostgreSQL documentation, chapter 13.2.1), so a block that has only read is as good on
//! another server as where it was begun, once the settings and savepoints it has made are made there too. At the stricter levels that holds until its first
//! snapshot is taken.

use crate::begin::{Begin, End};
use crate::effect::{Effect, effects, lone_config};
use crate::machine::Machine;
use pgherd_wire::backend::Status;
use pgherd_wire::write::Report;
use std::borrow::Cow;

/// What one unit does to the block it is in, when it succeeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It opens the block, and nothing else: no snapshot is taken.
    Opens,
    /// It only reads.
    Reads,
    /// One command whose effect ends with the transaction, and that can be given again: SET LOCAL, SET TRANSACTION, SAVEPOINT and its like.
    Scoped(Box<[u8]>),
    /// A read that only calls `set_config` for its transaction; to be given again as well.
    Config(Box<[u8]>),
    /// Anything else: cursors, locks, what is not known.
    Anchors,
}

/// Longest text a block may have to give again.
const MAX_REPEATED: usize = 4096;

/// What is known of the block.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    begin: Begin,
    /// Commands to be given again after the BEGIN.
    again: Vec<u8>,
    /// What the unit in flight does.
    step: Option<Step>,
    /// A snapshot may have been taken.
    has_read: bool,
    /// Its level is, or may be, stricter than READ COMMITTED.
    strict: bool,
    anchored: bool,
}

impl Step {
    /// What a command does that is neither a read nor the block's end. `savepoint`: it is SAVEPOINT, RELEASE or ROLLBACK TO.
    pub fn of_command(text: &[u8], savepoint: bool) -> Step {
        let scoped = || {
            let found = effects(text).filter(|found| found.pin.is_none() && found.vacates.is_none());
            found.is_some_and(|found| matches!(found.list.as_slices(), ([Effect::Scoped], [])))
        };
        let shows = text.trim_ascii_start().get(..5).is_some_and(|word| word.eq_ignore_ascii_case(b"show "));
        if shows && !savepoint {
            return Step::Reads;
        }
        let is_set = text.trim_ascii_start().get(..3).is_some_and(|word| word.eq_ignore_ascii_case(b"set"));
        if text.len() <= MAX_REPEATED && (savepoint || is_set && scoped()) {
            return Step::Scoped(text.into());
        }
        Step::Anchors
    }

    /// What a read does that calls `set_config` for its transaction only.
    pub fn of_local_config(text: &[u8]) -> Step {
        let whole = text.len() <= MAX_REPEATED && lone_config(text, "true").is_some();
        if whole { Step::Config(text.into()) } else { Step::Anchors }
    }
}

impl Block {
    fn settle(&mut self, succeeded: bool) {
        let Some(step) = self.step.take() else { return };
        // A snapshot is taken before a statement can fail.
        self.has_read |= !matches!(step, Step::Opens | Step::Scoped(_));
        match step {
            Step::Opens | Step::Reads => {}
            Step::Anchors => self.anchored = true,
            Step::Scoped(text) | Step::Config(text) if succeeded => self.repeat(&text),
            Step::Scoped(_) | Step::Config(_) => {}
        }
    }

    fn repeat(&mut self, text: &[u8]) {
        let speaks_of =
            |word: &[u8]| text.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word));
        self.strict |= speaks_of(b"isolation");
        // A snapshot exists where it was exported. What ends in a comment would hide what comes after it.
        self.anchored |= speaks_of(b"snapshot") || self.again.len() + text.len() > MAX_REPEATED;
        if !self.anchored {
            self.again.extend_from_slice(b"\n;");
            self.again.extend_from_slice(text);
        }
    }
}

impl Machine {
    /// The block that the unit at the front opens, or that a BEGIN opened which was answered but not sent, is watched from now on; of a session that has just
    /// been given a server for it. `opening`: the unit's own first text, if that is a BEGIN. `strict`: transactions are stricter than READ COMMITTED unless
    /// they say so themselves.
    pub fn watch_block(&mut self, opening: Option<Begin>, step: Step, strict: bool) {
        let begin = self.begin.as_deref().cloned().or(opening);
        self.block = begin.map(|begin| {
            let strict = begin.strict.unwrap_or(strict);
            let step = Some(step);
            Box::new(Block { begin, again: Vec::new(), step, has_read: false, strict, anchored: false })
        });
        self.turns.admitted = true;
    }

    /// The unit that [`crate::step::Halt::Next`] spoke of may go to the server that the session holds.
    pub fn admit(&mut self, step: Step) {
        (self.turns.admitted, self.turns.later) = (true, true);
        // One that the unit before did not need: it only described its statement.
        self.veto = None;
        if let Some(block) = self.block.as_mut() {
            block.step = Some(step);
        }
        // From here on this unit alone would have to be shown again.
        self.relayed = false;
        self.unnamed.mark();
    }

    /// The unit that [`crate::step::Halt::Next`] spoke of must fail, and with it its transaction: to be called after [`Machine::admit`].
    pub fn veto(&mut self, report: Report) {
        self.veto = Some(Box::new(report));
    }

    /// The unit at the front, of a watched block, needs the driver's word.
    pub(crate) fn awaits_admission(&self) -> bool {
        self.block.is_some() && !self.turns.admitted && self.owed.is_empty() && !self.batch && !self.copy_in
    }

    /// The open block can be begun anew on another server, as it was before the unit in flight or at the front.
    pub fn can_move(&self) -> bool {
        let Some(block) = &self.block else { return false };
        let bound = block.anchored || block.strict && block.has_read;
        self.status == Status::Open && !bound && self.before.is_none() && self.pin.is_none()
    }

    /// A unit of the watched block may have taken a snapshot.
    pub fn has_read(&self) -> bool {
        self.block.as_ref().is_some_and(|block| block.has_read)
    }

    /// Between two units: the block could go on elsewhere, and nothing of it is on its way.
    pub fn can_reopen(&self) -> bool {
        self.rests() && self.can_move()
    }

    /// Nothing of a unit is on its way.
    fn rests(&self) -> bool {
        self.owed.is_empty() && !self.batch && !self.is_mid_request() && !self.is_mid_reply()
    }

    /// Between two units: the one at the front runs this end of the block before anything else. So nothing of the block is needed any more, and another server
    /// with a block to end will do. In a failed block COMMIT is answered ROLLBACK, which none but a failed block answers.
    pub fn can_end_elsewhere(&self, end: End) -> bool {
        let has_end = match self.status {
            Status::Open => true,
            Status::Failed => end == End::Rollback,
            Status::Idle => false,
        };
        has_end && self.block.is_some() && self.pin.is_none() && self.rests()
    }

    /// The block has failed: only its end is not refused.
    pub fn is_failed(&self) -> bool {
        self.status == Status::Failed
    }

    /// A unit is over: what it did to the block counts, or the block is over as well.
    pub(crate) fn settle_block(&mut self) {
        match (self.status, self.block.as_mut()) {
            (Status::Idle, _) => self.block = None,
            (status, Some(block)) => block.settle(status == Status::Open),
            (_, None) => {}
        }
    }

    /// A portal outlives its unit: it cannot be had on another server.
    pub(crate) fn anchor(&mut self) {
        if let Some(block) = self.block.as_mut() {
            block.anchored = true;
        }
    }

    /// The BEGIN with which the block goes on elsewhere. What the unit in flight would have done is forgotten.
    pub(crate) fn reopening(&mut self) -> Option<Box<Begin>> {
        let block = self.block.take()?;
        let mut begin = block.begin;
        if !block.again.is_empty() {
            // The server will tell of settings that are not its own doing.
            self.touched = true;
            begin.text = Cow::Owned([&begin.text[..], &block.again].concat());
        }
        Some(Box::new(begin))
    }

    /// Leaves the server in the middle of the block, which goes on at the next one. The server still has its part of the transaction open. Only when
    /// [`Machine::can_reopen`], or with the `end` of [`Machine::can_end_elsewhere`].
    pub fn move_on(&mut self, end: Option<End>) -> Option<Box<crate::server::ServerState>> {
        let committed = end == Some(End::Commit) && self.status == Status::Open;
        let kept = committed.then(|| self.settings.clone());
        self.forget_changes();
        if let Some(settings) = kept {
            self.settings = settings;
        }
        let mut server = self.detach();
        if let Some(server) = server.as_mut() {
            // It goes with the ROLLBACK that a simple query is.
            server.unnamed = None;
        }
        let block = self.block.take();
        self.forget_server();
        self.block = block;
        self.begin = self.reopening();
        self.status = Status::Open;
        server
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::begin::{Control, control};

    #[test]
    fn knows_what_can_be_given_again() {
        for (text, savepoint) in [
            ("set local work_mem to '8MB'", false),
            (" SET TRANSACTION READ ONLY", false),
            ("set transaction_isolation to 'read committed'", false),
            ("savepoint a", true),
        ] {
            assert_eq!(
                Step::of_command(text.as_bytes(), savepoint),
                Step::Scoped(text.as_bytes().into()),
                "{text}"
            );
        }
        for text in [
            "set work_mem to '8MB'",
            "declare c cursor for select 1",
            "do ''",
            "reset all",
            "set role x",
            "select 1",
        ] {
            assert_eq!(Step::of_command(text.as_bytes(), false), Step::Anchors, "{text}");
        }
        let config = b"select set_config('app.tenant', '7', true)";
        assert_eq!(Step::of_local_config(config), Step::Config(config[..].into()));
        for text in ["select set_config('a.b', $1, true)", "select set_config('a.b', 'c', true) from t"] {
            assert_eq!(Step::of_local_config(text.as_bytes()), Step::Anchors, "{text}");
        }
        assert_eq!(Step::of_command(b"show timezone", false), Step::Reads);
        assert_eq!(Step::of_command(&[b's'; MAX_REPEATED + 1], true), Step::Anchors);
    }

    fn block(begin: &str) -> Block {
        let Some(Control::Begin(begin)) = control(begin.as_bytes()) else { panic!("a BEGIN") };
        let strict = begin.strict == Some(true);
        Block { begin, again: Vec::new(), step: None, has_read: false, strict, anchored: false }
    }

    #[test]
    fn what_succeeded_is_given_again_in_order() {
        let mut block = block("begin read only -- x");
        for (text, succeeded) in [("savepoint a", true), ("set local a to b", false), ("release a", true)] {
            block.step = Some(Step::Scoped(text.as_bytes().into()));
            block.settle(succeeded);
        }
        assert_eq!(block.again, b"\n;savepoint a\n;release a");
        assert!(!block.has_read && !block.anchored && !block.strict);
        block.step = Some(Step::Scoped(b"set transaction isolation level repeatable read"[..].into()));
        block.settle(true);
        assert!(block.strict && !block.anchored);
        block.step = Some(Step::Scoped(b"set transaction snapshot '1'"[..].into()));
        block.settle(true);
        assert!(block.anchored);
    }

    #[test]
    fn what_it_would_have_to_repeat_has_a_limit() {
        let mut block = block("begin");
        let text = [b"savepoint ".as_slice(), &[b'a'; 1000]].concat();
        for _ in 0..4 {
            block.repeat(&text);
        }
        assert!(!block.anchored && block.again.len() <= MAX_REPEATED);
        block.repeat(&text);
        assert!(block.anchored && block.again.len() <= MAX_REPEATED);
    }
}
