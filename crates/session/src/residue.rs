//! What hides in the middle of a text and leaves something in the server: session advisory locks, `set_config`, `setseed`, temporary objects.

use crate::pin::Pin;
use pgherd_sql::lexer::Lexer;
use pgherd_sql::name::Name;
use pgherd_sql::token::{Kind, Token};

/// How deep texts within texts are read: a literal may be run as SQL by whatever it is given to.
const MAX_DEPTH: u8 = 2;

/// The server must be kept after this text, as far as can be seen. Nearly every text is done with after a look at its bytes.
pub(crate) fn residue(text: &[u8]) -> Option<Pin> {
    if !may_leave(text) {
        return None;
    }
    Reader::new(text, MAX_DEPTH).read()
}

/// A look at bytes: true whenever one of the words stands somewhere, whatever it means there.
fn may_leave(text: &[u8]) -> bool {
    let is = |at: usize, word: &[u8]| {
        text.get(at..at + word.len()).is_some_and(|found| found.eq_ignore_ascii_case(word))
    };
    memchr::memchr2_iter(b'p', b'P', text).any(|at| at >= 3 && is(at - 3, b"temp"))
        || memchr::memchr_iter(b'_', text)
            .any(|at| at >= 8 && is(at - 8, b"advisory_lock") || at >= 3 && is(at - 3, b"set_config"))
        || memchr::memchr2_iter(b'd', b'D', text).any(|at| at >= 6 && is(at - 6, b"setseed"))
}

struct Reader<'a> {
    lexer: Lexer<'a>,
    depth: u8,
    /// The token before the last one.
    before: Option<Token>,
    last: Option<Token>,
    /// The statement begins with this word: its own body is not run by it.
    defines: bool,
    /// Its literals are values of settings.
    sets: bool,
    /// Temporary objects made so far, less those that end with their transaction.
    temporary: i32,
}

