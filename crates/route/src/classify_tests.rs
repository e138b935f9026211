//! What the tables of `tests/routing` do not say: guards, positions, what a driver gets besides the class.

use super::*;
use crate::digest::Row;
use crate::floor::Consistency;
use crate::verdict::{Control, Span, Subject};
use proptest::prelude::*;
use std::time::Duration;

fn loaded() -> Digest {
    Digest::new(1, [Row { name: "ul", kind: "relation", reason: "unlogged" }])
}

fn verdict(text: &str) -> Verdict {
    classify(text.as_bytes(), &Context::new(&loaded()))
}

#[test]
fn without_a_digest_nothing_is_proven() {
    let digest = Digest::not_loaded();
    let found = |text: &str| classify(text.as_bytes(), &Context::new(&digest));
    assert_eq!((found("SELECT 1").class, found("SELECT 1").rule), (Class::Write, Rule::NoDigest));
    assert_eq!(found("BEGIN READ ONLY").class, Class::BeginReadOnly, "that is declared, not proven");
    assert_eq!((found("SET a.b = 1").class, found("").class), (Class::Session, Class::Read));
    assert_eq!(found("DELETE FROM t").rule, Rule::DataChange);
}

#[test]
fn a_database_may_switch_splitting_off() {
    for (name, kind) in [("implicit cast", "database"), ("=", "operator"), ("~~", "operator")] {
        let digest = Digest::new(1, [Row { name, kind, reason: "volatile" }]);
        let found = classify(b"SELECT 1", &Context::new(&digest));
        assert_eq!((found.class, found.rule), (Class::Write, Rule::SplittingOff), "{name}");
        assert!(digest.splitting_off().is_some_and(|why| why.contains(name)));
    }
}

#[test]
fn a_harmless_namesake_does_not_vouch_for_what_is_built_in() {
    let names = ["version", "nextval", "set_config", "pg_stat_reset", "ts_rewrite", "lower", "own"];
    let digest = Digest::new(1, names.map(|name| Row { name, kind: "function", reason: "harmless" }));
    let found = |text: &str| classify(text.as_bytes(), &Context::new(&digest)).class;
    for text in
        ["SELECT version()", "SELECT nextval('s')", "SELECT pg_stat_reset()", "SELECT ts_rewrite(a, b)"]
    {
        assert_eq!(found(text), Class::Write, "{text}");
    }
    assert_eq!(found("SELECT set_config('a.b', 'c', false)"), Class::Session);
    assert_eq!(found("SELECT version, lower('X'), own(1) FROM t"), Class::Read);
}

#[test]
fn types_of_parameters_are_in_no_text() {
    let found = |digest: &Digest| {
        classify(b"SELECT $1", &Context { custom_parameters: true, ..Context::new(digest) }).rule
    };
    assert_eq!(found(&loaded()), Rule::Reads);
    let digest = Digest::new(1, [Row { name: "dom", kind: "type", reason: "reaches" }]);
    assert_eq!(found(&digest), Rule::TaintedType);
}

#[test]
fn in_doubtful_encodings_nothing_is_proven() {
    let digest = loaded();
    let context = Context { ascii_safe: false, ..Context::new(&digest) };
    let found = |text: &[u8]| classify(text, &context);
    assert_eq!(found(b"SELECT 'x'").rule, Rule::Encoding);
    assert_eq!(found(b"SELECT '\x83\x5c'").rule, Rule::Encoding);
    assert_eq!(found(b"BEGIN -- \x83\x5c").class, Class::Write);
    assert_eq!(found(b"BEGIN").class, Class::BeginReadWrite);
    assert_eq!(found(b"LISTEN x").class, Class::Pin);
}

#[test]
fn the_position_is_that_of_the_token() {
    for (text, token) in [
        ("SELECT a, nextval('s')", "nextval"),
        ("SELECT 1; SELECT * FROM t FOR UPDATE", "FOR"),
        ("SELECT * FROM t JOIN ul ON true", "ul"),
        ("SELECT 1; DELETE FROM t", "DELETE"),
        ("SELECT 1 + 'x", "'x"),
        ("  SELECT 1", "SELECT"),
        ("COPY t FROM STDIN", "FROM"),
        ("BEGIN READ ONLY; SELECT nextval('s')", "nextval"),
    ] {
        assert_eq!(Some(verdict(text).at), text.find(token), "{text}");
    }
}

