//! What a text is: the one question of read/write splitting that must never be answered wrongly in one direction.

mod call;
mod command;
mod create;
mod explain;
mod statement;
pub mod tally;
mod transaction;
mod walk;
mod word;

use crate::digest::Digest;
use crate::hint::Hint;
use crate::intent::Preference;
use crate::rule::Rule;
use crate::verdict::{Access, Class, Verdict};
use pgherd_sql::lexer::Lexer;
use pgherd_sql::token::Kind;
use tally::Tally;
use walk::Walk;

/// What the session says about a text.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The session's `standard_conforming_strings`.
    pub standard_conforming_strings: bool,
    /// False for client encodings in which a byte below 0x80 may be the second half of a character: BIG5, GBK, GB18030,
    /// JOHAB, SJIS, SHIFT_JIS_2004, UHC.
    pub ascii_safe: bool,
    /// A transaction block is open in front of the text.
    pub in_transaction: bool,
    /// A parameter of the Parse message has a type that is not built in (its OID is 16384 or higher): no text shows it, and
    /// reading its value may run what a tainted type runs.
    pub custom_parameters: bool,
    /// The catalog of the session's database.
    pub digest: &'a Digest,
}

impl<'a> Context<'a> {
    /// Outside a block, with the settings a session begins with.
    pub fn new(digest: &'a Digest) -> Context<'a> {
        Context {
            standard_conforming_strings: true,
            ascii_safe: true,
            in_transaction: false,
            custom_parameters: false,
            digest,
        }
    }
}

/// Classifies the text of a Query or Parse message, without the NUL at its end. Allocates nothing.
pub fn classify(text: &[u8], context: &Context<'_>) -> Verdict {
    if !context.ascii_safe && !text.is_ascii() {
        let mut verdict = Verdict::new(Class::Write, Rule::Encoding, 0);
        verdict.speaks_of_commit = true;
        return verdict;
    }
    let hint = Hint::read(text);
    let lexer = Lexer::new(text, context.standard_conforming_strings);
    let mut walk = Walk::new(lexer, context, hint.preference == Some(Preference::Replica));
    let mut tally = Tally::new(context.in_transaction);
    while let Some(first) = walk.lexer.peek() {
        if first.kind == Kind::Semicolon {
            walk.lexer.next();
            continue;
        }
        walk.begin(first.start);
        statement::statement(&mut walk);
        tally.add(&walk.verdict);
    }
    let mut verdict = tally.finish();
    verdict.hint = hint;
    doubt(&mut verdict, context);
    verdict
}

/// Several texts that are one unit, such as the messages of a pipeline up to Sync: the worst decides.
pub fn combine<'v>(verdicts: impl IntoIterator<Item = &'v Verdict>, context: &Context<'_>) -> Verdict {
    let mut tally = Tally::new(context.in_transaction);
    for verdict in verdicts {
        tally.add(verdict);
    }
    tally.finish()
}

/// What the text looks like is not all: a read stays one only if nothing else speaks against it.
fn doubt(verdict: &mut Verdict, context: &Context<'_>) {
    let to_primary = verdict.hint.preference == Some(Preference::Primary);
    let reads = verdict.class == Class::Read && verdict.rule != Rule::Empty;
    let rule = match () {
        () if to_primary && verdict.class.may_leave_primary() => Rule::Hint,
        () if reads && !context.ascii_safe => Rule::Encoding,
        () if reads && !context.digest.is_loaded() => Rule::NoDigest,
        () if reads && context.digest.splitting_off().is_some() => Rule::SplittingOff,
        () if reads && context.custom_parameters && context.digest.has_tainted_types() => Rule::TaintedType,
        () => return,
    };
    if verdict.class == Class::BeginReadOnly {
        verdict.control.leaves_open = Some(Access::ReadWrite);
        verdict.raise(Class::BeginReadWrite, rule, 0);
    } else {
        verdict.raise(Class::Write, rule, 0);
    }
}

#[cfg(test)]
#[path = "classify_tests.rs"]
mod tests;
