//! Carrying bytes between a client and the server it holds.

use crate::answer;
use crate::card::{Bell, Doing};
use crate::checkout::Held;
use crate::desk::Port;
use crate::listen::MAX_UNREAD;
use crate::session::{End, Fate, Session};
use crate::terms::Mode;
use crate::wait::MAX_READ_AHEAD;
use pgherd_route::intent::Routing;
use pgherd_session::step::{Halt, Stake};
use pgherd_wire::backend::Status;
use pgherd_wire::frame::HEADER_LEN;
use std::future::poll_fn;
use std::task::{Context, Poll};

/// Rounds over both directions before other sessions get their turn.
const MAX_ROUNDS: usize = 16;

/// Most times one request is shown to another server.
const MAX_RERUNS: u32 = 8;

impl Session {
    /// Relays until the server is free, lost, or the session is over. Cancel safe: all progress is in the session.
    pub(crate) async fn relay(&mut self, held: &mut Held) -> Fate {
        self.want_down = HEADER_LEN;
        // The request that asked for the server is shown first.
        if let Err(fate) = self.think_in_relay() {
            return fate;
        }
        poll_fn(|cx| self.poll_relay(cx, held)).await
    }

    fn poll_relay(&mut self, cx: &mut Context<'_>, held: &mut Held) -> Poll<Fate> {
        for _ in 0..MAX_ROUNDS {
            if let Some(fate) = self.heed_in_relay(held) {
                return Poll::Ready(fate);
            }
            let mut moved = match self.poll_down(cx, held) {
                Ok(moved) => moved,
                Err(fate) => return Poll::Ready(fate),
            };
            if self.is_done(held) {
                return Poll::Ready(Fate::Free);
            }
            if self.machine.wants_probe()
                && let Err(fate) = self.ask_server(cx, held)
            {
                return Poll::Ready(fate);
            }
            self.note_early_writes(held);
            if self.machine.is_between_transactions() {
                self.note_definitions();
            }
            if let Some(end) = self.poll_say(cx) {
                return Poll::Ready(Fate::Over(end));
            }
            // The server was not asked because its lane was full; now that there is room, nothing else would wake this task for it.
            moved |= self.desk.as_ref().is_some_and(|desk| desk.down.was_full() && !desk.down.has_output());
            match self.poll_up(cx, held) {
                Ok(up) => moved |= up,
                Err(fate) => return Poll::Ready(fate),
            }
            if self.is_done(held) {
                return Poll::Ready(Fate::Free);
            }
            if !moved {
                self.note(cx, held);
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// The server is free and nothing of the client's is on its way to it.
    fn is_done(&mut self, held: &Held) -> bool {
        let keeps = self.machine.pin().is_some() && !self.machine.wants_probe();
        if held.replica && self.terms.routing == Routing::Any && keeps {
            // No session must stay on a node that was chosen for one unit.
            self.machine.shed_pin();
        }
        let desk = self.desk.as_ref();
        self.machine.is_free() && desk.is_none_or(|desk| !desk.up.has_output() && desk.down.undecided() == 0)
    }

    /// What the session has left in its server is not known: the server is asked, and the client need not wait for the answer.
    fn ask_server(&mut self, cx: &mut Context<'_>, held: &mut Held) -> Result<(), Fate> {
        // Before the client hears of it.
        self.note_definitions();
        let worker = &self.worker;
        let desk = self.desk.get_or_insert_with(|| worker.desks.take());
        self.machine.ask_server(&mut Port(desk.up.plan()));
        self.push_up(cx, held)
    }

    fn heed_in_relay(&mut self, held: &mut Held) -> Option<Fate> {
        let bells = self.card().bells();
        if bells == 0 {
            return None;
        }
        if bells & Bell::Cut as u32 != 0 {
            self.card().heed(Bell::Cut);
            let opened = held.server().identity.epoch;
            let valid =
                self.shared.cell.load().node(held.node).is_some_and(|node| opened >= node.valid_since);
            if !valid {
                return Some(Fate::Lost);
            }
        }
        // A pinned session between transactions leaves at a drain; a session with an open transaction finishes it first.
        let leaves = bells & Bell::Drain as u32 != 0 && self.machine.is_between_transactions();
        if leaves {
            return Some(Fate::Over(End::Told(answer::shutdown())));
        }
        self.heed_bells(true).map(Fate::Over)
    }

    /// From the server. True when something moved.
    fn poll_down(&mut self, cx: &mut Context<'_>, held: &mut Held) -> Result<bool, Fate> {
        let want = self.want_down;
        let desk = self.desk();
        let before = desk.down.output();
        let read = match desk.down.poll_fill(cx, &mut held.server().transport, want) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => return Err(Fate::Lost),
            Poll::Ready(Ok(read)) => read,
        };
        if self.machine.is_hoping() {
            match self.look_for_outdated() {
                Ok(true) => {}
                Ok(false) => {
                    self.count_answer(read);
                    return Ok(true);
                }
                Err(fate) => return Err(fate),
            }
        }
        if self.chance {
            if let Some(fate) = self.look_ahead() {
                return Err(fate);
            }
            if self.chance {
                self.count_answer(read);
                return Ok(true);
            }
        }
        let Some(desk) = self.desk.as_mut() else { return Ok(false) };
        let (bytes, plan) = desk.down.parts();
        match self.machine.server(bytes, &mut Port(plan)) {
            Ok(want) => self.want_down = want,
            Err(broken) => {
                tracing::warn!(session = self.entry.card.id, node = held.node.0, %broken, "server connection closed");
                return Err(Fate::Over(End::Told(answer::broken(&broken))));
            }
        }
        if self.machine.fatal().is_some() {
            return Err(Fate::Lost);
        }
        if self.terms.mode == Mode::Statement && self.machine.status() != Status::Idle {
            return Err(Fate::Over(End::Told(answer::no_transactions())));
        }
        if desk.up.can_rewind() && desk.down.output() > before {
            desk.up.forget_kept();
        }
        self.count_answer(read);
        Ok(true)
    }

    /// From the client. True when something moved.
    fn poll_up(&mut self, cx: &mut Context<'_>, held: &mut Held) -> Result<bool, Fate> {
        let want = self.want_up;
        let worker = &self.worker;
        let desk = self.desk.get_or_insert_with(|| worker.desks.take());
        if desk.up.has_output() {
            // Writing alone is no reason for another round: both sides were asked for more in this one.
            self.push_up(cx, held)?;
        }
        if self.leaving {
            let waits = !self.machine.owes_nothing() && !self.machine.is_copying_in();
            return if waits { Ok(false) } else { Err(Fate::Over(End::Left)) };
        }
        let its_turn = self.machine.has_its_turn();
        if self.crowded && !its_turn && !self.machine.has_room() {
            // Answers wake us.
            return Ok(false);
        }
        if self.crowded || its_turn {
            self.think_in_relay()?;
            self.push_up(cx, held)?;
            return Ok(true);
        }
        let waits = self.machine.is_waiting_its_turn();
        let Some(desk) = self.desk.as_mut() else { return Ok(false) };
        if waits && desk.up.undecided() >= MAX_READ_AHEAD {
            return Ok(false);
        }
        if desk.down.output() >= MAX_UNREAD {
            // What the client does not read piles up, answers of our own above all: it must read before it is heard. Its reading wakes us.
            return Ok(false);
        }
        match desk.up.poll_fill(cx, &mut self.client, want) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Ok(0)) => return Err(Fate::Over(End::Left)),
            Poll::Ready(Err(error)) => return Err(Fate::Over(End::Gone(error.kind()))),
            Poll::Ready(Ok(count)) => self.toll.received(count),
        }
        self.count_request();
        let Some(desk) = self.desk.as_mut() else { return Ok(false) };
        if desk.up.undecided() >= want {
            self.think_in_relay()?;
        }
        self.push_up(cx, held)?;
        Ok(true)
    }

