//! `DateStyle`, the one setting whose SET may change a part of it only: an output style, or an order of day and month, and the other part stays as it was.
//! Without both parts a value cannot be carried to another server.

use crate::params::Value;
use crate::tokens::{Token, Tokens};
use std::borrow::Cow;

/// The setting's name as settings are kept under.
pub(crate) const NAME: &[u8] = b"datestyle";

/// What a value says; `None`: nothing of this part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Parts {
    style: Option<&'static str>,
    order: Option<&'static str>,
}

/// The text of a SET is one this module reads, so that [`over`] knows what it leads to.
pub(crate) fn is_plain(sql: &[u8]) -> bool {
    of_sql(sql).is_some()
}

/// The value that is in force after a SET to `sql` where `before` was: whole when both together are. `None` when one of them is not understood.
pub(crate) fn over(before: Option<&Value>, sql: &[u8]) -> Option<Value> {
    let old = before.map_or(Some(Parts::default()), of_value)?;
    let mut new = of_sql(sql)?;
    if new.style == Some("German") {
        // The only style with an order of its own, unless one is given.
        new.order = new.order.or(Some("DMY"));
    }
    let words = [new.style.or(old.style), new.order.or(old.order)];
    let words: Vec<&str> = words.into_iter().flatten().collect();
    Some(Value::Sql(format!("'{}'", words.join(", ")).into_bytes().into()))
}

fn of_value(value: &Value) -> Option<Parts> {
    let mut parts = match value {
        Value::Sql(sql) => of_sql(sql)?,
        Value::Text(text) => {
            let mut parts = Parts::default();
            text.split(|b| *b == b',').try_for_each(|word| parts.add(word))?;
            parts
        }
    };
    if parts.style == Some("German") {
        parts.order = parts.order.or(Some("DMY"));
    }
    Some(parts)
}

/// Words and string literals with lists of words, separated by commas.
fn of_sql(sql: &[u8]) -> Option<Parts> {
    let mut parts = Parts::default();
    for token in Tokens::new(sql) {
        match token {
            Token::Word(word) | Token::Quoted(word) => parts.add(word)?,
            Token::Other(b",") => {}
            Token::Other([b'\'', words @ .., b'\'']) => {
                words.split(|b| *b == b',').try_for_each(|word| parts.add(word))?;
            }
            Token::Other(_) | Token::Opaque => return None,
        }
    }
    Some(parts)
}

impl Parts {
    /// One word of the list (documentation, chapter 20.11.2); `None` when it is not known, or says another thing than one before it.
    fn add(&mut self, word: &[u8]) -> Option<()> {
        let word: Cow<'_, [u8]> = word.trim_ascii().to_ascii_lowercase().into();
        let (part, value) = match &*word {
            b"iso" => (&mut self.style, "ISO"),
            b"sql" => (&mut self.style, "SQL"),
            b"german" => (&mut self.style, "German"),
            word if word.starts_with(b"postgres") => (&mut self.style, "Postgres"),
            b"ymd" => (&mut self.order, "YMD"),
            b"dmy" => (&mut self.order, "DMY"),
            word if word.starts_with(b"euro") => (&mut self.order, "DMY"),
            b"mdy" | b"us" => (&mut self.order, "MDY"),
            word if word.starts_with(b"noneuro") => (&mut self.order, "MDY"),
            _ => return None,
        };
        (*part.get_or_insert(value) == value).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> Value {
        Value::Text(value.as_bytes().into())
    }

    fn set(before: Option<Value>, sql: &str) -> Option<String> {
        match over(before.as_ref(), sql.as_bytes())? {
            Value::Sql(sql) => Some(String::from_utf8(sql.into()).unwrap()),
            Value::Text(_) => None,
        }
    }

    #[test]
    fn a_part_keeps_the_other() {
        for (before, sql, after) in [
            (Some("Postgres, MDY"), "iso", "'ISO, MDY'"),
            (Some("ISO, MDY"), "ymd", "'ISO, YMD'"),
            (Some("ISO"), "european", "'ISO, DMY'"),
            (Some("ISO, YMD"), "'sql, dmy'", "'SQL, DMY'"),
            (Some("ISO, YMD"), "german", "'German, DMY'"),
            (Some("ISO, YMD"), "German, US", "'German, MDY'"),
            (Some("german"), "ISO", "'ISO, DMY'"),
            (None, "\"SQL\", 'noneuropean'", "'SQL, MDY'"),
            (None, "ymd", "'YMD'"),
        ] {
            assert_eq!(set(before.map(text), sql).as_deref(), Some(after), "{before:?} {sql}");
        }
    }

    #[test]
    fn what_is_not_understood_is_not_guessed() {
        for sql in ["iso, sql", "'iso, default'", "iso ymd mdy", "1", "$1", "E'iso'", "'it''s'"] {
            assert!(!is_plain(sql.as_bytes()), "{sql}");
        }
        assert_eq!(set(Some(text("ISO, default")), "ymd"), None);
    }
}
