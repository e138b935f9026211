//! Large things pass; they do not stay.
use crate::house::{House, value};
use pgherd_tests::raw::{Raw, frame, query};
use std::io::Read;
use std::time::Duration;

/// What pgherd may grow by, in kilobytes, whatever passes.
const ROOM: u64 = 8_000;

/// RowDescription of one column named "repeat".
const DESCRIPTION: usize = 1 + 4 + 2 + 7 + 18;
/// What stands before the value in a DataRow of one column: type, length, count, length.
const BEFORE_VALUE: usize = 1 + 4 + 2 + 4;

/// Reads this many bytes and throws them away, looking at pgherd's memory now and then.
fn drink(house: &House, raw: &mut Raw, bytes: usize) -> u64 {
    let mut cup = vec![0; 1 << 20];
    let (mut left, mut most, mut looked) = (bytes, 0, 0);
    raw.stream().set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    while left > 0 {
        let room = cup.len().min(left);
        let got = raw.stream().read(&mut cup[..room]).unwrap();
        assert!(got > 0, "closed with {left} bytes to go");
        left -= got;
        if looked > left / (8 << 20) || looked == 0 {
            most = most.max(house.resident());
        }
        looked = left / (8 << 20);
    }
    most.max(house.resident())
}

#[test]
fn nothing_large_stays() {
    let house = House::start(&[("pool", "max_pool_size = 2")]);
    let mut raw = house.client();
    value(&mut raw, "SELECT 1");
    let before = house.resident();

    // 200 MB in rows to a client that does not read for a while.
    raw.send(&query("SELECT repeat('x', 1000) FROM generate_series(1, 200000)")).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    let idle = house.resident().saturating_sub(before);
    assert!(idle < ROOM, "grew by {idle} kB for a client that does not read");
    let size = DESCRIPTION + 200_000 * (BEFORE_VALUE + 1000);
    let rows = drink(&house, &mut raw, size).saturating_sub(before);
    assert!(rows < ROOM, "grew by {rows} kB for 200 MB of rows");
    raw.until_ready();

    // One value of 300 MB.
    raw.send(&query("SELECT repeat('x', 300000000)")).unwrap();
    let size = DESCRIPTION + BEFORE_VALUE + 300_000_000;
    let one = drink(&house, &mut raw, size).saturating_sub(before);
    assert!(one < ROOM, "grew by {one} kB for one value of 300 MB");
    raw.until_ready();

    // One parameter of 200 MB, the other way.
    let size = 200_000_000_u32;
    raw.send(&frame(b'P', b"\0SELECT length($1::text)\0\0\0")).unwrap();
    let head = [b"\0\0\0\0\0\x01", &size.to_be_bytes()[..]].concat();
    let length = 4 + u32::try_from(head.len()).unwrap() + size + 2;
    raw.send(&[b"B", &length.to_be_bytes()[..], &head].concat()).unwrap();
    let piece = vec![b'y'; 1_000_000];
    for n in 0..200 {
        raw.send(&piece).unwrap();
        if n % 20 == 0 {
            let up = house.resident().saturating_sub(before);
            assert!(up < ROOM, "grew by {up} kB for a parameter of 200 MB");
        }
    }
    raw.send(&[&[0, 0][..], &frame(b'E', b"\0\0\0\0\0"), &frame(b'S', b"")].concat()).unwrap();
    let events = raw.until_ready();
    assert_eq!(pgherd_tests::raw::column(&events), ["200000000"], "{events:?}");
    drop(raw);
    house.nothing_left();
    house.close();
}
