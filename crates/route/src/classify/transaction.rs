//! Statements about the transaction block itself.

use super::statement::refuse;
use super::walk::Walk;
use super::word::*;
use crate::rule::Rule;
use crate::verdict::{Access, Class};
use pgherd_sql::lexer::Lexer;
use pgherd_sql::token::Kind;

/// BEGIN, START TRANSACTION.
pub(super) fn begin(walk: &mut Walk<'_>, at: usize) {
    let first = walk.lexer.next();
    let is_start = first.is_some_and(|token| walk.lexer.keyword(token) == Some(START));
    let noise = walk.lexer.accept("transaction") || (!is_start && walk.lexer.accept("work"));
    let Some((access, serializable)) = modes(&mut walk.lexer).filter(|_| noise || !is_start) else {
        return refuse(walk, Rule::Unknown, at);
    };
    walk.verdict.control.serializable = serializable;
    let class = if access == Access::ReadOnly { Class::BeginReadOnly } else { Class::BeginReadWrite };
    walk.raise(class, Rule::Begin, at);
    walk.verdict.control.begins = true;
    walk.verdict.control.leaves_open = Some(access);
}

/// COMMIT, END, ROLLBACK, ABORT.
pub(super) fn end(walk: &mut Walk<'_>, at: usize) {
    let first = walk.lexer.next().and_then(|token| walk.lexer.keyword(token));
    let rolls_back = first == Some(ROLLBACK);
    if (rolls_back || first == Some(COMMIT)) && walk.lexer.accept("prepared") {
        walk.raise(Class::Write, Rule::Utility, at);
        walk.skip();
        return;
    }
    let _ = walk.lexer.accept("work") || walk.lexer.accept("transaction");
    if rolls_back && walk.lexer.accept("to") {
        walk.raise(Class::Session, Rule::Savepoint, at);
        walk.skip();
        return;
    }
    if walk.lexer.accept("and") {
        let chain = !walk.lexer.accept("no");
        if !walk.lexer.accept("chain") {
            return refuse(walk, Rule::Unknown, at);
        }
        walk.verdict.control.begins = chain;
    }
    if !at_end(&mut walk.lexer) {
        walk.verdict.control.begins = false;
        return refuse(walk, Rule::Unknown, at);
    }
    walk.raise(Class::End, Rule::End, at);
    walk.verdict.control.ends = true;
}

/// PREPARE TRANSACTION, its first two words read.
pub(super) fn prepared(walk: &mut Walk<'_>, at: usize) {
    walk.raise(Class::End, Rule::End, at);
    walk.verdict.control.ends = true;
    walk.skip();
}

/// SET TRANSACTION, its words read; what is not understood may be anything.
pub(super) fn set_modes(walk: &mut Walk<'_>, mut lexer: Lexer<'_>) {
    let (access, serializable) = modes(&mut lexer).unwrap_or((Access::ReadWrite, true));
    walk.verdict.control.mode = Some(access);
    walk.verdict.control.serializable = serializable;
}

/// Reads transaction modes up to the end of the statement; the last of each kind wins. Also says whether SERIALIZABLE is
/// among them. None for what is no mode.
fn modes(lexer: &mut Lexer<'_>) -> Option<(Access, bool)> {
    let (mut read_only, mut serializable) = (false, false);
    let mut comma = false;
    loop {
        if !comma && at_end(lexer) {
            let movable = read_only && !serializable;
            return Some((if movable { Access::ReadOnly } else { Access::ReadWrite }, serializable));
        }
        if lexer.accept("read") {
            read_only = lexer.accept("only");
            if !read_only && !lexer.accept("write") {
                return None;
            }
        } else if lexer.accept("isolation") {
            serializable = level(lexer)?;
        } else {
            lexer.accept("not");
            if !lexer.accept("deferrable") {
                return None;
            }
        }
        comma = lexer.accept_kind(Kind::Comma);
    }
}

/// `LEVEL name`; true for SERIALIZABLE.
fn level(lexer: &mut Lexer<'_>) -> Option<bool> {
    if !lexer.accept("level") {
        return None;
    }
    if lexer.accept("serializable") {
        return Some(true);
    }
    let known = if lexer.accept("repeatable") {
        lexer.accept("read")
    } else {
        lexer.accept("read") && (lexer.accept("committed") || lexer.accept("uncommitted"))
    };
    known.then_some(false)
}

/// True at the end of the statement; its semicolon is read.
fn at_end(lexer: &mut Lexer<'_>) -> bool {
    lexer.accept_kind(Kind::Semicolon) || lexer.peek().is_none()
}
