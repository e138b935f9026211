//! Tokens as those need them who read commands that speak of the session itself (SET, BEGIN, DEALLOCATE ...): PostgreSQL's own, and a plain word for what
//! depends on settings that are not known here.

use pgherd_sql::lexer::Lexer;
use pgherd_sql::token::Kind;

/// One token of SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token<'a> {
    /// An unquoted identifier or keyword, as written.
    Word(&'a [u8]),
    /// A quoted identifier without its quotes (doubled quotes still doubled).
    Quoted(&'a [u8]),
    /// Any other run: a literal, a number, punctuation.
    Other(&'a [u8]),
    /// What PostgreSQL would refuse, or may read in one way or another (a backslash in a string, an identifier with escapes): nothing after it is known.
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
    /// `None` behind what is opaque.
    lexer: Option<Lexer<'a>>,
}

impl<'a> Tokens<'a> {
    /// Starts at the beginning of `text`.
    pub fn new(text: &'a [u8]) -> Tokens<'a> {
        Tokens { lexer: Some(Lexer::new(text, true)) }
    }

    /// The text that was not read yet, white space and comments before it skipped.
    pub fn rest(&self) -> &'a [u8] {
        let Some(lexer) = &self.lexer else { return &[] };
        let from = lexer.peek().map_or(lexer.text().len(), |token| token.start);
        lexer.text().get(from..).unwrap_or_default()
    }

    /// True when only white space, comments and semicolons are left.
    pub fn at_end(&self) -> bool {
        self.into_iter().all(|token| token.is_byte(b';'))
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let lexer = self.lexer.as_mut()?;
        let token = lexer.next()?;
        let bytes = token.of(lexer.text());
        let token = match token.kind {
            Kind::Word => Token::Word(bytes),
            Kind::Quoted => Token::Quoted(bytes.get(1..bytes.len() - 1).unwrap_or_default()),
            // A backslash may or may not escape the quote, which depends on standard_conforming_strings.
            Kind::String | Kind::National if bytes.contains(&b'\\') => Token::Opaque,
            Kind::Error | Kind::UnicodeQuoted | Kind::Unicode => Token::Opaque,
            _ => Token::Other(bytes),
        };
        if token == Token::Opaque {
            self.lexer = None;
        }
        Some(token)
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
        for text in ["$$x", "E'\\'", "'a\\'", "'open", "\"open", "U&\"x\"", "'a\\'' b", "/* open", "/*/"] {
            assert_eq!(all(text).last(), Some(&Token::Opaque), "{text}");
        }
        assert_eq!(all("$$x$$ E'\\''"), [Token::Other(b"$$x$$"), Token::Other(b"E'\\''")]);
    }

    #[test]
    fn knows_the_end() {
        assert!(Tokens::new(b" ; -- x").at_end());
        assert!(!Tokens::new(b" ; x").at_end());
    }
}
