//! Plays a transcript against real machines and real lanes, with the bytes cut in a given way.

use crate::notation::{Side, describe};
use crate::script::{Script, Step};
use pgherd_proxy::desk::{Desk, Port};
use pgherd_session::cached::Omen;
use pgherd_session::machine::{Limits, Machine};
use pgherd_session::params::Settings;
use pgherd_session::pin::Pin;
use pgherd_session::prepared::Texts;
use pgherd_session::probe::Probing;
use pgherd_session::reports::Reported;
use pgherd_session::server::ServerState;
use pgherd_session::step::{Broken, Halt};
use pgherd_wire::frame::HEADER_LEN;
use pgherd_wire::write::Report;
use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// How the bytes of a sending line are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Not at all.
    Whole,
    /// Each byte alone (of a long line those at both ends, and pieces of the middle); `patient`: the machine sees them only when as many are there as it wants.
    Bytes { patient: bool },
    /// The line with this number in two pieces, the first of this length.
    At(usize, usize),
}

/// Bytes at both ends of a line that are shown one by one.
const END: usize = 1000;

/// Size of the pieces between.
const PIECE: usize = 997;

/// One session: its machine, its lanes, and what came out.
struct Seat {
    machine: Machine,
    desk: Desk,
    halt: Result<Halt, Broken>,
    want_down: usize,
    /// Name of the server it holds.
    holds: Option<String>,
    /// The server has an out-of-date statement where the client has an unnamed one.
    outdated: bool,
    to_server: Vec<u8>,
    to_client: Vec<u8>,
}

/// The whole scene.
pub(crate) struct Player {
    cut: Cut,
    texts: Arc<Texts>,
    startup: Settings,
    reported: Arc<Reported>,
    limits: Limits,
    seats: HashMap<u64, Seat>,
    now: u64,
    /// Servers that no session holds.
    shelf: HashMap<String, Box<ServerState>>,
}

/// Plays it; the fault names the line.
pub(crate) fn play(script: &Script, cut: Cut) -> Result<(), String> {
    let (max_prepared_statements, max_client_statements) = (100, 100);
    let probing = Probing::Never;
    let limits = Limits {
        max_prepared_statements,
        max_client_statements,
        session_mode: false,
        probing,
        unnamed: Default::default(),
    };
    let mut player = Player {
        cut,
        texts: Arc::default(),
        startup: Settings::default(),
        reported: Arc::default(),
        limits,
        seats: HashMap::new(),
        now: 1,
        shelf: HashMap::new(),
    };
    for (line, step) in &script.steps {
        player.step(*line, step).map_err(|fault| format!("line {line}, cut {cut:?}: {fault}"))?;
    }
    player.seats.values().try_for_each(Seat::nothing_unsaid).map_err(|fault| format!("at the end: {fault}"))
}

fn expect(fits: bool, fault: impl FnOnce() -> String) -> Result<(), String> {
    if fits { Ok(()) } else { Err(fault()) }
}

impl Player {
    fn seat(&mut self) -> &mut Seat {
        let machine = || {
            let mut machine =
                Machine::new(self.now, self.texts.clone(), self.startup.clone(), self.limits.clone());
            machine.set_reported(self.reported.clone());
            machine
        };
        self.seats.entry(self.now).or_insert_with(|| Seat::new(machine()))
    }

    fn step(&mut self, line: usize, step: &Step) -> Result<(), String> {
        match step {
            Step::Startup(given) => {
                let given = given.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
                self.startup = Settings::from_startup(given);
                Ok(())
            }
            Step::Reported(given) => {
                let given =
                    given.iter().map(|(name, value)| (name.as_bytes().into(), value.as_bytes().into()));
                self.reported = Arc::new(given.collect());
                Ok(())
            }
            Step::Limits(server, client) => {
                self.limits.max_prepared_statements = *server;
                self.limits.max_client_statements = *client;
                Ok(())
            }
            Step::SessionMode => {
                self.limits.session_mode = true;
                Ok(())
            }
            Step::Session(number) => {
                self.now = *number;
                Ok(())
            }
            Step::Send(side, bytes) => self.send(line, *side, bytes),
            Step::Attach { name, read_only, replica } => {
                let state = self.shelf.remove(name).unwrap_or_default();
                self.seat().attach(name, state, *read_only, *replica)
            }
            Step::Free | Step::Leave => self.give_back(matches!(step, Step::Free)),
            Step::Left(name, dirty) => {
                let state = self.shelf.get(name).ok_or("no such server went back")?;
                let word = state.dirty.map(Pin::word);
                expect(word == dirty.as_deref(), || format!("it is {word:?}"))
            }
            other => self.seat().judge(other),
        }
    }

