use super::*;
use crate::console::act::Act;
use crate::console::cell::Cell;
use bytes::BufMut;
use proptest::prelude::*;

fn talk(standing: Standing) -> Talk {
    let speaker =
        Speaker { user: "u".into(), database: "pgherd".into(), standing, version: "pgherd 0".into() };
    Talk::new(speaker)
}

fn message(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut out = BytesMut::new();
    write::frame(&mut out, tag, |out| parts.iter().for_each(|part| out.put_slice(part)));
    out.to_vec()
}

fn query(text: &str) -> Vec<u8> {
    message(b'Q', &[text.as_bytes(), b"\0"])
}

/// A whole extended request: Parse, Bind with these result formats, Describe of the portal, Execute, Sync.
fn extended(text: &str, formats: &[u8], max: i32) -> Vec<u8> {
    let count = (formats.len() as u16 / 2).to_be_bytes();
    let mut all = message(b'P', &[b"\0", text.as_bytes(), b"\0\0\0"]);
    all.extend(message(b'B', &[b"\0\0\0\0\0\0", &count, formats]));
    all.extend(message(b'D', &[b"P\0"]));
    all.extend(message(b'E', &[b"\0", &max.to_be_bytes()]));
    all.extend(message(b'S', &[]));
    all
}

/// Plays a client's bytes; every table has this many rows, every act succeeds. The tags that came back, and the last step.
fn play(talk: &mut Talk, bytes: &[u8], rows: usize) -> (String, Result<Step, Report>, BytesMut) {
    let (mut input, mut out) = (BytesMut::from(bytes), BytesMut::new());
    let last = loop {
        match talk.step(&mut input, &mut out) {
            Ok(Step::Run(command)) => {
                let outcome = match &command {
                    Command::Act(_) => Outcome::Done,
                    command => Outcome::Rows(vec![vec![Cell::Number(7); columns(command).len()]; rows]),
                };
                talk.answer(outcome, &mut out);
            }
            other => break other,
        }
    };
    (tags(&out), last, out)
}

fn tags(mut out: &[u8]) -> String {
    let mut tags = String::new();
    while let Ok(Some(frame)) = header(out) {
        tags.push(char::from(frame.tag));
        if frame.tag == b'Z' {
            tags.push(char::from(out[5].to_ascii_lowercase()));
        }
        out = &out[frame.total..];
    }
    assert!(out.is_empty());
    tags
}

fn answered(talk: &mut Talk, text: &str) -> String {
    play(talk, &query(text), 2).0
}

#[test]
fn simple_queries() {
    let mut talk = talk(Standing::Admin);
    for (text, tags) in [
        ("SHOW POOLS", "TDDCZi"),
        ("show stats; show lists;", "TDDCTDDCZi"),
        ("", "IZi"),
        (";", "IZi"),
        ("SHOW HELP", "NCZi"),
        ("PAUSE", "CZi"),
        ("SET client_encoding = 'UTF8'", "NCZi"),
        ("nonsense", "EZi"),
        ("PAUSE; nonsense; RESUME", "CEZi"),
        ("select 1", "TDCZi"),
        ("BEGIN", "CZt"),
        ("SHOW POOLS", "TDDCZt"),
        ("nonsense", "EZe"),
        ("SHOW POOLS", "EZe"),
        ("COMMIT", "CZi"),
        ("BEGIN; PAUSE; COMMIT", "CCCZi"),
    ] {
        assert_eq!(answered(&mut talk, text), tags, "{text}");
    }
}

#[test]
fn whoever_may_look_may_do_nothing() {
    let mut talk = talk(Standing::Stats);
    for (text, tags) in [
        ("SHOW POOLS", "TDDCZi"),
        ("SHOW FDS", "EZi"),
        ("PAUSE", "EZi"),
        ("SET x = 1", "EZi"),
        ("RELOAD", "EZi"),
    ] {
        assert_eq!(answered(&mut talk, text), tags, "{text}");
        let same = play(&mut talk, &extended(text, &[], 0), 2).0;
        assert_eq!(same.contains('E'), tags.contains('E'), "{text}: {same}");
    }
}

#[test]
fn extended_requests() {
    let mut talk = talk(Standing::Admin);
    for (text, formats, max, tags) in [
        ("SHOW POOLS", &[][..], 0, "12TDDCZi"),
        ("SHOW POOLS", &[0, 1], 0, "12TDDCZi"),
        ("SHOW LISTS", &[0, 0, 0, 1], 0, "12TDDCZi"),
        ("SHOW POOLS", &[], 1, "12TDsZi"),
        ("SHOW POOLS", &[], 3, "12TDDCZi"),
        ("PAUSE", &[], 0, "12nCZi"),
        ("", &[], 0, "12nIZi"),
        ("SHOW HELP", &[], 0, "12nNCZi"),
        ("nonsense", &[], 0, "EZi"),
        ("SHOW POOLS; SHOW LISTS", &[], 0, "EZi"),
        ("SHOW LISTS", &[0, 1, 0, 1, 0, 1], 0, "1EZi"),
        ("SHOW LISTS", &[0, 9], 0, "1EZi"),
        ("BEGIN", &[], 0, "12nCZt"),
        ("ROLLBACK", &[], 0, "12nCZi"),
    ] {
        assert_eq!(play(&mut talk, &extended(text, formats, max), 2).0, tags, "{text}");
    }
}

