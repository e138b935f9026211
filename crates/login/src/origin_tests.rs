use super::*;
use proptest::prelude::*;

/// A header of version 2.
fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    header.extend([0x20 | command, family]);
    header.extend((block.len() as u16).to_be_bytes());
    header.extend(block);
    header
}

fn v4_block() -> Vec<u8> {
    [&[203, 0, 113, 9, 10, 0, 0, 1][..], &5555u16.to_be_bytes(), &5000u16.to_be_bytes()].concat()
}

fn v6_block() -> Vec<u8> {
    let address = |text: &str| text.parse::<Ipv6Addr>().unwrap().octets();
    let ports = [5555u16.to_be_bytes(), 5000u16.to_be_bytes()].concat();
    [&address("2001:db8::9")[..], &address("::1"), &ports].concat()
}

fn client(text: &str) -> Origin {
    Origin::Client(text.parse().unwrap())
}

/// Headers that are taken, and what they say.
fn good() -> Vec<(Vec<u8>, Origin)> {
    let line = |text: &str| text.as_bytes().to_vec();
    let longest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    let tls = [&v4_block()[..], &[0x20, 0, 5, 1, 0, 0, 0, 0], &[0x04, 0, 3, 0, 0, 0]].concat();
    vec![
        (line("PROXY TCP4 203.0.113.9 10.0.0.1 5555 5000\r\n"), client("203.0.113.9:5555")),
        (line("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"), client("255.255.255.255:65535")),
        (line("PROXY TCP4 0.0.0.0 10.0.0.1 0 0\r\n"), client("0.0.0.0:0")),
        (line("PROXY TCP6 2001:db8::9 ::1 5555 5000\r\n"), client("[2001:db8::9]:5555")),
        (line("PROXY TCP6 ::ffff:10.1.2.3 ::1 1 5000\r\n"), client("[::ffff:10.1.2.3]:1")),
        (
            line(&format!("PROXY TCP6 {longest} {longest} 65535 65535\r\n")),
            client(&format!("[{longest}]:65535")),
        ),
        (line("PROXY UNKNOWN\r\n"), Origin::Unknown),
        (line(&format!("PROXY UNKNOWN {longest} {longest} 65535 65535\r\n")), Origin::Unknown),
        (v2(1, 0x11, &v4_block()), client("203.0.113.9:5555")),
        (v2(1, 0x21, &v6_block()), client("[2001:db8::9]:5555")),
        (v2(1, 0x11, &tls), client("203.0.113.9:5555")),
        (v2(1, 0x11, &[v4_block(), vec![7; MAX_BINARY - FIXED - 12]].concat()), client("203.0.113.9:5555")),
        (v2(0, 0x00, &[]), Origin::Balancer),
        (v2(0, 0xff, &[1, 2, 3]), Origin::Balancer),
        (v2(0, 0x11, &v4_block()), Origin::Balancer),
        (v2(1, 0x00, &[]), Origin::Unknown),
        (v2(1, 0x10, &[]), Origin::Unknown),
        (v2(1, 0x12, &v4_block()), Origin::Unknown),
        (v2(1, 0x31, &[b'/'; 216]), Origin::Unknown),
    ]
}

#[test]
fn headers_are_read_however_they_are_cut() {
    for (header, origin) in good() {
        for rest in [&b""[..], b"\0\0\0\x08", b"\n\n\n", b"PROXY "] {
            let sent = [&header[..], rest].concat();
            let whole = Header::Whole { length: header.len(), origin };
            assert_eq!(read(&sent), Ok(whole), "{:?}", String::from_utf8_lossy(&header));
        }
        for cut in 0..header.len() {
            match read(&header[..cut]) {
                Ok(Header::Needs(needed)) => {
                    assert!(cut < needed && needed <= header.len(), "{cut} of {}: {needed}", header.len());
                }
                other => panic!("{other:?} after {cut} of {:?}", String::from_utf8_lossy(&header)),
            }
        }
    }
}

