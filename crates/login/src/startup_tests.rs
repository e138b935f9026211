use super::*;
use proptest::prelude::*;

fn packet(version: u32, pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut packet = version.to_be_bytes().to_vec();
    for text in pairs.iter().flat_map(|(name, value)| [name, value]) {
        packet.extend_from_slice(text.as_bytes());
        packet.push(0);
    }
    packet.push(0);
    packet
}

fn started(version: u32, pairs: &[(&str, &str)]) -> Startup {
    match parse(&packet(version, pairs)) {
        Ok(Opening::Startup(startup)) => startup,
        other => panic!("{other:?}"),
    }
}

const V3: u32 = 3 << 16;

#[test]
fn tells_the_requests_apart() {
    assert_eq!(parse(&SSL_REQUEST.to_be_bytes()), Ok(Opening::Ssl));
    assert_eq!(parse(&GSS_REQUEST.to_be_bytes()), Ok(Opening::Gss));
    for (length, good) in [(0, false), (3, false), (4, true), (32, true), (256, true), (257, false)] {
        let request = [&CANCEL_REQUEST.to_be_bytes()[..], &7i32.to_be_bytes(), &vec![1; length]].concat();
        match parse(&request) {
            Ok(Opening::Cancel(cancel)) => assert!(good && cancel.pid == 7 && cancel.secret.len() == length),
            other => assert!(!good && other == Err(LoginError::CancelLength), "{other:?}"),
        }
    }
    assert_eq!(parse(&CANCEL_REQUEST.to_be_bytes()), Err(LoginError::CancelLength));
}

#[test]
fn lengths_are_postgresqls() {
    for (word, good) in [(0u32, false), (4, false), (7, false), (8, true), (10_004, true), (10_005, false)] {
        assert_eq!(length(word.to_be_bytes()).is_ok(), good, "{word}");
    }
    assert_eq!(length(*b"GET "), Err(LoginError::StartupLength));
    assert_eq!(length([0xff; 4]), Err(LoginError::StartupLength));
}

#[test]
fn reads_who_and_where() {
    let startup = started(V3, &[("user", "alice"), ("application_name", "psql"), ("client_encoding", "")]);
    assert_eq!((&*startup.user, &*startup.database), ("alice", "alice"));
    assert_eq!(
        startup.settings,
        [("application_name".into(), "psql".into()), ("client_encoding".into(), "".into())]
    );
    assert_eq!((startup.protocol, startup.unknown), (Protocol::V3_0, None));
    assert_eq!(&*started(V3, &[("user", "a"), ("database", "b")]).database, "b");
}

#[test]
fn refuses_what_postgresql_refuses() {
    let no_end = V3.to_be_bytes().to_vec();
    let trailing = [packet(V3, &[("user", "a")]), b"x\0".to_vec()].concat();
    let no_value = [&V3.to_be_bytes()[..], b"user\0a\0database\0\0"].concat();
    let open = [&V3.to_be_bytes()[..], b"user\0alice"].concat();
    let encoding = [&V3.to_be_bytes()[..], b"user\0\xff\0\0"].concat();
    for (bytes, error) in [
        (no_end, LoginError::StartupLayout),
        (trailing, LoginError::StartupLayout),
        (open, LoginError::StartupLayout),
        (encoding, LoginError::Encoding),
        (packet(V3, &[]), LoginError::NoUser),
        (packet(V3, &[("user", "")]), LoginError::NoUser),
        (packet(2 << 16, &[("user", "a")]), LoginError::Protocol(2, 0)),
        (packet(4 << 16, &[("user", "a")]), LoginError::Protocol(4, 0)),
        (packet(SSL_REQUEST, &[("user", "a")]), LoginError::Protocol(1234, 5679)),
        (packet(V3, &[("user", "a"), ("replication", "maybe")]), LoginError::Replication("maybe".into())),
        (packet(V3, &[("user", "a"), ("replication", "o")]), LoginError::Replication("o".into())),
    ] {
        assert_eq!(parse(&bytes), Err(error), "{}", String::from_utf8_lossy(&bytes));
    }
    // "database" takes the terminator for its value; then the packet ends without one.
    assert_eq!(parse(&no_value), Err(LoginError::StartupLayout));
}

