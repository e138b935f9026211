use super::*;

fn list(text: &str) -> Vec<Effect> {
    effects(text.as_bytes()).map(|e| e.list.into()).unwrap_or_default()
}

fn set_to(name: &str, value: &str) -> Effect {
    Effect::Set(name.as_bytes().into(), value.as_bytes().into())
}

#[test]
fn an_ordinary_statement_has_none() {
    for text in [
        "SELECT abalance FROM pgbench_accounts WHERE aid = 1;",
        "select set, reset from discard",
        "INSERT INTO temperature VALUES (1)",
        "select temp_x, attempt from contemporary",
        "select pg_advisory_unlock_all()",
        "select pg_advisory_xact_lock(1)",
        "COMMIT; ",
        "PREPARE TRANSACTION 'x'",
        "SET CONSTRAINTS ALL DEFERRED",
        "",
    ] {
        assert_eq!(effects(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn reads_settings() {
    assert_eq!(list("SET application_name = 'a b';"), [set_to("application_name", "'a b'")]);
    assert_eq!(list("set session Search_Path to a, \"B\" ; "), [set_to("search_path", "a, \"B\"")]);
    assert_eq!(list("SET TIME ZONE 'UTC'"), [set_to("timezone", "'UTC'")]);
    assert_eq!(list("SET NAMES 'utf8'"), [set_to("client_encoding", "'utf8'")]);
    assert_eq!(list("SET pgherd.pin = on"), [set_to("pgherd.pin", "on")]);
    assert_eq!(list("SET x TO DEFAULT"), [Effect::Reset(Some(b"x"[..].into()))]);
    assert_eq!(list("SET LOCAL x = 1"), [Effect::Scoped]);
    assert_eq!(list("SET TRANSACTION READ ONLY"), [Effect::Scoped]);
    assert_eq!(list("SET ROLE bob"), [set_to("role", "bob")]);
    assert_eq!(list("SET SESSION ROLE = 'bob'"), [set_to("role", "'bob'")]);
    assert_eq!(
        list("SET ROLE DEFAULT; RESET ROLE"),
        [Effect::Reset(Some(b"role"[..].into())), Effect::Reset(Some(b"role"[..].into()))]
    );
    assert_eq!(list("SET LOCAL ROLE bob"), [Effect::Scoped]);
    assert_eq!(list("SET session_authorization TO bob"), [set_to("session_authorization", "bob")]);
    assert_eq!(list("SET SESSION AUTHORIZATION \"B\""), [set_to("session_authorization", "\"B\"")]);
    assert_eq!(
        list("RESET SESSION AUTHORIZATION"),
        [Effect::Reset(Some(b"session_authorization"[..].into()))]
    );
    assert_eq!(list("SET XML OPTION DOCUMENT"), [set_to("xmloption", "DOCUMENT")]);
    assert_eq!(list("SET schema TO a"), [set_to("schema", "a")]);
    assert_eq!(list("SET transaction_isolation TO serializable"), [Effect::Scoped]);
    assert_eq!(list("SET TIME ZONE LOCAL"), [Effect::Reset(Some(b"timezone"[..].into()))]);
    assert_eq!(list("SET TIME ZONE INTERVAL '1' HOUR"), [Effect::Pins(Pin::Settings)]);
    assert_eq!(list("SET DateStyle TO iso, ymd"), [set_to("datestyle", "iso, ymd")]);
    assert_eq!(list("SET DateStyle TO 'iso, default'"), [Effect::Pins(Pin::Settings)]);
    assert_eq!(list("SET DateStyle TO DEFAULT"), [Effect::Reset(Some(b"datestyle"[..].into()))]);
    assert_eq!(list("SET LOCAL seed TO 0.5"), [Effect::Pins(Pin::Unprovable)]);
    assert_eq!(list("SET x = E'a\\n'"), [set_to("x", "E'a\\n'")]);
    assert_eq!(list("SET x = 'a\\n'"), [Effect::Pins(Pin::Settings)]);
    let all = |given: &[(&'static str, &str)]| {
        let pair = |(name, value): &(&'static str, &str)| (name.as_bytes(), Box::from(value.as_bytes()));
        [Effect::SetAll(given.iter().map(pair).collect())]
    };
    assert_eq!(
        list("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"),
        all(&[("default_transaction_read_only", "on")])
    );
    assert_eq!(
        list(
            "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ WRITE NOT DEFERRABLE;"
        ),
        all(&[
            ("default_transaction_isolation", "'repeatable read'"),
            ("default_transaction_read_only", "off"),
            ("default_transaction_deferrable", "off"),
        ])
    );
    assert_eq!(
        list("SET SESSION CHARACTERISTICS AS TRANSACTION SNAPSHOT 'x'"),
        [Effect::Pins(Pin::Settings)]
    );
}

#[test]
fn follows_a_lone_set_config() {
    let found = |text: &str| effects_of_query(text.as_bytes()).expect("an effect");
    let config = |name: &str, value: &str| Effect::Config(name.as_bytes().into(), value.as_bytes().into());
    for (text, name, value) in [
        ("SELECT set_config('TimeZone', 'America/Chicago', false)", "timezone", "America/Chicago"),
        ("select pg_catalog.SET_CONFIG('search_path','a, \"B\"',FALSE);", "search_path", "a, \"B\""),
        ("SELECT /* x */ set_config('app.user', '', false) -- y", "app.user", ""),
    ] {
        let effects = found(text);
        assert_eq!((Vec::from(effects.list), effects.pin), (vec![config(name, value)], None), "{text}");
    }
    for text in [
        "SELECT set_config('TimeZone', 'UTC', false), 1",
        "SELECT set_config('TimeZone', 'UTC', false) FROM t",
        "SELECT set_config('TimeZone', 'UTC', false); SELECT 1",
        "SELECT set_config('TimeZone', lower('UTC'), false)",
        "SELECT set_config('TimeZone', 'it''s', false)",
        "SELECT set_config('TimeZone', NULL, false)",
        "SELECT set_config('role', 'bob', false)",
        "SELECT set_config('DateStyle', 'ISO', false)",
        "SELECT own.set_config('TimeZone', 'UTC', false)",
        "SELECT 1, set_config('TimeZone', 'UTC', false)",
    ] {
        assert_eq!(found(text).pin, Some(Pin::Settings), "{text}");
    }
    // What comes behind a string that may be read in two ways can be anything.
    assert_eq!(found("SELECT set_config('TimeZone', 'a\\b', false)").pin, Some(Pin::Unprovable));
}

#[test]
fn reads_several_commands_in_order() {
    let all = list("SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL;");
    assert_eq!(all, [Effect::Reset(None)]);
    assert_eq!(list("SELECT 1; SET a=1; RESET b"), [set_to("a", "1"), Effect::Reset(Some(b"b"[..].into()))]);
}

#[test]
fn pins() {
    let pin = |text: &str| effects(text.as_bytes()).and_then(|e| e.pin);
    assert_eq!(pin("SELECT pg_try_advisory_lock(1)"), Some(Pin::AdvisoryLock));
    assert_eq!(pin("create TEMP table x()"), Some(Pin::Temporary));
    assert_eq!(pin("select 1 into temporary x"), Some(Pin::Temporary));
    assert_eq!(pin("create table pg_temp.x()"), Some(Pin::Temporary));
    assert_eq!(pin("create temp table x() on commit drop"), None);
    assert_eq!(pin("select SetSeed (0.5)"), Some(Pin::Unprovable));
    assert_eq!(pin("select set_config('a', 'b', false)"), Some(Pin::Settings));
    assert_eq!(pin("select set_config('a', f('b', (1)), True )"), None);
    for unclear in ["set_config('a', 'b', not true)", "set_config('a', $1, x.true)", "set_config('a', true"] {
        assert_eq!(pin(&format!("select {unclear}")), Some(Pin::Settings), "{unclear}");
    }
    assert_eq!(list("DECLARE c CURSOR WITH HOLD FOR SELECT 1"), [Effect::Pins(Pin::HoldCursor)]);
    assert_eq!(list("DECLARE c CURSOR FOR SELECT 1"), [Effect::Scoped]);
    assert_eq!(list("DO $$BEGIN SET x TO 1; END$$"), [Effect::Pins(Pin::Settings)]);
    assert_eq!(list("DO $$BEGIN PERFORM 1; END$$"), [Effect::Scoped]);
    assert_eq!(list("LISTEN x"), [Effect::Pins(Pin::Listen)]);
    assert_eq!(list("PREPARE a AS SELECT 1"), [Effect::Pins(Pin::SqlPrepare)]);
    assert_eq!(list("DEALLOCATE \"A b\""), [Effect::Deallocate(Some(b"A b"[..].into()))]);
    assert_eq!(list("DEALLOCATE PREPARE all"), [Effect::Deallocate(None)]);
    assert_eq!(list("DISCARD ALL"), [Effect::DiscardAll]);
}
