//! The session machine between a client and a server that may both send anything. However the bytes are cut, the
//! verdicts are the same; nothing is decided twice or before it is there; both streams it makes are rows of frames.
//!
//! An input is a row of turns: `\xfeC` begins bytes of the client, `\xfeS` bytes of the server, and before those of
//! `\xfeL` the server is lost.

use bytes::BytesMut;
use pgherd_session::block::Step;
use pgherd_session::machine::{Limits, MAX_PREPARED, Machine};
use pgherd_session::params::Settings;
use pgherd_session::prepared::Texts;
use pgherd_session::server::ServerState;
use pgherd_session::step::{Broken, Halt, Sink};
use pgherd_wire::frame::header;
use pgherd_wire::sqlstate::code;
use pgherd_wire::write::{Report, Severity};
use std::sync::Arc;

/// Longest wait for a whole message; everything larger must flow.
const MOST_HELD: usize = MAX_PREPARED;

pub(crate) fn run(data: &[u8]) {
    let whole = play(data, usize::MAX);
    assert_eq!(whole, play(data, 1), "cut into single bytes");
    assert_eq!(whole, play(data, 7), "cut into sevens");
}

#[derive(Debug, PartialEq)]
enum End {
    Open,
    Goodbye,
    /// The server was lost in the middle of a reply.
    Lost,
    Broken(Broken),
}

#[derive(Clone, Copy, PartialEq)]
enum Speaker {
    Client,
    Server,
    /// A client that goes on after its server was lost.
    Orphan,
}

/// What both sides were sent, and how it ended.
fn play(data: &[u8], piece: usize) -> (Vec<u8>, Vec<u8>, End) {
    let mut play = Play::new();
    for (speaker, bytes) in turns(data) {
        if speaker == Speaker::Orphan && !play.lose_server() {
            return (play.up.out, play.down.out, End::Lost);
        }
        for bytes in bytes.chunks(piece.max(1)) {
            match play.show(speaker, bytes) {
                Ok(false) => {}
                Ok(true) => return (play.up.out, play.down.out, End::Goodbye),
                Err(broken) => return (play.up.out, play.down.out, End::Broken(broken)),
            }
        }
        match play.go_on() {
            Ok(false) => {}
            Ok(true) => return (play.up.out, play.down.out, End::Goodbye),
            Err(broken) => return (play.up.out, play.down.out, End::Broken(broken)),
        }
        play.check_frames();
        if play.machine.is_free() {
            play.machine.detach();
            play.from_server.clear();
        }
    }
    (play.up.out, play.down.out, End::Open)
}

struct Play {
    machine: Machine,
    from_client: Vec<u8>,
    from_server: Vec<u8>,
    up: Stream,
    down: Stream,
}

impl Play {
    fn new() -> Play {
        let limits = Limits {
            max_prepared_statements: 2,
            max_client_statements: 4,
            session_mode: false,
            probing: Default::default(),
            unnamed: Default::default(),
        };
        let machine = Machine::new(1, Arc::new(Texts::default()), Settings::default(), limits);
        let (from_client, from_server) = (Vec::new(), Vec::new());
        Play { machine, from_client, from_server, up: Stream::default(), down: Stream::default() }
    }

    /// Whether the client left.
    fn show(&mut self, speaker: Speaker, bytes: &[u8]) -> Result<bool, Broken> {
        match speaker {
            Speaker::Client | Speaker::Orphan => self.from_client.extend_from_slice(bytes),
            Speaker::Server if self.machine.is_attached() => self.from_server.extend_from_slice(bytes),
            Speaker::Server => return Ok(false),
        }
        match speaker {
            Speaker::Client | Speaker::Orphan => self.client(),
            Speaker::Server => self.server().map(|()| false),
        }
    }

    /// What waits for the answers that came goes on, once all of them are heard: else the order would depend on the cuts.
    fn go_on(&mut self) -> Result<bool, Broken> {
        if self.machine.has_its_turn() { self.client() } else { Ok(false) }
    }

    fn client(&mut self) -> Result<bool, Broken> {
        loop {
            let shown = std::mem::take(&mut self.from_client);
            self.up.show(&shown);
            let halt = self.machine.client(&shown, &mut self.up, &mut self.down);
            self.from_client = self.up.undecided();
            match halt? {
                // It goes on when what is on its way was answered.
                Halt::More(_) if self.machine.is_waiting_its_turn() => return Ok(false),
                Halt::More(want) => {
                    assert!(want > self.from_client.len(), "asks for what it has");
                    assert!(want <= MOST_HELD, "holds {want} bytes");
                    return Ok(false);
                }
                Halt::Server(_) => {
                    assert!(!self.machine.is_attached(), "asks for a second server");
                    self.up.begin();
                    self.machine.attach(Box::new(ServerState::default()), false);
                    self.machine.watch_block(None, Step::Reads, false);
                }
                Halt::Next => self.machine.admit(Step::Reads),
                Halt::Full => return Ok(false),
                Halt::Goodbye => return Ok(true),
            }
        }
    }