#[test]
fn negotiates_what_is_newer_or_unknown() {
    for (minor, options, protocol, expected) in [
        (0, &[][..], Protocol::V3_0, None),
        (1, &[], Protocol::V3_0, None),
        (2, &[], Protocol::V3_2, None),
        (3, &[], Protocol::V3_2, Some(&b"v\0\0\0\x0c\0\x03\0\x02\0\0\0\0"[..])),
        (0, &["_pq_.x"], Protocol::V3_0, Some(b"v\0\0\0\x13\0\x03\0\0\0\0\0\x01_pq_.x\0")),
        (
            9999,
            &["_pq_.test_protocol_negotiation"],
            Protocol::V3_2,
            Some(b"v\0\0\0\x2b\0\x03\0\x02\0\0\0\x01_pq_.test_protocol_negotiation\0"),
        ),
    ] {
        let mut pairs = vec![("user", "a")];
        pairs.extend(options.iter().map(|&name| (name, "on")));
        let startup = started(V3 | minor, &pairs);
        let mut out = BytesMut::new();
        startup.negotiate(&mut out);
        assert_eq!((startup.protocol, &out[..]), (protocol, expected.unwrap_or_default()), "3.{minor}");
        assert!(startup.settings.is_empty());
    }
}

#[test]
fn replication_is_a_truth_value_or_database() {
    for (value, expected) in [
        ("", None),
        ("false", None),
        ("OFF", None),
        ("0", None),
        ("n", None),
        ("true", Some("true")),
        ("T", Some("T")),
        ("1", Some("1")),
        ("on", Some("on")),
        ("database", Some("database")),
    ] {
        let startup = started(V3, &[("user", "a"), ("replication", value)]);
        assert_eq!(startup.replication.as_deref(), expected, "{value}");
    }
}

#[test]
fn options_are_a_command_line() {
    let parsed = |options: &str| {
        switches(options).map(|list| {
            list.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(";")
        })
    };
    for (options, expected) in [
        ("", ""),
        ("  ", ""),
        ("-c geqo=off", "geqo=off"),
        ("-cgeqo=off", "geqo=off"),
        ("--geqo=off", "geqo=off"),
        ("--statement-timeout=5s -c work_mem=1MB", "statement_timeout=5s;work_mem=1MB"),
        (r"-c search_path=a,\ b\\c", r"search_path=a, b\c"),
        (
            "-c\tpgherd.read_preference=replica\n-e -S 64",
            "pgherd.read_preference=replica;datestyle=euro;work_mem=64",
        ),
        ("-c a=b=c", "a=b=c"),
        ("-c a=", "a="),
    ] {
        assert_eq!(parsed(options), Ok(expected.to_owned()), "{options}");
    }
    assert_eq!(parsed("-c geqo"), Err(LoginError::SwitchValue("-c geqo".into())));
    assert_eq!(parsed("--geqo"), Err(LoginError::SwitchValue("--geqo".into())));
    assert_eq!(parsed("-c"), Err(LoginError::Switch("-c".into())));
    assert_eq!(parsed("--"), Err(LoginError::Switch("--".into())));
    assert_eq!(parsed("-x"), Err(LoginError::Switch("-x".into())));
    assert_eq!(parsed("geqo=off"), Err(LoginError::Switch("geqo=off".into())));
}

#[test]
fn settings_win_over_options() {
    let startup = started(V3, &[("user", "a"), ("geqo", "on"), ("options", "-c geqo=off")]);
    assert_eq!(startup.settings, [("geqo".into(), "off".into()), ("geqo".into(), "on".into())]);
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes);
        let _ = parse(&[&V3.to_be_bytes()[..], &bytes].concat());
    }

    #[test]
    fn options_never_panic(options in any::<String>()) {
        let _ = switches(&options);
    }

    #[test]
    fn every_setting_survives(pairs in proptest::collection::vec(("[a-z][a-z_.]{0,9}x", "[^\0]{0,9}"), 0..20)) {
        let mut all: Vec<(&str, &str)> = vec![("user", "a")];
        all.extend(pairs.iter().map(|(name, value)| (&**name, &**value)));
        let startup = started(V3, &all);
        let kept: Vec<(&str, &str)> = startup.settings.iter().map(|(name, value)| (&**name, &**value)).collect();
        prop_assert_eq!(&kept[..], &all[1..]);
    }
}
