//! What a session leaves in its server: it stays with the session, goes when the session lets go of it, and nobody else ever meets it.
use crate::house::{House, refused, value};
use pgherd_tests::raw::{Raw, sqlstate};

/// Runs a statement that returns nothing of interest.
fn run(raw: &mut Raw, sql: &str) {
    let events = raw.query(sql);
    assert_eq!(sqlstate(&events), "", "{sql}: {events:?}");
}

/// Another session gets the only server there is.
fn is_free(house: &House, after: &str) {
    let mut other = house.client();
    let events = other.query("SELECT 1");
    assert_eq!(sqlstate(&events), "", "after {after}: {events:?}");
}

fn is_kept(house: &House, after: &str) {
    assert_eq!(refused(&mut house.client(), "SELECT 1"), "53300", "after {after}");
}

#[test]
fn a_server_is_kept_only_while_there_is_something_in_it() {
    let house = House::start(&[("pool", "max_pool_size = 1"), ("pool", "query_wait_timeout = \"300ms\"")]);
    let mut raw = house.client();
    for (make, end) in [
        ("SELECT pg_advisory_lock(1), pg_advisory_lock(1)", "SELECT pg_advisory_unlock_all()"),
        ("CREATE TEMP TABLE t (a int)", "DROP TABLE t"),
        ("SELECT 1 AS a INTO TEMP t", "DROP TABLE t"),
        ("CREATE TEMP VIEW v AS SELECT 1", "DROP VIEW v"),
        ("DECLARE c CURSOR WITH HOLD FOR SELECT 1", "CLOSE c"),
        ("LISTEN x", "UNLISTEN *"),
        ("PREPARE p AS SELECT 'now'::timestamptz", "DEALLOCATE p"),
        ("DO $$ BEGIN CREATE TEMP TABLE d (a int); END $$", "DROP TABLE d"),
        ("DO $$ BEGIN PERFORM pg_advisory_lock(7); END $$", "SELECT pg_advisory_unlock(7)"),
    ] {
        run(&mut raw, make);
        is_kept(&house, make);
        run(&mut raw, end);
        is_free(&house, end);
    }
    for nothing in [
        "SELECT temp FROM (SELECT 1) AS weather (temp)",
        "SELECT pg_advisory_lock(1); SELECT pg_advisory_unlock(1)",
        "BEGIN; CREATE TEMP TABLE t (a int); ROLLBACK",
        "SELECT pg_try_advisory_lock_shared(2), pg_advisory_unlock_shared(2)",
        "CREATE TEMP TABLE t (a int) ON COMMIT DROP",
        "DO $$ BEGIN PERFORM 1; END $$",
        "PREPARE p AS SELECT 1",
        "EXECUTE p",
    ] {
        run(&mut raw, nothing);
        is_free(&house, nothing);
    }
    drop(raw);
    house.nothing_left();
    house.close();
}

#[test]
fn what_unseen_code_sets_is_carried() {
    let house = House::start(&[("pool", "max_pool_size = 1"), ("pool", "query_wait_timeout = \"300ms\"")]);
    let (mut raw, mut other) = (house.client(), house.client());
    run(&mut raw, "SET my.a TO 'mine'");
    run(
        &mut raw,
        "DO $$ BEGIN PERFORM set_config('my.b', 'x', false), set_config('work_mem', '5MB', false); END $$",
    );
    assert_eq!(value(&mut other, "SELECT current_setting('my.b', true)"), "");
    assert_eq!(value(&mut other, "SHOW work_mem"), "4MB");
    assert_eq!(value(&mut raw, "SELECT current_setting('my.a') || current_setting('my.b')"), "minex");
    assert_eq!(value(&mut raw, "SHOW work_mem"), "5MB");
    // The same by a text that says so, and a role.
    run(&mut raw, "SELECT set_config('my.b', 'y', false)");
    assert_eq!(value(&mut other, "SELECT current_setting('my.b', true)"), "");
    assert_eq!(value(&mut raw, "SHOW my.b"), "y");
    house.direct("CREATE ROLE other; GRANT other TO app");
    run(&mut raw, "SET ROLE other");
    assert_eq!(value(&mut other, "SELECT current_user"), "app");
    assert_eq!(value(&mut raw, "SELECT current_user"), "other");
    run(&mut raw, "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ");
    run(&mut raw, "RESET ALL");
    assert_eq!(value(&mut other, "SHOW default_transaction_isolation"), "read committed");
    assert_eq!(value(&mut raw, "SELECT current_user"), "other");
    run(&mut raw, "RESET ROLE");
    assert_eq!(value(&mut other, "SELECT current_user"), "app");
    assert_eq!(value(&mut raw, "SELECT current_user"), "app");
    // No view shows whose rights a session uses.
    for taken in [
        "SELECT set_config('ro' || 'le', 'other', false)",
        "DO $$ BEGIN PERFORM set_config('role', 'other', false); END $$",
        "DO $$ BEGIN SET ROLE other; END $$",
        "PREPARE p AS SELECT set_config('role', 'other', false); EXECUTE p; DEALLOCATE p",
    ] {
        run(&mut raw, taken);
        assert_eq!(value(&mut other, "SELECT current_user"), "app", "{taken}");
        assert_eq!(value(&mut raw, "SELECT current_user"), "other", "{taken}");
        run(&mut raw, "RESET ROLE");
        assert_eq!(value(&mut raw, "SELECT current_user"), "app", "{taken}");
    }
    drop((raw, other));
    house.nothing_left();
    house.close();
}

#[test]
fn asked_every_time_a_server_tells_of_what_functions_do() {
    let house = House::start(&[("pool", "max_pool_size = 2"), ("pool", "session_probe = \"always\"")]);
    let (mut raw, mut other) = (house.client(), house.client());
    for body in [
        "make_table() RETURNS int LANGUAGE plpgsql AS $$ BEGIN CREATE TEMP TABLE t (a int); RETURN 1; END $$",
        "take_lock() RETURNS int LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_lock(9); RETURN 1; END $$",
        "set_it(OUT a text, OUT b text) LANGUAGE sql AS $$ SELECT set_config('my.x', 'mine', false), set_config('work_mem', '5MB', false) $$",
    ] {
        run(&mut raw, &format!("CREATE FUNCTION {body}"));
    }
    run(&mut raw, "SELECT set_it()");
    for _ in 0..4 {
        assert_eq!(value(&mut other, "SELECT current_setting('my.x', true)"), "");
        // One that only the function knows by name cannot be asked for, so it is gone; others are carried.
        assert_eq!(value(&mut raw, "SHOW work_mem"), "5MB");
    }
    run(&mut raw, "SELECT take_lock()");
    assert_eq!(value(&mut other, "SELECT pg_try_advisory_lock(9)"), "f");
    run(&mut raw, "SELECT pg_advisory_unlock(9)");
    run(&mut raw, "SELECT make_table()");
    assert_eq!(refused(&mut other, "SELECT * FROM t"), "42P01");
    assert_eq!(value(&mut raw, "SELECT count(*) FROM t"), "0");
    drop((raw, other));
    house.nothing_left();
    house.close();
}
