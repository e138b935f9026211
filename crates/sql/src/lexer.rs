//! From bytes to tokens.

use crate::keyword::Keyword;
use crate::literal::{comment_end, continuation, dollar_end, dollar_tag, escaped_end, line_end, quoted_end};
use crate::name::Name;
use crate::number::{number_end, starts_word};
use crate::token::{Kind, Token};

/// Reads tokens from a text. A copy of it is a bookmark.
#[derive(Clone, Copy, Debug)]
pub struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    standard_strings: bool,
}

impl<'a> Lexer<'a> {
    /// Starts at the beginning of `text`. `standard_strings` is the session's `standard_conforming_strings`: without it a
    /// backslash escapes in ordinary strings.
    pub fn new(text: &'a [u8], standard_strings: bool) -> Lexer<'a> {
        Lexer { text, at: 0, standard_strings }
    }

    /// The text it reads.
    pub fn text(&self) -> &'a [u8] {
        self.text
    }

    /// Where the next token is looked for.
    pub fn at(&self) -> usize {
        self.at
    }

    /// The next token, left where it is.
    pub fn peek(&self) -> Option<Token> {
        let mut look = *self;
        look.next()
    }

    /// The keyword that `token` is, if it is one; never for what stands in quotes.
    pub fn keyword(&self, token: Token) -> Option<Keyword> {
        if token.kind != Kind::Word {
            return None;
        }
        let name = Name::word(token.of(self.text));
        Keyword::of(name, name.fold())
    }

    /// True if the next token is the word `word` (given in lower case) without quotes; it is read then.
    pub fn accept(&mut self, word: &str) -> bool {
        let mut look = *self;
        let is = look.next().is_some_and(|token| look.is(token, word));
        if is {
            *self = look;
        }
        is
    }

    /// True if the next token is of this kind; it is read then.
    pub fn accept_kind(&mut self, kind: Kind) -> bool {
        let mut look = *self;
        let is = look.next().is_some_and(|token| token.kind == kind);
        if is {
            *self = look;
        }
        is
    }

    /// True if `token` is the word `word` (given in lower case) without quotes.
    pub fn is(&self, token: Token, word: &str) -> bool {
        token.kind == Kind::Word && token.of(self.text).eq_ignore_ascii_case(word.as_bytes())
    }

    /// The identifier that `token` spells, if it can be compared ([`Name::of`]).
    pub fn name(&self, token: Token) -> Option<Name<'a>> {
        Name::of(token, self.text)
    }

    /// After white space and comments; `None` when a comment does not end.
    fn skip_blank(&self) -> Option<usize> {
        let mut at = self.at;
        loop {
            match self.text.get(at) {
                Some(b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c) => at += 1,
                Some(b'-') if self.text.get(at + 1) == Some(&b'-') => at = line_end(self.text, at),
                Some(b'/') if self.text.get(at + 1) == Some(&b'*') => at = comment_end(self.text, at)?,
                _ => return Some(at),
            }
        }
    }

    fn token(&mut self, kind: Kind, start: usize, end: Option<usize>) -> Option<Token> {
        let (kind, end) = end.map_or((Kind::Error, self.text.len()), |end| (kind, end));
        // Nothing can be said about what follows an error.
        self.at = if kind == Kind::Error { self.text.len() } else { end };
        Some(Token { kind, start, end })
    }

    /// The string whose content begins at `at`, with its continuations.
    fn string_end(&self, kind: Kind, mut at: usize) -> Option<usize> {
        loop {
            let escapes = kind == Kind::Escape;
            let end = if escapes { escaped_end(self.text, at) } else { quoted_end(self.text, at, b'\'') }?;
            match continuation(self.text, end) {
                Some(next) => at = next,
                None => return Some(end),
            }
        }
    }

    fn plain_string(&self) -> Kind {
        if self.standard_strings { Kind::String } else { Kind::Escape }
    }

    /// A word, or a string or identifier with a letter before its quote.
    fn word(&mut self, start: usize, first: u8) -> Option<Token> {
        let second = self.text.get(start + 1).copied().unwrap_or(0);
        if second == b'\'' {
            let kind = match first {
                b'e' | b'E' => Some(Kind::Escape),
                b'b' | b'B' | b'x' | b'X' => Some(Kind::Bits),
                b'n' | b'N' if self.standard_strings => Some(Kind::National),
                b'n' | b'N' => Some(Kind::Escape),
                _ => None,
            };
            if let Some(kind) = kind {
                let end = self.string_end(kind, start + 2);
                return self.token(kind, start, end);
            }
        }
        if second == b'&' && matches!(first, b'u' | b'U') {
            match self.text.get(start + 2) {
                Some(b'"') => {
                    let end = quoted_end(self.text, start + 3, b'"');
                    return self.token(Kind::UnicodeQuoted, start, end);
                }
                Some(b'\'') => {
                    let end = self.string_end(Kind::Unicode, start + 3).filter(|_| self.standard_strings);
                    return self.token(Kind::Unicode, start, end);
                }
                _ => {}
            }
        }
        let mut end = start + 1;
        while self.text.get(end).is_some_and(|byte| IN_WORD[usize::from(*byte)]) {
            end += 1;
        }
        self.token(Kind::Word, start, Some(end))
    }

    fn dollar(&mut self, start: usize) -> Option<Token> {
        let rest = self.text.get(start + 1..).unwrap_or_default();
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits > 0 {
            let junk = rest.get(digits).is_some_and(|byte| starts_word(*byte));
            return self.token(Kind::Param, start, (!junk).then_some(start + 1 + digits));
        }
        let end = dollar_tag(self.text, start).and_then(|tag| dollar_end(self.text, start, tag));
        self.token(Kind::Dollar, start, end)
    }

    /// A run of operator characters: it stops before a comment, and at its end plus and minus belong to the next token
    /// unless the run holds one of the characters below (documentation, 4.1.3).
    fn operator(&mut self, start: usize) -> Option<Token> {
        let rest = self.text.get(start..).unwrap_or_default();
        let mut run = rest.iter().take_while(|byte| is_operator(**byte)).count();
        let comment = rest[..run].windows(2).position(|two| two == b"--" || two == b"/*");
        run = comment.unwrap_or(run);
        let keeps = |byte: &u8| b"~!@#^&|`?%".contains(byte);
        if !rest.get(..run.saturating_sub(1)).unwrap_or_default().iter().any(keeps) {
            while run > 1 && matches!(rest[run - 1], b'+' | b'-') {
                run -= 1;
            }
        }
        let kind = if &rest[..run] == b"=>" { Kind::Arrow } else { Kind::Operator };
        let too_long = run >= MAX_OPERATOR;
        self.token(kind, start, (!too_long).then_some(start + run))
    }
}

