//! CREATE, and statements whose rest is not executed.

use super::walk::Walk;
use super::word::*;
use crate::builtin;
use crate::rule::Rule;
use crate::verdict::Class;
use pgherd_sql::lexer::Lexer;
use pgherd_sql::token::Kind;

/// CREATE of anything.
pub(super) fn create(walk: &mut Walk<'_>, at: usize) {
    walk.lexer.next();
    walk.raise(Class::Write, Rule::Utility, at);
    walk.temporary = Class::Pin;
    let mut look = walk.lexer;
    let _ = look.accept("or") && look.accept("replace");
    let _ = look.accept("global") || look.accept("local");
    let temporary = look.peek();
    if look.accept("temp") || look.accept("temporary") {
        let passing = walk.context.in_transaction && drops_on_commit(look);
        let start = temporary.map_or(at, |token| token.start);
        walk.raise(if passing { Class::Write } else { Class::Pin }, Rule::Temporary, start);
    }
    let _ = look.accept("unlogged");
    if look.accept("table") || look.accept("materialized") {
        walk.until_end();
    } else {
        walk.skip();
    }
}

/// ON COMMIT DROP, somewhere before the end of the statement.
fn drops_on_commit(mut lexer: Lexer<'_>) -> bool {
    while let Some(token) = lexer.next() {
        if token.kind == Kind::Semicolon {
            return false;
        }
        if lexer.is(token, "on") && lexer.accept("commit") && lexer.accept("drop") {
            return true;
        }
    }
    false
}

impl Walk<'_> {
    /// Reads to the end of a statement of which nothing is executed, its semicolon included; says where it ended.
    /// Semicolons in parentheses (CREATE RULE) and in bodies that are no strings (BEGIN ATOMIC) do not end it.
    pub(super) fn skip(&mut self) -> usize {
        let (mut depth, mut body) = (0_usize, 0_usize);
        while let Some(token) = self.lexer.next() {
            match token.kind {
                Kind::Semicolon if depth == 0 && body == 0 => return token.start,
                Kind::Open => depth += 1,
                Kind::Close => match depth.checked_sub(1) {
                    Some(less) => depth = less,
                    None => self.raise(Class::Error, Rule::Unbalanced, token.start),
                },
                Kind::Error => self.raise(Class::Error, Rule::Unreadable, token.start),
                Kind::UnicodeQuoted => self.verdict.speaks_of_commit = true,
                Kind::Word if self.lexer.is(token, "begin") && self.lexer.accept("atomic") => body += 1,
                Kind::Word if body > 0 => match self.lexer.keyword(token) {
                    Some(CASE) => body += 1,
                    Some(END) => body -= 1,
                    _ => {}
                },
                _ => {}
            }
            if let Some(name) = self.lexer.name(token) {
                if builtin::is_temporary_schema(name) {
                    self.raise(self.temporary, Rule::Temporary, token.start);
                }
                self.verdict.speaks_of_commit |= name.is(b"synchronous_commit");
            }
        }
        if depth > 0 || body > 0 {
            self.raise(Class::Error, Rule::Unbalanced, self.lexer.at());
        }
        self.lexer.at()
    }
}
