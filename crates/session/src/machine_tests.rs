use super::*;
use pgherd_wire::frame::HEADER_LEN;
use pgherd_wire::write;

/// Counts what is decided, and keeps what is composed.
#[derive(Default)]
struct Counted {
    decided: usize,
    composed: BytesMut,
}

impl Sink for Counted {
    fn pass(&mut self, n: usize) {
        self.decided += n;
    }

    fn skip(&mut self, n: usize) {
        self.decided += n;
    }

    fn compose(&mut self, write: impl FnOnce(&mut BytesMut)) {
        write(&mut self.composed);
    }
}

#[test]
fn a_client_owed_too_much_waits_until_half_of_it_came() {
    let limits = Limits {
        max_prepared_statements: 1,
        max_client_statements: 1,
        session_mode: false,
        probing: Default::default(),
        unnamed: Default::default(),
    };
    let mut machine = Machine::new(1, Arc::default(), Settings::default(), limits);
    machine.attach(Box::default(), false);
    let close_portal = [b'C', 0, 0, 0, 6, b'P', 0];
    let requests = close_portal.repeat(MAX_OWED + 1);
    let (mut up, mut down) = (Counted::default(), Counted::default());
    assert_eq!(machine.client(&requests, &mut up, &mut down), Ok(Halt::Full));
    assert_eq!(up.decided, close_portal.len() * MAX_OWED);
    let mut flush = BytesMut::new();
    write::flush(&mut flush);
    assert_eq!(up.composed, flush);

    let replies = write::CLOSE_COMPLETE.repeat(MAX_OWED / 2);
    machine.server(&replies[write::CLOSE_COMPLETE.len()..], &mut down).unwrap();
    assert!(!machine.has_room());
    machine.server(&write::CLOSE_COMPLETE, &mut down).unwrap();
    assert!(machine.has_room());
    let rest = &requests[up.decided..];
    assert_eq!(machine.client(rest, &mut up, &mut down), Ok(Halt::More(HEADER_LEN)));
    assert_eq!(up.decided, requests.len());
}
