//! How a session wants its reads: what its settings say about routing.

use crate::answer;
use pgherd_route::floor::Consistency;
use pgherd_route::hint;
use pgherd_route::intent::Preference;
use pgherd_session::params::{Settings, Value};
use pgherd_topology::lsn::{Lsn, Timeline};
use pgherd_wire::write::{Report, Severity};
use std::num::NonZeroU32;
use std::time::Duration;

/// Read once for each change of the session's settings. `None`: the session does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Manner {
    /// Digest of the settings it was read from.
    digest: u64,
    /// `pgherd.read_preference`.
    pub(crate) preference: Option<Preference>,
    /// `pgherd.consistency`.
    pub(crate) consistency: Option<Consistency>,
    /// `pgherd.max_staleness`, in milliseconds: every session has one.
    pub(crate) max_staleness: Option<NonZeroU32>,
    /// `pgherd.causal_token`.
    pub(crate) token: Option<(Timeline, Lsn)>,
    /// `default_transaction_read_only`.
    pub(crate) read_only: Option<bool>,
    /// `default_transaction_isolation` is serializable, which a standby refuses.
    pub(crate) serializable: Option<bool>,
    /// It is that or repeatable read: all statements of a transaction share one snapshot.
    pub(crate) strict: Option<bool>,
    /// `synchronous_commit` is off: an acknowledged commit may not be flushed yet.
    pub(crate) asynchronous: Option<bool>,
    /// `standard_conforming_strings`.
    pub(crate) conforming: Option<bool>,
    /// `client_encoding` has no bytes below 128 inside its characters.
    pub(crate) ascii_safe: Option<bool>,
    /// A setting above has a value that cannot be read: nothing of this session leaves the primary.
    pub(crate) unclear: bool,
}

/// Encodings whose characters may contain bytes below 128 (PostgreSQL documentation, chapter 24.3.1), without case, `-` and `_`.
const UNSAFE_ENCODINGS: [&str; 9] =
    ["sjis", "shiftjis", "mskanji", "shiftjis2004", "big5", "gbk", "uhc", "gb18030", "johab"];

impl Manner {
    /// True when it was read from these settings.
    pub(crate) fn is_of(&self, settings: &Settings) -> bool {
        self.digest == settings.digest()
    }

    pub(crate) fn read(settings: &Settings) -> Manner {
        let mut manner = Manner { digest: settings.digest(), ..Manner::default() };
        for (name, value) in settings.iter() {
            manner.note(name, value);
        }
        manner
    }

    fn note(&mut self, name: &[u8], value: &Value) {
        // What does not concern us need not be readable.
        let read = || plain(value);
        match name {
            b"pgherd.read_preference" => {
                self.preference = read().and_then(|word| Preference::from_word(&word));
                self.unclear |= self.preference.is_none();
            }
            b"pgherd.consistency" => {
                self.consistency = read().and_then(|word| Consistency::from_word(&word));
                self.unclear |= self.consistency.is_none();
            }
            b"pgherd.max_staleness" => {
                self.max_staleness = read().and_then(|word| hint::duration(word.as_bytes())).map(millis);
                self.unclear |= self.max_staleness.is_none();
            }
            b"pgherd.causal_token" => {
                self.token = read().as_deref().and_then(token);
                self.unclear |= self.token.is_none();
            }
            b"default_transaction_read_only" => self.read_only = self.switch(read()),
            b"standard_conforming_strings" => self.conforming = self.switch(read()),
            b"default_transaction_isolation" => {
                let level = read();
                self.unclear |= level.is_none();
                self.serializable = level.as_ref().map(|level| level.contains("serializable"));
                self.strict =
                    level.map(|level| !level.contains("committed") && !level.contains("uncommitted"));
            }
            b"synchronous_commit" => {
                let level = read();
                self.unclear |= level.is_none();
                self.asynchronous = level.map(|level| boolean(&level) == Some(false));
            }
            b"client_encoding" => {
                let name = read();
                self.unclear |= name.is_none();
                self.ascii_safe = name.map(|name| is_ascii_safe(&name));
            }
            _ => {}
        }
    }

    fn switch(&mut self, word: Option<String>) -> Option<bool> {
        let state = word.as_deref().and_then(boolean);
        self.unclear |= state.is_none();
        state
    }
}

/// Why a setting that pgherd reads is refused, in PostgreSQL's words for a wrong value. `SET ... TO DEFAULT` is a RESET and does not come here.
pub(crate) fn refusal(name: &[u8], value: &Value) -> Option<Report> {
    let hint = match name {
        b"pgherd.read_preference" => available(Preference::ALL.map(Preference::word)),
        b"pgherd.consistency" => available(Consistency::ALL.map(Consistency::word)),
        b"pgherd.max_staleness" => {
            "Valid units for this parameter are \"ms\", \"s\", \"min\", and \"h\".".to_owned()
        }
        b"pgherd.causal_token" => "A token is what SHOW pgherd.causal_token answers.".to_owned(),
        _ => return None,
    };
    let mut manner = Manner::default();
    manner.note(name, value);
    if !manner.unclear {
        return None;
    }
    let words = |bytes| String::from_utf8_lossy(bytes);
    Some(answer::bad_setting(&words(name), &words(inner(value)), hint))
}

