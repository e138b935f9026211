//! EXPLAIN: what it explains is executed only with ANALYZE.

use super::statement::{begins_query, refuse};
use super::walk::Walk;
use crate::rule::Rule;
use crate::verdict::Class;
use pgherd_sql::name::Name;
use pgherd_sql::token::Kind;

/// `EXPLAIN [ANALYZE] [VERBOSE] statement`, or `EXPLAIN (options) statement`.
pub(super) fn explain(walk: &mut Walk<'_>, at: usize) {
    walk.lexer.next();
    let mut analyze = false;
    if has_options(walk) {
        walk.lexer.next();
        let Some(last) = options(walk) else { return refuse(walk, Rule::Unknown, at) };
        analyze = last;
    } else {
        if walk.lexer.accept("analyze") || walk.lexer.accept("analyse") {
            analyze = true;
        }
        walk.lexer.accept("verbose");
    }
    walk.planned = !analyze;
    walk.commands = true;
    walk.restart();
    if begins_query(walk.lexer) {
        walk.until_end();
        return;
    }
    // A change, or something that cannot be seen. Without ANALYZE it is not executed, but its plan is of interest where it
    // would be.
    let first = walk.lexer.peek();
    let start = first.map_or(at, |token| token.start);
    let explained = ["insert", "update", "delete", "merge", "execute", "create", "declare", "refresh"];
    let rule = match first {
        Some(token) if explained[..4].iter().any(|word| walk.lexer.is(token, word)) => Rule::DataChange,
        Some(token) if explained[4..].iter().any(|word| walk.lexer.is(token, word)) => Rule::Opaque,
        _ => return refuse(walk, Rule::Unknown, start),
    };
    walk.raise(Class::Write, rule, start);
    if analyze {
        walk.until_end();
    } else {
        walk.skip();
    }
}

/// A parenthesis that does not begin a query begins options.
fn has_options(walk: &Walk<'_>) -> bool {
    walk.lexer.peek().is_some_and(|token| token.kind == Kind::Open) && !begins_query(walk.lexer)
}

/// Reads `name [value], ... )`; true if the last ANALYZE is not switched off.
fn options(walk: &mut Walk<'_>) -> Option<bool> {
    let mut analyze = false;
    loop {
        let token = walk.lexer.next().filter(|token| token.is_name())?;
        // An escaped name may be any.
        let is_analyze = walk.lexer.name(token).is_none_or(|name| name.is(b"analyze") || name.is(b"analyse"));
        let mut on = true;
        loop {
            let token = walk.lexer.next()?;
            match token.kind {
                Kind::Comma | Kind::Close => {
                    analyze = if is_analyze { on } else { analyze };
                    if token.kind == Kind::Close {
                        return Some(analyze);
                    }
                    break;
                }
                Kind::Semicolon | Kind::Error | Kind::Open => return None,
                _ => on = !is_off(token.of(walk.lexer.text())),
            }
        }
    }
}

/// `off`, `false` or `0`, with or without quotes.
fn is_off(value: &[u8]) -> bool {
    let inside = match value {
        [b'\'', inside @ .., b'\''] | [b'"', inside @ .., b'"'] => inside,
        _ => value,
    };
    let word = Name::word(inside);
    word.is(b"off") || word.is(b"false") || inside == b"0"
}
