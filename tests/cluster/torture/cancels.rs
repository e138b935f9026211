//! Cancel requests: the right one hits, all others hit nobody.
use crate::house::{House, value};
use pgherd_tests::raw::{Raw, query, sqlstate, tags};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn request(key: &[u8]) -> Vec<u8> {
    let length = u32::try_from(key.len() + 8).unwrap();
    [&length.to_be_bytes()[..], &80_877_102_u32.to_be_bytes(), key].concat()
}

/// Sends one and waits until it was dealt with.
fn cancel(port: u16, key: &[u8]) {
    let mut raw = Raw::open(port).unwrap();
    raw.send(&request(key)).unwrap();
    let events = raw.until_ready();
    assert_eq!(tags(&events), ".", "a cancel request is never answered");
}

#[test]
fn only_the_right_one_hits() {
    let house = House::start(&[("pool", "max_pool_size = 2")]);
    let mut raw = house.client();
    let key = raw.key().unwrap();
    for _ in 0..5 {
        let begin = Instant::now();
        raw.send(&query("SELECT pg_sleep(20)")).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        cancel(house.port(), &key);
        assert_eq!(sqlstate(&raw.until_ready()), "57014");
        assert!(begin.elapsed() < Duration::from_secs(3));
        assert_eq!(value(&mut raw, "SELECT 1"), "1");
    }
    // A wrong secret, a wrong process, a short and a long key.
    let mut secret = key.clone();
    *secret.last_mut().unwrap() ^= 1;
    let mut process = key.clone();
    process[3] ^= 1;
    let long = [&key[..], b"x"].concat();
    let giant = [&key[..], &[7; 252]].concat();
    for wrong in [&secret[..], &process, &key[..7], &long, &giant, &[0; 8], &[255; 8]] {
        raw.send(&query("SELECT pg_sleep(0.1)")).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        let mut sender = Raw::open(house.port()).unwrap();
        sender.send(&request(wrong)).unwrap();
        assert_eq!(sqlstate(&raw.until_ready()), "", "{wrong:?}");
    }
    // An idle session: nothing happens, now or later.
    cancel(house.port(), &key);
    assert_eq!(value(&mut raw, "SELECT 2, pg_sleep(0.2)"), "2");
    drop(raw);
    house.nothing_left();
    house.close();
}

#[test]
fn a_storm_hits_nobody_else() {
    let house = House::start(&[("pool", "max_pool_size = 2")]);
    let port = house.port();
    let mut target = house.client();
    let key = target.key().unwrap();
    let storm = AtomicBool::new(true);
    std::thread::scope(|scope| {
        let neighbours: Vec<_> = (0..3)
            .map(|_| {
                let mut raw = house.client();
                let storm = &storm;
                scope.spawn(move || {
                    let mut done = 0;
                    while storm.load(Ordering::Relaxed) {
                        assert_eq!(value(&mut raw, "SELECT 1, pg_sleep(0.003)"), "1");
                        done += 1;
                    }
                    done
                })
            })
            .collect();
        let senders: Vec<_> = (0..4)
            .map(|_| {
                let key = key.clone();
                scope.spawn(move || (0..50).for_each(|_| cancel(port, &key)))
            })
            .collect();
        // The target itself is hit or not, and always lives on.
        while senders.iter().any(|sender| !sender.is_finished()) {
            let events = target.query("SELECT 1, pg_sleep(0.002)");
            assert!(tags(&events).ends_with('Z'), "{events:?}");
            assert!(["", "57014"].contains(&sqlstate(&events).as_str()), "{events:?}");
        }
        storm.store(false, Ordering::Relaxed);
        for neighbour in neighbours {
            assert!(neighbour.join().unwrap() > 0);
        }
    });
    assert_eq!(value(&mut target, "SELECT 3, pg_sleep(0.1)"), "3");
    drop(target);
    house.nothing_left();
    house.close();
}