    fn send(&mut self, line: usize, side: Side, bytes: &[u8]) -> Result<(), String> {
        let cut = self.cut;
        let seat = self.seat();
        seat.nothing_unsaid()?;
        expect(!seat.machine.is_free(), || "the server is free, and the transcript does not say so".into())?;
        expect(side == Side::Client || seat.holds.is_some(), || "there is no server to send this".into())?;
        let patient = cut != Cut::Bytes { patient: false };
        match cut {
            Cut::Bytes { .. } => {
                let (front, rest) = bytes.split_at(bytes.len().min(END));
                let (middle, back) = rest.split_at(rest.len().saturating_sub(END));
                let pieces = front.chunks(1).chain(middle.chunks(PIECE)).chain(back.chunks(1));
                pieces.for_each(|piece| seat.take(side, piece, patient));
            }
            Cut::At(at, first) if at == line => {
                seat.take(side, &bytes[..first], patient);
                seat.take(side, &bytes[first..], patient);
            }
            _ => seat.take(side, bytes, patient),
        }
        Ok(())
    }

    fn give_back(&mut self, free: bool) -> Result<(), String> {
        let seat = self.seat();
        expect(!free || seat.machine.is_free(), || "the server is not free".into())?;
        expect(!seat.desk.up.has_output(), || "something is on its way to the server".into())?;
        let name = seat.holds.take().ok_or("there is no server to give back")?;
        let state = seat.machine.detach().ok_or("the machine held no server")?;
        seat.desk.up.forget_kept();
        if free {
            seat.think();
        }
        self.shelf.insert(name, state);
        Ok(())
    }
}

impl Seat {
    fn new(machine: Machine) -> Seat {
        Seat {
            machine,
            desk: Desk::default(),
            halt: Ok(Halt::More(HEADER_LEN)),
            want_down: HEADER_LEN,
            holds: None,
            outdated: false,
            to_server: Vec::new(),
            to_client: Vec::new(),
        }
    }

    /// Bytes arrive.
    fn take(&mut self, side: Side, bytes: &[u8], patient: bool) {
        match side {
            Side::Client => {
                self.desk.up.push_input(bytes);
                let want = match self.halt {
                    Ok(Halt::More(want)) => want,
                    _ => HEADER_LEN,
                };
                if !patient || self.desk.up.undecided() >= want {
                    self.think();
                }
            }
            Side::Server => {
                self.desk.down.push_input(bytes);
                if !patient || self.desk.down.undecided() >= self.want_down {
                    self.hear();
                }
            }
        }
    }

    /// Shows the client's bytes to the machine, as a session does.
    fn think(&mut self) {
        if self.halt.is_err() {
            return;
        }
        let (bytes, plan) = self.desk.up.parts();
        self.halt = self.machine.client(bytes, &mut Port(plan), &mut Port(self.desk.down.plan()));
        self.carry();
    }

    /// Shows the server's bytes to the machine.
    fn hear(&mut self) {
        if self.halt.is_err() || self.machine.fatal().is_some() || self.outdated {
            return;
        }
        if self.machine.is_hoping() && self.desk.up.can_rewind() && self.machine.can_rewind() {
            match self.machine.omen(self.desk.down.undecided_bytes()) {
                Omen::Open => return self.want_down = self.desk.down.undecided() + 1,
                Omen::Outdated => return self.outdated = true,
                Omen::Good => {}
            }
        }
        let before = self.to_client.len();
        let (bytes, plan) = self.desk.down.parts();
        match self.machine.server(bytes, &mut Port(plan)) {
            Ok(want) => self.want_down = want,
            Err(broken) => self.halt = Err(broken),
        }
        self.carry();
        if self.to_client.len() > before {
            self.desk.up.forget_kept();
        }
        // A server that is free is given back first.
        let its_turn = self.machine.has_its_turn() && !self.machine.is_free();
        if its_turn || self.halt == Ok(Halt::Full) && self.machine.has_room() {
            self.think();
        }
    }

