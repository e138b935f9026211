//! Identifiers with Unicode escapes, `U&"d\0061ta"` (documentation, 4.1.1).

use crate::lexer::Lexer;
use crate::token::{Kind, Token};

/// The name that `token`, an identifier with Unicode escapes that was just read from `lexer`, spells, written to `out`; and
/// the lexer behind its UESCAPE clause, if it has one. None when it is not plain ASCII, longer than `out`, or no name.
pub fn decode<'a, 'o>(
    mut lexer: Lexer<'a>,
    token: Token,
    out: &'o mut [u8],
) -> Option<(&'o [u8], Lexer<'a>)> {
    let mut escape = b'\\';
    if lexer.accept("uescape") {
        let clause = lexer.next().filter(|token| token.kind == Kind::String)?;
        let &[b'\'', given, b'\''] = clause.of(lexer.text()) else { return None };
        escape = given;
    }
    let is_escape = escape.is_ascii_graphic() && !escape.is_ascii_hexdigit() && !b"+'\"".contains(&escape);
    let mut rest = lexer.text().get(token.start + 3..token.end.checked_sub(1)?)?;
    let mut length = 0;
    while let [first, ..] = *rest {
        let (byte, taken) = match rest {
            [b'"', b'"', ..] => (b'"', 2),
            [a, b, ..] if *a == escape && *b == escape => (escape, 2),
            [a, b'+', digits @ ..] if *a == escape => (ascii(digits.get(..6)?)?, 8),
            [a, digits @ ..] if *a == escape => (ascii(digits.get(..4)?)?, 5),
            _ => (first, 1),
        };
        if !byte.is_ascii() {
            return None;
        }
        *out.get_mut(length)? = byte;
        length += 1;
        rest = rest.get(taken..)?;
    }
    let name = out.get(..length).filter(|_| is_escape && length > 0)?;
    Some((name, lexer))
}

fn ascii(digits: &[u8]) -> Option<u8> {
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let number = u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    u8::try_from(number).ok().filter(|byte| byte.is_ascii() && *byte != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(text: &str) -> Option<String> {
        let mut lexer = Lexer::new(text.as_bytes(), true);
        let token = lexer.next().expect("a token");
        assert_eq!(token.kind, Kind::UnicodeQuoted);
        let mut out = [0; 12];
        let (name, _) = decode(lexer, token, &mut out)?;
        Some(String::from_utf8_lossy(name).into_owned())
    }

    #[test]
    fn escapes_are_resolved() {
        for (text, name) in [
            ("U&\"d\\0061t\\+000061\"", Some("data")),
            ("U&\"a!0062\" UESCAPE '!'", Some("ab")),
            ("U&\"a\\0062\" UESCAPE '!'", Some("a\\0062")),
            ("U&\"a\\\\b\"", Some("a\\b")),
            ("U&\"a\"\"b\"", Some("a\"b")),
            ("U&\"NextVal\"", Some("NextVal")),
            ("U&\"nextv\\0061l\"('s')", Some("nextval")),
            ("U&\"\\00e9\"", None),
            ("U&\"é\"", None),
            ("U&\"\\006\"", None),
            ("U&\"\\zzzz\"", None),
            ("U&\"\\0000\"", None),
            ("U&\"\"", None),
            ("U&\"a\" UESCAPE 'a'", None),
            ("U&\"a\" UESCAPE '+'", None),
            ("U&\"a\" UESCAPE x", None),
            ("U&\"abcdefghijklm\"", None),
        ] {
            assert_eq!(decoded(text).as_deref(), name, "{text}");
        }
    }
}
