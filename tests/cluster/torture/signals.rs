//! What an operator does to the process.
use crate::house::{House, USER, last_words, value};
use pgherd_tests::raw::{Raw, query, sqlstate, tags};
use std::time::{Duration, Instant};

#[test]
fn a_drain_lets_finish_and_ends() {
    let mut house = House::start(&[("server", "shutdown_grace = \"3s\""), ("pool", "max_pool_size = 4")]);
    let mut idle = house.client();
    let mut pinned = house.client();
    let mut working = house.client();
    let mut running = house.client();
    let mut forever = house.client();
    value(&mut pinned, "CREATE TEMP TABLE mine (n int)");
    value(&mut working, "CREATE TABLE kept (n int)");
    value(&mut working, "BEGIN; INSERT INTO kept VALUES (1)");
    value(&mut forever, "BEGIN; SELECT 1");
    running.send(&query("SELECT 'done', pg_sleep(0.7)")).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let begin = Instant::now();
    house.signal("-TERM");
    assert_eq!(last_words(&mut idle), "57P01");
    assert_eq!(last_words(&mut pinned), "57P01");
    assert!(begin.elapsed() < Duration::from_secs(1), "idle sessions stayed for {:?}", begin.elapsed());
    let newcomer = Raw::connect(house.port(), &[("user", USER), ("database", USER)], "");
    assert!(newcomer.is_err() || newcomer.is_ok_and(|raw| !raw.is_in()), "somebody was let in");
    assert_eq!(tags(&running.until_ready()), "TDCZ");
    assert_eq!(last_words(&mut running), "57P01");
    let committed = working.query("INSERT INTO kept VALUES (2); COMMIT");
    assert_eq!((sqlstate(&committed), tags(&committed)), (String::new(), "CCZ".to_owned()));
    assert_eq!(last_words(&mut working), "57P01");
    assert_eq!(last_words(&mut forever), "57P01");
    let mut front = house.front.take().unwrap();
    while front.is_running() {
        assert!(begin.elapsed() < Duration::from_secs(6), "it does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(house.direct("SELECT count(*) FROM kept"), "2");
    house.nothing_left();
}

#[test]
fn a_reload_takes_hold() {
    let house = House::start(&[("pool", "max_pool_size = 1"), ("pool", "query_wait_timeout = \"500ms\"")]);
    let file = house.front().settings_file().to_owned();
    let settings = std::fs::read_to_string(&file).unwrap();
    let mut clients: Vec<Raw> = (0..3).map(|_| house.client()).collect();
    let at_once = |clients: &mut [Raw]| {
        let got = clients
            .iter_mut()
            .map(|raw| sqlstate(&raw.query("BEGIN; SELECT 1")).is_empty())
            .collect::<Vec<_>>();
        clients.iter_mut().for_each(|raw| drop(raw.query("ROLLBACK")));
        got.into_iter().filter(|got| *got).count()
    };
    assert_eq!(at_once(&mut clients), 1);
    let reload = |text: &str, done: &mut dyn FnMut() -> bool| {
        std::fs::write(&file, text).unwrap();
        house.signal("-HUP");
        let begin = Instant::now();
        while !done() {
            assert!(
                begin.elapsed() < Duration::from_secs(8),
                "nothing changed:\n{}",
                house.front().log_tail()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    reload(&settings.replace("max_pool_size = 1", "max_pool_size = 3"), &mut || at_once(&mut clients) == 3);
    reload(&settings, &mut || at_once(&mut clients) == 1);
    // A file that makes no sense changes nothing.
    std::fs::write(&file, "[pool]\nmax_pool_size = \"many\"\nnonsense = 1\n").unwrap();
    house.signal("-HUP");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(at_once(&mut clients), 1);
    for raw in &mut clients {
        assert_eq!(value(raw, "SELECT 1"), "1");
    }
    house.close();
}
