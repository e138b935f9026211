use super::*;
use proptest::prelude::*;

const ASKING: Asking<'_> = Asking { user: "adm", database: "pgherd", version: "pgherd 0" };

fn read(text: &str) -> Command {
    parse(text, ASKING)
}

fn act(text: &str) -> Act {
    match read(text) {
        Command::Act(act) => act,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn shows_are_found_in_any_dress() {
    for text in ["SHOW POOLS", " show pools ;", "select pools", "SHOW \"pools\";", "show/* x */pools -- y"] {
        assert_eq!(read(text), Command::Show(Show::Pools), "{text}");
    }
    assert_eq!(read("SHOW peer_pools"), Command::Show(Show::PeerPools));
    for text in ["SHOW", "SHOW pools stats", "SHOW nothing", "pools", "SHOW 'pools'", "select pools, stats"] {
        assert_eq!(read(text), Command::Unknown, "{text}");
    }
}

#[test]
fn databases_are_named_as_typed() {
    assert_eq!(act("PAUSE"), Act::Pause(None));
    assert_eq!(act("pause App_1"), Act::Pause(Some("App_1".into())));
    assert_eq!(act("KILL \"my \"\"db\"\"\";"), Act::Kill(Some("my \"db\"".into())));
    assert_eq!(act("WAIT_CLOSE app"), Act::WaitClose(Some("app".into())));
    assert_eq!(act("KILL_CLIENT 17"), Act::KillClient(17));
    assert_eq!(act("shutdown Wait_For_Clients"), Act::Shutdown(Shutdown::WaitForClients));
    for text in
        ["DISABLE", "KILL_CLIENT x", "KILL_CLIENT", "SHUTDOWN NOW", "PAUSE a b", "RELOAD x", "SUSPEND x"]
    {
        assert_eq!(read(text), Command::Unknown, "{text}");
    }
}

#[test]
fn a_change_of_primary_is_asked_for() {
    assert_eq!(act("SWITCHOVER"), Act::Switchover(None));
    assert_eq!(act("switchover to pg2;"), Act::Switchover(Some("pg2".into())));
    let failover = |to: Option<&str>, allow_loss| Act::Failover { to: to.map(str::to_owned), allow_loss };
    assert_eq!(act("FAILOVER"), failover(None, false));
    assert_eq!(act("FAILOVER TO \"pg 2\""), failover(Some("pg 2"), false));
    assert_eq!(act("FAILOVER ALLOW DATA LOSS"), failover(None, true));
    assert_eq!(act("failover to pg3 allow data loss"), failover(Some("pg3"), true));
    for text in [
        "SWITCHOVER pg2",
        "SWITCHOVER TO",
        "SWITCHOVER ALLOW DATA LOSS",
        "FAILOVER ALLOW LOSS",
        "FAILOVER TO a b",
    ] {
        assert_eq!(read(text), Command::Unknown, "{text}");
    }
}

#[test]
fn settings_are_set() {
    let set = |key: &str, value: &str| Act::Set(key.into(), value.into());
    assert_eq!(act("SET pool.max_pool_size = 30"), set("pool.max_pool_size", "30"));
    assert_eq!(act("set query_wait_timeout='10s';"), set("query_wait_timeout", "10s"));
    assert_eq!(act("SET log_level TO debug"), set("log_level", "debug"));
    assert_eq!(act("SET x = 'it''s'"), set("x", "it's"));
    assert_eq!(act("SET x = 10s"), set("x", "10s"));
    for text in ["SET x", "SET = 1", "SET x 1", "SET", "SET x =", "SET x. = 1"] {
        assert_eq!(read(text), Command::Unknown, "{text}");
    }
}

#[test]
fn drivers_are_humoured() {
    for text in [
        "SET extra_float_digits = 3",
        "SET client_encoding TO 'UTF8'",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        "SET DateStyle='ISO'",
        "SET TIME ZONE 'UTC'",
        "SET LOCAL statement_timeout = 0",
        "SET NAMES 'utf8'",
    ] {
        assert_eq!(read(text), Command::Ignored, "{text}");
    }
    assert_eq!(read("BEGIN ISOLATION LEVEL READ COMMITTED"), Command::Block(Block::Begin));
    assert_eq!(read("START TRANSACTION"), Command::Block(Block::Begin));
    assert_eq!(read("ROLLBACK"), Command::Block(Block::Rollback));
    assert!(matches!(read("SHOW transaction_read_only"), Command::Value(..)));
    assert!(matches!(read("select 1"), Command::Value(_, Cell::Number(1))));
    assert_eq!(read("SELECT version()"), one("version", Cell::text("pgherd 0")));
    for text in ["", " ", ";", "-- nothing", ";;"] {
        assert_eq!(read(text), Command::Empty, "{text}");
    }
}

#[test]
fn texts_are_split_at_semicolons_only() {
    let parts = split("show pools; set x = 'a;b' ;; /* ; */ pause \"c;d\";").unwrap();
    assert_eq!(parts, ["show pools", " set x = 'a;b' ", " /* ; */ pause \"c;d\""]);
    assert_eq!(split(" ; -- x"), Some(vec![]));
    assert_eq!(split(&"a;".repeat(MAX_STATEMENTS)).map(|parts| parts.len()), Some(MAX_STATEMENTS));
    assert_eq!(split(&"a;".repeat(MAX_STATEMENTS + 1)), None);
}

proptest! {
    #[test]
    fn any_text_has_an_answer(text in "\\PC{0,80}", words in prop::collection::vec(
        prop::sample::select(vec!["show", "set", "select", "pause", "kill", "\"", "'", "=", ".", ";", "x", "1", "(", "--", "\u{e9}"]), 0..8),
    ) {
        let joined = words.join(" ");
        for text in [text.as_str(), &joined, &words.concat()] {
            read(text);
            for part in split(text).unwrap_or_default() {
                read(part);
            }
        }
    }
}