#[test]
fn a_portal_goes_on_where_it_stopped() {
    let mut talk = talk(Standing::Admin);
    let mut bytes = message(b'P', &[b"s\0", b"SHOW LISTS\0\0\0"]);
    bytes.extend(message(b'B', &[b"p\0s\0\0\0\0\0\0\0"]));
    for _ in 0..3 {
        bytes.extend(message(b'E', &[b"p\0", &2i32.to_be_bytes()]));
    }
    bytes.extend(message(b'S', &[]));
    // The portal is gone with its transaction, the statement stays.
    bytes.extend(message(b'D', &[b"Pp\0"]));
    bytes.extend(message(b'S', &[]));
    bytes.extend(message(b'D', &[b"Ss\0"]));
    bytes.extend(message(b'C', &[b"Ss\0"]));
    bytes.extend(message(b'D', &[b"Ss\0"]));
    bytes.extend(message(b'S', &[]));
    assert_eq!(play(&mut talk, &bytes, 5).0, "12DDsDDsDCZiEZitT3EZi");
}

#[test]
fn parameters_are_refused_and_counted() {
    let mut talk = talk(Standing::Admin);
    let mut bytes = message(b'P', &[b"\0", b"SHOW LISTS\0\0\0"]);
    bytes.extend(message(b'B', &[b"\0\0\0\0\0\x01\0\0\0\x01x\0\0"]));
    bytes.extend(message(b'S', &[]));
    assert_eq!(play(&mut talk, &bytes, 0).0, "1EZi");
}

#[test]
fn names_are_limited() {
    let mut talk = talk(Standing::Admin);
    for at in 0..MAX_NAMES {
        let name = format!("s{at}\0");
        assert_eq!(play(&mut talk, &message(b'P', &[name.as_bytes(), b"PAUSE\0\0\0"]), 0).0, "1");
    }
    assert_eq!(play(&mut talk, &message(b'P', &[b"more\0", b"PAUSE\0\0\0"]), 0).0, "E");
}

#[test]
fn what_no_client_may_send_ends_the_talk() {
    for bytes in [
        &b"Q\0\0\0\x01"[..],
        b"Q\x7f\xff\xff\xff",
        b"Q\0\x02\0\0",
        b"Y\0\0\0\x04",
        b"Q\0\0\0\x05x",
        b"Q\0\0\0\x08a\0b\0",
    ] {
        let (_, last, _) = play(&mut talk(Standing::Admin), bytes, 0);
        assert_eq!(last.map_err(|report| report.code), Err(code::PROTOCOL_VIOLATION), "{bytes:?}");
    }
    assert_eq!(play(&mut talk(Standing::Admin), b"X\0\0\0\x04", 0).1, Ok(Step::Goodbye));
}

#[test]
fn acts_are_handed_on() {
    let mut talk = talk(Standing::Admin);
    let (mut input, mut out) = (BytesMut::from(&query("KILL_CLIENT 5")[..]), BytesMut::new());
    assert_eq!(talk.step(&mut input, &mut out), Ok(Step::Run(Command::Act(Act::KillClient(5)))));
    let report = Report::new(Severity::Error, "42704", "client not found");
    talk.answer(Outcome::Failed(report), &mut out);
    assert_eq!(tags(&out), "EZi");
}

proptest! {
    /// The answer does not depend on how the bytes come, and no bytes make it panic.
    #[test]
    fn any_bytes_have_an_answer(
        parts in prop::collection::vec(
            prop_oneof![
                prop::sample::select(vec!["SHOW POOLS", "PAUSE", "BEGIN", "x", "", "select 1; show lists"]).prop_map(query),
                prop::sample::select(vec!["SHOW POOLS", "PAUSE", "BEGIN", "x", ""]).prop_map(|text| extended(text, &[0, 1], 1)),
                (prop::sample::select(b"PBDECSHQFdcfX".to_vec()), prop::collection::vec(any::<u8>(), 0..24))
                    .prop_map(|(tag, body)| message(tag, &[&body])),
                prop::collection::vec(any::<u8>(), 0..8),
            ],
            0..6,
        ),
        cut in any::<prop::sample::Index>(),
    ) {
        let bytes = parts.concat();
        let (whole, last, _) = play(&mut talk(Standing::Admin), &bytes, 2);
        let mut cutting = talk(Standing::Admin);
        let at = cut.index(bytes.len() + 1);
        let (mut input, mut out) = (BytesMut::from(&bytes[..at]), BytesMut::new());
        let mut more = |talk: &mut Talk, input: &mut BytesMut| loop {
            match talk.step(input, &mut out) {
                Ok(Step::Run(Command::Act(_))) => talk.answer(Outcome::Done, &mut out),
                Ok(Step::Run(command)) => {
                    talk.answer(Outcome::Rows(vec![vec![Cell::Number(7); columns(&command).len()]; 2]), &mut out);
                }
                other => return other,
            }
        };
        let first = more(&mut cutting, &mut input);
        if first == Ok(Step::More) {
            input.extend_from_slice(&bytes[at..]);
            prop_assert_eq!(more(&mut cutting, &mut input), last);
            prop_assert_eq!(tags(&out), whole);
        }
    }
}
