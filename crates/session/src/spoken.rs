//! Commands of SQL that name prepared statements, and where in a text the names stand: PREPARE, EXECUTE (also behind EXPLAIN and CREATE TABLE AS),
//! DEALLOCATE (PostgreSQL documentation, SQL commands of these names).

use pgherd_sql::keyword::Group;
use pgherd_sql::lexer::Lexer;
use pgherd_sql::token::{Kind, Token};
use std::ops::Range;

/// Longest name that PostgreSQL does not cut.
const MAX_NAME: usize = 63;

/// What a command does with the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Gives it: to what `clause` of the text says (types, AS, statement), of which the statement begins at `body`.
    Prepare { clause: Range<usize>, body: usize },
    /// Runs what has it.
    Execute,
    /// Takes it away.
    Deallocate,
}

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// It names a statement.
    Names {
        /// What it does.
        deed: Deed,
        /// The name as it is compared.
        name: Box<[u8]>,
        /// Where in the text it stands, with its quotes.
        span: Range<usize>,
    },
    /// It takes all names away: DEALLOCATE ALL, DISCARD ALL.
    ForgetsAll,
}

/// What a text says of prepared statements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Spoken {
    /// These commands, in their order; and whether code stands beside them that may speak of statements as well (DO).
    Commands(Vec<Command>, bool),
    /// It may be read in more than one way.
    Unclear,
}

/// A look at the text: false when none of its commands can name a prepared statement.
pub(crate) fn may_speak(text: &[u8]) -> bool {
    let is = |at: usize, word: &[u8]| {
        text.get(at..at + word.len()).is_some_and(|found| found.eq_ignore_ascii_case(word))
    };
    let executes = memchr::memchr2_iter(b'x', b'X', text).any(|at| at > 0 && is(at - 1, b"execute"));
    executes
        || begins_so(text)
        || is_several(text) && (contains(text, b"prepare") || contains(text, b"dealloc"))
}

fn is_several(text: &[u8]) -> bool {
    memchr::memchr(b';', text)
        .is_some_and(|at| !text[at..].iter().all(|b| *b == b';' || b.is_ascii_whitespace()))
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word))
}

fn begins_so(text: &[u8]) -> bool {
    let mut lexer = Lexer::new(text, true);
    let first = lexer.next();
    first.is_some_and(|first| lexer.is(first, "prepare") || lexer.is(first, "deallocate"))
}

/// The text is one command and nothing else, which is this one.
pub(crate) fn lone(text: &[u8]) -> Option<Command> {
    match spoken(text) {
        Spoken::Commands(mut commands, false) if commands.len() == 1 && !is_several(text) => commands.pop(),
        _ => None,
    }
}

/// Reads the text to its end.
pub(crate) fn spoken(text: &[u8]) -> Spoken {
    let mut reader = Reader { lexer: Lexer::new(text, true), commands: Vec::new(), code: false };
    loop {
        match reader.statement() {
            Ok(true) => {}
            Ok(false) => return Spoken::Commands(reader.commands, reader.code),
            Err(Ambiguous) => return Spoken::Unclear,
        }
    }
}

/// Nothing is known of the rest of the text.
struct Ambiguous;

struct Reader<'a> {
    lexer: Lexer<'a>,
    commands: Vec<Command>,
    code: bool,
}

