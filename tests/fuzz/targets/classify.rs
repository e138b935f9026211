//! The classifier: it answers on any bytes, and what it calls a read stays careful when something is put around it.

use pgherd_route::classify::{Context, classify};
use pgherd_route::digest::{Digest, Row};
use pgherd_route::verdict::{Class, Verdict};
use pgherd_sql::lexer::Lexer;
use pgherd_sql::token::Kind;
use pgherd_wire::frontend::query_text;

/// The first byte says what the session is like, the rest is the text up to its NUL.
pub(crate) fn run(data: &[u8]) {
    let Some((&flags, text)) = data.split_first() else { return };
    let text = query_text(text);
    let digest = Digest::new(
        1,
        [
            ("ul", "relation", "unlogged"),
            ("f", "function", "harmless"),
            ("v", "function", "volatile"),
            ("<#>", "operator", "reaches"),
        ]
        .map(|(name, kind, reason)| Row { name, kind, reason }),
    );
    let context = Context {
        standard_conforming_strings: flags & 1 == 0,
        in_transaction: flags & 2 != 0,
        ascii_safe: flags & 4 == 0,
        custom_parameters: flags & 8 != 0,
        digest: &digest,
    };
    tokens(text, context.standard_conforming_strings);
    let verdict = classify(text, &context);
    assert!(verdict.at <= text.len(), "a position outside the text");
    let around =
        |front: &str, behind: &str| classify(&[front.as_bytes(), text, behind.as_bytes()].concat(), &context);
    if verdict.class == Class::Read {
        assert_eq!(around("", "\n; DELETE FROM t").class, Class::Write, "a write behind a read");
        assert_eq!(around("", "\n; SELECT nextval('s')").class, Class::Write, "a call behind a read");
        assert_eq!(around("", "\n;").class, Class::Read, "a semicolon changes nothing");
        assert!(around("", "\n; LISTEN x").pins, "a pin behind a read");
    }
    let stays = |verdict: Verdict| !verdict.class.may_leave_primary() || verdict.statements == 0;
    assert!(stays(around("DELETE FROM t;", "")), "a write in front");
    assert!(stays(around("/* pgherd: primary */ ", "")), "a hint in front");
    let unknown = Digest::not_loaded();
    let blind = classify(text, &Context { digest: &unknown, ..context });
    assert!(blind.class != Class::Read || blind.statements == 0, "a read nobody could prove");
}

fn tokens(text: &[u8], standard_strings: bool) {
    let mut lexer = Lexer::new(text, standard_strings);
    let mut end = 0;
    while let Some(token) = lexer.next() {
        assert!(
            token.start >= end && token.end > token.start && token.end <= text.len(),
            "{token:?} after {end}"
        );
        end = token.end;
        assert!(token.kind != Kind::Error || lexer.peek().is_none(), "something follows an error");
    }
}
