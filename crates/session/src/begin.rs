//! Transaction-control statements as the machine must know them: BEGIN can be answered here and sent later, COMMIT and ROLLBACK end what was never begun.

use crate::tokens::{Token, Tokens};
use std::borrow::Cow;

/// A BEGIN that was answered locally and not sent yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begin {
    /// The statement as it goes to the server.
    pub text: Cow<'static, [u8]>,
    /// The transaction mode given, if any: true for READ ONLY.
    pub read_only: Option<bool>,
    /// The isolation level, if any: true for SERIALIZABLE, which a standby refuses already at BEGIN.
    pub serializable: Option<bool>,
    /// The same: true for REPEATABLE READ and SERIALIZABLE, where all statements share one snapshot.
    pub strict: Option<bool>,
    /// The command tag PostgreSQL answers with.
    pub tag: &'static [u8],
}

/// What a statement does to the transaction block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// Opens one.
    Begin(Begin),
    /// Ends one with COMMIT or END (and no AND CHAIN).
    Commit,
    /// Ends one with ROLLBACK or ABORT (and no AND CHAIN, not to a savepoint).
    Rollback,
}

/// How a block ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With COMMIT or END.
    Commit,
    /// With ROLLBACK or ABORT.
    Rollback,
}

/// The end of a block (without AND CHAIN) that is the first statement of `text`, whatever follows it.
pub fn leading_end(text: &[u8]) -> Option<End> {
    let mut tokens = Tokens::new(text);
    let first = tokens.next()?;
    let end = match first {
        _ if first.is("commit") || first.is("end") => End::Commit,
        _ if first.is("rollback") || first.is("abort") => End::Rollback,
        _ => return None,
    };
    let mut next = tokens.next();
    if next.as_ref().is_some_and(|t| t.is("work") || t.is("transaction")) {
        next = tokens.next();
    }
    next.is_none_or(|t| t.is_byte(b';')).then_some(end)
}

/// Reads `text` when the whole of it is one statement of a form PostgreSQL is sure to accept; `None` for everything else.
pub fn control(text: &[u8]) -> Option<Control> {
    if !may_control(text) {
        return None;
    }
    let mut tokens = Tokens::new(text);
    let first = tokens.next()?;
    let Token::Word(word) = first else { return None };
    // Most statements are none of these; leave before anything is compared at length.
    match word.first()?.to_ascii_lowercase() {
        b'b' if first.is("begin") => begin(text, tokens, b"BEGIN").map(Control::Begin),
        b's' if first.is("start") => {
            let transaction = tokens.next().is_some_and(|t| t.is("transaction"));
            transaction.then(|| begin(text, tokens, b"START TRANSACTION"))?.map(Control::Begin)
        }
        b'c' if first.is("commit") => ends(tokens).then_some(Control::Commit),
        b'e' if first.is("end") => ends(tokens).then_some(Control::Commit),
        b'r' if first.is("rollback") => ends(tokens).then_some(Control::Rollback),
        b'a' if first.is("abort") => ends(tokens).then_some(Control::Rollback),
        _ => None,
    }
}

/// A look at the first letters: most statements are none of these, and this is asked of every one.
fn may_control(text: &[u8]) -> bool {
    match text {
        [b's' | b'S', second, ..] => matches!(second, b't' | b'T'),
        [b'i' | b'I' | b'u' | b'U' | b'd' | b'D' | b'w' | b'W', ..] => false,
        _ => true,
    }
}

/// After COMMIT, END, ROLLBACK, ABORT: optional WORK or TRANSACTION, then nothing.
fn ends(mut tokens: Tokens<'_>) -> bool {
    let mut look = tokens;
    if look.next().is_some_and(|t| t.is("work") || t.is("transaction")) {
        tokens = look;
    }
    tokens.at_end()
}

fn begin(text: &[u8], mut tokens: Tokens<'_>, tag: &'static [u8]) -> Option<Begin> {
    let plain = Cow::Borrowed(&b"BEGIN"[..]);
    let mut begin = Begin { text: plain, read_only: None, serializable: None, strict: None, tag };
    if tag == b"BEGIN" {
        let mut look = tokens;
        if look.next().is_some_and(|t| t.is("work") || t.is("transaction")) {
            tokens = look;
        }
    }
    if tokens.at_end() {
        return Some(begin);
    }
    loop {
        mode(&mut tokens, &mut begin)?;
        if tokens.at_end() {
            break;
        }
        let mut look = tokens;
        if look.next().is_some_and(|t| t.is_byte(b',')) {
            tokens = look;
        }
    }
    begin.text = Cow::Owned(text.to_vec());
    Some(begin)
}

