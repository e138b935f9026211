//! What the unit at the front wants, on a listener that may choose.

use crate::library::{Book, Known};
use crate::manner::{Manner, millis};
use crate::routed::Would;
use crate::session::Session;
use crate::terms::Terms;
use pgherd_route::classify::tally::Tally;
use pgherd_route::classify::{Context, classify};
use pgherd_route::floor::Consistency;
use pgherd_route::intent::{Class, Intent, Preference, Routing};
use pgherd_route::rule::Rule;
use pgherd_route::verdict::{self, Access, Verdict};
use pgherd_session::effect::{Effect, effects};
use pgherd_session::prepared::Statement;
use pgherd_session::step::Demand;
use pgherd_session::survey::{Extent, Part};
use pgherd_wire::backend::Status;
use pgherd_wire::frontend::has_custom_types;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroU32;

/// What one unit wants.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wish {
    /// What it was found to be.
    pub(crate) class: Class,
    /// Why.
    pub(crate) rule: Option<Rule>,
    /// It is a transaction declared READ ONLY.
    pub(crate) read_only: bool,
    /// It is a lone statement (or one batch of them), not the start of a block.
    pub(crate) lone: bool,
    /// Its transaction is SERIALIZABLE.
    pub(crate) serializable: bool,
    /// The session's transactions share one snapshot unless they say so themselves.
    pub(crate) strict: bool,
    /// What its texts were found to be.
    pub(crate) found: Found,
    /// What it commits may be acknowledged before it is flushed.
    pub(crate) asynchronous: bool,
    /// A replica refused it: nothing but the primary will do.
    pub(crate) refused: bool,
    /// No replica was fresh enough, or could prove it: for now none will do.
    pub(crate) stale: bool,
    /// In shadow: where it would go.
    pub(crate) would: Option<Would>,
    /// Where it prefers to go.
    pub(crate) preference: Option<Preference>,
    /// How fresh what it reads must be.
    pub(crate) consistency: Consistency,
    /// How old what it reads may be, in milliseconds.
    pub(crate) max_staleness: Option<NonZeroU32>,
}

/// What the texts of a unit were found to be.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Found {
    /// The worst of them.
    pub(crate) class: verdict::Class,
    /// They are one statement.
    pub(crate) one: bool,
    /// They set something for the rest of their transaction.
    pub(crate) sets: bool,
}

impl From<&Verdict> for Found {
    fn from(verdict: &Verdict) -> Found {
        Found { class: verdict.class, one: !verdict.has_several(), sets: verdict.sets_locally }
    }
}

impl Session {
    /// Looks at what the client wants, as far as choosing a node depends on it. False: more of the unit must come first.
    pub(crate) fn consider(&mut self, demand: Demand) -> bool {
        if self.terms.routing == Routing::Primary {
            return true;
        }
        self.heed_settings();
        let known = self.book.as_ref().and_then(|book| book.known());
        let nothing = Known::default();
        let known = known.as_ref().map_or(&nothing, |known| &***known);
        let mut wish = Wish::before(demand, &self.manner, known, &self.terms);
        wish.asynchronous |= self.machine.spoke_of_commit();
        wish.refused = self.wish.refused;
        if self.terms.routing == Routing::Any && !wish.refused {
            match self.read_unit(&context(&self.manner, known, self.machine.status() != Status::Idle)) {
                Some(verdict) => wish.heed(&verdict),
                None => return false,
            }
            wish.stay_if(self.manner.unclear || known.defaults.unclear || self.machine.pin().is_some());
        }
        self.wish = wish;
        true
    }

    /// What the settings say, read again when they changed.
    pub(crate) fn heed_settings(&mut self) {
        if !self.manner.is_of(self.machine.settings()) {
            let before = self.manner.token;
            self.manner = Manner::read(self.machine.settings());
            if let Some((timeline, lsn)) = self.manner.token.filter(|token| Some(*token) != before) {
                self.floors.token(timeline, lsn);
                self.unlooked = None;
            }
        }
    }

