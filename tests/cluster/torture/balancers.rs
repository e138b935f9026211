//! Clients behind a balancer that speaks the PROXY protocol, and those who pretend to be one.
use crate::house::{House, PASSWORD, USER, value};
use pgherd_tests::raw::{Event, Raw, sqlstate};
use std::net::Ipv4Addr;
use std::time::Duration;

const BALANCER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const V1: &[u8] = b"PROXY TCP4 203.0.113.9 10.0.0.1 5555 5000\r\n";
const V2: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x13\xcb\0\x71\x0a\x0a\0\0\x01\x15\xb3\x13\x88\x04\0\x04\0\0\0\0";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// A client that sends `first` and logs in.
fn through(house: &House, source: Ipv4Addr, first: &[u8]) -> Raw {
    let raw = Raw::open_from(source, house.port(), first).unwrap();
    raw.log_in(&[("user", USER), ("database", USER)], PASSWORD).unwrap()
}

#[test]
fn the_client_counts_and_not_its_balancer() {
    let settings =
        [("listen", "proxy_protocol_from = [\"127.0.0.2\"]"), ("server", "log_connections = true")];
    let house = House::with(&settings, "password", pgherd_tests::stand::executable().unwrap());
    let log = || std::fs::read_to_string(house.front().log()).unwrap();
    // In clear and without TLS no password is taken: who gets as far as being asked came through the header.
    for (header, client) in [(V1, "203.0.113.9:5555"), (V2, "203.0.113.10:5555")] {
        let raw = through(&house, BALANCER, header);
        assert_eq!(sqlstate(&raw.login), "28000");
        assert!(log().contains(client), "{}", log());
    }
    // One that should have sent a header, one that must not, one that thinks better of it.
    assert_eq!(through(&house, BALANCER, b"").login, [Event::Closed]);
    assert!(log().contains("closed a connection from a balancer: no PROXY header"), "{}", log());
    assert_eq!(sqlstate(&through(&house, Ipv4Addr::LOCALHOST, V1).login), "08P01");
    assert!(log().contains("it sent a PROXY header"), "{}", log());
    let before = log();
    drop(Raw::open_from(BALANCER, house.port(), b"").unwrap());
    drop(Raw::open_from(BALANCER, house.port(), LOCAL).unwrap());
    assert_eq!(sqlstate(&through(&house, BALANCER, b"PROXY UNKNOWN\r\n").login), "28000");
    let after = log();
    let since = after.strip_prefix(&before).unwrap();
    assert_eq!(since.lines().count(), 1, "health checks are silent: {since}");
    house.close();
}

#[test]
fn trust_looks_behind_the_balancer() {
    let settings =
        [("listen", "proxy_protocol_from = [\"127.0.0.2\"]"), ("server", "log_connections = true")];
    let house = House::start(&settings);
    // The balancer is on this machine, its client is not: then trust does not hold, and SCRAM is asked for.
    for header in [V1, V2, b"PROXY UNKNOWN\r\n"] {
        let mut raw = Raw::open_from(BALANCER, house.port(), header).unwrap();
        // It would wait for an answer that this client has not.
        raw.patience = Duration::from_millis(300);
        let raw = raw.log_in(&[("user", USER), ("database", USER)], PASSWORD).unwrap();
        let first = raw.login.first();
        let asked = matches!(first, Some(Event::Message(m)) if m.tag == b'R' && m.body[..4] == [0, 0, 0, 10]);
        assert!(asked && !raw.is_in(), "{:?}", raw.login);
    }
    for header in [LOCAL, b"PROXY TCP4 127.0.0.9 127.0.0.1 5555 5000\r\n"] {
        let mut raw = through(&house, BALANCER, header);
        assert!(raw.is_in(), "{:?}", raw.login);
        assert_eq!(value(&mut raw, "SELECT 1"), "1");
    }
    let log = std::fs::read_to_string(house.front().log()).unwrap();
    assert!(log.contains("127.0.0.9:5555"), "{log}");
    let mut plain = house.client();
    assert_eq!(value(&mut plain, "SELECT 1"), "1");
    house.close();
}
