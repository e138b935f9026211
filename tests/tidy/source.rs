//! Just enough of Rust's lexical structure to count braces honestly.

/// A source file with everything that is not code blanked out, line for line and column for column.
pub(crate) struct Source {
    code: Vec<u8>,
    /// Byte ranges of test modules and test functions.
    tests: Vec<(usize, usize)>,
}

/// One `fn` with a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    /// First line, from 1.
    pub(crate) line: usize,
    /// Lines from `fn` to the closing brace.
    pub(crate) lines: usize,
}

impl Source {
    pub(crate) fn new(text: &str) -> Source {
        let code = blank(text.as_bytes());
        let tests = test_ranges(&code);
        Source { code, tests }
    }

    /// The lines of code, numbered from 1, and whether each is test code.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str, bool)> {
        let mut start = 0;
        self.code.split(|b| *b == b'\n').enumerate().map(move |(i, line)| {
            let is_test = self.tests.iter().any(|(from, to)| (*from..*to).contains(&start));
            start += line.len() + 1;
            (i + 1, std::str::from_utf8(line).expect("blanking keeps ASCII code only"), is_test)
        })
    }

    /// Lines of each block of tests.
    pub(crate) fn test_blocks(&self) -> impl Iterator<Item = (usize, usize)> {
        self.tests.iter().map(|(from, to)| (self.line_of(*from), self.line_of(*to) - self.line_of(*from) + 1))
    }

    pub(crate) fn functions(&self) -> Vec<Function> {
        let mut found = Vec::new();
        for at in words(&self.code, b"fn") {
            let name: Vec<u8> =
                self.code[at + 2..].trim_ascii_start().iter().copied().take_while(|b| is_word(*b)).collect();
            let Some(open) = body_start(&self.code, at) else { continue };
            let close = matching_brace(&self.code, open);
            let line = self.line_of(at);
            if !name.is_empty() {
                let lines = self.line_of(close) - line + 1;
                found.push(Function { name: String::from_utf8_lossy(&name).into_owned(), line, lines });
            }
        }
        found
    }

    fn line_of(&self, at: usize) -> usize {
        self.code[..at.min(self.code.len())].iter().filter(|b| **b == b'\n').count() + 1
    }
}

/// Replaces comments, the insides of literals and everything beyond ASCII by spaces; newlines stay.
fn blank(text: &[u8]) -> Vec<u8> {
    let mut code = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let end = match token_end(text, at, code.last().copied()) {
            Some(end) => end.min(text.len()),
            None => {
                code.push(if text[at].is_ascii() { text[at] } else { b' ' });
                at += 1;
                continue;
            }
        };
        code.extend(text[at..end].iter().map(|b| if *b == b'\n' { b'\n' } else { b' ' }));
        at = end;
    }
    code
}

/// The end of the comment or literal that begins at `at`, if one does.
fn token_end(text: &[u8], at: usize, before: Option<u8>) -> Option<usize> {
    let rest = &text[at..];
    match rest {
        [b'/', b'/', ..] => Some(at + rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len())),
        [b'/', b'*', ..] => Some(at + comment_length(rest)),
        [b'"', ..] => Some(at + quoted_length(rest, b'"')),
        [b'\'', ..] => char_length(rest).map(|length| at + length),
        [b'r' | b'b' | b'c', ..] if !before.is_some_and(is_word) => {
            prefixed_length(rest).map(|length| at + length)
        }
        _ => None,
    }
}