/// The same for what a client says as it logs in, in the words of a FATAL.
pub(crate) fn refusal_at_login(startup: &Settings) -> Option<Report> {
    let report = startup.iter().find_map(|(name, value)| refusal(name, value))?;
    Some(Report { severity: Severity::Fatal, ..report })
}

/// Whole milliseconds, at least one; a time of more than seven weeks is no bound anybody meets.
pub(crate) fn millis(time: Duration) -> NonZeroU32 {
    let whole = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
    NonZeroU32::new(whole).unwrap_or(NonZeroU32::MIN)
}

fn available<const N: usize>(words: [&str; N]) -> String {
    format!("Available values: {}.", words.join(", "))
}

/// A value's text in lower case, when it is one plain word or one plain literal.
fn plain(value: &Value) -> Option<String> {
    let text = inner(value);
    let odd = |b: &u8| matches!(b, b'\'' | b'"' | b'\\' | b'$' | b',') || !(0x20..0x7f).contains(b);
    let text = text.trim_ascii();
    (!text.is_empty() && !text.iter().any(odd)).then(|| String::from_utf8_lossy(text).to_ascii_lowercase())
}

/// A value without its quotes.
fn inner(value: &Value) -> &[u8] {
    match value {
        Value::Text(text) => text,
        Value::Sql(sql) => match &**sql {
            [b'\'', inner @ .., b'\''] | [b'"', inner @ .., b'"'] => inner,
            bare => bare,
        },
    }
}

/// PostgreSQL's words for booleans (documentation, chapter 20.1.1): any unambiguous prefix will do.
fn boolean(word: &str) -> Option<bool> {
    let begins = |whole: &str, least: usize| word.len() >= least && whole.starts_with(word);
    if word == "1" || begins("on", 2) || begins("true", 1) || begins("yes", 1) {
        return Some(true);
    }
    (word == "0" || begins("off", 2) || begins("false", 1) || begins("no", 1)).then_some(false)
}

fn is_ascii_safe(name: &str) -> bool {
    let name: String = name.chars().filter(|c| c.is_ascii_alphanumeric()).collect();
    !UNSAFE_ENCODINGS.contains(&name.as_str())
}

/// `TIMELINE/HIGH/LOW`, as `SHOW pgherd.causal_token` answers.
pub(crate) fn token(text: &str) -> Option<(Timeline, Lsn)> {
    let (timeline, lsn) = text.split_once('/')?;
    let timeline = Some(timeline).filter(|t| t.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()?;
    Some((Timeline(timeline), lsn.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(given: &[(&str, &str)]) -> Manner {
        let settings = given.iter().fold(Settings::default(), |settings, (name, value)| {
            settings.with(name.as_bytes(), Some(Value::Sql(value.as_bytes().into())))
        });
        Manner::read(&settings)
    }

    #[test]
    fn reads_what_a_session_says() {
        let manner = of(&[
            ("pgherd.read_preference", "'Replica'"),
            ("pgherd.consistency", "eventual"),
            ("pgherd.max_staleness", "'2s'"),
            ("pgherd.causal_token", "'1/0/ABC'"),
            ("default_transaction_read_only", "ON"),
            ("default_transaction_isolation", "'repeatable read'"),
            ("synchronous_commit", "off"),
            ("client_encoding", "'UTF8'"),
            ("search_path", "a, $user"),
        ]);
        assert_eq!(manner.preference, Some(Preference::Replica));
        assert_eq!(manner.consistency, Some(Consistency::Eventual));
        assert_eq!(manner.max_staleness, NonZeroU32::new(2000));
        assert_eq!(manner.token, Some((Timeline(1), Lsn(0xabc))));
        assert_eq!((manner.read_only, manner.serializable), (Some(true), Some(false)));
        assert_eq!((manner.asynchronous, manner.ascii_safe), (Some(true), Some(true)));
        assert!(!manner.unclear);
    }

    #[test]
    fn what_cannot_be_read_keeps_the_session_on_the_primary() {
        for (name, value) in [
            ("pgherd.read_preference", "'nearby'"),
            ("pgherd.max_staleness", "'soon'"),
            ("pgherd.causal_token", "'x'"),
            ("default_transaction_read_only", "E'o\\x6e'"),
            ("default_transaction_isolation", "$1"),
            ("client_encoding", "''"),
        ] {
            assert!(of(&[(name, value)]).unclear, "{name} = {value}");
        }
    }

    #[test]
    fn knows_booleans_and_encodings() {
        for (word, value) in
            [("t", Some(true)), ("of", Some(false)), ("o", None), ("2", None), ("no", Some(false))]
        {
            assert_eq!(boolean(word), value, "{word}");
        }
        assert!(is_ascii_safe("utf-8") && is_ascii_safe("latin1"));
        assert!(!is_ascii_safe("shift_jis_2004") && !is_ascii_safe("gb18030"));
    }
}
