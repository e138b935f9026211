//! The first word of a statement says what it is.

use super::walk::Walk;
use super::word::*;
use super::{command, create, explain, transaction};
use crate::rule::Rule;
use crate::verdict::{Class, Span, Subject};
use pgherd_sql::keyword::Keyword;
use pgherd_sql::lexer::Lexer;
use pgherd_sql::token::Kind;

/// Reads one statement, its semicolon included.
pub(super) fn statement(walk: &mut Walk<'_>) {
    let Some(first) = walk.lexer.peek() else { return };
    let at = first.start;
    match walk.lexer.keyword(first) {
        Some(keyword) => known(walk, keyword, at),
        None if first.kind == Kind::Error => refuse(walk, Rule::Unreadable, at),
        None if begins_query(walk.lexer) => {
            walk.until_end();
        }
        None if first.kind == Kind::Close => refuse(walk, Rule::Unbalanced, at),
        None => refuse(walk, Rule::Unknown, at),
    }
}

/// Not a statement that PostgreSQL would accept, as far as is known here.
pub(super) fn refuse(walk: &mut Walk<'_>, rule: Rule, at: usize) {
    walk.raise(Class::Error, rule, at);
    walk.until_end();
}

/// Decided by its first word; the rest is read for what may be worse.
pub(super) fn decided(walk: &mut Walk<'_>, class: Class, rule: Rule, at: usize) {
    walk.lexer.next();
    walk.raise(class, rule, at);
    walk.until_end();
}

/// Decided by its first word, and nothing in the rest is executed.
pub(super) fn skipped(walk: &mut Walk<'_>, class: Class, rule: Rule, at: usize) {
    walk.lexer.next();
    walk.raise(class, rule, at);
    walk.skip();
}

/// SELECT, VALUES, TABLE or WITH, in any number of parentheses.
pub(super) fn begins_query(mut lexer: Lexer<'_>) -> bool {
    while lexer.accept_kind(Kind::Open) {}
    let keyword = lexer.next().and_then(|token| lexer.keyword(token));
    keyword.is_some_and(|keyword| matches!(keyword, SELECT | VALUES | TABLE | WITH))
}

fn known(walk: &mut Walk<'_>, keyword: Keyword, at: usize) {
    match keyword {
        SELECT | VALUES | TABLE | WITH => {
            walk.until_end();
        }
        INSERT | UPDATE | DELETE | MERGE | TRUNCATE => decided(walk, Class::Write, Rule::DataChange, at),
        COPY => command::copy(walk, at),
        EXPLAIN => explain::explain(walk, at),
        BEGIN | START => transaction::begin(walk, at),
        COMMIT | END | ROLLBACK | ABORT => transaction::end(walk, at),
        SAVEPOINT | RELEASE => skipped(walk, Class::Session, Rule::Savepoint, at),
        SET | RESET => command::set(walk, at),
        DISCARD => skipped(walk, Class::Session, Rule::Setting, at),
        SHOW => command::show(walk, at),
        PREPARE => prepare(walk, at),
        EXECUTE => execute(walk, at),
        DEALLOCATE => skipped(walk, Class::Session, Rule::Prepare, at),
        DECLARE => command::declare(walk, at),
        FETCH | MOVE | CLOSE => skipped(walk, Class::Write, Rule::Cursor, at),
        LISTEN | UNLISTEN => skipped(walk, Class::Pin, Rule::Listen, at),
        NOTIFY => skipped(walk, Class::Write, Rule::Notify, at),
        LOAD => skipped(walk, Class::Pin, Rule::Load, at),
        LOCK => {
            walk.verdict.needs_block = true;
            skipped(walk, Class::Write, Rule::TableLock, at);
        }
        CALL | DO => decided(walk, Class::Write, Rule::Opaque, at),
        CREATE => create::create(walk, at),
        // A standby accepts both, for itself.
        CHECKPOINT => skipped(walk, Class::Write, Rule::NodeName, at),
        ALTER if speaks_of_system(walk.lexer) => skipped(walk, Class::Write, Rule::NodeName, at),
        ALTER | ANALYZE | ANALYSE | CLUSTER | COMMENT | DROP | GRANT | IMPORT | REASSIGN | REFRESH
        | REINDEX | REVOKE | SECURITY | VACUUM => decided(walk, Class::Write, Rule::Utility, at),
        _ => refuse(walk, Rule::Unknown, at),
    }
}

/// ALTER SYSTEM.
fn speaks_of_system(mut lexer: Lexer<'_>) -> bool {
    lexer.next();
    lexer.accept("system")
}

/// PREPARE name [(types)] AS statement. Nothing is executed.
fn prepare(walk: &mut Walk<'_>, at: usize) {
    walk.lexer.next();
    if walk.lexer.accept("transaction") {
        return transaction::prepared(walk, at);
    }
    walk.raise(Class::Session, Rule::Prepare, at);
    let name = walk.lexer.next().filter(|token| token.is_name());
    let mut look = walk.lexer;
    if look.accept_kind(Kind::Open) {
        let mut depth = 1;
        while depth > 0
            && let Some(token) = look.next()
        {
            match token.kind {
                Kind::Open => depth += 1,
                Kind::Close => depth -= 1,
                Kind::Semicolon | Kind::Error => break,
                _ => {}
            }
        }
    }
    let (Some(name), true) = (name, look.accept("as")) else { return refuse(walk, Rule::Unknown, at) };
    walk.lexer = look;
    let start = look.peek().map_or(look.at(), |token| token.start);
    let end = walk.skip();
    let (name, statement) = (Span { start: name.start, end: name.end }, Span { start, end });
    walk.verdict.subject = Some(Subject::Prepares { name, statement });
}

/// EXECUTE name [(arguments)]. What it runs was said before.
fn execute(walk: &mut Walk<'_>, at: usize) {
    walk.lexer.next();
    let name = walk.lexer.next().filter(|token| token.is_name());
    walk.until_end();
    if let (Some(name), Class::Read) = (name, walk.verdict.class) {
        walk.verdict.subject = Some(Subject::Executes { name: Span { start: name.start, end: name.end } });
    }
    walk.raise(Class::Write, Rule::Opaque, at);
}