#[test]
fn what_is_no_header_is_told_at_once() {
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(MAX_LINE));
    for (text, fault) in [
        ("\0\0\0\x08\x04", BadHeader::Missing),
        ("GET / HTTP/1.1\r\n", BadHeader::Missing),
        ("PROXZ", BadHeader::Missing),
        ("proxy TCP4", BadHeader::Missing),
        ("\r\n\r\n\r\n", BadHeader::Missing),
        ("PROXY \r\n", BadHeader::Line("neither TCP4 nor TCP6 nor UNKNOWN")),
        ("PROXY UDP4 1.2.3.4 1.2.3.4 1 1\r\n", BadHeader::Line("neither TCP4 nor TCP6 nor UNKNOWN")),
        ("PROXY UNKNOWN\n", BadHeader::Line("a CR or LF alone")),
        ("PROXY UNKNOWN\r\r\n", BadHeader::Line("a CR or LF alone")),
        ("PROXY TCP4\r\n", BadHeader::Line("too few fields")),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", BadHeader::Line("too few fields")),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 1 \r\n", BadHeader::Line("too many fields")),
        ("PROXY TCP4  1.2.3.4 1.2.3.4 1 1\r\n", BadHeader::Line("not an address of its family")),
        ("PROXY TCP4 ::1 ::1 1 1\r\n", BadHeader::Line("not an address of its family")),
        ("PROXY TCP6 1.2.3.4 ::1 1 1\r\n", BadHeader::Line("not an address of its family")),
        ("PROXY TCP4 1.2.3.04 1.2.3.4 1 1\r\n", BadHeader::Line("not an address of its family")),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 65536 1\r\n", BadHeader::Line("not a port")),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 +1 1\r\n", BadHeader::Line("not a port")),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 01 1\r\n", BadHeader::Line("not a port")),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 \r\n", BadHeader::Line("not a port")),
        (&long, BadHeader::Line("no line end within 107 bytes")),
    ] {
        assert_eq!(read(text.as_bytes()), Err(fault), "{text:?}");
    }
    assert_eq!(read(b"PROXY \xff\r\n"), Err(BadHeader::Line("not ASCII")));
    // The line end itself must lie within the limit.
    let edge = format!("PROXY UNKNOWN {}\r\n", "x".repeat(MAX_LINE - 15));
    assert_eq!(edge.len(), MAX_LINE + 1);
    assert!(read(&edge.as_bytes()[..MAX_LINE]).is_err() && read(edge.as_bytes()).is_err());
}

#[test]
fn binary_headers_out_of_the_specification_are_refused() {
    let mut version = v2(1, 0x11, &v4_block());
    version[12] = 0x11;
    for (header, why) in [
        (version, "another version"),
        (v2(2, 0x11, &v4_block()), "neither LOCAL nor PROXY"),
        (v2(1, 0x41, &v4_block()), "a family that is not specified"),
        (v2(1, 0x13, &v4_block()), "a family that is not specified"),
        (v2(1, 0x11, &v4_block()[..11]), "shorter than its addresses"),
        (v2(1, 0x21, &v4_block()), "shorter than its addresses"),
        (v2(1, 0x31, &[0; 215]), "shorter than its addresses"),
        (v2(0, 0x00, &[0; MAX_BINARY]), "longer than 4096 bytes"),
    ] {
        assert_eq!(read(&header), Err(BadHeader::Binary(why)));
        // Known from the fixed part alone: nobody has to send the rest.
        assert_eq!(read(&header[..FIXED]), Err(BadHeader::Binary(why)));
    }
}

/// Bytes near a header: one of the good ones with some bytes changed.
fn near() -> impl Strategy<Value = Vec<u8>> {
    let edits = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    (0..good().len(), edits).prop_map(|(which, edits)| {
        let (mut header, _) = good().swap_remove(which);
        for (at, byte) in edits {
            let at = at.index(header.len());
            header[at] = byte;
        }
        header
    })
}

proptest! {
    #[test]
    fn any_bytes_give_an_answer(bytes in prop_oneof![proptest::collection::vec(any::<u8>(), 0..300), near()]) {
        let at_once = read(&bytes);
        // Fed as asked for, the answer is the same, unless the bytes end first.
        let mut have = 0;
        let fed = loop {
            match read(&bytes[..have]) {
                Ok(Header::Needs(needed)) => {
                    prop_assert!(needed > have && needed <= MAX_BINARY);
                    // No more is to come: what is there may be wrong already.
                    if needed > bytes.len() {
                        break read(&bytes);
                    }
                    have = needed;
                }
                other => break other,
            }
        };
        prop_assert_eq!(at_once, fed);
    }
}
