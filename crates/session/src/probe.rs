//! Asking a server what a session has left in it, when no text and no command tag can tell: after what runs code that cannot be seen, and after what pins, because
//! it may have left nothing, or nothing any more.

use crate::asked::Asked;
use crate::machine::Machine;
use crate::params::{ROLE, Settings, Value};
use crate::pending::{Fate, Kind, Owed};
use crate::pin::Pin;
use crate::step::Sink;
use pgherd_wire::backend::columns;
use pgherd_wire::write;
use std::collections::BTreeMap;

/// When it is asked (`session_probe`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Probing {
    /// Never: what pins a session pins it until it ends or discards all.
    Never,
    /// After what runs unseen code (DO, CALL), and while something pins the session that may have ended.
    #[default]
    Auto,
    /// After every transaction.
    Always,
}

/// What is to be asked, and what was answered so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Probe {
    /// The server must be asked before it is given back.
    pub(crate) due: bool,
    /// Its settings as well.
    settings: bool,
    inquiry: Option<Box<Inquiry>>,
}

/// What few sessions ever need.
#[derive(Clone, Debug, Default)]
struct Inquiry {
    /// Settings that no view shows, to be asked for by name.
    names: Vec<Box<[u8]>>,
    answer: Option<Answer>,
}

/// What a server said.
#[derive(Clone, Debug, Default, PartialEq)]
struct Answer {
    left: Vec<Pin>,
    /// Settings of the session, when they were asked for.
    settings: BTreeMap<Box<[u8]>, Box<[u8]>>,
    /// It was not understood, or was an error.
    unclear: bool,
}

/// What may be left, in the order of the columns of [`LEFT`].
const LEAVES: [Pin; 5] = [Pin::Temporary, Pin::AdvisoryLock, Pin::HoldCursor, Pin::SqlPrepare, Pin::Listen];

/// Everything with its schema, so that no search path can make it lie (documentation, chapters 53 and 9.26). 2615 is `pg_namespace`: whatever is in a schema depends
/// on it, and dependencies have an index.
const LEFT: &str = "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_depend WHERE refclassid OPERATOR(pg_catalog.=) 2615::pg_catalog.oid \
AND refobjid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()), \
EXISTS (SELECT 1 FROM pg_catalog.pg_locks WHERE locktype OPERATOR(pg_catalog.=) 'advisory'::pg_catalog.text \
AND pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()), \
EXISTS (SELECT 1 FROM pg_catalog.pg_cursors WHERE is_holdable), \
EXISTS (SELECT 1 FROM pg_catalog.pg_prepared_statements WHERE from_sql \
AND pg_catalog.left(name, 7) OPERATOR(pg_catalog.<>) 'pgherd_'::pg_catalog.text), \
EXISTS (SELECT 1 FROM pg_catalog.pg_listening_channels())";

/// Settings that this session has changed, whoever did it.
const SETTINGS: &str = ";SELECT name, setting FROM pg_catalog.pg_settings WHERE source OPERATOR(pg_catalog.=) 'session'::pg_catalog.text \
UNION ALL SELECT 'role', pg_catalog.current_setting('role')";

impl Pin {
    /// A server can be asked whether this is still so.
    pub(crate) fn is_visible(self) -> bool {
        LEAVES.contains(&self) || self == Pin::Settings
    }
}

impl Machine {
    /// Something may pin the session now.
    pub(crate) fn suspect(&mut self, pin: Pin) {
        if self.limits.probing == Probing::Never || self.limits.session_mode || !pin.is_visible() {
            return;
        }
        self.probe.due = true;
        self.probe.settings |= pin == Pin::Settings;
    }

    /// A command completed: it may have run code nobody has seen, or have taken away what pins the session.
    pub(crate) fn suspect_after(&mut self, tag: &[u8]) {
        let probing = self.limits.probing;
        let unseen = matches!(tag, b"DO" | b"CALL");
        let ends = self.pin.is_some_and(|pin| match pin {
            Pin::Temporary => tag.starts_with(b"DROP ") || tag.starts_with(b"DISCARD "),
            Pin::HoldCursor => tag.starts_with(b"CLOSE CURSOR"),
            Pin::SqlPrepare => tag.starts_with(b"DEALLOCATE"),
            Pin::Listen => tag == b"UNLISTEN",
            _ => false,
        });
        if (unseen && probing == Probing::Auto) || ends || probing == Probing::Always {
            self.suspect(self.pin.unwrap_or(Pin::Temporary));
            self.probe.settings |= self.probe.due && !ends;
        }
    }

    /// A text that goes to the server may let go of what pins the session.
    pub(crate) fn suspect_of_text(&mut self, text: &[u8]) {
        let unlocks = || text.windows(6).any(|word| word.eq_ignore_ascii_case(b"unlock"));
        if self.pin == Some(Pin::AdvisoryLock) && unlocks() {
            self.suspect(Pin::AdvisoryLock);
        }
    }

    /// Between two transactions: the server must be asked ([`Machine::ask_server`]).
    #[inline]
    pub fn wants_probe(&self) -> bool {
        self.probe.due && self.server.is_some() && self.is_between_transactions()
    }

