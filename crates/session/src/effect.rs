//! What a text does to the session's own state, as far as a text can tell. What it cannot tell is caught by evidence: command tags and ParameterStatus.

use crate::datestyle;
use crate::pin::Pin;
use crate::tokens::{Token, Tokens};
use crate::vacate::{speaks_of_databases, vacated};
use std::collections::VecDeque;

/// One change of session state, in the order in which the commands stand in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// `SET name TO value`: lower-cased name and the value as SQL text.
    Set(Box<[u8]>, Box<[u8]>),
    /// `SELECT set_config(name, value, false)` and nothing else: lower-cased name and the value as a string.
    Config(Box<[u8]>, Box<[u8]>),
    /// A tag that may change something, but nothing outlives the transaction (SET LOCAL, SET TRANSACTION, an ordinary cursor).
    Scoped,
    /// `RESET name`, or everything.
    Reset(Option<Box<[u8]>>),
    /// DISCARD ALL.
    DiscardAll,
    /// `DEALLOCATE name`, or ALL.
    Deallocate(Option<Box<[u8]>>),
    /// A command after which the server must be kept.
    Pins(Pin),
}

/// All a text does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Changes in order; each is confirmed by its command tag.
    pub list: VecDeque<Effect>,
    /// The server must be kept from now on, whatever the answer.
    pub pin: Option<Pin>,
    /// Nobody may be connected to this database when the server gets there.
    pub vacates: Option<Box<[u8]>>,
}

impl Effects {
    /// One of the commands takes away all prepared statements of the server.
    pub(crate) fn forgets_statements(&self) -> bool {
        self.list.iter().any(|effect| matches!(effect, Effect::DiscardAll | Effect::Deallocate(None)))
    }
}

/// Longest part of a text that is looked at; a command hidden behind it is caught by its tag.
pub const MAX_READ: usize = 64 * 1024;

/// Reads `text`; `None` (no allocation, a fast look) for the ordinary statement that changes nothing of the session.
pub fn effects(text: &[u8]) -> Option<Effects> {
    match text.get(..MAX_READ) {
        Some(front) if text.len() > MAX_READ => effects_of_cut(front),
        _ => read(text),
    }
}

/// The same for the front of a text whose end is not known. A command that the cut may have gone through is known by its tag only.
pub fn effects_of_cut(text: &[u8]) -> Option<Effects> {
    let mut effects = read(text)?;
    if let Some(last) = effects.list.back_mut()
        && matches!(last, Effect::Set(..) | Effect::Reset(_) | Effect::Deallocate(_))
    {
        *last = Effect::Pins(Pin::Settings);
    }
    Some(effects)
}

fn read(text: &[u8]) -> Option<Effects> {
    let mut tokens = Tokens::new(text);
    let first = tokens.next()?;
    let several = memchr::memchr(b';', text)
        .is_some_and(|at| !text[at..].iter().all(|b| *b == b';' || b.is_ascii_whitespace()));
    let suspicious = suspicion(text);
    if !several && suspicious.is_none() && !speaks_of_session(first) && !speaks_of_databases(first) {
        return None;
    }
    let mut effects = Effects { list: VecDeque::new(), pin: suspicious, vacates: None };
    let mut tokens = Tokens::new(text);
    loop {
        match tokens.next() {
            None | Some(Token::Opaque) => break,
            Some(token) if token.is_byte(b';') => {}
            Some(first) => {
                effects.vacates = vacated(first, tokens).or(effects.vacates);
                effects.list.extend(command(first, &mut tokens));
                if !skip_statement(&mut tokens) {
                    break;
                }
            }
        }
    }
    (effects.pin.is_some() || effects.vacates.is_some() || !effects.list.is_empty()).then_some(effects)
}

/// The same for a text that is sent to be executed at once and to its end. Whoever executes a statement by parts may see a
/// `set_config` done without its tag, which is what tells us.
pub(crate) fn effects_of_query(text: &[u8]) -> Option<Effects> {
    let effects = effects(text)?;
    let config = if effects.pin == Some(Pin::Settings) { lone_config(text) } else { None };
    Some(config.map_or(effects, |config| Effects { list: VecDeque::from([config]), ..Effects::default() }))
}

/// Drivers and frameworks set what they need this way (Django its time zone, in each new connection): nothing but one call, with
/// strings of which every byte stands for itself.
fn lone_config(text: &[u8]) -> Option<Effect> {
    let mut tokens = Tokens::new(text);
    let word = |tokens: &mut Tokens<'_>, word: &str| tokens.next().filter(|token| token.is(word)).map(drop);
    let mark =
        |tokens: &mut Tokens<'_>, mark: u8| tokens.next().filter(|token| token.is_byte(mark)).map(drop);
    word(&mut tokens, "select")?;
    let mut look = tokens;
    if look.next().is_some_and(|token| token.is("pg_catalog")) {
        mark(&mut look, b'.')?;
        tokens = look;
    }
    word(&mut tokens, "set_config")?;
    mark(&mut tokens, b'(')?;
    let name = plain_string(tokens.next()?)?.to_ascii_lowercase();
    mark(&mut tokens, b',')?;
    let value = plain_string(tokens.next()?)?;
    mark(&mut tokens, b',')?;
    word(&mut tokens, "false")?;
    mark(&mut tokens, b')')?;
    let own = name.starts_with(b"transaction_")
        || matches!(&*name, b"role" | b"session_authorization" | b"seed" | b"datestyle" | b"");
    let simple = name.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.'));
    (tokens.at_end() && simple && !own).then(|| Effect::Config(name.into(), value.into()))
}

