//! What the lexer must know of PostgreSQL's.

use super::*;
use proptest::prelude::*;

fn lexed(text: &str, standard_strings: bool) -> Vec<(Kind, &str)> {
    let lexer = Lexer::new(text.as_bytes(), standard_strings);
    lexer.map(|token| (token.kind, &text[token.start..token.end])).collect()
}

fn kinds(text: &str) -> Vec<Kind> {
    lexed(text, true).into_iter().map(|(kind, _)| kind).collect()
}

/// The one token that `text` is.
fn whole(text: &str) -> Kind {
    match lexed(text, true).as_slice() {
        [(kind, all)] if *all == text || *kind == Kind::Error => *kind,
        other => panic!("{text} is {other:?}"),
    }
}

#[test]
fn one_token_of_each_kind() {
    for (text, kind) in [
        ("select", Kind::Word),
        ("_a$1", Kind::Word),
        ("größe", Kind::Word),
        ("foo$bar$", Kind::Word),
        ("\"a \"\" b\"", Kind::Quoted),
        ("U&\"d\\0061\"", Kind::UnicodeQuoted),
        ("'it''s'", Kind::String),
        ("'\\'", Kind::String),
        ("E'\\''", Kind::Escape),
        ("e'a''b\\\\'", Kind::Escape),
        ("u&'d\\0061'", Kind::Unicode),
        ("N'x'", Kind::National),
        ("b'01'", Kind::Bits),
        ("X'1F'", Kind::Bits),
        ("$$ ' $x$ $$", Kind::Dollar),
        ("$tag$ $$ $tags$ $tag$", Kind::Dollar),
        ("$a$ $b$a$", Kind::Dollar),
        ("$1", Kind::Param),
        ("1.5e-3", Kind::Number),
        ("<=>", Kind::Operator),
        ("@-", Kind::Operator),
        ("::", Kind::Cast),
        (":=", Kind::Assign),
        ("=>", Kind::Arrow),
        ("..", Kind::DotDot),
        (":", Kind::Colon),
    ] {
        assert_eq!(whole(text), kind, "{text}");
    }
}

#[test]
fn what_postgresql_refuses_is_an_error() {
    for text in [
        "'open",
        "\"open",
        "\"\"",
        "/* open",
        "/* /* */",
        "E'\\'",
        "$$ open",
        "$a$ open $b$",
        "$",
        "$a",
        "1a",
        "$1a",
        "{",
        "}",
        "\\",
        "\0",
        "U&'open",
        "U&\"open",
        "'a'\n'open",
        "B'",
        "1_",
        "0x",
    ] {
        assert_eq!(kinds(text).last(), Some(&Kind::Error), "{text}");
    }
    let long = "+*".repeat(32);
    assert_eq!(kinds(&long), [Kind::Error]);
    assert_eq!(kinds("'a\0b"), [Kind::Error]);
    assert_eq!(kinds("a ' b; c"), [Kind::Word, Kind::Error], "nothing follows an error");
}

#[test]
fn strings_go_on_in_the_next_line() {
    for text in [
        "'a'\n'b'",
        "'a' -- x\n 'b'",
        "'a'\r\t'b'\n\n'c'",
        "E'a'\n'\\''",
        "'a'--\n--'\n'b'",
        "N'a'\n'b'",
        "X'1'\n'2'",
    ] {
        assert_eq!(kinds(text).len(), 1, "{text}");
    }
    for text in ["'a' 'b'", "'a' /* \n */ 'b'", "'a'\n/* x */'b'", "'a' -- x 'b'\n, 'c'"] {
        assert!(kinds(text).len() > 1, "{text}");
    }
    assert_eq!(kinds("'a' -- c\n'; DELETE FROM t;'"), [Kind::String]);
    assert_eq!(kinds("$$a$$\n'b'"), [Kind::Dollar, Kind::String]);
    assert_eq!(kinds("\"a\"\n\"b\""), [Kind::Quoted, Kind::Quoted]);
}

#[test]
fn backslashes_depend_on_the_setting() {
    let text = "'\\'; DELETE FROM t; --'";
    assert_eq!(lexed(text, true)[0], (Kind::String, "'\\'"));
    assert_eq!(lexed(text, false), [(Kind::Escape, text)]);
    assert_eq!(lexed("U&'x'", false), [(Kind::Error, "U&'x'")]);
    assert_eq!(lexed("E'\\'' 1", true).len(), 2);
    assert_eq!(lexed("N'\\''", false).len(), 1);
}