    fn server(&mut self) -> Result<(), Broken> {
        let shown = std::mem::take(&mut self.from_server);
        self.down.show(&shown);
        let want = self.machine.server(&shown, &mut self.down);
        self.from_server = self.down.undecided();
        let want = want?;
        assert!(want > self.from_server.len(), "asks for what it has");
        assert!(want <= MOST_HELD, "holds {want} bytes");
        Ok(())
    }

    /// Whether the session goes on.
    fn lose_server(&mut self) -> bool {
        if !self.machine.is_attached() {
            return true;
        }
        self.up.closed = true;
        self.from_server.clear();
        let report = Report::new(Severity::Error, code::SERIALIZATION_FAILURE, "transaction lost");
        self.down.show(&[]);
        self.machine.lose_server(&report, &mut self.down)
    }

    fn check_frames(&self) {
        ends_in_a_frame(&self.up.out[self.up.server_began..], "to the server");
        let is_between = ends_in_a_frame(&self.down.out, "to the client");
        assert!(is_between || self.machine.is_mid_reply(), "an answer was put into the middle of a frame");
    }
}

/// One direction: bytes shown and not decided, and what became of the others.
#[derive(Default)]
struct Stream {
    shown: Vec<u8>,
    decided: usize,
    out: Vec<u8>,
    /// Where in `out` the bytes for the present server begin.
    server_began: usize,
    /// What goes on goes nowhere.
    closed: bool,
}

impl Stream {
    fn begin(&mut self) {
        if std::mem::take(&mut self.closed) {
            self.server_began = self.out.len();
        }
    }

    fn show(&mut self, bytes: &[u8]) {
        self.shown = bytes.to_vec();
        self.decided = 0;
    }

    fn undecided(&mut self) -> Vec<u8> {
        self.shown.drain(..self.decided);
        self.decided = 0;
        std::mem::take(&mut self.shown)
    }
}

impl Sink for Stream {
    fn pass(&mut self, n: usize) {
        let bytes = self.shown.get(self.decided..self.decided + n).expect("passes what is there");
        if !self.closed {
            self.out.extend_from_slice(bytes);
        }
        self.decided += n;
    }

    fn skip(&mut self, n: usize) {
        assert!(self.decided + n <= self.shown.len(), "skips what is not there");
        self.decided += n;
    }

    fn compose(&mut self, write: impl FnOnce(&mut BytesMut)) {
        let mut composed = BytesMut::new();
        write(&mut composed);
        self.out.extend_from_slice(&composed);
    }
}

fn ends_in_a_frame(mut stream: &[u8], whither: &str) -> bool {
    loop {
        match header(stream) {
            Ok(Some(header)) if header.total <= stream.len() => stream = &stream[header.total..],
            Ok(Some(_)) => return false,
            Ok(None) => return stream.is_empty(),
            Err(bad) => panic!("{bad:?} was sent {whither}"),
        }
    }
}

/// Bytes before the first mark are the client's.
fn turns(data: &[u8]) -> Vec<(Speaker, &[u8])> {
    let mut turns = Vec::new();
    let (mut speaker, mut start, mut at) = (Speaker::Client, 0, 0);
    while at < data.len() {
        let next = match data[at..] {
            [0xfe, b'C', ..] => Speaker::Client,
            [0xfe, b'S', ..] => Speaker::Server,
            [0xfe, b'L', ..] => Speaker::Orphan,
            _ => {
                at += 1;
                continue;
            }
        };
        turns.push((speaker, &data[start..at]));
        (speaker, start, at) = (next, at + 2, at + 2);
    }
    turns.push((speaker, &data[start..]));
    turns
}

/// A seed that breaks the session at once leads nowhere.
#[test]
fn every_seed_is_a_conversation() {
    let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds/session");
    for entry in std::fs::read_dir(seeds).expect("the seeds of this target") {
        let path = entry.expect("a readable entry").path();
        let (up, _, end) = play(&std::fs::read(&path).expect("a readable seed"), usize::MAX);
        assert!(!matches!(end, End::Broken(_)), "{}: {end:?}", path.display());
        assert!(!up.is_empty(), "{}: reaches no server", path.display());
    }
}
