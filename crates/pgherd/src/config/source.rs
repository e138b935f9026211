//! The texts settings were read from, and places in them.

use std::fmt;
use std::ops::Range;

/// One file that was read.
#[derive(Clone, PartialEq)]
pub struct Source {
    /// Its path, as people know it.
    pub name: String,
    /// What it holds.
    pub text: String,
}

/// Where something was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Bytes of the file with this index.
    File(usize, Range<usize>),
    /// An environment variable.
    Env(String),
    /// Nowhere in particular: something is missing.
    Nowhere,
}

impl Place {
    /// For sorting: files in the order read, then the environment, then the rest.
    pub fn order(&self) -> (usize, usize) {
        match self {
            Place::File(file, span) => (*file, span.start),
            Place::Env(_) => (usize::MAX - 1, 0),
            Place::Nowhere => (usize::MAX, 0),
        }
    }
}

/// The name only: the text may hold passwords.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Source {
    /// Line and column of a byte, both from 1; columns count characters. Never fails, whatever the offset.
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let before = self.before(offset);
        let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        (line, before[start..].chars().count() + 1)
    }

    /// The line a byte is in, without its end.
    pub fn line(&self, offset: usize) -> &str {
        let start = self.before(offset).rfind('\n').map_or(0, |at| at + 1);
        let rest = &self.text[start..];
        rest.split('\n').next().unwrap_or("").trim_end_matches('\r')
    }

    /// True when the line of this byte begins inside a string of several lines: what it belongs to is not to be seen in
    /// it, so it may be part of a secret.
    pub fn inside_long_string(&self, offset: usize) -> bool {
        let start = self.before(offset).rfind('\n').map_or(0, |at| at + 1);
        let text = &self.text[..start];
        ["\"\"\"", "'''"].iter().any(|quotes| text.matches(quotes).count() % 2 == 1)
    }

    fn before(&self, offset: usize) -> &str {
        let mut end = offset.min(self.text.len());
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        &self.text[..end]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions() {
        let source = Source { name: "x".into(), text: "ab\nçd = 1\r\n\nlast".into() };
        assert_eq!(source.position(0), (1, 1));
        assert_eq!(source.position(3), (2, 1));
        assert_eq!(source.position(4), (2, 1), "inside a character counts as its start");
        assert_eq!(source.position(5), (2, 2));
        assert_eq!(source.position(10_000), (4, 5));
        assert_eq!(source.line(6), "çd = 1");
        assert_eq!(source.line(12), "");
        assert_eq!(source.line(10_000), "last");
    }
}