    /// The verdict on all statements of the unit; `None` while more of it must come.
    pub(crate) fn read_unit(&self, context: &Context<'_>) -> Option<Verdict> {
        let desk = self.desk.as_ref()?;
        let (bytes, limit) = (desk.up.undecided_bytes(), self.shared.policy.load().max_classified);
        let mut tally = Tally::new(context.in_transaction);
        let (mut readable, mut hint) = (true, None);
        let extent = self.machine.survey(bytes, limit, |part| {
            let one = match part {
                Part::Text(text, custom) => self.read_text(text, custom, context),
                Part::Statement(statement) => self.read_statement(statement, context),
                Part::Unreadable => return readable = false,
            };
            hint.get_or_insert(one.hint);
            tally.add(&one);
        });
        match extent {
            Extent::Partial if bytes.len() < limit => return None,
            Extent::Whole => {}
            Extent::Partial | Extent::Flushed => readable = false,
        }
        let mut verdict = tally.finish();
        verdict.hint = hint.unwrap_or_default();
        if !readable {
            (verdict.class, verdict.rule) = (verdict::Class::Write, Rule::Incomplete);
        }
        Some(verdict)
    }

    fn read_text(&self, text: &[u8], custom: bool, context: &Context<'_>) -> Verdict {
        read_text(self.book.as_deref(), text, &Context { custom_parameters: custom, ..*context })
    }

    /// A prepared statement is classified once for each state of the catalog.
    fn read_statement(&self, statement: &Statement, context: &Context<'_>) -> Verdict {
        let usual = context.standard_conforming_strings && context.ascii_safe && context.digest.is_loaded();
        let burnt = self.book.as_ref().is_some_and(|book| book.has_burnt());
        let note = context.digest.epoch();
        if usual && !burnt && statement.note() == note {
            return Verdict::plain_read();
        }
        let verdict = self.read_text(statement.query(), has_custom_types(&statement.rest), context);
        if usual && !burnt && verdict.is_plain_read() {
            statement.set_note(note);
        }
        verdict
    }

    /// The same as `route` asks for it.
    pub(crate) fn intent(&self) -> Intent {
        Intent { avoid: self.avoid, ..self.wish.intent(self.terms.routing) }
    }

    /// All that the server was asked for is one unit that concerns the session's own state.
    pub(crate) fn is_lone_setting(&self) -> bool {
        self.wish.lone
            && self.wish.found.class == verdict::Class::Session
            && !self.wish.refused
            && self.machine.units() <= 1
    }

    /// All that the server was asked for is one unit that was found to be a read.
    pub(crate) fn is_lone_read(&self) -> bool {
        self.terms.routing == Routing::Any
            && self.wish.lone
            && self.wish.class == Class::Read
            && self.machine.units() <= 1
    }

    /// What this session has changed in the catalog counts for everybody's statements; to be called before the client hears of it.
    pub(crate) fn note_definitions(&mut self) {
        if self.machine.take_defined() {
            self.shared.library.tear(&self.terms.database);
        }
    }

    /// A replica refused the unit at the front: its texts are not tried on one again.
    pub(crate) fn burn(&self) {
        let (Some(book), Some(desk)) = (&self.book, &self.desk) else { return };
        let limit = self.shared.policy.load().max_classified;
        self.machine.survey(desk.up.undecided_bytes(), limit, |part| match part {
            Part::Text(text, _) => book.burn(hash(text)),
            Part::Statement(statement) => book.burn(hash(statement.query())),
            Part::Unreadable => {}
        });
    }
}

impl Wish {
    /// What is assumed before a text was looked at.
    pub(crate) fn before(demand: Demand, manner: &Manner, known: &Known, terms: &Terms) -> Wish {
        let defaults = &known.defaults;
        let is = |own: Option<bool>, default: Option<bool>| own.or(default) == Some(true);
        Wish {
            read_only: demand.read_only.unwrap_or(is(manner.read_only, defaults.read_only)),
            lone: demand.lone,
            serializable: demand.serializable.unwrap_or(is(manner.serializable, defaults.serializable)),
            strict: manner.strict.or(defaults.strict) != Some(false),
            asynchronous: is(manner.asynchronous, defaults.asynchronous),
            preference: manner.preference.or(terms.preference),
            consistency: manner.consistency.unwrap_or(terms.consistency),
            max_staleness: manner.max_staleness,
            ..Wish::default()
        }
    }

