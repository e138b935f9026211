//! Commands whose words decide: COPY, SET, SHOW, DECLARE.

use super::statement::{begins_query, refuse, skipped};
use super::transaction;
use super::walk::Walk;
use super::word::*;
use crate::builtin;
use crate::rule::Rule;
use crate::verdict::{Access, Class};
use pgherd_sql::name::Name;
use pgherd_sql::token::Kind;

/// COPY table or (query), TO or FROM. Only what goes to the client may be a read.
pub(super) fn copy(walk: &mut Walk<'_>, at: usize) {
    walk.lexer.next();
    walk.commands = true;
    let is_query = walk.lexer.accept_kind(Kind::Open);
    if is_query {
        if !begins_query(walk.lexer) && !begins_change(walk) {
            return refuse(walk, Rule::Unknown, at);
        }
        walk.until_close();
    } else {
        walk.lexer.accept("binary");
        while let Some(token) = walk.lexer.peek() {
            let is_direction = walk.lexer.is(token, "to") || walk.lexer.is(token, "from");
            let in_name =
                token.is_name() || matches!(token.kind, Kind::Dot | Kind::Comma | Kind::Open | Kind::Close);
            if is_direction || !in_name {
                break;
            }
            walk.lexer.next();
            if token.kind == Kind::UnicodeQuoted {
                walk.raise(Class::Write, Rule::OddName, token.start);
            } else if let Some(name) = walk.lexer.name(token) {
                walk.name(name, name.fold(), token);
            }
        }
    }
    walk.restart();
    let direction = walk.lexer.peek().map_or(walk.lexer.at(), |token| token.start);
    if walk.lexer.accept("from") && !is_query {
        walk.raise(Class::Write, Rule::DataChange, direction);
    } else if walk.lexer.accept("to") {
        if !walk.lexer.accept("stdout") && !walk.lexer.accept("stdin") {
            walk.raise(Class::Write, Rule::NodeFile, direction);
        }
    } else {
        walk.raise(Class::Error, Rule::Unknown, direction);
    }
    walk.skip();
}

fn begins_change(walk: &Walk<'_>) -> bool {
    let keyword = walk.lexer.peek().and_then(|token| walk.lexer.keyword(token));
    keyword.is_some_and(|keyword| matches!(keyword, INSERT | UPDATE | DELETE | MERGE))
}

/// SET and RESET in all their forms.
pub(super) fn set(walk: &mut Walk<'_>, at: usize) {
    walk.lexer.next();
    walk.raise(Class::Session, Rule::Setting, at);
    walk.temporary = Class::Session;
    let _ = walk.lexer.accept("local") || walk.lexer.accept("session");
    let mut look = walk.lexer;
    if look.accept("transaction") {
        transaction::set_modes(walk, look);
    } else if let Some(name) = look.next().and_then(|token| look.name(token)) {
        if name.starts_with("transaction_") {
            walk.verdict.control.mode = Some(set_variable(name, look));
        }
        // Tables created without a schema would be temporary.
        let value = look.accept("to") || look.accept_kind(Kind::Operator);
        let first = look.peek().filter(|_| value && name.is(b"search_path"));
        if let Some(first) = first {
            let inside = first.of(look.text());
            let quoted = Name::word(inside.get(1..inside.len().saturating_sub(1)).unwrap_or_default());
            let named = look.name(first).unwrap_or(quoted);
            if builtin::is_temporary_schema(named) {
                walk.raise(Class::Pin, Rule::Temporary, first.start);
            }
        }
    }
    walk.skip();
}

/// SET transaction_read_only and its like inside a transaction.
fn set_variable(name: Name<'_>, mut lexer: pgherd_sql::lexer::Lexer<'_>) -> Access {
    let assigned = lexer.accept("to") || lexer.accept_kind(Kind::Operator);
    let on = assigned && (lexer.accept("on") || lexer.accept("true"));
    let ends = lexer.peek().is_none_or(|token| token.kind == Kind::Semicolon);
    if name.is(b"transaction_read_only") && on && ends { Access::ReadOnly } else { Access::ReadWrite }
}

/// SHOW: of the session, or of the node.
pub(super) fn show(walk: &mut Walk<'_>, at: usize) {
    let mut look = walk.lexer;
    look.next();
    let fixed = look.accept("all")
        || (look.accept("time") && look.accept("zone"))
        || (look.accept("transaction") && look.accept("isolation") && look.accept("level"))
        || (look.accept("session") && look.accept("authorization"));
    let portable = fixed || {
        let name = look.next().and_then(|token| look.name(token));
        name.is_some_and(builtin::is_session_setting) || look.accept_kind(Kind::Dot)
    };
    if portable {
        skipped(walk, Class::Session, Rule::Setting, at);
    } else {
        skipped(walk, Class::Write, Rule::NodeSetting, at);
    }
}

/// DECLARE name ... CURSOR [WITH HOLD] FOR query.
pub(super) fn declare(walk: &mut Walk<'_>, at: usize) {
    walk.lexer.next();
    let mut held = false;
    loop {
        let mut look = walk.lexer;
        let Some(token) = look.next() else { return refuse(walk, Rule::Unknown, at) };
        if !token.is_name() {
            return refuse(walk, Rule::Unknown, at);
        }
        walk.lexer = look;
        if walk.lexer.is(token, "for") {
            break;
        }
        held |= walk.lexer.is(token, "with") && look.accept("hold");
    }
    walk.verdict.needs_block = !held;
    walk.raise(if held { Class::Pin } else { Class::Write }, Rule::Cursor, at);
    walk.restart();
    walk.until_end();
}
