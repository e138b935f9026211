//! Which commands a text has, and where their names stand.

use super::*;

fn said(text: &str) -> Vec<String> {
    assert!(may_speak(text.as_bytes()), "{text}");
    let Spoken::Commands(commands, code) = spoken(text.as_bytes()) else { return vec!["?".into()] };
    let one = |command: &Command| match command {
        Command::ForgetsAll => "all".into(),
        Command::Names { deed, name, span } => {
            let name = String::from_utf8_lossy(name);
            let raw = &text[span.clone()];
            assert!(raw.eq_ignore_ascii_case(&name) || raw == format!("\"{name}\""), "{raw} {name}");
            match deed {
                Deed::Prepare { clause, body } => {
                    format!("p {name}|{}|{}", &text[clause.clone()], &text[*body..clause.end])
                }
                Deed::Execute => format!("e {name}"),
                Deed::Deallocate => format!("d {name}"),
            }
        }
    };
    commands.iter().map(one).chain(code.then(|| "code".into())).collect()
}

#[test]
fn finds_names() {
    for (text, expected) in [
        ("PREPARE p AS SELECT 1", &["p p|AS SELECT 1|SELECT 1"][..]),
        (
            "/* a */ prepare P1 (int, numeric(3,2)) as select $1 ; ",
            &["p p1|(int, numeric(3,2)) as select $1|select $1"],
        ),
        ("prepare \"P\"as select ';' -- end", &["p P|as select ';'|select ';'"]),
        ("execute p; EXECUTE \"q\"(1)", &["e p", "e q"]),
        ("explain execute p", &["e p"]),
        ("explain analyze verbose execute p(1)", &["e p"]),
        ("explain (analyze, costs off) execute p", &["e p"]),
        ("create table x as execute p", &["e p"]),
        (
            "create temp table if not exists x (a) with (fillfactor = 70) as execute p (1) with no data",
            &["e p"],
        ),
        ("explain create table x as execute p", &["e p"]),
        ("deallocate p", &["d p"]),
        ("deallocate prepare p", &["d p"]),
        ("deallocate prepare;", &["d prepare"]),
        ("select 1; deallocate all; discard all", &["all", "all"]),
        ("deallocate prepare all", &["all"]),
        ("deallocate \"all\"", &["d all"]),
        ("prepare transaction as select 1", &["p transaction|as select 1|select 1"]),
        ("prepare transaction 'x'; execute p", &["e p"]),
        ("select 'execute p', \"execute\" from execute", &[]),
        ("create trigger t after insert on x execute function f()", &[]),
        ("grant execute on function f() to x", &[]),
        ("create function f() returns void language plpgsql as $$ begin execute 'x'; end $$", &[]),
        ("do $$ begin execute 'execute p'; end $$; execute q", &["e q", "code"]),
        ("prepare select as select 1", &[]),
        ("prepare p", &[]),
        ("prepare p select 1", &[]),
        ("execute", &[]),
        ("execute 'p'", &[]),
        (
            "prepare a as select 1; prepare b as select 2",
            &["p a|as select 1|select 1", "p b|as select 2|select 2"],
        ),
    ] {
        assert_eq!(said(text), expected, "{text}");
    }
}

#[test]
fn one_command_alone() {
    for text in ["deallocate p", " deallocate /* it */ prepare p ;; ", "deallocate \"p\";"] {
        let Some(Command::Names { deed: Deed::Deallocate, name, .. }) = lone(text.as_bytes()) else {
            panic!("{text}")
        };
        assert_eq!(&*name, b"p", "{text}");
    }
    assert_eq!(lone(b"deallocate all"), Some(Command::ForgetsAll));
    for text in ["deallocate p; select 1", "select 1; deallocate p", "deallocate p; execute q", "select 1"] {
        assert_eq!(lone(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn admits_what_may_be_read_in_two_ways() {
    for text in [
        "execute p('a\\')",
        "execute U&\"p\"",
        "execute \"a\"\"b\"",
        "prepare p (int as select 1",
        "execute pé",
        "execute $$",
        "prepare p as select 1; select 'x\\'; deallocate p",
        &format!("execute {}", "x".repeat(64)),
    ] {
        assert_eq!(said(text), ["?"], "{text}");
    }
}

#[test]
fn most_texts_are_done_with_after_a_look() {
    for text in ["select 1", "update t set x = 1;", "begin; select 1; commit", "", "selext"] {
        assert!(!may_speak(text.as_bytes()), "{text}");
    }
}

#[test]
fn no_bytes_make_it_panic() {
    for text in [
        "prepare p (int) as select '",
        "deallocate prepare \"",
        "explain (execute \"\" ;;",
        "create table as execute",
    ] {
        for cut in 0..=text.len() {
            let _ = spoken(&text.as_bytes()[..cut]);
        }
    }
}