#[test]
fn comments_nest_and_vanish() {
    for text in [
        "/* a /* b */ c */ x",
        "-- a\nx",
        "x -- a",
        "--\r x",
        "/**/x/***/",
        "/* /*/ */ */x",
        "/*-- */x",
        "/* ' */x",
    ] {
        assert_eq!(kinds(text), [Kind::Word], "{text}");
    }
    assert_eq!(kinds("/*/ */"), []);
    assert_eq!(kinds(" \t\n\r\x0b\x0c"), []);
}

#[test]
fn operators_stop_before_comments_and_signs() {
    let parts = |text| lexed(text, true).into_iter().map(|(_, part)| part).collect::<Vec<_>>();
    for (text, expected) in [
        ("5--3\n", vec!["5"]),
        ("5 - -3", vec!["5", "-", "-", "3"]),
        ("a+-b", vec!["a", "+", "-", "b"]),
        ("a*-b", vec!["a", "*", "-", "b"]),
        ("a@-b", vec!["a", "@-", "b"]),
        ("a<-1", vec!["a", "<", "-", "1"]),
        ("a</*x*/b", vec!["a", "<", "b"]),
        ("a@--b\nc", vec!["a", "@", "c"]),
        ("a?|b", vec!["a", "?|", "b"]),
        ("a|/*", vec!["a", "|", "/*"]),
        ("-1", vec!["-", "1"]),
        ("a=>-1", vec!["a", "=>", "-", "1"]),
        ("@+-", vec!["@+-"]),
        ("+@", vec!["+@"]),
        ("a:b", vec!["a", ":", "b"]),
        ("a::int", vec!["a", "::", "int"]),
        ("a[1:2]", vec!["a", "[", "1", ":", "2", "]"]),
        ("1..10", vec!["1", "..", "10"]),
        ("t.1", vec!["t", ".1"]),
        ("t.*", vec!["t", ".", "*"]),
    ] {
        assert_eq!(parts(text), expected, "{text}");
    }
}

#[test]
fn a_dollar_after_a_letter_begins_nothing() {
    let parts = |text| lexed(text, true).into_iter().map(|(_, part)| part).collect::<Vec<_>>();
    assert_eq!(parts("foo$bar$, 'x$bar$'"), ["foo$bar$", ",", "'x$bar$'"]);
    assert_eq!(parts("$1+$2"), ["$1", "+", "$2"]);
    assert_eq!(kinds("a $x$ ; $x$ b"), [Kind::Word, Kind::Dollar, Kind::Word]);
    assert_eq!(kinds("$é$ ' $é$"), [Kind::Dollar]);
    assert_eq!(kinds("1$$"), [Kind::Number, Kind::Error]);
}

#[test]
fn a_lexer_is_pleasant() {
    let mut lexer = Lexer::new(b"SET Work_Mem TO \"select\"", true);
    assert!(lexer.accept("set") && !lexer.accept("to"));
    let token = lexer.peek().expect("a word");
    assert!(lexer.is(token, "work_mem") && lexer.name(token).is_some_and(|name| name.is(b"work_mem")));
    assert_eq!(lexer.next(), Some(token));
    assert!(lexer.accept("to") && !lexer.accept_kind(Kind::Word));
    let quoted = lexer.next().expect("a quoted word");
    assert_eq!((lexer.keyword(quoted), lexer.peek(), lexer.at()), (None, None, 24));
}

proptest! {
    /// Tokens follow each other, lie within the text, and end.
    #[test]
    fn any_bytes_are_read_to_their_end(
        text in prop::collection::vec(prop_oneof![
            4 => prop::sample::select(b"'\"$/*-\\\nEeUu&aB1.:;()+=x \0\xc3".to_vec()),
            1 => any::<u8>(),
        ], 0..60),
        standard_strings: bool,
    ) {
        let mut lexer = Lexer::new(&text, standard_strings);
        let mut end = 0;
        while let Some(token) = lexer.next() {
            prop_assert!(token.start >= end && token.end > token.start && token.end <= text.len());
            end = token.end;
            if token.kind == Kind::Error {
                prop_assert_eq!(lexer.next(), None);
            }
        }
        prop_assert_eq!(lexer.next(), None);
    }
}
