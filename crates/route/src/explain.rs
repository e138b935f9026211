//! Verdicts and choices in words, for people.

use crate::choose::{Reason, Want};
use crate::digest::{self, Digest, Taint};
use crate::hint::Hint;
use crate::rule::Rule;
use crate::staleness::TooOld;
use crate::verdict::{Class, Span};
use pgherd_sql::lexer::Lexer;
use pgherd_sql::token::Token;
use pgherd_topology::node::Node;
use pgherd_topology::snapshot::Snapshot;

/// What a class means for the text that has it.
pub fn class(class: Class) -> &'static str {
    match class {
        Class::Read => "it only reads, and may run on any replica that is fresh enough",
        Class::Session => {
            "it is about the session's state, which follows the session to whatever server comes next"
        }
        Class::BeginReadOnly => "it opens a transaction that may live on a replica",
        Class::End => "it ends a transaction, on the server that holds it",
        Class::BeginReadWrite => "it opens a transaction that must live on the primary",
        Class::Write => "it must run on the primary",
        Class::Pin => "it must run on the primary, and the server stays with the session",
        Class::Error => "PostgreSQL will refuse it, as far as a text can tell",
    }
}

/// What a rule says, of the token that decided.
pub fn rule(rule: Rule) -> &'static str {
    match rule {
        Rule::Reads => "all of it can be seen, and all of it only reads",
        Rule::Empty => "there is no statement in it",
        Rule::NoDigest => "the catalog of the database is not known yet, so nothing is proven to read",
        Rule::SplittingOff => "the catalog holds something that no text shows, so nothing is proven to read",
        Rule::Encoding => "bytes outside ASCII in an encoding in which they may hide a quote",
        Rule::Hint => "the comment in front of it asks for the primary",
        Rule::Unreadable => "PostgreSQL's lexer would refuse the text here",
        Rule::Unbalanced => "a parenthesis too many or too few",
        Rule::Unknown => "no statement that is known begins like this",
        Rule::NeedsBlock => "it is refused outside a transaction block",
        Rule::DataChange => "it changes rows",
        Rule::RowLock => "it locks rows",
        Rule::Into => "it makes a table of its result",
        Rule::Utility => "it defines or maintains something",
        Rule::TableLock => "it locks a table",
        Rule::Opaque => "what it runs cannot be seen",
        Rule::NodeFile => "it uses a file or a program of the node",
        Rule::Cursor => "a cursor lives in the server it was opened in",
        Rule::Temporary => "a temporary object lives in one server",
        Rule::AdvisoryLock => "an advisory lock that belongs to the session",
        Rule::Listen => "notifications come to one server",
        Rule::Notify => "only the primary passes notifications on",
        Rule::Load => "a library is loaded into one server",
        Rule::UnknownCall => "a call of a function that nobody has vouched for",
        Rule::NodeName => "it writes, or answers for the node that runs it",
        Rule::TaintedFunction => "a function that the catalog speaks against",
        Rule::TaintedRelation => "a relation that the catalog speaks against",
        Rule::TaintedType => "a type that the catalog speaks against",
        Rule::TaintedOperator => "an operator that the catalog speaks against",
        Rule::OddName => "a name that cannot be compared with the catalog: escaped, too long, or not ASCII",
        Rule::NodeSetting => "a setting that may have another value on each node",
        Rule::Setting => "it changes or shows a setting",
        Rule::Prepare => "it is about a prepared statement",
        Rule::Begin => "it opens a transaction",
        Rule::Block => "a read-write transaction in one text",
        Rule::End => "it ends a transaction",
        Rule::Savepoint => "it is about a savepoint",
        Rule::Learned => "a replica refused the same text before",
        Rule::Incomplete => "not all of it can be read before it must be sent",
    }
}

/// What is known against a name.
pub fn taint(taint: Taint) -> &'static str {
    use digest::{Kind, Reason};
    match taint.reason {
        Reason::Volatile => "is declared VOLATILE",
        Reason::Reaches => "reaches something that must run on the primary",
        Reason::Denied => "reaches something built in that writes or answers for its node",
        Reason::Setting => "sets synchronous_commit or search_path for itself",
        Reason::Dynamic => "puts its text together while it runs",
        Reason::Unlogged => "is unlogged: a standby has no content for it",
        Reason::Foreign => "is a foreign table",
        Reason::Sequence => "is a sequence: a standby answers with a later value",
        Reason::Locks => "locks rows",
        Reason::Learned => "was refused by a replica",
        Reason::Other if taint.kind == Kind::Function => "is a function that may not leave the primary",
        Reason::Other => "may not leave the primary",
    }
}

/// Why a node was chosen.
pub fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::Primary => "only the primary will do",
        Reason::PrimaryPreferred => "the read preference asks for the primary",
        Reason::NoReplica => "no replica is eligible, and the primary stands in",
        Reason::NotFresh => "no replica is known to have what must not be missed, and the primary stands in",
        Reason::Rerun => "a replica refused it",
        Reason::Weight => "a replica, drawn by weight",
        Reason::Region => "a replica of pgherd's own region, drawn by weight",
        Reason::Nearest => "among the fastest to answer",
        Reason::NoPrimary => "there is no primary, and the read preference allows a replica",
    }
}

/// What it would wait for.
pub fn want(want: Want) -> &'static str {
    match want {
        Want::Topology => "the first look at the nodes",
        Want::Primary => "a primary",
        Want::Replica => "an eligible replica",
        Want::Fresh => "a replica that has what must not be missed",
    }
}

