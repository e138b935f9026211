//! An identifier as PostgreSQL compares it: lower case unless it stands in quotes, doubled quotes as one.

use crate::token::{Kind, Token};
use crate::wordlist::fold;

/// An identifier in a text, compared without being copied.
#[derive(Clone, Copy, Debug)]
pub struct Name<'a> {
    raw: &'a [u8],
    quoted: bool,
}

impl<'a> Name<'a> {
    /// The identifier that `token` of `text` spells; `None` for tokens that name nothing and for `U&"..."`, whose
    /// escape character stands elsewhere.
    pub fn of(token: Token, text: &'a [u8]) -> Option<Name<'a>> {
        match token.kind {
            Kind::Word => Some(Name::word(token.of(text))),
            Kind::Quoted => {
                let inside = text.get(token.start + 1..token.end.saturating_sub(1)).unwrap_or_default();
                Some(Name {
                    raw: inside,
                    quoted: memchr::memchr(b'"', inside).is_some() || has_upper(inside),
                })
            }
            _ => None,
        }
    }

    /// An identifier that stands without quotes.
    pub fn word(raw: &'a [u8]) -> Name<'a> {
        Name { raw, quoted: false }
    }

    /// An identifier that was decoded: what it spells is its name. It must hold no quote.
    pub fn decoded(raw: &'a [u8]) -> Option<Name<'a>> {
        (memchr::memchr(b'"', raw).is_none()).then_some(Name { raw, quoted: true })
    }

    /// Its bytes, decoded.
    pub fn bytes(self) -> impl Iterator<Item = u8> {
        let mut after_quote = false;
        self.raw.iter().filter_map(move |byte| {
            if !self.quoted {
                return Some(byte.to_ascii_lowercase());
            }
            after_quote = *byte == b'"' && !after_quote;
            // The second of two quotes is dropped, the first stands for both.
            (*byte != b'"' || after_quote).then_some(*byte)
        })
    }

    /// True if it is `name`, as the catalog spells it.
    pub fn is(self, name: &[u8]) -> bool {
        if self.quoted { self.bytes().eq(name.iter().copied()) } else { self.is_folded(name) }
    }

    /// Its first byte, as [`Name::bytes`] has it.
    pub fn first(self) -> Option<u8> {
        let first = self.raw.first().copied();
        if self.quoted { first } else { first.map(|byte| byte.to_ascii_lowercase()) }
    }

    /// True if its first characters are those of `front`.
    pub fn starts_with(self, front: &str) -> bool {
        let mut bytes = self.bytes();
        front.bytes().all(|byte| bytes.next() == Some(byte))
    }

    /// Number of its bytes, with quotes that are doubled counted twice.
    pub fn length(self) -> usize {
        self.raw.len()
    }

    /// True if it has bytes outside ASCII, whose meaning depends on the encoding.
    pub fn is_foreign(self) -> bool {
        !self.raw.is_ascii()
    }

    /// The number under which a [`crate::wordlist::WordList`] keeps it; names that differ only in case have the same.
    pub fn fold(self) -> u32 {
        if self.quoted && memchr::memchr(b'"', self.raw).is_some() {
            return crate::wordlist::fold_bytes(self.bytes());
        }
        fold(self.raw)
    }

    fn is_folded(self, name: &[u8]) -> bool {
        self.raw.len() == name.len() && self.raw.iter().zip(name).all(|(a, b)| a.to_ascii_lowercase() == *b)
    }
}

fn has_upper(bytes: &[u8]) -> bool {
    bytes.iter().any(u8::is_ascii_uppercase)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lexer::Lexer;

    fn name(text: &str) -> Name<'_> {
        let token = Lexer::new(text.as_bytes(), true).next().expect("a token");
        Name::of(token, text.as_bytes()).expect("a name")
    }

    #[test]
    fn case_matters_only_in_quotes() {
        for (text, spelled) in [
            ("Select", "select"),
            ("\"Select\"", "Select"),
            ("\"select\"", "select"),
            ("\"a\"\"b\"", "a\"b"),
            ("\"\"\"\"", "\""),
            ("\"A\"\"\"\"B\"", "A\"\"B"),
            ("a$1", "a$1"),
        ] {
            assert!(name(text).is(spelled.as_bytes()), "{text}");
            assert_eq!(name(text).bytes().collect::<Vec<_>>(), spelled.as_bytes(), "{text}");
            assert_eq!(name(text).fold(), fold(spelled.as_bytes()), "{text}");
        }
        assert!(!name("\"Select\"").is(b"select"));
        assert!(!name("selects").is(b"select"));
        assert!(name("PG_STAT_x").starts_with("pg_stat_"));
        assert!(!name("pg_sta").starts_with("pg_stat_"));
        assert!(name("\"é\"").is_foreign() && !name("e").is_foreign());
    }
}