    fn think_in_relay(&mut self) -> Result<(), Fate> {
        loop {
            match self.think_up() {
                Ok(Halt::Next) if self.consider_next()? => continue,
                // More of it must come before it can be read.
                Ok(Halt::Next) => self.want_up = self.desk().up.undecided() + 1,
                Ok(Halt::Goodbye) => self.leaving = true,
                // A machine that holds a server asks for none; it waits for its turn.
                Ok(Halt::More(_) | Halt::Full | Halt::Server(_)) => {}
                Err(broken) => return Err(Fate::Over(End::Told(answer::broken(&broken)))),
            }
            return Ok(());
        }
    }

    fn push_up(&mut self, cx: &mut Context<'_>, held: &mut Held) -> Result<(), Fate> {
        let Some(desk) = self.desk.as_mut() else { return Ok(()) };
        match desk.up.poll_drain(cx, &mut held.server().transport) {
            Poll::Pending => Ok(()),
            Poll::Ready(Err(_)) => Err(Fate::Lost),
            Poll::Ready(Ok(())) => {
                if held.server().transport.is_tls() {
                    use tokio::io::AsyncWrite;
                    let _ = std::pin::Pin::new(&mut held.server().transport).poll_flush(cx);
                }
                Ok(())
            }
        }
    }

