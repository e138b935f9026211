//! The session machine: what it costs to follow one transaction, from the client's first byte to a free server.

use std::hint::black_box;
use std::sync::Arc;

use bytes::BytesMut;
use pgherd_session::cached::Keeping;
use pgherd_session::effect::effects;
use pgherd_session::machine::{Limits, Machine};
use pgherd_session::params::Settings;
use pgherd_session::prepared::Texts;
use pgherd_session::server::ServerState;
use pgherd_session::step::{Halt, Sink};
use pgherd_wire::backend::Status;
use pgherd_wire::write;

use crate::answer;
use crate::case::Case;

const SELECT: &[u8] = b"SELECT abalance FROM pgbench_accounts WHERE aid = 123456;";
const SELECT_PARAMETER: &[u8] = b"SELECT abalance FROM pgbench_accounts WHERE aid = $1;";
const UPDATE: &[u8] = b"UPDATE pgbench_accounts SET abalance = abalance + -4321 WHERE aid = 123456;";

/// Executions in the pipelined case.
const PIPELINE: usize = 20;

/// Cases of the session machine; one operation is one transaction unless the name says otherwise.
pub(crate) fn cases() -> Vec<Case> {
    let simple = vec![(query(SELECT), answer::simple(1))];
    let rows = vec![(query(SELECT), answer::simple(100))];
    let extended = vec![(execute(1, true, b""), answer::extended(1, true))];
    let prepared = vec![(execute(1, false, b"P0_1"), answer::extended(1, false))];
    let pipeline = vec![(execute(PIPELINE, false, b"P0_1"), answer::extended(PIPELINE, false))];
    vec![
        Case::hot("session: effects of pgbench's select", || {
            black_box(effects(black_box(SELECT)));
        }),
        transaction("session: simple query, one row", simple, Case::hot),
        transaction("session: simple query, 100 rows", rows, Case::hot),
        transaction("session: extended query, unnamed statement", extended, Case::hot),
        transaction("session: prepared statement", prepared, Case::hot),
        transaction("session: prepared statement, pipeline of 20", pipeline, Case::hot),
        transaction("session: tpcb-like block, 7 statements", tpcb(), Case::cold),
    ]
}

/// Requests of one transaction with their answers; what the server is given beyond a request (a deferred BEGIN,
/// a Parse) is answered as a server would.
type Script = Vec<(Vec<u8>, Vec<u8>)>;

fn transaction(name: &'static str, script: Script, make: fn(&'static str, Relay) -> Case) -> Case {
    let mut relay = Session::new();
    // Boxed because a case's operation is one type here; the call costs about a nanosecond.
    make(name, Box::new(move || relay.run(&script)))
}

type Relay = Box<dyn FnMut()>;

/// A machine between a client and a server that are byte slices.
struct Session {
    machine: Machine,
    server: Option<Box<ServerState>>,
    up: Verdicts,
    down: Verdicts,
}

impl Session {
    fn new() -> Self {
        let limits = Limits {
            max_prepared_statements: 100,
            max_client_statements: 100,
            session_mode: false,
            probing: Default::default(),
            // The server's answers are the same each time.
            unnamed: Keeping::Never,
        };
        let mut session = Self {
            machine: Machine::new(1, Arc::new(Texts::default()), Settings::default(), limits),
            server: Some(Box::default()),
            up: Verdicts::default(),
            down: Verdicts::default(),
        };
        let mut parse = BytesMut::new();
        write::frame(&mut parse, b'P', |body| parse_body(body, b"P0_1"));
        write::sync(&mut parse);
        let mut parsed = BytesMut::new();
        write::frame(&mut parsed, b'1', |_| ());
        write::ready(&mut parsed, Status::Idle);
        session.run(&[(parse.to_vec(), parsed.to_vec())]);
        session
    }

    fn run(&mut self, script: &[(Vec<u8>, Vec<u8>)]) {
        for (request, answer) in script {
            self.exchange(request, answer);
        }
        assert!(self.machine.is_free(), "the transaction is over and the server is not free");
        self.server = self.machine.detach();
    }

    fn exchange(&mut self, request: &[u8], answer: &[u8]) {
        (self.up, self.down) = (self.up.emptied(), self.down.emptied());
        let mut halt = self.machine.client(request, &mut self.up, &mut self.down).expect("a good request");
        if let Halt::Server(_) = halt {
            let server = self.server.take().expect("the server was given back");
            self.machine.attach(server, false);
            let decided = self.up.decided;
            halt = self
                .machine
                .client(&request[decided..], &mut self.up, &mut self.down)
                .expect("a good request");
        }
        assert!(matches!(halt, Halt::More(_)), "{halt:?}");
        if self.up.passed + self.up.composed.len() > 0 {
            self.machine.server(answer, &mut self.down).expect("a good answer");
        }
        assert!(self.machine.owes_nothing(), "the answer is not complete");
    }
}

/// A sink that only counts.
#[derive(Default)]
struct Verdicts {
    decided: usize,
    passed: usize,
    composed: BytesMut,
}

impl Verdicts {
    fn emptied(&mut self) -> Self {
        let mut composed = std::mem::take(&mut self.composed);
        composed.clear();
        Self { decided: 0, passed: 0, composed }
    }
}

impl Sink for Verdicts {
    fn pass(&mut self, n: usize) {
        self.decided += n;
        self.passed += n;
    }

    fn skip(&mut self, n: usize) {
        self.decided += n;
    }

    fn compose(&mut self, write: impl FnOnce(&mut BytesMut)) {
        write(&mut self.composed);
    }
}

fn query(text: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    write::query(&mut out, text);
    out.to_vec()
}

/// Bind, Describe, Execute, each time, and one Sync; with a Parse each time when `parse`.
fn execute(times: usize, parse: bool, statement: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    for _ in 0..times {
        if parse {
            write::frame(&mut out, b'P', |body| parse_body(body, statement));
        }
        write::frame(&mut out, b'B', |body| {
            body.extend_from_slice(b"\0");
            body.extend_from_slice(statement);
            body.extend_from_slice(b"\0\0\0\0\x01\0\0\0\x06123456\0\0");
        });
        write::frame(&mut out, b'D', |body| body.extend_from_slice(b"P\0"));
        write::frame(&mut out, b'E', |body| body.extend_from_slice(b"\0\0\0\0\0"));
    }
    write::sync(&mut out);
    out.to_vec()
}

fn parse_body(body: &mut BytesMut, statement: &[u8]) {
    body.extend_from_slice(statement);
    body.extend_from_slice(b"\0");
    body.extend_from_slice(SELECT_PARAMETER);
    body.extend_from_slice(b"\0\0\0");
}

/// BEGIN is answered by the machine and sent before the first update, so that answer holds both.
fn tpcb() -> Script {
    let begun = answer::command(b"BEGIN", Status::Open);
    let updated = answer::command(b"UPDATE 1", Status::Open);
    let mut script = vec![(query(b"BEGIN;"), Vec::new()), (query(UPDATE), [begun, updated.clone()].concat())];
    script.extend((0..4).map(|_| (query(UPDATE), updated.clone())));
    script.push((query(b"END;"), answer::command(b"COMMIT", Status::Idle)));
    script
}