    /// It stays on the primary if the session must, or if it must see what anybody wrote.
    pub(crate) fn stay_if(&mut self, must: bool) {
        if must || self.consistency == Consistency::Strong {
            self.class = Class::Write;
        }
    }

    /// The same as `route` asks for it.
    pub(crate) fn intent(&self, routing: Routing) -> Intent {
        Intent {
            routing,
            preference: self.preference,
            class: if self.refused { Class::Write } else { self.class },
            read_only: self.read_only,
            serializable: self.serializable,
            avoid: None,
        }
    }

    /// What the unit's texts say goes before what was assumed.
    pub(crate) fn heed(&mut self, verdict: &Verdict) {
        self.rule = Some(verdict.rule);
        self.found = Found::from(verdict);
        self.asynchronous |= verdict.speaks_of_commit;
        self.preference = verdict.hint.preference.or(self.preference);
        self.consistency = verdict.hint.consistency.unwrap_or(self.consistency);
        self.max_staleness = verdict.hint.max_staleness.map(millis).or(self.max_staleness);
        self.serializable |= verdict.control.serializable;
        let opens = verdict.control.leaves_open.is_some();
        if let Some(access) = verdict.control.leaves_open.or(verdict.control.mode.filter(|_| !self.lone)) {
            self.read_only = access == Access::ReadOnly;
        }
        self.lone &= !opens;
        self.class = match verdict.class {
            verdict::Class::Read if self.lone => Class::Read,
            // A block is what it was declared to be; its first statement only speaks against a replica.
            verdict::Class::Read | verdict::Class::BeginReadOnly => Class::Unknown,
            verdict::Class::Session if !self.lone && !opens => Class::Unknown,
            verdict::Class::Session | verdict::Class::End => Class::Session,
            verdict::Class::BeginReadWrite
            | verdict::Class::Write
            | verdict::Class::Pin
            | verdict::Class::Error => Class::Write,
        };
    }
}

/// How a session's texts are to be read.
pub(crate) fn context<'k>(manner: &Manner, known: &'k Known, in_transaction: bool) -> Context<'k> {
    let defaults = &known.defaults;
    Context {
        standard_conforming_strings: manner.conforming.or(defaults.conforming).unwrap_or(true),
        ascii_safe: manner.ascii_safe.or(defaults.ascii_safe).unwrap_or(true),
        in_transaction,
        custom_parameters: false,
        digest: &known.digest,
    }
}

/// The verdict on one text, and what else speaks against a replica.
pub(crate) fn read_text(book: Option<&Book>, text: &[u8], context: &Context<'_>) -> Verdict {
    let mut verdict = classify(text, context);
    // No session keeps a server that was chosen for one transaction, so what must outlive that is made where it can stay.
    match verdict.class {
        verdict::Class::Session | verdict::Class::Pin | verdict::Class::End if pins(text) => {
            (verdict.class, verdict.rule) = (verdict::Class::Write, Rule::Setting);
        }
        verdict::Class::BeginReadOnly if pins(text) => {
            (verdict.class, verdict.rule) = (verdict::Class::BeginReadWrite, Rule::Setting);
            verdict.control.leaves_open = Some(Access::ReadWrite);
        }
        _ => {}
    }
    if verdict.class == verdict::Class::Read {
        // What the machine would pin for, however wrongly, must not be done on a replica.
        let pins = effects(text).is_some();
        let burnt = book.is_some_and(|book| book.has_burnt() && book.is_burnt(hash(text)));
        if pins || burnt {
            verdict.class = verdict::Class::Write;
            verdict.rule = if burnt { Rule::Learned } else { Rule::Setting };
        }
    }
    verdict
}

/// The text leaves something in its server for which the session keeps it.
fn pins(text: &[u8]) -> bool {
    effects(text).is_some_and(|found| {
        found.pin.is_some() || found.list.iter().any(|effect| matches!(effect, Effect::Pins(_)))
    })
}

fn hash(text: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
