//! A READ ONLY transaction on a replica, unit by unit: it goes on there while that will do, and on the primary when it will not.

use crate::answer;
use crate::checkout::Held;
use crate::library::Known;
use crate::session::{Fate, Session};
use crate::wish::{Found, context};
use pgherd_route::rule::Rule;
use pgherd_route::verdict::Class;
use pgherd_session::begin::{Begin, Control, End, control};
use pgherd_session::block::Step;
use pgherd_session::survey::Part;

impl Session {
    /// The next unit of the block is at the front. `Err`: it goes on elsewhere. `Ok(false)`: more of the unit must come before that is known.
    pub(crate) fn consider_next(&mut self) -> Result<bool, Fate> {
        self.heed_settings();
        let known = self.book.as_ref().and_then(|book| book.known());
        let nothing = Known::default();
        let known = known.as_ref().map_or(&nothing, |known| &***known);
        let Some(verdict) = self.read_unit(&context(&self.manner, known, true)) else { return Ok(false) };
        let must_leave = verdict.must_leave_replica(self.machine.has_read());
        let end = if must_leave { self.leading_end() } else { None };
        let ends_elsewhere = end.is_some_and(|end| self.machine.can_end_elsewhere(end));
        if must_leave && (self.machine.can_reopen() || ends_elsewhere) {
            return Err(Fate::Moves);
        }
        let step = self.step(Found::from(&verdict), verdict.rule);
        self.chance = self.terms.rerun && step == Step::Reads && self.machine.can_move();
        self.machine.admit(step);
        if end.is_some() && self.machine.is_failed() {
            self.machine.refuse_request(answer::goes_on_after_end());
        } else if must_leave && self.only_text().is_some_and(speaks_of_locks) {
            // A standby would take it, and it would exclude nobody.
            self.machine.veto(answer::lock_on_replica());
        }
        if let Some(desk) = self.desk.as_mut().filter(|desk| !desk.up.has_output()) {
            desk.up.keep();
        }
        Ok(true)
    }

    /// A server was taken for a transaction on a replica: from now on it is known whether that could go on elsewhere.
    pub(crate) fn follow_block(&mut self) {
        let (false, found, Some(rule)) = (self.wish.lone, self.wish.found, self.wish.rule) else {
            return;
        };
        let step = self.step(found, rule);
        let opening = self.opening();
        self.machine.watch_block(opening, step, self.wish.strict);
    }

    /// What the unit at the front does to its block.
    fn step(&self, Found { class, one, sets }: Found, rule: Rule) -> Step {
        match (class, rule) {
            (Class::BeginReadOnly, _) if one => Step::Opens,
            (Class::Read | Class::BeginReadOnly, _) if sets => {
                self.only_text().map_or(Step::Anchors, Step::of_local_config)
            }
            (Class::Read | Class::BeginReadOnly, _) => Step::Reads,
            (Class::Session, Rule::Savepoint | Rule::Setting) if one => {
                let text = self.only_text();
                text.map_or(Step::Anchors, |text| Step::of_command(text, rule == Rule::Savepoint))
            }
            _ => Step::Anchors,
        }
    }

    /// The text of the unit at the front, if it is one.
    fn only_text(&self) -> Option<&[u8]> {
        let (mut found, mut count, limit) = (None, 0, self.shared.policy.load().max_classified);
        self.machine.survey(self.desk.as_ref()?.up.undecided_bytes(), limit, |part| {
            found = text(part);
            count += 1;
        });
        found.filter(|_| count == 1)
    }

    /// The end of the block that the unit at the front begins with.
    fn leading_end(&self) -> Option<End> {
        self.machine.leading_end(self.desk.as_ref()?.up.undecided_bytes())
    }

    /// The BEGIN that the unit at the front begins with, where that is a text of its own.
    fn opening(&self) -> Option<Begin> {
        let (mut first, limit) = (None, self.shared.policy.load().max_classified);
        self.machine.survey(self.desk.as_ref()?.up.undecided_bytes(), limit, |part| {
            first.get_or_insert(text(part));
        });
        match control(first??)? {
            Control::Begin(begin) => Some(begin),
            Control::Commit | Control::Rollback => None,
        }
    }

    /// The server is lost between two units of a block that can go on elsewhere: nobody need notice.
    pub(crate) fn outlives(&mut self, held: &Held) -> bool {
        let lives = self.machine.can_reopen();
        if lives {
            self.note_floors(held);
        }
        lives
    }

    /// Takes the block to the primary: the unit at the front cannot run where it is.
    pub(crate) fn move_on(&mut self, held: Held) {
        let node = held.node;
        let cancelled = self.card().let_go();
        self.note_floors(&held);
        let end = self.leading_end();
        let (mut server, pool) = held.give();
        server.baggage.0 = self.machine.move_on(end);
        if cancelled {
            pool.forget(server);
        } else {
            pool.roll_back(server);
        }
        if let Some(desk) = self.desk.as_mut() {
            desk.up.forget_kept();
        }
        self.want_up = pgherd_wire::frame::HEADER_LEN;
        self.wish.refused = true;
        self.worker.counters.moved.add(1);
        tracing::debug!(
            session = self.entry.card.id,
            node = node.0,
            "a READ ONLY transaction goes on on the primary"
        );
    }
}

fn speaks_of_locks(text: &[u8]) -> bool {
    let has = |word: &[u8]| text.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word));
    has(b"advisory_lock") || has(b"advisory_xact_lock")
}

fn text(part: Part<'_>) -> Option<&[u8]> {
    match part {
        Part::Text(text, _) => Some(text),
        Part::Statement(statement) => Some(statement.query()),
        Part::Unreadable => None,
    }
}