/// May this node be read from, and why (not)? `young` says whether what it has is not too old, `fresh` whether it has what must not be missed.
pub fn standing(node: &Node, snapshot: &Snapshot, young: Result<(), TooOld>, fresh: bool) -> (bool, String) {
    match &node.ineligible {
        _ if snapshot.primary == Some(node.id) => (true, "routed primary".to_string()),
        Some(why) => (false, why.to_string()),
        None if node.weight == 0 => (false, pgherd_topology::node::Ineligible::ZeroWeight.to_string()),
        None => match (young, fresh) {
            (Err(old), _) => (false, old.to_string()),
            (Ok(()), false) => (false, "not known to have what must not be missed".to_string()),
            (Ok(()), true) => (true, "eligible".to_string()),
        },
    }
}

/// The wishes of a comment, as keys and values.
pub fn hint(hint: &Hint) -> Vec<(&'static str, String)> {
    let preference = hint.preference.map(|wish| ("read_preference", wish.word().to_string()));
    let consistency = hint.consistency.map(|wish| ("consistency", wish.word().to_string()));
    let staleness = hint.max_staleness.map(|wish| ("max_staleness", format!("{wish:?}")));
    [preference, consistency, staleness].into_iter().flatten().collect()
}

/// What a verdict points at: the token, and what the catalog holds against its name.
pub fn token(text: &[u8], at: usize, standard_strings: bool, digest: &Digest) -> (Span, Option<Taint>) {
    let mut lexer = Lexer::new(text, standard_strings);
    let mut found: Option<Token> = None;
    while let Some(token) = lexer.next().filter(|token| token.start <= at) {
        found = Some(token);
    }
    let here = found.filter(|token| (token.start..token.end).contains(&at));
    let Some(token) = here else {
        let at = at.min(text.len());
        return (Span { start: at, end: at }, None);
    };
    let taint = lexer.name(token).and_then(|name| digest.taint(name, name.fold()));
    (Span { start: token.start, end: token.end }, taint)
}

/// A place in a text, as people point at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its line, from 1.
    pub line: usize,
    /// Its column, from 1, in characters.
    pub column: usize,
    /// A part of the line that shows it, without control characters.
    pub shown: String,
    /// Blanks and carets that stand below it.
    pub caret: String,
}

/// Most characters of a line that are shown on each side of a place.
const REACH: usize = 60;

/// Points at the bytes from `start` to `end` of a text; a token that goes on over lines is marked in its first.
pub fn place(text: &str, start: usize, end: usize) -> Place {
    let floor = |at: usize| (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let (start, end) = (floor(start), floor(end.max(start)));
    let (before, rest) = text.split_at(start);
    let first = before.rfind('\n').map_or(0, |at| at + 1);
    let last = rest.find('\n').map_or(text.len(), |at| start + at);
    let column = before[first..].chars().count();
    let width = text[start..end.min(last).max(start)].chars().count();
    let skipped = column.saturating_sub(REACH);
    let taken = column - skipped + width.min(REACH) + REACH;
    let calm = |c: char| if c.is_control() { ' ' } else { c };
    let shown: String = text[first..last].chars().skip(skipped).take(taken).map(calm).collect();
    Place {
        line: before.matches('\n').count() + 1,
        column: column + 1,
        shown: shown.trim_end().to_string(),
        caret: format!("{}{}", " ".repeat(column - skipped), "^".repeat(width.clamp(1, REACH))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::{Context, classify};
    use crate::digest::Row;

    fn seen(text: &str) -> (Rule, String, Option<Taint>) {
        let rows = [Row { name: "vol", kind: "function", reason: "volatile" }];
        let digest = Digest::new(1, rows);
        let verdict = classify(text.as_bytes(), &Context::new(&digest));
        let (span, taint) = token(text.as_bytes(), verdict.at, true, &digest);
        (verdict.rule, text[span.start..span.end].to_string(), taint)
    }

    #[test]
    fn it_points_at_what_decided() {
        let (rule, word, found) = seen("SELECT 'vol', /* vol */ \"vol\"(1)");
        assert_eq!((rule, word.as_str()), (Rule::TaintedFunction, "\"vol\""));
        assert_eq!(found.map(taint), Some("is declared VOLATILE"));
        assert_eq!(seen("SELECT 1 FROM t FOR UPDATE").1, "FOR");
        assert_eq!(seen("SELECT stranger(1)").1, "stranger");
        assert_eq!(seen("").1, "");
        let (rule, word, _) = seen("SELECT 'open");
        assert_eq!((rule, word.as_str()), (Rule::Unreadable, "'open"));
    }

    #[test]
    fn a_place_is_counted_as_people_count() {
        let text = "SELECT 'äöü',\n\tvol(1)\nFROM t";
        let at = text.find("vol").unwrap();
        let found = place(text, at, at + 3);
        assert_eq!((found.line, found.column), (2, 2));
        assert_eq!((found.shown.as_str(), found.caret.as_str()), (" vol(1)", " ^^^"));
        assert_eq!(place("", 0, 0).caret, "^");
        assert_eq!(place("a\nb", 99, 99).line, 2);
        // Inside a character, and far into a long line.
        assert_eq!(place("ä", 1, 2).column, 1);
        let long = "x".repeat(500);
        let far = place(&long, 300, 301);
        assert_eq!((far.column, far.caret.len(), far.shown.len()), (301, REACH + 1, 2 * REACH + 1));
    }

    #[test]
    fn every_word_has_words() {
        let mut all: Vec<_> = Rule::ALL.iter().map(|one| rule(*one)).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), Rule::ALL.len(), "no two rules sound the same");
    }
}
