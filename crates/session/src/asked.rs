//! What a session asks of pgherd itself, and settings that pgherd reads: `SHOW pgherd.why`, `SET pgherd.consistency`.
//!
//! The answer to a question is lent to the session as a setting for the time of one unit. So it is the server that answers SHOW, in whatever form the client asked:
//! over both protocols, described or not, prepared long ago.

use crate::effect::{Effect, Effects, name};
use crate::machine::{MAX_HELD, Machine};
use crate::params::Value;
use crate::survey::Part;
use crate::tokens::Tokens;
use pgherd_wire::frame::{HEADER_LEN, c_string};
use pgherd_wire::frontend::{query_text, tag};
use pgherd_wire::sqlstate::code;
use pgherd_wire::write::{Report, Severity};

/// A question to pgherd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// `SHOW pgherd.causal_token`.
    Token,
    /// `SHOW pgherd.why`.
    Why,
}

/// Says why a setting (lower-cased name, value) is refused, if it is.
pub type Check = fn(&[u8], &Value) -> Option<Report>;

/// A setting that was lent.
#[derive(Clone, Debug)]
pub(crate) struct Lent {
    name: &'static [u8],
    value: Value,
    before: Option<Value>,
}

impl Asked {
    /// The setting's name.
    pub fn name(self) -> &'static str {
        match self {
            Asked::Token => "pgherd.causal_token",
            Asked::Why => "pgherd.why",
        }
    }
}

/// Reads `text` when the whole of it is one such SHOW.
pub(crate) fn asked(text: &[u8]) -> Option<Asked> {
    if !begins_with_show(text) {
        return None;
    }
    let mut tokens = Tokens::new(&text[4..]);
    let name = name(&mut tokens).filter(|_| tokens.at_end())?;
    [Asked::Token, Asked::Why].into_iter().find(|asked| asked.name().as_bytes() == &*name)
}

/// Two bytes tell for nearly every statement.
fn begins_with_show(text: &[u8]) -> bool {
    matches!(text, [b's' | b'S', b'h' | b'H', ..])
        && text.get(4).is_some_and(u8::is_ascii_whitespace)
        && text[..4].eq_ignore_ascii_case(b"show")
}

impl Machine {
    /// What the unit at the front asks of pgherd, if anything; of a session that holds no server. Looks at two bytes of a Query or Parse, and at more only when
    /// the client asked such a question before.
    pub fn asked(&self, bytes: &[u8]) -> Option<Asked> {
        let text = match (bytes.first()?, bytes.get(HEADER_LEN..)?) {
            (&tag::QUERY, body) => body,
            (&tag::PARSE, body) => c_string(body).map_or(&[][..], |(_, rest)| rest),
            _ => &[],
        };
        if !self.watch.asked && !begins_with_show(text) {
            return None;
        }
        let mut found = None;
        self.survey(bytes, MAX_HELD, |part| {
            let one = match part {
                Part::Text(text, _) => asked(text),
                Part::Statement(statement) => asked(statement.query()),
                Part::Unreadable => None,
            };
            found = found.or(one);
        });
        found
    }

    /// Lends the session the answer, until its server is taken away again.
    pub fn lend(&mut self, asked: Asked, answer: &str) {
        self.take_back();
        let (name, value) = (asked.name().as_bytes(), Value::Text(answer.as_bytes().into()));
        let before = self.settings.get(name).cloned();
        self.settings = self.settings.with(name, Some(value.clone()));
        self.lent = Some(Box::new(Lent { name, value, before }));
    }

    /// An answer is lent.
    pub fn is_lent(&self) -> bool {
        self.lent.is_some()
    }

    /// The text of a statement of the client.
    pub(crate) fn text_of(&self, name: &[u8]) -> Option<&[u8]> {
        match self.names.get(name) {
            Some(statement) => Some(statement.query()),
            None if name.is_empty() => Some(query_text(&self.unnamed.rest)),
            None => None,
        }
    }

    /// Why a question is not answered, if `text` is one that nothing was lent for: only for the first unit on a server it was. What the server has under that name
    /// otherwise is an old answer, or what the client has set itself.
    pub(crate) fn refused_question(&self, text: &[u8]) -> Option<Report> {
        let asked = asked(text).filter(|_| self.lent.is_none() || self.turns.units > 0)?;
        let message = format!("\"{}\" can be asked for only at the beginning of a transaction", asked.name());
        let report = Report::new(Severity::Error, code::NOT_IN_PREREQUISITE_STATE, message);
        Some(report.hint("Ask when no transaction is open and nothing keeps the session's server."))
    }

    /// Nothing is lent any more; what the client itself has set meanwhile stays.
    pub(crate) fn take_back(&mut self) {
        let Some(lent) = self.lent.take() else { return };
        if self.settings.get(lent.name) == Some(&lent.value) {
            self.settings = self.settings.with(lent.name, lent.before);
        }
    }

    /// From now on each SET is shown to `check` before it goes to a server.
    pub fn check_settings(&mut self, check: Check) {
        self.watch.check = Some(check);
    }

    /// Why one of the settings is refused.
    pub(crate) fn refused_setting(&self, effects: Option<&Effects>) -> Option<Report> {
        let (check, effects) = (self.watch.check?, effects?);
        effects.list.iter().find_map(|effect| match effect {
            Effect::Set(name, value) => check(name, &Value::Sql(value.clone())),
            Effect::Config(name, value) => check(name, &Value::Text(value.clone())),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_its_own_questions() {
        for (text, expected) in [
            ("SHOW pgherd.causal_token", Some(Asked::Token)),
            ("show  PGHERD.why ; ", Some(Asked::Why)),
            ("show /* x */ \"pgherd\".\"why\"", Some(Asked::Why)),
            ("show pgherd.why; select 1", None),
            ("show pgherd.other", None),
            ("show pgherd", None),
            ("show", None),
            ("shower pgherd.why", None),
            ("select 'show pgherd.why'", None),
            ("", None),
        ] {
            assert_eq!(asked(text.as_bytes()), expected, "{text}");
        }
    }
}