    /// A text goes to the server that may run code nobody has seen, or set what cannot be followed: settings it names are asked for later, because PostgreSQL lists none
    /// but those that it or a library has defined.
    pub(crate) fn note_names(&mut self, text: &[u8]) {
        for name in dotted_names(text) {
            let names = &mut self.probe.inquiry.get_or_insert_default().names;
            if names.len() < MAX_NAMES && !names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                names.push(name.into());
            }
        }
    }

    /// Asks. Nothing of it reaches the client.
    pub fn ask_server(&mut self, up: &mut impl Sink) {
        self.probe.due = false;
        if !self.pin.is_none_or(Pin::is_visible) {
            return;
        }
        let settings = std::mem::take(&mut self.probe.settings);
        let inquiry = self.probe.inquiry.get_or_insert_default();
        let names = std::mem::take(&mut inquiry.names);
        inquiry.answer = Some(Answer::default());
        let mut sql = LEFT.as_bytes().to_vec();
        if settings {
            sql.extend_from_slice(SETTINGS.as_bytes());
            for name in names {
                // Of such a name every byte stands for itself in a literal.
                let parts: [&[u8]; 5] =
                    [b" UNION ALL SELECT '", &name, b"', pg_catalog.current_setting('", &name, b"', true)"];
                sql.extend(parts.concat());
            }
        }
        up.compose(|out| write::query(out, &sql));
        self.owed.push(Owed::new(Kind::Probe, Fate::Swallow));
        if let Some(server) = self.server.as_mut() {
            server.unnamed = None;
            server.vague |= settings;
        }
    }

    /// A row of the answer.
    pub(crate) fn note_probe_row(&mut self, body: &[u8]) {
        let Some(answer) = self.answer() else { return };
        let columns = columns(body).unwrap_or_default();
        match &columns[..] {
            [Some(name), Some(value)] => {
                answer.settings.insert((*name).into(), (*value).into());
            }
            // Nothing is set under a name that was asked for.
            [Some(_), None] => {}
            found if found.len() == LEAVES.len() => {
                let is_left = |at: &usize| found[*at] == Some(b"t");
                answer.left = (0..LEAVES.len()).filter(is_left).map(|at| LEAVES[at]).collect();
            }
            _ => answer.unclear = true,
        }
    }

    /// All that is owed is the answer to such a question, and nothing of it has come.
    pub fn owes_only_probe(&self) -> bool {
        self.owed.len() == 1
            && self.owed.iter().all(|owed| owed.kind == Kind::Probe)
            && self.down.left == 0
            && self.status == pgherd_wire::backend::Status::Idle
            && !self.batch
            && self.probe.inquiry.as_ref().is_some_and(|inquiry| inquiry.answer == Some(Answer::default()))
    }

    fn answer(&mut self) -> Option<&mut Answer> {
        self.probe.inquiry.as_mut()?.answer.as_mut()
    }

    /// The server could not say.
    pub(crate) fn note_probe_error(&mut self) {
        if let Some(answer) = self.answer() {
            answer.unclear = true;
        }
    }

    /// The answer is complete: the session is pinned by what was found, and by nothing else.
    pub(crate) fn conclude_probe(&mut self) {
        let Some(answer) = self.probe.inquiry.take().and_then(|inquiry| inquiry.answer) else { return };
        if answer.unclear {
            self.pin.get_or_insert(Pin::Unprovable);
            return;
        }
        if self.pin == Some(Pin::Settings) || !answer.settings.is_empty() {
            self.adopt(&answer.settings);
        }
        self.pin = answer.left.first().copied();
        self.has_real = answer.left.contains(&Pin::SqlPrepare);
    }

    /// The settings are those that the server has, from now on.
    fn adopt(&mut self, found: &BTreeMap<Box<[u8]>, Box<[u8]>>) {
        let Some(server) = self.server.as_mut() else { return };
        let ours = [Asked::Token.name().as_bytes(), Asked::Why.name().as_bytes()];
        let imposed = |name: &[u8]| self.read_only && name == b"default_transaction_read_only";
        let mut all = Settings::default().acting_as(&self.settings);
        // Those that no view shows are as they were, unless they were asked for.
        for (name, value) in
            self.settings.iter().filter(|(name, _)| name.contains(&b'.') && !ours.contains(name))
        {
            all = all.with(name, Some(value.clone()));
        }
        for (name, value) in found.iter().filter(|(name, _)| !ours.contains(&&***name)) {
            let name = name.to_ascii_lowercase();
            if imposed(&name) {
                continue;
            }
            // As it was given, where that is the same.
            let given = self.settings.get(&name).filter(|given| given.says(value)).cloned();
            let value = given.unwrap_or_else(|| Value::Text(value.clone()));
            let nobody = name == ROLE && value.says(b"none");
            all = all.with(&name, (!nobody).then_some(value));
        }
        server.applied = match self.read_only {
            true => crate::prelude::read_only(&all),
            false => all.clone(),
        };
        self.settings = all;
    }
}

/// Most names asked for.
const MAX_NAMES: usize = 16;

/// What may be names of settings that somebody made up, in two parts: words with a dot between them, whatever stands around them.
fn dotted_names(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let in_name = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    memchr::memchr_iter(b'.', text).filter_map(move |dot| {
        let front = text[..dot].iter().rev().take_while(|b| in_name(b)).count();
        let back = text[dot + 1..].iter().take_while(|b| in_name(b)).count();
        let begins = |at: usize| text.get(at).is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_');
        let is_name = front > 0 && back > 0 && begins(dot - front) && begins(dot + 1);
        is_name.then(|| &text[dot - front..=dot + back])
    })
}

#[cfg(test)]
#[path = "probe_tests.rs"]
mod tests;
