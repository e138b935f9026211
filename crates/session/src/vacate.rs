//! Commands that PostgreSQL refuses while anybody is connected to the database they name: our idle connections to it must leave.

use crate::effect::{Effect, Effects};
use crate::machine::Machine;
use crate::pin::Pin;
use crate::tokens::{Token, Tokens};

impl Machine {
    /// A request with these effects goes to the server.
    pub(crate) fn heed(&mut self, effects: &Effects, text: &[u8]) {
        let unseen = |effect: &Effect| matches!(effect, Effect::Pins(Pin::Settings));
        if effects.pin == Some(Pin::Settings) || effects.list.iter().any(unseen) {
            self.note_names(text);
        }
        if let Some(pin) = effects.pin {
            self.pin_for(pin);
        }
        if effects.vacates.is_some() {
            self.vacates.clone_from(&effects.vacates);
        }
    }

    /// A statement is bound that may have been prepared long ago: what it leaves, or takes away, it does each time it is run.
    pub(crate) fn heed_again(&mut self, effects: Option<&Effects>, text: &[u8]) {
        self.suspect_of_text(text);
        if let Some(effects) = effects {
            self.heed(effects, text);
        }
    }

    /// The database that the requests shown since the last call want nobody to be connected to, if any.
    #[inline]
    pub fn take_vacated(&mut self) -> Option<Box<[u8]>> {
        self.vacates.take()
    }
}

/// True for the first words of such commands.
pub(crate) fn speaks_of_databases(first: Token<'_>) -> bool {
    first.is("drop") || first.is("alter") || first.is("create")
}

/// The database that this command, whose first word was read already, wants for itself: DROP DATABASE, ALTER DATABASE that renames or moves it, CREATE
/// DATABASE that copies it.
pub(crate) fn vacated(first: Token<'_>, mut tokens: Tokens<'_>) -> Option<Box<[u8]>> {
    if !speaks_of_databases(first) || !tokens.next()?.is("database") {
        return None;
    }
    let mut word = tokens.next()?;
    if first.is("drop") {
        if word.is("if") {
            tokens.next().filter(|exists| exists.is("exists"))?;
            word = tokens.next()?;
        }
        return name(word);
    }
    if first.is("alter") {
        let deed = tokens.next()?;
        let alone = deed.is("rename") || deed.is("set") && tokens.next()?.is("tablespace");
        return name(word).filter(|_| alone);
    }
    loop {
        let token = tokens.next().filter(|token| !token.is_byte(b';') && *token != Token::Opaque)?;
        if token.is("template") {
            let next = tokens.next()?;
            return name(if next.is_byte(b'=') { tokens.next()? } else { next });
        }
    }
}

fn name(token: Token<'_>) -> Option<Box<[u8]>> {
    let unquoted = |text: &[u8], quote: u8| {
        let mut previous = false;
        // The second of two quotes in a row is left out.
        let keep = |b: &u8| {
            previous = *b == quote && !previous;
            *b != quote || previous
        };
        text.iter().copied().filter(keep).collect()
    };
    match token {
        Token::Word(word) => Some(word.to_ascii_lowercase().into()),
        Token::Quoted(quoted) => Some(unquoted(quoted, b'"')),
        Token::Other([b'\'', text @ .., b'\'']) => Some(unquoted(text, b'\'')),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::effect::effects;

    #[test]
    fn names_the_database() {
        let vacated = |text: &str| {
            let name = effects(text.as_bytes())?.vacates?;
            Some(String::from_utf8(name.into()).unwrap())
        };
        for (text, name) in [
            ("DROP DATABASE app", "app"),
            ("drop /* now */ database if exists App;", "app"),
            ("DROP DATABASE \"A \"\"b\"\"\"", "A \"b\""),
            ("alter database app rename to old", "app"),
            ("ALTER DATABASE app SET TABLESPACE fast", "app"),
            ("create database copy with owner me template = 'it''s'", "it's"),
            ("create database copy TEMPLATE app", "app"),
            ("select 1; drop database app", "app"),
        ] {
            assert_eq!(vacated(text).as_deref(), Some(name), "{text}");
        }
        for text in [
            "DROP TABLE app",
            "ALTER DATABASE app SET work_mem = 1",
            "ALTER DATABASE app OWNER TO me",
            "CREATE DATABASE app; SELECT template FROM x",
            "CREATE DATABASE",
            "DROP DATABASE IF",
        ] {
            assert_eq!(vacated(text), None, "{text}");
            assert_eq!(effects(text.as_bytes()), None, "{text}");
        }
    }
}