    /// Nothing to do until somebody moves.
    fn note(&mut self, cx: &Context<'_>, held: &mut Held) {
        self.listen_for_bells(cx);
        if let Some(pin) = self.machine.pin() {
            held.keep();
            self.entry.card.set_pin(Some(pin));
        }
        let doing = match (self.machine.owes_nothing(), self.machine.is_between_transactions()) {
            (true, true) => Doing::Idle,
            (true, false) => Doing::IdleInTransaction,
            (false, _) => Doing::Active,
        };
        if self.entry.card.doing().0 != doing {
            self.entry.card.does(doing, self.shared.now());
        }
    }

    /// The server died, or may not be used any more. Where nothing of the answer reached the client and running the request again cannot change anything, it is
    /// shown to another server; else the client is told what is known, and lives on where the protocol allows it.
    pub(crate) fn lost(&mut self, held: Held) -> Result<(), End> {
        self.worker.counters.lost.add(1);
        self.hand_over();
        // A cancel request on its way goes to a connection that nobody will use.
        let _ = self.card().let_go();
        // What a replica was asked cannot have changed anything, nor can what was found to be a read.
        let (node, harmless) = (held.node, held.replica || self.is_lone_read());
        let outlives = self.outlives(&held);
        let shown_again = self.desk.as_ref().is_some_and(|desk| desk.up.can_rewind());
        let untouched = outlives || shown_again && self.machine.can_rewind();
        if !untouched {
            // Something was acknowledged, or seen, before the server died.
            self.note_floors(&held);
        }
        let (server, pool) = held.give();
        let name = self.shared.cell.load().node(node).map_or_else(|| "?".into(), |node| node.name.clone());
        pool.lost(server);
        let words = self.machine.fatal().map(Box::<[u8]>::from);
        let pinned = self.machine.pin();
        if let Some(report) = answer::misunderstood(words.as_deref()) {
            return Err(End::Told(report));
        }
        let stake = self.machine.stake();
        self.note_definitions();
        if stake == Stake::Unknown && !harmless {
            // What is in doubt may have happened.
            self.shared.library.tear(&self.terms.database);
        }
        let desk = match self.desk.as_mut() {
            Some(desk) => desk,
            None => return Err(End::Told(answer::lost(stake, &name, words.as_deref()))),
        };
        // Pieces of messages the server did not finish.
        let undecided = desk.down.undecided();
        desk.down.plan().skip(undecided);
        // Nor can a statement that was only prepared.
        if untouched
            && (harmless || matches!(stake, Stake::Nothing | Stake::Statement))
            && self.reruns < MAX_RERUNS
        {
            self.machine.rewind();
            match outlives {
                true => desk.up.forget_kept(),
                false => desk.up.rewind(),
            }
            self.want_up = HEADER_LEN;
            self.avoid = Some(node);
            self.reruns += 1;
            self.worker.counters.reruns.add(1);
            return Ok(());
        }
        desk.up.plan().suppress();
        let report = answer::lost(if harmless { Stake::Transaction } else { stake }, &name, words.as_deref());
        desk.up.forget_kept();
        if let Some(pin) = pinned {
            return Err(End::Told(answer::pinned(pin, report, words.as_deref())));
        }
        let lives = match stake == Stake::Nothing && self.machine.owes_nothing() {
            true => self.machine.lose_quietly(),
            false => self.machine.lose_server(&report, &mut Port(desk.down.plan())),
        };
        if lives { Ok(()) } else { Err(End::Gone(std::io::ErrorKind::ConnectionReset)) }
    }
}