fn plain_string(token: Token<'_>) -> Option<&[u8]> {
    let Token::Other(quoted) = token else { return None };
    let inside = quoted.strip_prefix(b"'")?.strip_suffix(b"'")?;
    inside.iter().all(|b| b.is_ascii() && *b != b'\'').then_some(inside)
}

/// True for the first words of commands that may change session state.
fn speaks_of_session(first: Token<'_>) -> bool {
    let Token::Word(word) = first else { return false };
    match word.first().map(u8::to_ascii_lowercase) {
        Some(b's') => first.is("set"),
        Some(b'r') => first.is("reset"),
        Some(b'd') => first.is("discard") || first.is("deallocate") || first.is("declare") || first.is("do"),
        Some(b'l') => first.is("listen") || first.is("load"),
        Some(b'p') => first.is("prepare"),
        _ => false,
    }
}

/// Looks for what hides in the middle of a text: session advisory locks, `set_config`, `setseed`, temporary objects. Works on bytes, so literals and comments
/// count too: it only ever pins too much.
fn suspicion(text: &[u8]) -> Option<Pin> {
    let matches =
        |at: usize, word: &[u8]| text.get(at..at + word.len()).is_some_and(|t| t.eq_ignore_ascii_case(word));
    let seeds = |at: usize| {
        let before = text[..at].trim_ascii_end();
        before.len() >= 7 && before[before.len() - 7..].eq_ignore_ascii_case(b"setseed")
    };
    if memchr::memchr_iter(b'(', text).any(seeds) {
        return Some(Pin::Settings);
    }
    for at in memchr::memchr_iter(b'_', text) {
        if at >= 8 && matches(at - 8, b"advisory_lock") {
            return Some(Pin::AdvisoryLock);
        }
        if at >= 3 && matches(at - 3, b"set_config") && !is_local(&text[at + 7..]) {
            return Some(Pin::Settings);
        }
    }
    let temporary = memchr::memchr2_iter(b'p', b'P', text).any(|at| {
        let schema = at >= 6 && matches(at - 6, b"pg_temp");
        let starts = at >= 3 && matches(at - 3, b"temp") && (at == 3 || schema || !in_word(text[at - 4]));
        starts && (!text.get(at + 1).is_some_and(|b| in_word(*b)) || matches(at - 3, b"temporary"))
    });
    (temporary && !contains(text, b"on commit drop")).then_some(Pin::Temporary)
}

/// Longest arguments of `set_config` that are read.
const MAX_ARGUMENTS: usize = 4096;

/// What follows `set_config` are arguments of which the last is the word `true`: the setting ends with its transaction.
fn is_local(text: &[u8]) -> bool {
    let mut depth = 0usize;
    let (mut before, mut last) = (None::<Token<'_>>, None::<Token<'_>>);
    for token in Tokens::new(&text[..text.len().min(MAX_ARGUMENTS)]) {
        if token.is_byte(b')') && depth == 1 {
            return before.is_some_and(|t| t.is_byte(b',')) && last.is_some_and(|t| t.is("true"));
        }
        depth += usize::from(token.is_byte(b'('));
        depth -= usize::from(token.is_byte(b')') && depth > 0);
        if depth == 0 {
            return false;
        }
        (before, last) = (last, Some(token));
    }
    false
}

fn in_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

fn contains(text: &[u8], words: &[u8]) -> bool {
    text.windows(words.len()).any(|window| window.eq_ignore_ascii_case(words))
}

/// Reads on to the end of this statement; false when the rest of the text is not understood.
fn skip_statement(tokens: &mut Tokens<'_>) -> bool {
    loop {
        let mut look = *tokens;
        match look.next() {
            None => return true,
            Some(Token::Opaque) => return false,
            Some(token) if token.is_byte(b';') => return true,
            Some(_) => *tokens = look,
        }
    }
}

fn command(first: Token<'_>, tokens: &mut Tokens<'_>) -> Option<Effect> {
    if !speaks_of_session(first) {
        return None;
    }
    let mut look = *tokens;
    let second = look.next();
    let second_is = |word: &str| second.is_some_and(|t| t.is(word));
    match first {
        _ if first.is("set") => set(tokens),
        _ if first.is("reset") && second_is("all") => Some(Effect::Reset(None)),
        _ if first.is("reset") => Some(reset(tokens)),
        _ if first.is("discard") => second_is("all").then_some(Effect::DiscardAll),
        _ if first.is("deallocate") => Some(deallocate(tokens)),
        _ if first.is("declare") => Some(declare(tokens)),
        _ if first.is("listen") => Some(Effect::Pins(Pin::Listen)),
        _ if first.is("load") => Some(Effect::Pins(Pin::Load)),
        _ if first.is("do") => Some(block(tokens)),
        _ if second_is("transaction") => None,
        _ => Some(Effect::Pins(Pin::SqlPrepare)),
    }
}