impl Reader<'_> {
    fn next(&mut self) -> Result<Option<Token>, Ambiguous> {
        let Some(token) = self.lexer.next() else { return Ok(None) };
        match token.kind {
            Kind::Error | Kind::UnicodeQuoted | Kind::Unicode => Err(Ambiguous),
            // What a backslash means depends on standard_conforming_strings.
            Kind::String | Kind::National if token.of(self.lexer.text()).contains(&b'\\') => Err(Ambiguous),
            _ => Ok(Some(token)),
        }
    }

    /// One statement and its semicolon; false at the end of the text.
    fn statement(&mut self) -> Result<bool, Ambiguous> {
        let Some(mut first) = self.next()? else { return Ok(false) };
        if self.lexer.is(first, "explain") {
            match self.explained()? {
                Some(token) => first = token,
                None => return Ok(false),
            }
        }
        if first.kind == Kind::Semicolon {
            return Ok(true);
        }
        let is = |word| self.lexer.is(first, word);
        let creates = is("create");
        self.code |= is("do");
        if is("prepare") {
            return self.prepare();
        }
        if is("execute") {
            self.name(Deed::Execute)?;
        } else if is("deallocate") {
            self.deallocate()?;
        } else if is("discard") && self.lexer.accept("all") {
            self.commands.push(Command::ForgetsAll);
        }
        self.rest(creates).map(|(more, _)| more)
    }

    /// Behind EXPLAIN and its options.
    fn explained(&mut self) -> Result<Option<Token>, Ambiguous> {
        if self.lexer.accept_kind(Kind::Open) {
            self.close()?;
        } else {
            let _ = self.lexer.accept("analyze") || self.lexer.accept("analyse");
            self.lexer.accept("verbose");
        }
        self.next()
    }

    /// To the parenthesis that closes the one before.
    fn close(&mut self) -> Result<(), Ambiguous> {
        let mut depth = 1;
        while depth > 0 {
            match self.next()?.ok_or(Ambiguous)?.kind {
                Kind::Open => depth += 1,
                Kind::Close => depth -= 1,
                Kind::Semicolon => return Err(Ambiguous),
                _ => {}
            }
        }
        Ok(())
    }

    /// To the end of the statement: whether there may be more, and where its last token ends. In CREATE TABLE the statement may be an EXECUTE.
    fn rest(&mut self, creates: bool) -> Result<(bool, usize), Ambiguous> {
        let (mut depth, mut end, mut table) = (0usize, self.lexer.at(), false);
        while let Some(token) = self.next()? {
            match token.kind {
                Kind::Open => depth += 1,
                Kind::Close => depth = depth.saturating_sub(1),
                Kind::Semicolon if depth == 0 => return Ok((true, end)),
                _ => {}
            }
            end = token.end;
            table |= creates && depth == 0 && self.lexer.is(token, "table");
            if table && depth == 0 && self.lexer.is(token, "as") && self.lexer.accept("execute") {
                self.name(Deed::Execute)?;
            }
        }
        Ok((false, end))
    }

    fn prepare(&mut self) -> Result<bool, Ambiguous> {
        let mut look = self.lexer;
        if look.accept("transaction") && look.peek().is_some_and(Token::is_string) {
            return self.rest(false).map(|(more, _)| more);
        }
        let before = self.commands.len();
        self.name(Deed::Execute)?;
        let start = self.lexer.peek().map_or(self.lexer.at(), |token| token.start);
        if self.lexer.accept_kind(Kind::Open) {
            self.close()?;
        }
        let whole = self.lexer.accept("as");
        let body = self.lexer.peek().map_or(self.lexer.at(), |token| token.start);
        let (more, end) = self.rest(false)?;
        match self.commands.get_mut(before) {
            Some(Command::Names { deed, .. }) if whole && body < end => {
                *deed = Deed::Prepare { clause: start..end, body };
            }
            // PostgreSQL refuses it.
            _ => self.commands.truncate(before),
        }
        Ok(more)
    }

    fn deallocate(&mut self) -> Result<(), Ambiguous> {
        let mut look = self.lexer;
        let named = look.accept("prepare") && look.peek().is_some_and(|next| next.kind != Kind::Semicolon);
        if named {
            self.lexer = look;
        }
        if self.lexer.accept("all") {
            self.commands.push(Command::ForgetsAll);
            return Ok(());
        }
        self.name(Deed::Deallocate)
    }

    /// The name that comes next. What cannot be a name is left to PostgreSQL, which refuses the whole text.
    fn name(&mut self, deed: Deed) -> Result<(), Ambiguous> {
        let Some(token) = self.next()? else { return Ok(()) };
        let text = token.of(self.lexer.text());
        let name: Box<[u8]> = match token.kind {
            Kind::Word => {
                let group = self.lexer.keyword(token).map(|keyword| keyword.group());
                if matches!(group, Some(Group::Reserved | Group::TypeOrFunction)) {
                    return Ok(());
                }
                // Letters outside ASCII are folded as the server's locale wants it.
                if !text.is_ascii() {
                    return Err(Ambiguous);
                }
                text.to_ascii_lowercase().into()
            }
            Kind::Quoted => text.get(1..text.len() - 1).unwrap_or_default().into(),
            Kind::Semicolon => return Err(Ambiguous),
            _ => return Ok(()),
        };
        if name.contains(&b'"') || name.len() > MAX_NAME {
            return Err(Ambiguous);
        }
        self.commands.push(Command::Names { deed, name, span: token.start..token.end });
        Ok(())
    }
}

#[cfg(test)]
#[path = "spoken_tests.rs"]
mod tests;