/// From this length on PostgreSQL refuses an operator.
const MAX_OPERATOR: usize = 64;

fn is_operator(byte: u8) -> bool {
    b"~!@#^&|`?+-*/%<>=".contains(&byte)
}

/// The bytes an identifier may have after its first.
static IN_WORD: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] =
            (byte as u8).is_ascii_alphanumeric() || byte as u8 == b'_' || byte as u8 == b'$' || byte >= 0x80;
        byte += 1;
    }
    table
};

impl Iterator for Lexer<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        let Some(start) = self.skip_blank() else {
            return self.token(Kind::Error, self.at, None);
        };
        let Some(&first) = self.text.get(start) else {
            self.at = start;
            return None;
        };
        let second = self.text.get(start + 1).copied().unwrap_or(0);
        let (kind, end) = match first {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80.. => return self.word(start, first),
            b'\'' => {
                let kind = self.plain_string();
                (kind, self.string_end(kind, start + 1))
            }
            // An empty name is an error of its own.
            b'"' => (Kind::Quoted, quoted_end(self.text, start + 1, b'"').filter(|end| *end > start + 2)),
            b'$' => return self.dollar(start),
            b'0'..=b'9' => (Kind::Number, number_end(self.text, start)),
            b'.' if second.is_ascii_digit() => (Kind::Number, number_end(self.text, start)),
            b'.' if second == b'.' => (Kind::DotDot, Some(start + 2)),
            b':' if second == b':' => (Kind::Cast, Some(start + 2)),
            b':' if second == b'=' => (Kind::Assign, Some(start + 2)),
            b'.' => (Kind::Dot, Some(start + 1)),
            b':' => (Kind::Colon, Some(start + 1)),
            b',' => (Kind::Comma, Some(start + 1)),
            b';' => (Kind::Semicolon, Some(start + 1)),
            b'(' => (Kind::Open, Some(start + 1)),
            b')' => (Kind::Close, Some(start + 1)),
            b'[' => (Kind::OpenBracket, Some(start + 1)),
            b']' => (Kind::CloseBracket, Some(start + 1)),
            _ if is_operator(first) => return self.operator(start),
            _ => (Kind::Error, None),
        };
        self.token(kind, start, end)
    }
}

#[cfg(test)]
#[path = "lexer_tests.rs"]
mod tests;
