//! Where a number ends. PostgreSQL refuses letters directly after one (documentation, 4.1.2.6).

/// The end of the number that begins at `start` with a digit, or with a dot before a digit; `None` when it is followed by
/// what PostgreSQL refuses there.
pub fn number_end(text: &[u8], start: usize) -> Option<usize> {
    let at = |index: usize| text.get(index).copied().unwrap_or(0);
    let end = match (at(start), at(start + 1)) {
        (b'0', b'x' | b'X') => digits(text, start + 2, |byte| byte.is_ascii_hexdigit(), true),
        (b'0', b'o' | b'O') => digits(text, start + 2, |byte| matches!(byte, b'0'..=b'7'), true),
        (b'0', b'b' | b'B') => digits(text, start + 2, |byte| matches!(byte, b'0' | b'1'), true),
        _ => return decimal_end(text, start),
    };
    (end > start + 2 && !starts_word(at(end)) && !at(end).is_ascii_digit()).then_some(end)
}

fn decimal_end(text: &[u8], start: usize) -> Option<usize> {
    let at = |index: usize| text.get(index).copied().unwrap_or(0);
    let mut end = digits(text, start, |byte| byte.is_ascii_digit(), false);
    // Two dots are a token of their own, as in 1..10.
    if at(end) == b'.' && at(end + 1) != b'.' {
        end = digits(text, end + 1, |byte| byte.is_ascii_digit(), false);
    }
    if matches!(at(end), b'e' | b'E') {
        let sign = usize::from(matches!(at(end + 1), b'+' | b'-'));
        let exponent = end + 1 + sign;
        if !at(exponent).is_ascii_digit() {
            return None;
        }
        end = digits(text, exponent, |byte| byte.is_ascii_digit(), false);
    }
    (!starts_word(at(end))).then_some(end)
}

/// The end of the digits at `at`, single underscores between them included, and one before the first if `leading`.
fn digits(text: &[u8], mut at: usize, is_digit: fn(u8) -> bool, leading: bool) -> usize {
    let digit = |index: usize| text.get(index).is_some_and(|byte| is_digit(*byte));
    let mut inside = leading;
    loop {
        if digit(at) {
            at += 1;
        } else if inside && text.get(at) == Some(&b'_') && digit(at + 1) {
            at += 2;
        } else {
            return at;
        }
        inside = true;
    }
}

/// True for bytes that may begin an identifier.
pub(crate) fn starts_word(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_end_where_they_should() {
        for (text, end) in [
            ("1", Some(1)),
            ("12 ", Some(2)),
            ("1.5", Some(3)),
            ("1.", Some(2)),
            (".5e3", Some(4)),
            ("1..10", Some(1)),
            ("1e10,", Some(4)),
            ("1e-7", Some(4)),
            ("1_000", Some(5)),
            ("0x1F", Some(4)),
            ("0x_1F", Some(5)),
            ("0b101", Some(5)),
            ("0o17 ", Some(4)),
            ("1.5.3", Some(3)),
            ("1--2", Some(1)),
            ("1a", None),
            ("1_", None),
            ("1__0", None),
            ("1e", None),
            ("1e+", None),
            ("1e--2", None),
            ("0x", None),
            ("0xg", None),
            ("0b2", None),
            ("1.5a", None),
            ("0_1", Some(3)),
        ] {
            assert_eq!(number_end(text.as_bytes(), 0), end, "{text}");
        }
    }
}
