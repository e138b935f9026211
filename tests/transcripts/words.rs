//! Words of a transcript line: bare ones, and texts in double quotes.

/// One word of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// Up to the next white space.
    Bare(String),
    /// A text in quotes, escapes undone.
    Text(Vec<u8>),
}

impl Word {
    /// The bytes, however they were written.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        match self {
            Word::Bare(word) => word.clone().into_bytes(),
            Word::Text(text) => text.clone(),
        }
    }
}

/// Splits a line. `#` begins a comment. In quotes: `\n`, `\0`, `\"`, `\\`, `\xNN`, and `\{N c}` for N times the byte c.
pub(crate) fn split(line: &str) -> Result<Vec<Word>, String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() && !rest.starts_with('#') {
        if let Some(after) = rest.strip_prefix('"') {
            let (text, after) = quoted(after).ok_or_else(|| format!("a text does not end: {line}"))?;
            words.push(Word::Text(text));
            rest = after;
        } else {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            words.push(Word::Bare(rest[..end].to_string()));
            rest = &rest[end..];
        }
        rest = rest.trim_start();
    }
    Ok(words)
}

/// A text after its first quote, and what follows its last one.
fn quoted(line: &str) -> Option<(Vec<u8>, &str)> {
    let mut text = Vec::new();
    let mut rest = line;
    loop {
        let at = rest.find(['"', '\\'])?;
        text.extend_from_slice(&rest.as_bytes()[..at]);
        if rest.as_bytes()[at] == b'"' {
            return Some((text, &rest[at + 1..]));
        }
        let escape = rest.get(at + 1..)?;
        let used = match escape.as_bytes().first()? {
            b'n' => push(&mut text, b'\n'),
            b'0' => push(&mut text, 0),
            b'x' => {
                push(&mut text, u8::from_str_radix(escape.get(1..3)?, 16).ok()?);
                3
            }
            b'{' => {
                let end = escape.find('}')?;
                let (count, what) = escape[1..end].split_once(' ')?;
                let byte = *what.as_bytes().first().unwrap_or(&b' ');
                text.extend(std::iter::repeat_n(byte, count.parse().ok()?));
                end + 1
            }
            other => push(&mut text, *other),
        };
        rest = escape.get(used..)?;
    }
}

fn push(text: &mut Vec<u8>, byte: u8) -> usize {
    text.push(byte);
    1
}

#[test]
fn words_are_split_and_escapes_undone() {
    let words = split(r#"Q "a \"b\"\n\x41\{3 z}" s1 # rest"#).unwrap();
    assert_eq!(words.len(), 3);
    assert_eq!(words[1], Word::Text(b"a \"b\"\nAzzz".to_vec()));
    assert!(split("Q \"open").is_err());
}
