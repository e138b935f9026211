//! SET and RESET in all their forms (PostgreSQL documentation, SQL commands SET, RESET, SET ROLE, SET SESSION AUTHORIZATION, SET TRANSACTION).

use crate::datestyle;
use crate::effect::{Assignment, Effect, name, skip_statement};
use crate::params::{AUTHORIZATION, ROLE};
use crate::pin::Pin;
use crate::tokens::{Token, Tokens};

/// What follows the word SET.
pub(crate) fn set(tokens: &mut Tokens<'_>) -> Option<Effect> {
    let mut look = *tokens;
    let second = look.next()?;
    let local = second.is("local");
    if local || second.is("session") {
        *tokens = look;
    }
    let unknown = if local { Effect::Scoped } else { Effect::Pins(Pin::Settings) };
    let mut look = *tokens;
    let word = look.next()?;
    if word.is("constraints") {
        return None;
    }
    if word.is("transaction") {
        return Some(Effect::Scoped);
    }
    if word.is("characteristics") && !local {
        return Some(characteristics(&mut look).map_or(unknown, Effect::SetAll));
    }
    let named = special(word, look, tokens)
        .or_else(|| name(tokens).filter(|_| tokens.next().is_some_and(|t| t.is("to") || t.is_byte(b'='))));
    let zone = word.is("time");
    let effect = named.and_then(|name| value(tokens).map(|value| (name, value)));
    Some(match effect {
        // Not a setting but a deed: what `random` gives from now on outlives any transaction.
        Some((name, _)) if *name == *b"seed" => Effect::Pins(Pin::Unprovable),
        _ if local => Effect::Scoped,
        None => unknown,
        // These are the transaction's own, whatever form of SET names them.
        Some((name, _)) if name.starts_with(b"transaction_") => Effect::Scoped,
        Some((name, value)) if value.eq_ignore_ascii_case(b"default") => Effect::Reset(Some(name)),
        Some((name, value)) if *name == *datestyle::NAME && !datestyle::is_plain(&value) => unknown,
        // Two forms that only SET TIME ZONE has.
        Some((name, value)) if zone && value.eq_ignore_ascii_case(b"local") => Effect::Reset(Some(name)),
        Some((_, value)) if zone && Tokens::new(&value).next().is_some_and(|t| t.is("interval")) => unknown,
        Some((name, value)) => Effect::Set(name, value),
    })
}

/// The setting behind a form of SET with words of its own, whose value comes next then; `word` was read, `look` stands after it.
fn special<'a>(word: Token<'_>, mut look: Tokens<'a>, tokens: &mut Tokens<'a>) -> Option<Box<[u8]>> {
    let before_second = look;
    let second = look.next()?;
    let name: &[u8] = match word {
        _ if word.is("time") && second.is("zone") => b"timezone",
        _ if word.is("xml") && second.is("option") => b"xmloption",
        _ if second.is("to") || second.is_byte(b'=') || second.is_byte(b'.') => return None,
        _ if word.is("names") => b"client_encoding",
        _ if word.is("schema") => b"search_path",
        _ if word.is("role") => ROLE,
        _ if word.is("authorization") => AUTHORIZATION,
        _ => return None,
    };
    let two_words = word.is("time") || word.is("xml");
    *tokens = if two_words { look } else { before_second };
    Some(name.into())
}

/// SESSION CHARACTERISTICS AS TRANSACTION: modes, which are the defaults of transactions by other names.
fn characteristics(tokens: &mut Tokens<'_>) -> Option<Vec<Assignment>> {
    let mut all = Vec::new();
    tokens.next().filter(|t| t.is("as"))?;
    tokens.next().filter(|t| t.is("transaction"))?;
    loop {
        let first = tokens.next()?;
        let (name, value): (&[u8], &[u8]) = if first.is("read") {
            let second = tokens.next().filter(|t| t.is("only") || t.is("write"))?;
            (b"default_transaction_read_only", if second.is("only") { b"on" } else { b"off" })
        } else if first.is("deferrable") {
            (b"default_transaction_deferrable", b"on")
        } else if first.is("not") {
            tokens.next().filter(|t| t.is("deferrable"))?;
            (b"default_transaction_deferrable", b"off")
        } else {
            tokens.next().filter(|t| first.is("isolation") && t.is("level"))?;
            (b"default_transaction_isolation", level(tokens)?)
        };
        all.push((name, value.into()));
        let mut look = *tokens;
        match look.next() {
            None => return Some(all),
            Some(t) if t.is_byte(b';') => return Some(all),
            Some(t) if t.is_byte(b',') => *tokens = look,
            Some(_) => {}
        }
    }
}

fn level(tokens: &mut Tokens<'_>) -> Option<&'static [u8]> {
    let first = tokens.next()?;
    if first.is("serializable") {
        return Some(b"serializable");
    }
    let second = tokens.next()?;
    match first {
        _ if first.is("repeatable") && second.is("read") => Some(b"'repeatable read'"),
        _ if first.is("read") && second.is("committed") => Some(b"'read committed'"),
        _ if first.is("read") && second.is("uncommitted") => Some(b"'read uncommitted'"),
        _ => None,
    }
}

/// The text up to the end of the statement, when all of it is understood.
fn value(tokens: &mut Tokens<'_>) -> Option<Box<[u8]>> {
    let from = tokens.rest();
    skip_statement(tokens).then_some(())?;
    let value = from[..from.len() - tokens.rest().len()].trim_ascii_end();
    (!value.is_empty()).then(|| value.into())
}

/// What follows the word RESET, except ALL.
pub(crate) fn reset(tokens: &mut Tokens<'_>) -> Effect {
    let named = |name: &[u8]| Effect::Reset(Some(name.into()));
    let mut look = *tokens;
    match look.next() {
        Some(t) if t.is("time") => named(b"timezone"),
        Some(t) if t.is("session") && look.next().is_some_and(|t| t.is("authorization")) => {
            named(AUTHORIZATION)
        }
        Some(t) if t.is("session") || t.is("transaction") => Effect::Pins(Pin::Settings),
        _ => name(tokens).map_or(Effect::Pins(Pin::Settings), |name| Effect::Reset(Some(name))),
    }
}
