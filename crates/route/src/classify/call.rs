//! Functions that are called, and the few built-in ones whose arguments matter.

use super::walk::{Opener, Walk};
use crate::builtin;
use crate::rule::Rule;
use crate::verdict::{Access, Class};
use pgherd_sql::lexer::Lexer;
use pgherd_sql::name::Name;
use pgherd_sql::token::{Kind, Token};

impl Walk<'_> {
    /// The last token is the name of a function, and its parenthesis was just read.
    pub(super) fn call(&mut self) -> Opener {
        let (token, fold) = self.named;
        let Some(name) = self.lexer.name(token) else { return Opener::Call };
        let digest = self.context.digest;
        // A tainted name was judged where it stands. Neither that nor a vouched one speaks for a built-in namesake.
        let own = digest.taint(name, fold).is_some() || digest.vouches_for(name, fold);
        let judged = own && !builtin::is_unproven(name, fold);
        if !judged && !builtin::is_harmless(name, fold) {
            self.doubtful(name, fold, token);
        }
        Opener::Call
    }

    fn doubtful(&mut self, name: Name<'_>, fold: u32, token: Token) {
        let at = token.start;
        if builtin::is_session_lock(name) {
            self.raise(Class::Pin, Rule::AdvisoryLock, at);
        } else if name.is(b"setseed") {
            self.raise(Class::Session, Rule::Setting, at);
        } else if name.is(b"set_config") {
            self.set_config(at);
        } else if name.is(b"current_setting") {
            if !first_setting(self.lexer).is_some_and(is_portable) {
                self.raise(Class::Write, Rule::NodeSetting, at);
            }
        } else if name.is(b"bernoulli") && self.before.is(super::word::TABLESAMPLE) {
        } else if builtin::is_denied(name, fold) {
            self.raise(Class::Write, Rule::NodeName, at);
        } else {
            self.raise(Class::Write, Rule::UnknownCall, at);
        }
    }

    fn set_config(&mut self, at: usize) {
        self.verdict.sets_locally = true;
        let setting = first_setting(self.lexer);
        let known = setting.is_some_and(is_portable);
        let of_commit = setting.is_some_and(|name| name.is(b"synchronous_commit"));
        self.verdict.speaks_of_commit |= !known || of_commit;
        if !known {
            // It may be what the transaction may do.
            self.verdict.control.mode = Some(Access::ReadWrite);
        }
        if !known || of_commit || !ends_with_true(self.lexer) {
            self.raise(Class::Session, Rule::Setting, at);
        }
    }
}

/// A setting that is the same on every server of the session, custom ones included.
fn is_portable(name: Name<'_>) -> bool {
    builtin::is_plain_setting(name) || name.bytes().any(|byte| byte == b'.')
}

/// The first argument, if it is an ordinary string.
fn first_setting(mut lexer: Lexer<'_>) -> Option<Name<'_>> {
    let token = lexer.next().filter(|token| token.kind == Kind::String)?;
    let follows = lexer.next().is_some_and(|next| matches!(next.kind, Kind::Comma | Kind::Close));
    let inside = lexer.text().get(token.start + 1..token.end.checked_sub(1)?)?;
    let simple = inside.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.'));
    (follows && simple).then(|| Name::word(inside))
}

/// The third and last argument is the word `true`: what is set ends with the transaction.
fn ends_with_true(mut lexer: Lexer<'_>) -> bool {
    let (mut depth, mut commas) = (0_usize, 0);
    while let Some(token) = lexer.next() {
        match token.kind {
            Kind::Open | Kind::OpenBracket => depth += 1,
            Kind::Close | Kind::CloseBracket if depth == 0 => return false,
            Kind::Close | Kind::CloseBracket => depth -= 1,
            Kind::Comma if depth == 0 => commas += 1,
            Kind::Error | Kind::Semicolon => return false,
            _ => {}
        }
        if commas == 2 {
            return lexer.accept("true") && lexer.accept_kind(Kind::Close);
        }
    }
    false
}
