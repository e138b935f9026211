//! Time and number: every wait ends, every crowd is bounded, and who may live on does.
use crate::house::{House, last_words, refused, value};
use pgherd_lab::node::Mode;
use pgherd_tests::raw::{Raw, query, sqlstate};
use pgherd_tests::stand::executable;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

#[test]
fn waits_end() {
    let house = House::start(&[
        ("pool", "max_pool_size = 1"),
        ("pool", "query_wait_timeout = \"500ms\""),
        ("pool", "idle_in_transaction_timeout = \"2s\""),
        ("pool", "query_timeout = \"2s\""),
        ("pool", "client_idle_timeout = \"5s\""),
    ]);
    let mut holder = house.client();
    let mut other = house.client();
    value(&mut holder, "BEGIN; SELECT 1");
    let begin = Instant::now();
    assert_eq!(refused(&mut other, "SELECT 1"), "53300", "a full pool");
    assert!(begin.elapsed() < Duration::from_millis(1900), "{:?}", begin.elapsed());
    // The holder dawdles and loses its place.
    assert_eq!(last_words(&mut holder), "25P03");
    assert_eq!(value(&mut other, "SELECT 'lives on'"), "lives on");
    // A block whose BEGIN was only promised is a failed one when there is no server for it.
    let mut holder = house.client();
    value(&mut holder, "BEGIN; SELECT 1");
    assert_eq!(refused(&mut other, "BEGIN"), "");
    assert_eq!(refused(&mut other, "SELECT 1"), "53300");
    assert_eq!(refused(&mut other, "SELECT 1"), "25P02");
    assert_eq!(refused(&mut other, "ROLLBACK"), "");
    value(&mut holder, "COMMIT");
    assert_eq!(value(&mut other, "SELECT 'lives on'"), "lives on");

    let begin = Instant::now();
    holder.send(&query("SELECT pg_sleep(30)")).unwrap();
    assert_eq!(last_words(&mut holder), "57014", "query_timeout");
    assert!(begin.elapsed() < Duration::from_secs(5));
    assert_eq!(value(&mut other, "SELECT 1"), "1");
    assert_eq!(last_words(&mut other), "57P05", "client_idle_timeout");
    house.nothing_left();
    house.close();
}

#[test]
fn too_many_clients_are_told_so() {
    let house = House::start(&[("pool", "max_client_connections = 5")]);
    let mut crowd: Vec<Raw> = (0..5).map(|_| house.client()).collect();
    for _ in 0..3 {
        let refused = house.knock();
        assert_eq!(sqlstate(&refused.login), "53300", "{:?}", refused.login);
    }
    for raw in &mut crowd {
        assert_eq!(value(raw, "SELECT 1"), "1");
    }
    crowd.clear();
    let begin = Instant::now();
    while !house.knock().is_in() {
        assert!(begin.elapsed() < Duration::from_secs(2), "places are not given back");
    }
    house.close();
}

#[test]
fn a_dead_node_is_waited_for_and_then_said() {
    let house =
        House::start(&[("failover", "hold_timeout = \"1s\""), ("pool", "client_idle_timeout = \"off\"")]);
    let mut raw = house.client();
    let mut open = house.client();
    let (mut committing, mut rolling) = (house.client(), house.client());
    value(&mut committing, "BEGIN; SELECT 1");
    value(&mut rolling, "BEGIN; SELECT 1");
    let mut pinned = house.client();
    assert_eq!(value(&mut raw, "SELECT 1"), "1");
    value(&mut open, "BEGIN; SELECT 1");
    value(&mut pinned, "CREATE TEMP TABLE mine (n int)");
    house.wait(house.lab().primary().stop(Mode::Immediate)).unwrap();
    let begin = Instant::now();
    assert_eq!(refused(&mut raw, "SELECT 1"), "57P03");
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    assert_eq!(refused(&mut raw, "SELECT 1"), "57P03");
    // The open transaction is lost once and then refused until it ends.
    assert_eq!(refused(&mut open, "SELECT 1"), "40001");
    assert_eq!(refused(&mut open, "SELECT 1"), "25P02");
    assert_eq!(refused(&mut open, "COMMIT"), "");
    assert_eq!(refused(&mut committing, "COMMIT"), "40001", "a commit of what is lost");
    assert_eq!(refused(&mut rolling, "ROLLBACK"), "");
    assert_eq!(last_words(&mut pinned), "57P01");
    house.wait(house.lab().primary().start()).unwrap();
    let begin = Instant::now();
    while refused(&mut raw, "SELECT 1") == "57P03" {
        assert!(begin.elapsed() < Duration::from_secs(10), "the node is not found again");
    }
    assert_eq!(value(&mut raw, "SELECT 'lives on'"), "lives on");
    assert_eq!(value(&mut open, "SELECT 'lives on'"), "lives on");
    house.close();
}

#[test]
fn running_out_of_descriptors_is_survived() {
    let directory = std::env::temp_dir().join(format!("pgherd-torture-few-{}", std::process::id()));
    std::fs::create_dir(&directory).unwrap();
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o755)).unwrap();
    let wrapper = directory.join("pgherd");
    let program = executable().unwrap();
    std::fs::write(&wrapper, format!("#!/bin/sh\nulimit -n 90\nexec '{}' \"$@\"\n", program.display()))
        .unwrap();
    std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755)).unwrap();
    let settings = [("pool", "max_pool_size = 2"), ("health", "health_check_timeout = \"1s\"")];
    let house = House::with(&settings, "trust", wrapper);
    std::fs::remove_dir_all(&directory).unwrap();

    let mut clients: Vec<Raw> = (0..5).map(|_| house.client()).collect();
    // Both servers are there before the flood: what is open must go on working, what is not may not be had.
    value(&mut clients[0], "BEGIN; SELECT 1");
    value(&mut clients[1], "SELECT 1");
    value(&mut clients[0], "ROLLBACK");
    let quiet = std::fs::read_to_string(house.front().log()).unwrap().len();
    let flood: Vec<_> = (0..200).map(|_| Raw::open(house.port()).unwrap()).collect();
    let begin = Instant::now();
    let mut served = 0;
    while begin.elapsed() < Duration::from_secs(6) {
        for raw in &mut clients {
            assert_eq!(value(raw, "SELECT 1"), "1");
            served += 1;
        }
        value(&mut clients[0], "BEGIN; SELECT 1");
        assert_eq!(value(&mut clients[1], "SELECT 1"), "1");
        value(&mut clients[0], "ROLLBACK");
    }
    assert!(served > 0);
    let log = std::fs::read_to_string(house.front().log()).unwrap();
    assert!(log.contains("could not accept"), "the limit was never reached:\n{log}");
    drop(flood);
    let begin = Instant::now();
    while !house.knock().is_in() {
        assert!(begin.elapsed() < Duration::from_secs(5), "nobody gets in any more");
    }
    let (status, _) = house.wait(house.front().get("/readiness")).unwrap();
    assert_eq!(status, 200);
    let log = std::fs::read_to_string(house.front().log()).unwrap().split_off(quiet);
    for word in ["suspecting", "no primary", "\"down\""] {
        assert!(!log.contains(word), "a node was blamed for it:\n{log}");
    }
    house.close();
}