/// A (possibly dotted, possibly quoted) name in the form settings are kept under.
pub(crate) fn name(tokens: &mut Tokens<'_>) -> Option<Box<[u8]>> {
    let part = |token: Option<Token<'_>>| match token? {
        Token::Word(word) => Some(word.to_ascii_lowercase()),
        Token::Quoted(quoted) if !quoted.contains(&b'"') => Some(quoted.to_ascii_lowercase()),
        _ => None,
    };
    let mut name = part(tokens.next())?;
    let mut look = *tokens;
    if look.next().is_some_and(|t| t.is_byte(b'.')) {
        name.push(b'.');
        name.extend(part(look.next())?);
        *tokens = look;
    }
    Some(name.into())
}

fn set(tokens: &mut Tokens<'_>) -> Option<Effect> {
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
    if word.is("characteristics") || word.is("authorization") || word.is("role") || word.is("xml") {
        return Some(unknown);
    }
    let mut zone = false;
    let named = if word.is("time") && look.next().is_some_and(|t| t.is("zone")) {
        *tokens = look;
        zone = true;
        Some(Box::from(&b"timezone"[..]))
    } else if word.is("names") || word.is("schema") {
        look = *tokens;
        look.next();
        *tokens = look;
        Some(Box::from(if word.is("names") { &b"client_encoding"[..] } else { b"search_path" }))
    } else {
        name(tokens).filter(|_| tokens.next().is_some_and(|t| t.is("to") || t.is_byte(b'=')))
    };
    let effect = named.and_then(|name| value(tokens).map(|value| (name, value)));
    Some(match effect {
        // Not a setting but a deed: what `random` gives from now on outlives any transaction.
        Some((name, _)) if *name == *b"seed" => Effect::Pins(Pin::Settings),
        _ if local => Effect::Scoped,
        None => unknown,
        // These are the transaction's own, whatever form of SET names them.
        Some((name, _)) if name.starts_with(b"transaction_") => Effect::Scoped,
        Some((name, _)) if matches!(&*name, b"role" | b"session_authorization") => unknown,
        Some((name, value)) if value.eq_ignore_ascii_case(b"default") => Effect::Reset(Some(name)),
        Some((name, value)) if *name == *datestyle::NAME && !datestyle::is_plain(&value) => unknown,
        // Two forms that only SET TIME ZONE has.
        Some((name, value)) if zone && value.eq_ignore_ascii_case(b"local") => Effect::Reset(Some(name)),
        Some((_, value)) if zone && Tokens::new(&value).next().is_some_and(|t| t.is("interval")) => unknown,
        Some((name, value)) => Effect::Set(name, value),
    })
}

/// The text up to the end of the statement, when all of it is understood.
fn value(tokens: &mut Tokens<'_>) -> Option<Box<[u8]>> {
    let from = tokens.rest();
    skip_statement(tokens).then_some(())?;
    let value = from[..from.len() - tokens.rest().len()].trim_ascii_end();
    (!value.is_empty()).then(|| value.into())
}

fn reset(tokens: &mut Tokens<'_>) -> Effect {
    let mut look = *tokens;
    match look.next() {
        Some(t) if t.is("time") => Effect::Reset(Some(Box::from(&b"timezone"[..]))),
        Some(t) if t.is("session") || t.is("role") || t.is("transaction") => Effect::Pins(Pin::Settings),
        _ => name(tokens).map_or(Effect::Pins(Pin::Settings), |name| Effect::Reset(Some(name))),
    }
}

fn deallocate(tokens: &mut Tokens<'_>) -> Effect {
    let mut look = *tokens;
    if look.next().is_some_and(|t| t.is("prepare")) {
        *tokens = look;
    }
    match tokens.next() {
        Some(t) if t.is("all") => Effect::Deallocate(None),
        Some(Token::Word(word)) => Effect::Deallocate(Some(word.to_ascii_lowercase().into())),
        Some(Token::Quoted(quoted)) if !quoted.contains(&b'"') => Effect::Deallocate(Some(quoted.into())),
        _ => Effect::Pins(Pin::Unprovable),
    }
}

/// A DO block that may change settings, which no tag tells. Works on bytes: it only ever pins too much.
fn block(tokens: &mut Tokens<'_>) -> Effect {
    let text = tokens.rest();
    let sets = contains(text, b"set") || contains(text, b"execute");
    if sets { Effect::Pins(Pin::Settings) } else { Effect::Scoped }
}

fn declare(tokens: &mut Tokens<'_>) -> Effect {
    let mut previous_with = false;
    for token in *tokens {
        // FOR starts the query; the cursor's options stand before it.
        if token.is("for") || token.is_byte(b';') {
            break;
        }
        if previous_with && token.is("hold") {
            return Effect::Pins(Pin::HoldCursor);
        }
        previous_with = token.is("with");
    }
    Effect::Scoped
}

#[cfg(test)]
#[path = "effect_tests.rs"]
mod tests;
