//! A small tokenizer, just enough to read commands that speak of the session itself (SET, BEGIN, DEALLOCATE ...).
//! The classifier of reads and writes is a different thing and lives in `route`.

/// One token of SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token<'a> {
    /// An unquoted identifier or keyword, as written.
    Word(&'a [u8]),
    /// A quoted identifier without its quotes (doubled quotes still doubled).
    Quoted(&'a [u8]),
    /// Any other run: a literal, a number, one punctuation byte.
    Other(&'a [u8]),
    /// Something this tokenizer does not follow (dollar quotes, escape strings, an unterminated token): nothing after it is known.
    Opaque,
}

impl Token<'_> {
    /// True for the unquoted word `keyword` (given in lower case), whatever its case in the text.
    pub fn is(&self, keyword: &str) -> bool {
        matches!(self, Token::Word(word) if word.eq_ignore_ascii_case(keyword.as_bytes()))
    }

    /// True for this punctuation byte.
    pub fn is_byte(&self, byte: u8) -> bool {
        matches!(self, Token::Other([b]) if *b == byte)
    }
}

/// Reads tokens from a text.
#[derive(Clone, Copy, Debug)]
pub struct Tokens<'a> {
    rest: &'a [u8],
}

impl<'a> Tokens<'a> {
    /// Starts at the beginning of `text`.
    pub fn new(text: &'a [u8]) -> Tokens<'a> {
        Tokens { rest: text }
    }

    /// The text that was not read yet, white space and comments before it skipped.
    pub fn rest(&mut self) -> &'a [u8] {
        self.skip_space();
        self.rest
    }

    /// True when only white space, comments and semicolons are left.
    pub fn at_end(&mut self) -> bool {
        let mut look = *self;
        loop {
            match look.next() {
                None => return true,
                Some(token) if token.is_byte(b';') => {}
                Some(_) => return false,
            }
        }
    }

    fn skip_space(&mut self) {
        loop {
            let space = self.rest.iter().take_while(|b| b.is_ascii_whitespace() || **b == 0x0b).count();
            self.rest = &self.rest[space..];
            if self.rest.starts_with(b"--") {
                let end = memchr::memchr2(b'\n', b'\r', self.rest).unwrap_or(self.rest.len());
                self.rest = &self.rest[end..];
            } else if self.rest.starts_with(b"/*") {
                self.rest = after_comment(self.rest);
            } else {
                return;
            }
        }
    }

    fn take(&mut self, n: usize) -> &'a [u8] {
        let (token, rest) = self.rest.split_at(n.min(self.rest.len()));
        self.rest = rest;
        token
    }

    fn opaque(&mut self) -> Option<Token<'a>> {
        self.rest = &[];
        Some(Token::Opaque)
    }

    /// A quoted run that starts here; `None` when it does not end.
    fn quoted_len(&self, quote: u8) -> Option<usize> {
        let mut at = 1;
        loop {
            at += memchr::memchr(quote, self.rest.get(at..)?)? + 1;
            if self.rest.get(at) != Some(&quote) {
                return Some(at);
            }
            at += 1;
        }
    }
}

/// The text after a (nested) block comment; empty when it does not end.
fn after_comment(text: &[u8]) -> &[u8] {
    let (mut depth, mut at) = (0usize, 0);
    while at + 1 < text.len() {
        match &text[at..at + 2] {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return &text[at..];
        }
    }
    &[]
}

fn starts_word(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        self.skip_space();
        let &first = self.rest.first()?;
        match first {
            _ if starts_word(first) => {
                let in_word = |b: &&u8| starts_word(**b) || b.is_ascii_digit() || **b == b'$';
                let len = self.rest.iter().take_while(in_word).count();
                // E'..', B'..', X'..', N'..', U&'..' and U&"..": prefixes change the meaning of what follows.
                if matches!(self.rest.get(len), Some(b'\''))
                    || (len == 1 && self.rest.get(1..3) == Some(b"&\""))
                {
                    return self.opaque();
                }
                Some(Token::Word(self.take(len)))
            }
            b'"' => match self.quoted_len(b'"') {
                Some(len) => {
                    let quoted = self.take(len);
                    Some(Token::Quoted(&quoted[1..quoted.len() - 1]))
                }
                None => self.opaque(),
            },
            b'\'' => match self.quoted_len(b'\'') {
                // A backslash may or may not escape the quote, which depends on standard_conforming_strings.
                Some(len) if !self.rest[..len].contains(&b'\\') => Some(Token::Other(self.take(len))),
                _ => self.opaque(),
            },
            b'$' => self.opaque(),
            b'0'..=b'9' => {
                let len = self.rest.iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'.').count();
                Some(Token::Other(self.take(len)))
            }
            _ => Some(Token::Other(self.take(1))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<Token<'_>> {
        Tokens::new(text.as_bytes()).collect()
    }

    #[test]
    fn reads_words_strings_and_comments() {
        use Token::{Other, Quoted, Word};
        let tokens = all("/* a /* b */ c */ SET -- x\n \"My\"\"Name\" = 'it''s', 10.5;");
        let expected = [
            Word(b"SET"),
            Quoted(b"My\"\"Name"),
            Other(b"="),
            Other(b"'it''s'"),
            Other(b","),
            Other(b"10.5"),
            Other(b";"),
        ];
        assert_eq!(tokens, expected);
    }

    #[test]
    fn admits_what_it_does_not_follow() {
        for text in ["$$x$$", "E'\\''", "'a\\'", "'open", "\"open", "U&\"x\"", "'a\\'' b"] {
            assert_eq!(all(text).last(), Some(&Token::Opaque), "{text}");
        }
        assert_eq!(all("/* open"), []);
        assert_eq!(all("/*/"), []);
    }

    #[test]
    fn knows_the_end() {
        assert!(Tokens::new(b" ; -- x").at_end());
        assert!(!Tokens::new(b" ; x").at_end());
    }
}