#[test]
fn what_is_prepared_and_executed_is_named() {
    let text = "PREPARE \"P\" (int) AS SELECT $1 ; ";
    let Some(Subject::Prepares { name, statement }) = verdict(text).subject else { panic!("no subject") };
    assert_eq!((&text[name.start..name.end], &text[statement.start..statement.end]), ("\"P\"", "SELECT $1 "));
    assert_eq!(
        verdict("EXECUTE p(1, 'x')").subject,
        Some(Subject::Executes { name: Span { start: 8, end: 9 } })
    );
    for text in [
        "EXECUTE p(nextval('s'))",
        "EXECUTE p; SELECT 1",
        "EXPLAIN EXECUTE p",
        "PREPARE p",
        "PREPARE p AS SELECT 1; x",
    ] {
        assert_eq!(verdict(text).subject, None, "{text}");
    }
}

#[test]
fn asynchronous_commits_are_announced() {
    for text in [
        "SET synchronous_commit = off",
        "SET LOCAL \"synchronous_commit\" TO local; INSERT INTO t VALUES (1)",
        "SELECT set_config('synchronous_commit', 'off', true)",
        "SELECT set_config($1, $2, true)",
        "DO $$ BEGIN SET LOCAL Synchronous_Commit = off; END $$",
        "ALTER ROLE x SET synchronous_commit = off",
        "RESET synchronous_commit",
        "SET U&\"synchronous\\005fcommit\" = off",
    ] {
        assert!(verdict(text).speaks_of_commit, "{text}");
    }
    for text in ["SELECT 'synchronous_commit'", "SET work_mem = '1MB'", "SELECT set_config('a.b', 'c', true)"]
    {
        assert!(!verdict(text).speaks_of_commit, "{text}");
    }
}

#[test]
fn blocks_are_followed() {
    let control = |text: &str| verdict(text).control;
    let open = |access| Control { begins: true, leaves_open: Some(access), ..Control::default() };
    assert_eq!(control("BEGIN"), open(Access::ReadWrite));
    assert_eq!(control("BEGIN READ ONLY"), open(Access::ReadOnly));
    assert_eq!(
        control("BEGIN; SELECT 1; COMMIT"),
        Control { begins: true, ends: true, ..Control::default() }
    );
    assert_eq!(control("COMMIT; BEGIN"), Control { ends: true, ..open(Access::ReadWrite) });
    assert_eq!(control("SET TRANSACTION READ ONLY").mode, Some(Access::ReadOnly));
    assert_eq!(
        control("SET TRANSACTION READ ONLY, ISOLATION LEVEL SERIALIZABLE").mode,
        Some(Access::ReadWrite)
    );
    assert_eq!(control("SET LOCAL transaction_read_only = on").mode, Some(Access::ReadOnly));
    assert!(control("BEGIN ISOLATION LEVEL SERIALIZABLE").serializable);
    assert_eq!(control("SET work_mem = 1"), Control::default());
    for (text, several, pins) in [
        ("SELECT 1", false, false),
        ("SELECT 1;", false, false),
        ("SELECT 1; LISTEN x", true, true),
        ("BEGIN; LISTEN x", true, true),
    ] {
        assert_eq!((verdict(text).has_several(), verdict(text).pins), (several, pins), "{text}");
    }
}

#[test]
fn inside_a_block_other_things_are_legal() {
    let digest = loaded();
    let context = Context { in_transaction: true, ..Context::new(&digest) };
    for (text, class) in [
        ("SAVEPOINT a", Class::Session),
        ("ROLLBACK TO a", Class::Session),
        ("LOCK TABLE t", Class::Write),
        ("DECLARE c CURSOR FOR SELECT 1", Class::Write),
        ("BEGIN", Class::Session),
        ("COMMIT", Class::End),
        ("COMMIT AND CHAIN", Class::BeginReadWrite),
        ("COMMIT; BEGIN READ ONLY", Class::BeginReadWrite),
        ("COMMIT; SAVEPOINT a", Class::Error),
        ("CREATE TEMP TABLE x (i int) ON COMMIT DROP", Class::Write),
        ("CREATE TEMP TABLE x (i int)", Class::Pin),
        ("SELECT 1", Class::Read),
    ] {
        assert_eq!(classify(text.as_bytes(), &context).class, class, "{text}");
    }
}