    /// Writes what is to be written.
    fn carry(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        // As in a session: without a server nothing is carried out upwards.
        let holds = self.holds.is_some();
        for (lane, out) in
            [(&mut self.desk.up, &mut self.to_server), (&mut self.desk.down, &mut self.to_client)]
                .into_iter()
                .skip(usize::from(!holds))
        {
            let drained = pin!(std::future::poll_fn(|cx| lane.poll_drain(cx, out)));
            assert!(matches!(drained.poll(&mut cx), Poll::Ready(Ok(()))), "memory takes everything");
        }
    }

    fn attach(
        &mut self,
        name: &str,
        state: Box<ServerState>,
        read_only: bool,
        replica: bool,
    ) -> Result<(), String> {
        expect(self.holds.is_none(), || "the session holds a server already".into())?;
        self.machine.attach(state, read_only);
        self.holds = Some(name.into());
        self.want_down = HEADER_LEN;
        if replica {
            self.desk.up.keep();
        }
        self.think();
        Ok(())
    }

    fn nothing_unsaid(&self) -> Result<(), String> {
        for (whom, bytes) in [("server", &self.to_server), ("client", &self.to_client)] {
            expect(bytes.is_empty(), || format!("to the {whom} went, unsaid: {}", describe(bytes)))?;
        }
        Ok(())
    }

    fn judge(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Went(side, wanted) => {
                let out = if *side == Side::Server { &mut self.to_server } else { &mut self.to_client };
                let out = std::mem::take(out);
                expect(out == *wanted, || format!("went{}\n    not{}", describe(&out), describe(wanted)))
            }
            Step::Need(demand) => {
                expect(self.halt == Ok(Halt::Server(*demand)), || format!("it says {:?}", self.halt))
            }
            Step::Goodbye => expect(self.halt == Ok(Halt::Goodbye), || format!("it says {:?}", self.halt)),
            Step::Broken(why) => {
                let said = self.halt.as_ref().err().map(ToString::to_string);
                expect(said.as_ref() == Some(why), || format!("it says {said:?}"))
            }
            Step::Pin(wanted) => {
                let pin = self.machine.pin().map(Pin::word);
                expect(pin == wanted.as_deref(), || format!("the pin is {pin:?}"))
            }
            Step::Status(wanted) => {
                let status = self.machine.status().byte();
                expect(status == *wanted, || format!("the status is {}", status as char))
            }
            Step::Stake(wanted) => {
                let stake = format!("{:?}", self.machine.stake()).to_lowercase();
                expect(stake == *wanted, || format!("at stake is {stake}"))
            }
            Step::Fatal => expect(self.machine.fatal().is_some(), || "no FATAL was heard".into()),
            Step::CannotRewind => expect(!self.machine.can_rewind(), || "it can be rewound".into()),
            _ => self.server_is_gone(step),
        }
    }

    /// What the relay does when a server is lost, or none can be had.
    fn server_is_gone(&mut self, step: &Step) -> Result<(), String> {
        let undecided = self.desk.down.undecided();
        self.desk.down.plan().skip(undecided);
        match step {
            Step::Refuse(report) => {
                self.machine.refuse_request(report.clone());
                self.think();
                return Ok(());
            }
            Step::Rewind => {
                let can = self.desk.up.can_rewind() && self.machine.can_rewind();
                expect(can, || "it cannot be rewound".into())?;
                self.machine.rewind();
                self.desk.up.rewind();
            }
            Step::Again => {
                expect(std::mem::take(&mut self.outdated), || "nothing is out of date".into())?;
                self.machine.shun();
                self.machine.rewind();
                self.desk.up.rewind();
            }
            Step::LoseQuietly => {
                self.give_up_the_request();
                expect(self.machine.lose_quietly(), || "a reply is half-way".into())?;
            }
            Step::Lose(report) => expect(self.lose(report), || "a reply is half-way".into())?,
            Step::CannotLose => {
                let report = Report::new(pgherd_wire::write::Severity::Error, "40001", "lost");
                return expect(!self.lose(&report), || "the client was told".into());
            }
            other => return Err(format!("not a step of a session: {other:?}")),
        }
        self.holds = None;
        self.think();
        Ok(())
    }

    fn give_up_the_request(&mut self) {
        self.desk.up.plan().suppress();
        self.desk.up.forget_kept();
    }

    fn lose(&mut self, report: &Report) -> bool {
        self.give_up_the_request();
        let told = self.machine.lose_server(report, &mut Port(self.desk.down.plan()));
        self.carry();
        told
    }
}