/// One transaction mode (documentation, BEGIN). The last one given of each kind wins.
fn mode(tokens: &mut Tokens<'_>, begin: &mut Begin) -> Option<()> {
    let first = tokens.next()?;
    if first.is("read") {
        let second = tokens.next()?;
        begin.read_only = Some(second.is("only"));
        return (second.is("only") || second.is("write")).then_some(());
    }
    if first.is("not") {
        return tokens.next()?.is("deferrable").then_some(());
    }
    if first.is("deferrable") {
        return Some(());
    }
    if !(first.is("isolation") && tokens.next()?.is("level")) {
        return None;
    }
    let level = tokens.next()?;
    let serializable = level.is("serializable");
    begin.serializable = Some(serializable);
    begin.strict = Some(serializable || level.is("repeatable"));
    let whole = serializable
        || (level.is("repeatable") && tokens.next()?.is("read"))
        || (level.is("read") && tokens.next().is_some_and(|t| t.is("committed") || t.is("uncommitted")));
    whole.then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(text: &str) -> Option<(Option<bool>, Option<bool>)> {
        match control(text.as_bytes())? {
            Control::Begin(begin) => Some((begin.read_only, begin.serializable)),
            _ => None,
        }
    }

    #[test]
    fn knows_begin() {
        for text in ["BEGIN", "begin;", " /* x */ Begin Work ; ", "start transaction", "BEGIN TRANSACTION"] {
            assert_eq!(begun(text), Some((None, None)), "{text}");
        }
        assert_eq!(begun("BEGIN READ ONLY"), Some((Some(true), None)));
        assert_eq!(
            begun("begin isolation level repeatable read, read only, not deferrable"),
            Some((Some(true), Some(false)))
        );
        assert_eq!(begun("start transaction read only read write"), Some((Some(false), None)));
        assert_eq!(
            begun("begin isolation level serializable read only deferrable"),
            Some((Some(true), Some(true)))
        );
    }

    #[test]
    fn knows_the_strict_levels() {
        for (text, strict) in [
            ("begin read only", None),
            ("begin isolation level read committed", Some(false)),
            ("begin isolation level repeatable read", Some(true)),
            ("begin isolation level serializable", Some(true)),
        ] {
            let Some(Control::Begin(begin)) = control(text.as_bytes()) else { panic!("{text}") };
            assert_eq!(begin.strict, strict, "{text}");
        }
    }

    #[test]
    fn leaves_alone_what_is_not_one_plain_begin() {
        for text in [
            "BEGIN; SELECT 1",
            "BEGIN,",
            "BEGIN READ",
            "BEGIN FOO",
            "START",
            "START WORK",
            "BEGIN READ ONLY,",
            "BEGIN ISOLATION LEVEL",
            "BEGIN ISOLATION LEVEL REPEATABLE",
            "beginx",
            "",
        ] {
            assert_eq!(control(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn knows_what_begins_with_the_end() {
        for text in ["commit", " END; select 1", "/* x */ commit work ; update t set a = 1"] {
            assert_eq!(leading_end(text.as_bytes()), Some(End::Commit), "{text}");
        }
        for text in ["rollback;select 1", "ABORT TRANSACTION;"] {
            assert_eq!(leading_end(text.as_bytes()), Some(End::Rollback), "{text}");
        }
        for text in [
            "commit and chain; select 1",
            "rollback to a; select 1",
            "commit prepared 'x'",
            "select 1; commit",
            "",
        ] {
            assert_eq!(leading_end(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn knows_the_end() {
        assert_eq!(control(b"COMMIT"), Some(Control::Commit));
        assert_eq!(control(b"end transaction;"), Some(Control::Commit));
        assert_eq!(control(b"abort work"), Some(Control::Rollback));
        assert_eq!(control(b"ROLLBACK"), Some(Control::Rollback));
        for text in
            ["ROLLBACK TO a", "COMMIT AND CHAIN", "COMMIT PREPARED 'x'", "ROLLBACK; SELECT 1", "end x"]
        {
            assert_eq!(control(text.as_bytes()), None, "{text}");
        }
    }
}