impl<'a> Reader<'a> {
    fn new(text: &'a [u8], depth: u8) -> Reader<'a> {
        let lexer = Lexer::new(text, true);
        Reader { lexer, depth, before: None, last: None, defines: false, sets: false, temporary: 0 }
    }

    /// Of several the one of which most must be found out: what nobody can be asked for, then settings, then the rest.
    fn read(mut self) -> Option<Pin> {
        let mut worst = None;
        while let Some(token) = self.lexer.next() {
            match self.token(token) {
                Some(Pin::Unprovable) => return Some(Pin::Unprovable),
                Some(Pin::Settings) => worst = Some(Pin::Settings),
                found => worst = worst.or(found),
            }
            if token.kind == Kind::Semicolon {
                (self.before, self.last, self.defines, self.sets) = (None, None, false, false);
                continue;
            }
            (self.before, self.last) = (self.last, Some(token));
        }
        worst.or((self.temporary > 0).then_some(Pin::Temporary))
    }

    fn token(&mut self, token: Token) -> Option<Pin> {
        let text = self.lexer.text();
        match token.kind {
            // What may be read in one way or another, or is a name nobody can compare: in doubt it leaves something.
            Kind::Error | Kind::UnicodeQuoted | Kind::Unicode => Some(Pin::Unprovable),
            Kind::String | Kind::National if token.of(text).contains(&b'\\') => Some(Pin::Unprovable),
            Kind::String | Kind::National | Kind::Escape | Kind::Dollar => self.literal(token.of(text)),
            Kind::Word | Kind::Quoted => {
                let name = self.lexer.name(token)?;
                self.name(token, name)
            }
            _ => None,
        }
    }

    fn name(&mut self, token: Token, name: Name<'_>) -> Option<Pin> {
        let called = self.lexer.peek().is_some_and(|next| next.kind == Kind::Open);
        if called && speaks_of_locks(name) {
            return Some(Pin::AdvisoryLock);
        }
        if called && name.is(b"setseed") {
            // Nobody can be asked for it.
            return Some(Pin::Unprovable);
        }
        if called && name.is(b"set_config") && !is_local(self.lexer) {
            return Some(Pin::Settings);
        }
        if name.starts_with("pg_temp") {
            return Some(Pin::Temporary);
        }
        if token.kind == Kind::Word {
            self.word(name);
        }
        None
    }

    fn word(&mut self, name: Name<'_>) {
        let was = |last: Option<Token>, word| last.is_some_and(|last| self.lexer.is(last, word));
        let first = self.last.is_none();
        if first {
            self.sets = name.is(b"set");
            return;
        }
        let creates = ["create", "replace", "local", "global"].into_iter().any(|word| was(self.last, word));
        if name.is(b"function") || name.is(b"procedure") {
            self.defines |= creates;
        } else if name.is(b"temp") || name.is(b"temporary") {
            self.temporary += i32::from(creates || was(self.last, "into") && self.names_a_table());
        } else if name.is(b"drop") && was(self.last, "commit") && was(self.before, "on") {
            self.temporary -= 1;
        }
    }

    /// After INTO TEMP: a table's name, and not what follows the name of a table called so.
    fn names_a_table(&self) -> bool {
        let Some(next) = self.lexer.peek() else { return false };
        let goes_on = ["values", "select", "default", "from", "as", "overriding", "with", "table", "where"];
        let plain_table = self.lexer.is(next, "table");
        next.is_name() && (plain_table || !goes_on.into_iter().any(|word| self.lexer.is(next, word)))
    }

    /// A text that may be run: by DO, or by a function it is given to.
    fn literal(&self, literal: &[u8]) -> Option<Pin> {
        if self.defines || !may_leave(literal) {
            return None;
        }
        if self.sets {
            // The path of a session, perhaps: what it makes from now on would be temporary.
            return Some(Pin::Temporary);
        }
        let inside = inside(literal);
        match self.depth {
            0 => Some(Pin::Unprovable),
            depth => Reader::new(inside, depth - 1).read(),
        }
    }
}

/// A literal without its quotes.
fn inside(literal: &[u8]) -> &[u8] {
    let (open, close) = match memchr::memchr2(b'\'', b'$', literal) {
        Some(at) if literal[at] == b'$' => {
            let tag = memchr::memchr(b'$', &literal[at + 1..]).map_or(literal.len(), |end| at + end + 2);
            (tag, literal.len().saturating_sub(tag - at))
        }
        Some(at) => (at + 1, literal.len().saturating_sub(1)),
        None => (0, literal.len()),
    };
    literal.get(open..close).unwrap_or_default()
}

/// `pg_advisory_lock`, `pg_try_advisory_lock_shared` and all that are spelled like them; those of the transaction are not.
fn speaks_of_locks(name: Name<'_>) -> bool {
    const WORD: &[u8] = b"advisory_lock";
    let (mut bytes, mut length) = ([0; 64], 0);
    for byte in name.bytes().take(bytes.len()) {
        bytes[length] = byte.to_ascii_lowercase();
        length += 1;
    }
    bytes[..length].windows(WORD.len()).any(|window| window == WORD)
}

/// Longest arguments of `set_config` that are read.
const MAX_ARGUMENTS: usize = 4096;

/// What comes next are arguments of which the last is the word `true`: the setting ends with its transaction.
fn is_local(mut lexer: Lexer<'_>) -> bool {
    let end = lexer.at() + MAX_ARGUMENTS;
    let mut depth = 0usize;
    let (mut before, mut last) = (None::<Token>, None::<Token>);
    while let Some(token) = lexer.next().filter(|token| token.end <= end) {
        if token.kind == Kind::Close && depth == 1 {
            let comma = before.is_some_and(|before| before.kind == Kind::Comma);
            return comma && last.is_some_and(|last| lexer.is(last, "true"));
        }
        match token.kind {
            Kind::Open => depth += 1,
            Kind::Close => depth = depth.saturating_sub(1),
            Kind::Error => return false,
            _ => {}
        }
        if depth == 0 {
            return false;
        }
        (before, last) = (last, Some(token));
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_leave_nothing() {
        for text in [
            "select temp from weather where temp > 20 order by temp",
            "select a.temp, 'temp', \"Temp\" from a",
            "insert into temp values (1)",
            "insert into temp (a) select 1",
            "select 'pg_advisory_lock' || pg_advisory_unlock(1)::text from template",
            "update t set temporary = 'set_config', note = 'temp table'",
            "select pg_advisory_xact_lock(1)",
            "create temp table x() on commit drop; create temp table y() on commit drop",
            "create function f() returns void language plpgsql as $$ begin create temp table x(); end $$",
            "create table t (temp int, setseed int)",
            "select advisory_lock_id, set_config_at from t",
            "comment on table t is 'a temp thing'",
        ] {
            assert_eq!(residue(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn words_that_leave_something() {
        for (text, pin) in [
            ("create local temporary table x()", Pin::Temporary),
            ("create or replace temp view v as select 1", Pin::Temporary),
            ("select 1 into temp x", Pin::Temporary),
            ("select 1 into temporary table x from y", Pin::Temporary),
            ("create table pg_temp.x()", Pin::Temporary),
            ("create table \"pg_temp\".x()", Pin::Temporary),
            ("set search_path to 'pg_temp'", Pin::Temporary),
            ("create temp table x() on commit drop; create temp table y()", Pin::Temporary),
            ("do $$ begin create temp table x(); end $$", Pin::Temporary),
            ("do $a$ begin execute 'create temp table x()'; end $a$", Pin::Temporary),
            ("select run('create temp table x()')", Pin::Temporary),
            ("select run('select pg_advisory_lock(1)')", Pin::AdvisoryLock),
            ("select \"pg_advisory_lock\"(1)", Pin::AdvisoryLock),
            ("select pg_catalog . pg_try_advisory_lock_shared /* now */ (1)", Pin::AdvisoryLock),
            ("select U&\"pg\\005ftemp\".x, 'temp'", Pin::Unprovable),
            ("select 'temp\\' , 1", Pin::Unprovable),
            ("select setseed(0.5)", Pin::Unprovable),
            ("select pg_advisory_lock(1), setseed(0.5)", Pin::Unprovable),
            ("select pg_advisory_lock(1), set_config('a.b', 'c', false)", Pin::Settings),
            ("create temp table t(); select set_config('a.b', 'c', false)", Pin::Settings),
        ] {
            assert_eq!(residue(text.as_bytes()), Some(pin), "{text}");
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        for text in
            ["temp$", "'temp", "$$temp", "$a$temp$a$$", "E'temp\\'", "temp''", "into temp", "set_config("]
        {
            for cut in 0..=text.len() {
                let _ = residue(&[b"do ", &text.as_bytes()[..cut], b"temp"].concat());
            }
        }
    }
}