/// Block comments nest.
fn comment_length(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn quoted_length(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b if b == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// A character, or nothing when it is a lifetime.
fn char_length(rest: &[u8]) -> Option<usize> {
    match rest {
        [_, b'\\', ..] => Some(quoted_length(rest, b'\'')),
        [_, first, ..] => {
            let width = match first {
                0xF0.. => 4,
                0xE0.. => 3,
                0xC0.. => 2,
                _ => 1,
            };
            (rest.get(1 + width) == Some(&b'\'')).then_some(width + 2)
        }
        _ => None,
    }
}

/// `r"`, `r#"`, `b"`, `b'`, `br#"`, `c"`, `cr"`; a raw identifier such as `r#type` is none of them.
fn prefixed_length(rest: &[u8]) -> Option<usize> {
    let letters = rest.iter().take(2).take_while(|b| matches!(b, b'r' | b'b' | b'c')).count();
    let raw = rest[..letters].contains(&b'r');
    let hashes = if raw { rest[letters..].iter().take_while(|b| **b == b'#').count() } else { 0 };
    let start = letters + hashes;
    match rest.get(start) {
        Some(b'"') if raw => {
            let mut end = vec![b'"'];
            end.resize(1 + hashes, b'#');
            let inside = &rest[start + 1..];
            let found = inside.windows(end.len()).position(|window| window == end);
            Some(found.map_or(rest.len(), |found| start + 1 + found + end.len()))
        }
        Some(b'"') => Some(start + quoted_length(&rest[start..], b'"')),
        Some(b'\'') if rest[..letters] == *b"b" => char_length(&rest[start..]).map(|length| start + length),
        _ => None,
    }
}

/// Where the items behind `#[cfg(test)]`, `#[test]` and `#[tokio::test]` lie.
fn test_ranges(code: &[u8]) -> Vec<(usize, usize)> {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for at in (0..code.len()).filter(|at| code[*at] == b'#') {
        let marks = [&b"#[cfg(test)]"[..], b"#[test]", b"#[tokio::test"];
        let covered = ranges.iter().any(|(from, to)| (*from..*to).contains(&at));
        if covered || !marks.iter().any(|mark| code[at..].starts_with(mark)) {
            continue;
        }
        if let Some(open) = body_start(code, at) {
            ranges.push((at, matching_brace(code, open) + 1));
        }
    }
    ranges
}

/// The brace that opens the body of the item at `from`, unless a `;` ends the item first.
fn body_start(code: &[u8], from: usize) -> Option<usize> {
    let mut depth = 0;
    for (at, b) in code.iter().enumerate().skip(from) {
        match b {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b'{' if depth == 0 => return Some(at),
            b';' if depth == 0 => return None,
            // A function pointer type ends where its surroundings do.
            _ if depth < 0 => return None,
            _ => {}
        }
    }
    None
}

fn matching_brace(code: &[u8], open: usize) -> usize {
    let mut depth = 0;
    for (at, b) in code.iter().enumerate().skip(open) {
        match b {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => continue,
        }
        if depth == 0 {
            return at;
        }
    }
    code.len()
}

/// Where `word` stands as a whole word.
fn words<'a>(code: &'a [u8], word: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let starts = code.windows(word.len()).enumerate().filter(move |(_, window)| *window == word);
    let free = move |at: Option<&u8>| !at.is_some_and(|b| is_word(*b));
    let whole = move |at: &usize| {
        free(at.checked_sub(1).and_then(|before| code.get(before))) && free(code.get(at + word.len()))
    };
    starts.map(|(at, _)| at).filter(whole)
}

fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_'
}

#[test]
fn what_is_not_code_is_blanked() {
    let cases = [
        ("a // {\nb", "a     \nb"),
        ("a /* { /* } */ { */ b", "a                   b"),
        (r#"f("{\"}")"#, "f(      )"),
        (r##"f(r#"}"{"#, b"{", c"}")"##, "f(        ,     ,     )"),
        ("'{' 'a '\\'' '\\u{7d}' b'{' '…' x", "    'a                          x"),
        ("r#type { for r in b }", "r#type { for r in b }"),
        ("\"open {", "       "),
    ];
    for (text, want) in cases {
        assert_eq!(String::from_utf8(blank(text.as_bytes())).unwrap().trim_end(), want.trim_end(), "{text}");
    }
}

#[test]
fn functions_are_measured_from_name_to_brace() {
    let text = "fn one() { '{'; }\nfn two<F: Fn(u8) -> [u8; 2]>(\n    f: F,\n) where F: Copy {\n  \"}\";\n}\n\
                trait T { fn none(&self); fn some(&self) {\n} }\ntype P = fn(u8) -> u8;\nstruct S { f: fn() }";
    let functions = Source::new(text).functions();
    let seen: Vec<_> = functions.iter().map(|f| (f.name.as_str(), f.line, f.lines)).collect();
    assert_eq!(seen, [("one", 1, 1), ("two", 2, 5), ("some", 7, 2)]);
}

#[test]
fn test_code_is_told_from_the_rest() {
    let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n#[cfg(test)]\nmod other;\nfn d() {}";
    let source = Source::new(text);
    let test_lines: Vec<_> = source.lines().filter(|(_, _, test)| *test).map(|(line, _, _)| line).collect();
    assert_eq!(test_lines, [2, 3, 4, 5]);
    assert_eq!(source.test_blocks().collect::<Vec<_>>(), [(2, 4)]);
}
