use super::*;
use crate::prepared::Texts;

fn rest(query: &str) -> Vec<u8> {
    [query.as_bytes(), b"\0\0\0"].concat()
}

#[test]
fn a_text_that_comes_again_is_remembered() {
    let texts = Texts::default();
    let text = rest("select a from t where b = $1");
    assert!(texts.see(&text, 0).is_none());
    let known = texts.see(&text, 0).expect("seen twice");
    assert!(known.takes_values);
    assert_eq!(texts.see(&text, 0).map(|again| again.id), Some(known.id));
    assert!(texts.see(&text, 1).is_none(), "other settings are another meaning");
    assert_ne!(texts.see(&text, 1).map(|other| other.id), Some(known.id));
}

#[test]
fn a_text_is_prepared_anew_when_tables_changed() {
    let texts = Texts::default();
    let text = rest("select a from t");
    texts.see(&text, 0);
    let old = texts.see(&text, 0).expect("seen twice");
    texts.retire_all();
    assert!(!texts.is_current(&old));
    let new = texts.see(&text, 0).expect("it is still known");
    assert!(texts.is_current(&new) && new.id != old.id);
}

#[test]
fn what_a_server_found_out_of_date_goes_as_it_is_for_a_while() {
    let texts = Texts::default();
    let text = rest("select a from t");
    texts.see(&text, 0);
    let old = texts.see(&text, 0).expect("seen twice");
    texts.shun(&old);
    assert!(!texts.is_current(&old));
    for _ in 0..SHUNNED {
        assert!(texts.see(&text, 0).is_none());
    }
    assert_ne!(texts.see(&text, 0).expect("tried again").id, old.id);
}

#[test]
fn what_is_remembered_is_bounded() {
    let texts = Texts::default();
    let seen: Vec<_> = (0..20_000)
        .filter_map(|n| {
            let text = rest(&format!("select {n}"));
            texts.see(&text, 0);
            texts.see(&text, 0).map(|known| Arc::downgrade(&known))
        })
        .collect();
    let kept = seen.iter().filter(|known| known.strong_count() > 0).count();
    assert!(seen.len() > 19_000 && kept <= SHARDS * SETS * WAYS, "{kept} of {}", seen.len());
    assert!(kept > SHARDS * SETS * WAYS / 2);
}

#[test]
fn the_moment_it_is_read_must_not_matter() {
    for text in [
        "select 1",
        " /* a */ SELECT 'x', $1::regclass",
        "(select 1) union select 2",
        "insert into t values ($1) returning id",
        "with a as (select 1) update t set b = 2",
        "-- c\nvalues (1)",
        "select 'nowhere'",
        "select current_date, now()",
    ] {
        assert!(may_read_or_write(text.as_bytes()) && may_be_kept(&rest(text)), "{text}");
    }
    for text in [
        "",
        "create table t (a int)",
        "select 1 into t",
        "select timestamp 'now'",
        "select 'Today'::date",
        "select $$tomorrow$$::date",
        "select 'f'::regproc",
        "select \"regtype\" 'int'",
        "select e'n\\157w'::timestamp",
        "explain select 1",
        "select 'open",
    ] {
        assert!(!may_be_kept(&rest(text)), "{text}");
    }
}
