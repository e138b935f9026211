//! What a text does to the session's own state, as far as a text can tell. What it cannot tell is caught by evidence: command tags and ParameterStatus.

use crate::assign::{reset, set};
use crate::pin::Pin;
use crate::residue::residue;
use crate::tokens::{Token, Tokens};
use crate::vacate::{speaks_of_databases, vacated};
use std::collections::VecDeque;

/// A setting's name and the value it gets, as SQL text.
pub type Assignment = (&'static [u8], Box<[u8]>);

/// One change of session state, in the order in which the commands stand in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// `SET name TO value`: lower-cased name and the value as SQL text.
    Set(Box<[u8]>, Box<[u8]>),
    /// The same of several settings at once.
    SetAll(Vec<Assignment>),
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
        && matches!(last, Effect::Set(..) | Effect::SetAll(_) | Effect::Reset(_) | Effect::Deallocate(_))
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
    let suspicious = residue(text);
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
    let config = if effects.pin == Some(Pin::Settings) { lone_config(text, "false") } else { None };
    Some(config.map_or(effects, |config| Effects { list: VecDeque::from([config]), ..Effects::default() }))
}

/// Drivers and frameworks set what they need this way (Django its time zone, in each new connection): nothing but one call, with
/// strings of which every byte stands for itself. `local`: its last argument, a literal.
pub(crate) fn lone_config(text: &[u8], local: &str) -> Option<Effect> {
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
    word(&mut tokens, local)?;
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

fn contains(text: &[u8], words: &[u8]) -> bool {
    text.windows(words.len()).any(|window| window.eq_ignore_ascii_case(words))
}

/// Reads on to the end of this statement; false when the rest of the text is not understood.
pub(crate) fn skip_statement(tokens: &mut Tokens<'_>) -> bool {
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
        // PREPARE TRANSACTION, unless that is a name.
        _ if second_is("transaction") && look.next().is_none_or(|t| !t.is("as") && !t.is_byte(b'(')) => None,
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
