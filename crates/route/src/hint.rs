//! What an application asks for in a comment in front of its statement: `/* pgherd: replica, max_staleness=5s */`.

use crate::floor::Consistency;
use crate::intent::Preference;
use pgherd_sql::literal::{comment_end, line_end};
use std::time::Duration;

/// The wishes of one text. What is not understood is no wish.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hint {
    /// Where to go.
    pub preference: Option<Preference>,
    /// How fresh.
    pub consistency: Option<Consistency>,
    /// How old at most.
    pub max_staleness: Option<Duration>,
}

impl Hint {
    /// Reads the comments in front of the first token. Only the first comment may ask for anything; a later one may still
    /// ask for the primary, which is never wrong.
    pub fn read(text: &[u8]) -> Hint {
        let (mut hint, mut at, mut first) = (Hint::default(), 0, true);
        loop {
            match (text.get(at), text.get(at + 1)) {
                (Some(b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c), _) => at += 1,
                (Some(b'-'), Some(b'-')) => (at, first) = (line_end(text, at), false),
                (Some(b'/'), Some(b'*')) => {
                    let Some(end) = comment_end(text, at) else { return hint };
                    let read = body(text.get(at + 2..end.saturating_sub(2)).unwrap_or_default());
                    if first {
                        hint = read;
                    } else if read.preference == Some(Preference::Primary) {
                        hint.preference = read.preference;
                    }
                    (at, first) = (end, false);
                }
                _ => return hint,
            }
        }
    }

    /// The wishes of two texts that are one unit: of two that contradict each other the careful one.
    #[must_use]
    pub fn and(self, other: Hint) -> Hint {
        let primary = [self, other].iter().any(|hint| hint.preference == Some(Preference::Primary));
        let shorter = |a: Duration| other.max_staleness.map_or(a, |b| a.min(b));
        Hint {
            preference: if primary {
                Some(Preference::Primary)
            } else {
                self.preference.or(other.preference)
            },
            consistency: self.consistency.max(other.consistency),
            max_staleness: self.max_staleness.map(shorter).or(other.max_staleness),
        }
    }
}

/// The inside of a comment.
fn body(comment: &[u8]) -> Hint {
    let mut hint = Hint::default();
    let Some(wishes) =
        strip(comment.trim_ascii_start(), b"pgherd").and_then(|rest| strip(rest.trim_ascii_start(), b":"))
    else {
        return hint;
    };
    for wish in wishes.split(|byte| byte.is_ascii_whitespace() || matches!(byte, b',' | b';')) {
        let (key, value) = match memchr::memchr(b'=', wish) {
            Some(at) => (&wish[..at], &wish[at + 1..]),
            None => (&wish[..0], wish),
        };
        let is_key = |word: &str| key.eq_ignore_ascii_case(word.as_bytes());
        let spells = |word: &str| value.eq_ignore_ascii_case(word.as_bytes());
        if is_key("") || is_key("read_preference") {
            let found = Preference::ALL.into_iter().find(|preference| spells(preference.word()));
            // Two wishes that contradict each other: the careful one.
            if hint.preference != Some(Preference::Primary) && found.is_some() {
                hint.preference = found;
            }
        }
        if is_key("") || is_key("consistency") {
            hint.consistency =
                Consistency::ALL.into_iter().find(|level| spells(level.word())).or(hint.consistency);
        }
        if is_key("max_staleness") {
            hint.max_staleness = duration(value).or(hint.max_staleness);
        }
    }
    hint
}

fn strip<'a>(text: &'a [u8], front: &[u8]) -> Option<&'a [u8]> {
    text.get(..front.len())?.eq_ignore_ascii_case(front).then(|| &text[front.len()..])
}

/// `250ms`, `5s`, `2m` or `2min`, `1h`; a number alone is seconds.
pub fn duration(value: &[u8]) -> Option<Duration> {
    let digits = value.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, unit) = value.split_at(digits);
    let number: u64 = std::str::from_utf8(number).ok()?.parse().ok()?;
    let milliseconds = match unit.trim_ascii_start() {
        b"ms" => Some(number),
        b"" | b"s" => number.checked_mul(1000),
        b"m" | b"min" => number.checked_mul(60_000),
        b"h" => number.checked_mul(3_600_000),
        _ => None,
    };
    milliseconds.map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preference(text: &str) -> Option<Preference> {
        Hint::read(text.as_bytes()).preference
    }

    #[test]
    fn a_leading_comment_asks() {
        for (text, expected) in [
            ("/* pgherd: primary */ SELECT 1", Some(Preference::Primary)),
            ("/*pgherd:replica*/SELECT 1", Some(Preference::Replica)),
            (" \n/* PGHERD : Replica_Preferred */ SELECT 1", Some(Preference::ReplicaPreferred)),
            ("/* pgherd: read_preference=nearest */ SELECT 1", Some(Preference::Nearest)),
            ("/* pgherd: replica, primary */ SELECT 1", Some(Preference::Primary)),
            ("/* pgherd: primary, replica */ SELECT 1", Some(Preference::Primary)),
            ("/* app */ /* pgherd: primary */ SELECT 1", Some(Preference::Primary)),
            ("-- app\n/* pgherd: primary */ SELECT 1", Some(Preference::Primary)),
            ("/* app */ /* pgherd: replica */ SELECT 1", None),
            ("SELECT 1 /* pgherd: primary */", None),
            ("SELECT '/* pgherd: primary */'", None),
            ("-- pgherd: primary\nSELECT 1", None),
            ("/* pgherd: nonsense */ SELECT 1", None),
            ("/* pgherdx: primary */ SELECT 1", None),
            ("/* a /* pgherd: primary */ */ SELECT 1", None),
            ("/* pgherd: primary", None),
            ("", None),
        ] {
            assert_eq!(preference(text), expected, "{text}");
        }
    }

    #[test]
    fn other_wishes_are_read() {
        let hint = Hint::read(b"/* pgherd: max_staleness=5s consistency=strong */ SELECT 1");
        assert_eq!(hint.max_staleness, Some(Duration::from_secs(5)));
        assert_eq!((hint.consistency, hint.preference), (Some(Consistency::Strong), None));
        for (value, expected) in
            [("250ms", Some(250)), ("2m", Some(120_000)), ("7", Some(7000)), ("", None), ("5d", None)]
        {
            let text = format!("/* pgherd: max_staleness={value} */");
            assert_eq!(
                Hint::read(text.as_bytes()).max_staleness,
                expected.map(Duration::from_millis),
                "{value}"
            );
        }
        assert_eq!(duration(b"99999999999999999999s"), None);
        assert_eq!(duration(b"18446744073709551615h"), None);
    }
}
