//! Clients that leave at every possible moment, in a pool of one server.
use crate::house::{House, USER, refused, value};
use pgherd_tests::raw::{Raw, frame, query, tags};
use std::time::{Duration, Instant};

/// Everything that leaves traces, as one client would send it.
fn script() -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(query("SET work_mem TO '77MB'; SET application_name TO 'torn'"));
    bytes.extend(frame(b'P', b"s1\0SELECT $1::int\0\0\0"));
    bytes.extend(frame(b'B', b"\0s1\0\0\0\0\x01\0\0\0\x017\0\0"));
    bytes.extend(frame(b'E', b"\0\0\0\0\0"));
    bytes.extend(frame(b'H', b""));
    bytes.extend(frame(b'S', b""));
    bytes.extend(query("SELECT pg_advisory_lock(42)"));
    bytes.extend(query("CREATE TEMP TABLE torn_temp (n int)"));
    bytes.extend(query("BEGIN"));
    bytes.extend(query("INSERT INTO torn VALUES (1)"));
    bytes.extend(query("COPY torn FROM STDIN"));
    bytes.extend(frame(b'd', b"2\n3\n"));
    bytes.extend(frame(b'c', b""));
    bytes.extend(query("LISTEN torn"));
    bytes.extend(query("COMMIT"));
    bytes
}

/// What a neighbour finds must be as if nobody had been there, but for transactions that were committed whole.
fn look(witness: &mut Raw, at: usize) {
    let seen = value(
        witness,
        "SELECT concat_ws(',', current_setting('work_mem'), current_setting('application_name'),
            to_regclass('pg_temp.torn_temp'), (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()),
            (SELECT count(*) FROM pg_prepared_statements WHERE name NOT LIKE 'pgherd%'),
            (SELECT count(*) FROM pg_listening_channels()), (SELECT count(*) % 3 FROM torn))",
    );
    assert_eq!(seen, "4MB,,0,0,0,0", "after a client left at byte {at}");
}

#[test]
fn a_client_that_leaves_at_any_byte_leaves_nothing_behind() {
    let house = House::start(&[("pool", "max_pool_size = 1"), ("pool", "query_wait_timeout = \"5s\"")]);
    let mut witness = house.client();
    assert_eq!(value(&mut witness, "CREATE TABLE torn (n int)"), "");
    let script = script();
    for at in 0..=script.len() {
        let mut raw = house.client();
        raw.send(&script[..at]).unwrap();
        if at % 2 == 0 {
            // Half of them wait a little, so that some of it is answered and some is not read.
            std::thread::sleep(Duration::from_millis(3));
        }
        drop(raw);
        look(&mut witness, at);
        // A server that was closed in the middle of its work may still be ending.
        house.until("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'", "0");
    }
    drop(witness);
    house.nothing_left();
    assert_eq!(
        house.direct(&format!("SELECT count(*) <= 1 FROM pg_stat_activity WHERE usename = '{USER}'")),
        "t"
    );
    house.close();
}

#[test]
fn work_of_a_client_that_is_gone_ends_soon() {
    let house = House::start(&[("pool", "max_pool_size = 1"), ("pool", "query_wait_timeout = \"5s\"")]);
    let mut witness = house.client();
    for half in [false, true] {
        let mut raw = house.client();
        raw.send(&query("SELECT pg_sleep(30)")).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        if half {
            raw.half_close();
        } else {
            drop(raw);
        }
        let begin = Instant::now();
        assert_eq!(value(&mut witness, "SELECT 1"), "1");
        assert!(begin.elapsed() < Duration::from_secs(3), "waited {:?}", begin.elapsed());
    }
    // A client that asks, says goodbye and stays to listen gets its answer first.
    let mut raw = house.client();
    raw.send(&[query("SELECT 1, pg_sleep(0.3)"), frame(b'X', b"")].concat()).unwrap();
    assert_eq!(tags(&raw.until_ready()), "TDCZ");
    assert_eq!(tags(&raw.until_ready()), ".");
    // Goodbye in the middle of a transaction, and of a copy.
    for begun in ["BEGIN; SELECT pg_advisory_lock(1)", "COPY pg_temp.nothing FROM STDIN"] {
        let mut raw = house.client();
        raw.send(&[query(begun), frame(b'X', b"")].concat()).unwrap();
        raw.until_ready();
        assert_eq!(value(&mut witness, "SELECT 1"), "1");
        house.until("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'", "0");
    }
    assert_eq!(refused(&mut witness, "ROLLBACK"), "");
    drop(witness);
    house.nothing_left();
    house.close();
}
