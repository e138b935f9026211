//! What a digest remembers of its rows.

use super::*;

fn row<'a>(name: &'a str, kind: &'a str, reason: &'a str) -> Row<'a> {
    Row { name, kind, reason }
}

fn taint(digest: &Digest, word: &str) -> Option<Reason> {
    let name = Name::word(word.as_bytes());
    digest.taint(name, name.fold()).map(|taint| taint.reason)
}

fn vouches(digest: &Digest, word: &str) -> bool {
    let name = Name::word(word.as_bytes());
    digest.vouches_for(name, name.fold())
}

#[test]
fn one_bad_overload_taints_the_name() {
    let digest = Digest::new(
        7,
        [
            row("good", "function", "harmless"),
            row("ov", "function", "harmless"),
            row("ov", "function", "volatile"),
            row("late", "function", "denied"),
            row("late", "function", "volatile"),
            row("late", "function", "harmless"),
            row("ul", "relation", "unlogged"),
            row("dom", "type", "reaches"),
            row("odd", "relation", "a reason of the future"),
            row("strange", "a kind of the future", "harmless"),
            row("<#!>", "operator", "reaches"),
        ],
    );
    assert!(digest.is_loaded() && digest.epoch() == 7 && digest.splitting_off().is_none());
    assert!(
        vouches(&digest, "good")
            && vouches(&digest, "GOOD")
            && !vouches(&digest, "ov")
            && !vouches(&digest, "x")
    );
    for (name, reason) in [
        ("good", None),
        ("ov", Some(Reason::Volatile)),
        ("late", Some(Reason::Denied)),
        ("UL", Some(Reason::Unlogged)),
        ("dom", Some(Reason::Reaches)),
        ("odd", Some(Reason::Other)),
        ("strange", Some(Reason::Other)),
        ("x", None),
    ] {
        assert_eq!(taint(&digest, name), reason, "{name}");
    }
    assert!(digest.taints_operator(b"<#!>") && !digest.taints_operator(b"<#"));
}

#[test]
fn many_names_are_all_found() {
    let names: Vec<_> = (0..1000).map(|i| format!("Name_{i}")).collect();
    let digest = Digest::new(1, names.iter().map(|name| row(name, "relation", "foreign")));
    for name in &names {
        let quoted = format!("\"{name}\"");
        let token = pgherd_sql::lexer::Lexer::new(quoted.as_bytes(), true).next().unwrap();
        let found = Name::of(token, quoted.as_bytes()).unwrap();
        assert!(digest.taint(found, found.fold()).is_some(), "{name}");
        assert_eq!(taint(&digest, name), None, "the name has capitals, the word has not");
    }
    assert_eq!(digest.len(), 1000);
}

#[test]
fn what_is_learned_only_adds() {
    let old = Digest::new(1, [row("f", "function", "harmless"), row("v", "function", "volatile")]);
    let new = old.learned(2, "f", Kind::Function).learned(3, "r", Kind::Relation);
    assert_eq!(
        (taint(&new, "f"), taint(&new, "r"), new.epoch()),
        (Some(Reason::Learned), Some(Reason::Learned), 3)
    );
    assert_eq!(taint(&old, "f"), None);
    let vouched = new.clone().vouched(["v", "f", "unheard_of"]);
    assert!(vouches(&vouched, "v") && !vouches(&vouched, "f") && !vouches(&new, "v"));
    // What the catalog does not know may be anything.
    assert!(!vouches(&vouched, "unheard_of"));
}

#[test]
fn vouching_helps_against_volatility_only() {
    for reason in Reason::ALL {
        let rows = [row("f", "function", "volatile"), row("f", "function", reason.word())];
        let digest = Digest::new(1, rows).vouched(["f"]);
        assert_eq!(vouches(&digest, "f"), reason == Reason::Volatile, "{reason:?}");
    }
    // A relation of the same name, and a name that is spelled in another way.
    let digest = Digest::new(1, [row("f", "function", "volatile"), row("f", "relation", "unlogged")]);
    assert_eq!(taint(&digest.vouched(["f"]), "f"), Some(Reason::Unlogged));
    let digest = Digest::new(1, [row("f", "function", "volatile")]);
    assert_eq!(taint(&digest.vouched(["F"]), "f"), Some(Reason::Volatile));
}

#[test]
fn not_loaded_knows_nothing() {
    let digest = Digest::not_loaded();
    assert!(!digest.is_loaded() && digest.is_empty());
    assert_eq!(taint(&digest, "x"), None);
    let off = Digest::new(1, [row("implicit cast a to b", "database", "volatile")]);
    assert_eq!(off.splitting_off(), Some("implicit cast a to b"));
}

#[test]
fn names_that_cannot_be_compared_are_known_to_matter() {
    let digest = |name: &str| Digest::new(1, [row(name, "relation", "unlogged")]);
    assert!(digest("größe").may_taint_foreign(3));
    assert!(!digest("size").may_taint_foreign(63));
    assert!(digest(&"a".repeat(61)).may_taint_foreign(40) && !digest(&"a".repeat(61)).may_taint_foreign(10));
}

#[test]
fn sizes_are_the_primarys_where_something_is_unlogged() {
    let logged = Digest::new(1, [row("t", "function", "harmless")]);
    assert_eq!(taint(&logged, "pg_table_size"), None);
    let unlogged = Digest::new(1, [row("ul", "relation", "unlogged")]);
    assert_eq!(taint(&unlogged, "pg_table_size"), Some(Reason::Unlogged));
}
