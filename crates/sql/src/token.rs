//! What the lexer hands out.

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An identifier or keyword without quotes.
    Word,
    /// `"..."`
    Quoted,
    /// `U&"..."`; its escapes are not decoded.
    UnicodeQuoted,
    /// `'...'` without escapes, all its continuations included.
    String,
    /// `E'...'`, and `'...'` while `standard_conforming_strings` is off.
    Escape,
    /// `U&'...'`
    Unicode,
    /// `N'...'`
    National,
    /// `B'...'` or `X'...'`
    Bits,
    /// `$$...$$` or `$tag$...$tag$`
    Dollar,
    /// A number of any form.
    Number,
    /// `$1`
    Param,
    /// A run of operator characters, `+` and `=` included.
    Operator,
    /// `::`
    Cast,
    /// `:=`
    Assign,
    /// `=>`
    Arrow,
    /// `..`
    DotDot,
    /// `.`
    Dot,
    /// `,`
    Comma,
    /// `;`
    Semicolon,
    /// `:`
    Colon,
    /// `(`
    Open,
    /// `)`
    Close,
    /// `[`
    OpenBracket,
    /// `]`
    CloseBracket,
    /// PostgreSQL would refuse the text here: an unterminated token, a byte that begins none. Nothing follows.
    Error,
}

/// One token: what it is, and the bytes of the text it covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// Offset of its first byte.
    pub start: usize,
    /// Offset after its last byte.
    pub end: usize,
}

impl Token {
    /// True for tokens that name something: a word, or an identifier in quotes.
    pub fn is_name(self) -> bool {
        matches!(self.kind, Kind::Word | Kind::Quoted | Kind::UnicodeQuoted)
    }

    /// True for all forms of string constants.
    pub fn is_string(self) -> bool {
        use Kind::{Bits, Dollar, Escape, National, String, Unicode};
        matches!(self.kind, String | Escape | Unicode | National | Bits | Dollar)
    }

    /// Its bytes in `text`, the text it was read from.
    pub fn of(self, text: &[u8]) -> &[u8] {
        text.get(self.start..self.end).unwrap_or_default()
    }
}
