//! Where quoted things end: strings of all kinds, identifiers in quotes, dollar quotes, comments.

use crate::number::starts_word;
use memchr::{memchr, memchr2};

/// After the quote that ends what was opened before `at`; two quotes in a row are one of the content.
pub fn quoted_end(text: &[u8], mut at: usize, quote: u8) -> Option<usize> {
    loop {
        at += memchr(quote, text.get(at..)?)? + 1;
        if text.get(at) != Some(&quote) {
            return Some(at);
        }
        at += 1;
    }
}

/// The same for a string in which a backslash takes the next byte's meaning away.
pub fn escaped_end(text: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr2(b'\'', b'\\', text.get(at..)?)?;
        let next = text.get(at + 1);
        match (text.get(at), next) {
            (Some(b'\\'), Some(_)) => at += 2,
            (Some(b'\''), Some(b'\'')) => at += 2,
            (Some(b'\''), _) => return Some(at + 1),
            _ => return None,
        }
    }
}

/// A string that ended at `at` goes on when the next string is on another line, with nothing but white space and line
/// comments between: the position after that string's quote.
pub fn continuation(text: &[u8], mut at: usize) -> Option<usize> {
    let mut lines = false;
    loop {
        match text.get(at)? {
            b'\n' | b'\r' => (lines, at) = (true, at + 1),
            b' ' | b'\t' | 0x0b | 0x0c => at += 1,
            b'-' if text.get(at + 1) == Some(&b'-') => at = line_end(text, at),
            b'\'' if lines => return Some(at + 1),
            _ => return None,
        }
    }
}

/// The end of the line at `at`, its line break not included.
pub fn line_end(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    at + memchr2(b'\n', b'\r', rest).unwrap_or(rest.len())
}

/// After the block comment that begins at `at`, comments inside it counted; `None` when it does not end.
pub fn comment_end(text: &[u8], at: usize) -> Option<usize> {
    let (mut depth, mut at) = (1_usize, at + 2);
    loop {
        at += memchr2(b'*', b'/', text.get(at..)?)?;
        match (text.get(at)?, text.get(at + 1)?) {
            (b'*', b'/') => (depth, at) = (depth - 1, at + 2),
            (b'/', b'*') => (depth, at) = (depth + 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

/// The length of the delimiter that opens a dollar quote at `at`, if there is one.
pub fn dollar_tag(text: &[u8], at: usize) -> Option<usize> {
    let rest = text.get(at + 1..)?;
    let tag = rest.iter().take_while(|byte| starts_word(**byte) || byte.is_ascii_digit()).count();
    let starts = rest.first().is_some_and(|byte| *byte == b'$' || starts_word(*byte));
    (starts && rest.get(tag) == Some(&b'$')).then_some(tag + 2)
}

/// After the dollar quote that begins at `at` with a delimiter of `tag` bytes.
pub fn dollar_end(text: &[u8], at: usize, tag: usize) -> Option<usize> {
    let delimiter = text.get(at..at + tag)?;
    let mut at = at + tag;
    loop {
        at += memchr(b'$', text.get(at..)?)?;
        if text.get(at..)?.starts_with(delimiter) {
            return Some(at + tag);
        }
        at += 1;
    }
}