#[test]
fn the_worst_of_a_pipeline_decides() {
    let digest = loaded();
    let context = Context::new(&digest);
    let all = |texts: &[&str]| combine(&texts.iter().map(|text| verdict(text)).collect::<Vec<_>>(), &context);
    for (texts, class) in [
        (&["SELECT 1", "SELECT 2"][..], Class::Read),
        (&["SELECT 1", "INSERT INTO t VALUES (1)"], Class::Write),
        (&["SET a.b = 1", "SELECT 1"], Class::Session),
        (&["SELECT 1", "LISTEN x", "SELECT 1"], Class::Pin),
        (&["BEGIN", "SELECT 1", "COMMIT"], Class::Write),
        (&["BEGIN READ ONLY", "SELECT 1", "COMMIT"], Class::Read),
        (&["BEGIN READ ONLY", "SELECT 1"], Class::BeginReadOnly),
        (&["BEGIN READ ONLY", "DELETE FROM t"], Class::BeginReadWrite),
        (&["SELECT 1", "SELEC"], Class::Error),
        (&[], Class::Read),
    ] {
        assert_eq!(all(texts).class, class, "{texts:?}");
    }
}

/// A unit is read through [`Tally`], of one text as of many: what a comment asks for must come through.
#[test]
fn a_unit_wants_what_its_texts_want() {
    let digest = loaded();
    let context = Context::new(&digest);
    let hint = |texts: &[&str]| {
        let mut tally = Tally::new(false);
        texts.iter().for_each(|text| tally.add(&classify(text.as_bytes(), &context)));
        tally.finish().hint
    };
    let wants = |preference, consistency| Hint { preference, consistency, max_staleness: None };
    let (global, strong) = (Some(Consistency::Global), Some(Consistency::Strong));
    let read = "/* pgherd: global, nearest */ SELECT 1";
    assert_eq!(hint(&[read]), wants(Some(Preference::Nearest), global));
    assert_eq!(hint(&["SELECT 1", read, "SELECT 2"]), wants(Some(Preference::Nearest), global));
    let both = hint(&[read, "/* pgherd: primary, strong */ SELECT 1"]);
    assert_eq!(both, wants(Some(Preference::Primary), strong));
    let lasting = |text| hint(&["/* pgherd: max_staleness=5s */ SELECT 1", text]).max_staleness;
    assert_eq!(lasting("SELECT 1"), Some(Duration::from_secs(5)));
    assert_eq!(lasting("/* pgherd: max_staleness=1s */ SELECT 1"), Some(Duration::from_secs(1)));
}

#[test]
fn names_that_cannot_be_compared_are_not_trusted() {
    let digest = Digest::new(1, [Row { name: "größe", kind: "relation", reason: "unlogged" }]);
    let found = |text: &[u8]| classify(text, &Context::new(&digest)).rule;
    assert_eq!(found("SELECT * FROM größe".as_bytes()), Rule::OddName);
    assert_eq!(found(b"SELECT * FROM gr\xf6\xdfe"), Rule::OddName, "the same in LATIN1");
    assert_eq!(found(b"SELECT * FROM size"), Rule::Reads);
}

proptest! {
    /// Whatever the bytes: no panic, a position within the text, and never a read with a write behind it.
    #[test]
    fn any_text_gets_a_careful_answer(
        parts in prop::collection::vec(prop::sample::select(vec![
            "SELECT ", "1", "'a'", "E'\\''", "$$", "$a$", "(", ")", ";", "--", "\n", "/*", "*/", "nextval('s')", "f", " FOR ", "UPDATE ",
            "WITH ", "x ", "AS ", "DELETE ", "FROM ", "t ", ",", ".", "\"", "::", "BEGIN ", "COMMIT ", "READ ONLY ", "EXPLAIN ", "COPY ",
            "TO STDOUT ", "SET ", "U&\"a\"", "'", "\\", "INTO ", "ul ", "OPERATOR", "+", "AND CHAIN ", "PREPARE ", "EXECUTE ",
        ]), 0..14),
        in_transaction: bool,
    ) {
        let text = parts.concat();
        let digest = loaded();
        let context = Context { in_transaction, ..Context::new(&digest) };
        let verdict = classify(text.as_bytes(), &context);
        prop_assert!(verdict.at <= text.len());
        if verdict.class == Class::Read {
            let more = classify(format!("{text}\n; DELETE FROM t").as_bytes(), &context);
            prop_assert_eq!(more.class, Class::Write);
            let fewer = classify(format!("{text}\n; SELECT 1").as_bytes(), &context);
            prop_assert_eq!(fewer.class, Class::Read);
        }
    }
}
