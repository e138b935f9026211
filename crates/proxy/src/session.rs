//! One session: a client, a machine, and the way from one request to the next.

use crate::answer;
use crate::card::{Bell, Card, Doing};
use crate::cards::Entry;
use crate::checkout::Held;
use crate::desk::{Desk, Port};
use crate::library::Book;
use crate::manner::Manner;
use crate::shared::{Carried, Shared, Worker};
use crate::tally::Toll;
use crate::terms::Terms;
use crate::wish::Wish;
use crate::written::Written;
use pgherd_net::transport::Transport;
use pgherd_pool::line::Slot;
use pgherd_pool::pool::Pool;
use pgherd_pool::server::Server;
use pgherd_route::floor::Floors;
use pgherd_session::machine::Machine;
use pgherd_session::params::{Settings, Value};
use pgherd_session::step::{Broken, Halt};
use pgherd_topology::node::NodeId;
use pgherd_wire::frame::HEADER_LEN;
use pgherd_wire::write::Report;
use std::io;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// How a session ends.
#[derive(Debug)]
pub enum End {
    /// Terminate, or the client closed its side.
    Left,
    /// The client's connection broke.
    Gone(io::ErrorKind),
    /// The session cannot go on; the client is told why.
    Told(Report),
}

/// What happened to a request.
#[derive(Debug)]
pub(crate) enum Fate {
    /// The server is free again.
    Free,
    /// The server is lost.
    Lost,
    /// A replica refused it, for a reason of its own: the primary may not.
    Refused([u8; 5]),
    /// The server has an out-of-date statement where the client has an unnamed one.
    Outdated,
    /// The transaction goes on on another server.
    Moves,
    /// The session ends.
    Over(End),
}

/// A session.
pub struct Session {
    pub(crate) shared: Arc<Shared>,
    pub(crate) worker: Arc<Worker>,
    pub(crate) terms: Terms,
    pub(crate) client: Transport,
    pub(crate) machine: Machine,
    pub(crate) desk: Option<Box<Desk>>,
    pub(crate) entry: Entry,
    pub(crate) slot: Arc<Slot<Carried>>,
    /// Pools used so far, one per node.
    pub(crate) pools: Vec<(NodeId, Arc<Pool<Carried>>)>,
    /// Undecided bytes the machine wants to see, per direction.
    pub(crate) want_up: usize,
    pub(crate) want_down: usize,
    pub(crate) random: u64,
    /// A node that has just failed this request.
    pub(crate) avoid: Option<NodeId>,
    pub(crate) reruns: u32,
    /// What the unit at the front wants.
    pub(crate) wish: Wish,
    /// How the unit before was routed.
    pub(crate) why: Option<crate::tell::Why>,
    /// What the session's settings say about its reads.
    pub(crate) manner: Manner,
    /// What the session must not read older than.
    pub(crate) floors: Floors,
    /// What is known of the catalog, on a listener that reads statements.
    pub(crate) book: Option<Arc<Book>>,
    /// When something was committed last that may be acknowledged before it was flushed, and since when reads have found that no look tells the position of the
    /// last write; in milliseconds of the process.
    pub(crate) unflushed: Option<NonZeroU64>,
    pub(crate) unlooked: Option<NonZeroU64>,
    /// What it has counted; apart, to keep the session's future small.
    pub(crate) toll: Box<Toll>,
    /// The last write of anybody to the same database.
    pub(crate) written: Arc<Written>,
    /// The answer of a replica is looked at before it is passed on.
    pub(crate) chance: bool,
    /// So many answers are owed that the client is not listened to until some came.
    pub(crate) crowded: bool,
    /// Terminate was seen behind requests that are not answered yet: they are answered first, as PostgreSQL does, and nothing more is read.
    pub(crate) leaving: bool,
    pub(crate) waker: Option<std::task::Waker>,
}

impl Session {
    pub(crate) fn card(&self) -> &Arc<Card> {
        &self.entry.card
    }

    /// Whoever rings wakes this session. A task keeps its waker for life, so this is a comparison but for the first time.
    pub(crate) fn listen_for_bells(&mut self, cx: &std::task::Context<'_>) {
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
            self.entry.card.listen(cx.waker());
        }
    }

    /// Lanes, fetched when there are none.
    pub(crate) fn desk(&mut self) -> &mut Desk {
        let worker = &self.worker;
        self.desk.get_or_insert_with(|| worker.desks.take())
    }

    /// Shows the client's undecided bytes to the machine.
    pub(crate) fn think_up(&mut self) -> Result<Halt, Broken> {
        let Some(desk) = self.desk.as_mut() else { return Ok(Halt::More(HEADER_LEN)) };
        let (bytes, plan) = desk.up.parts();
        let halt = self.machine.client(bytes, &mut Port(plan), &mut Port(desk.down.plan()))?;
        self.want_up = match halt {
            Halt::More(want) => want,
            _ => HEADER_LEN,
        };
        self.crowded = halt == Halt::Full;
        if let Some(database) = self.machine.take_vacated() {
            self.shared.vacate(&database);
        }
        Ok(halt)
    }

    /// From door to goodbye. `held`: the server it has from the start.
    pub(crate) async fn run(&mut self, mut held: Option<Held>) -> End {
        loop {
            let mut held = match held.take() {
                Some(held) => held,
                None => match self.ask().await {
                    Ok(Some(held)) => held,
                    // The request was answered without a server.
                    Ok(None) => continue,
                    Err(end) => return end,
                },
            };
            match self.relay(&mut held).await {
                Fate::Free => self.release(held),
                Fate::Lost => {
                    if let Err(end) = self.lost(held) {
                        return end;
                    }
                }
                Fate::Refused(state) => self.run_again(held, state),
                Fate::Outdated => self.run_with_text(held),
                Fate::Moves => self.move_on(held),
                Fate::Over(end) => {
                    self.abandon(held);
                    return end;
                }
            }
        }
    }

    /// Waits for a request, and takes a server for it.
    async fn ask(&mut self) -> Result<Option<Held>, End> {
        self.listen().await?;
        if let Some(asked) = self.asked()
            && !Box::pin(self.tell(asked)).await?
        {
            return Ok(None);
        }
        self.checkout().await
    }

    /// Ends for reasons from outside, in the state the session is in.
    pub(crate) fn heed_bells(&self, attached: bool) -> Option<End> {
        let bells = self.card().bells();
        if bells == 0 {
            return None;
        }
        let rings = |bell: Bell| bells & bell as u32 != 0;
        let (doing, _) = self.card().doing();
        for (bell, when) in [
            (Bell::ClientIdle, doing == Doing::Idle),
            (Bell::IdleInTransaction, doing == Doing::IdleInTransaction),
            (Bell::QueryTimeout, doing == Doing::Active),
        ] {
            if rings(bell) {
                self.card().heed(bell);
                if when {
                    return Some(End::Told(answer::timed_out(bell)));
                }
            }
        }
        let idle = !attached && self.machine.is_between_transactions() && doing == Doing::Idle;
        if rings(Bell::Stop) || rings(Bell::Drain) && idle {
            return Some(End::Told(answer::shutdown()));
        }
        rings(Bell::Kill).then(|| End::Told(answer::killed()))
    }

    /// A free server goes back; when a cancel request is still on its way to it, it is closed instead, because it must not hit the next user.
    pub(crate) fn release(&mut self, held: Held) {
        let cancelled = self.card().let_go();
        self.card().does(Doing::Idle, self.shared.now());
        self.forget_request();
        self.note_floors(&held);
        self.card().set_pin(None);
        self.note_definitions();
        if let Some(desk) = self.desk.as_mut() {
            desk.up.forget_kept();
        }
        let (mut server, pool) = held.give();
        server.baggage.0 = self.machine.detach();
        self.show_statements(&server);
        if cancelled {
            return pool.forget(server);
        }
        pool.release(server);
    }

    /// Lets others see how many statements are prepared, here and on the server, and what the client calls itself.
    fn show_statements(&mut self, server: &Server<Carried>) {
        let settings = self.machine.settings();
        if settings.digest() != self.toll.shown {
            self.toll.shown = settings.digest();
            self.entry.card.rename(&application(settings));
        }
        let known = server.baggage.0.as_ref().map_or(0, |state| state.statement_count());
        server.identity.statements.store(known, Ordering::Relaxed);
        self.card().statements.store(self.machine.statement_count(), Ordering::Relaxed);
    }

    /// What was tried for the last request does not matter for the next.
    pub(crate) fn forget_request(&mut self) {
        (self.avoid, self.reruns) = (None, 0);
        (self.wish.refused, self.wish.stale) = (false, false);
    }

    /// A server that failed outside the relay.
    pub(crate) fn abandon_lost(&mut self, held: Held) {
        let _ = self.card().let_go();
        self.machine.detach();
        let (server, pool) = held.give();
        pool.lost(server);
    }

    /// The session ends while it holds a server: when that is between transactions it is cleaned and goes on, else what it still does is cancelled and it is closed.
    pub(crate) fn abandon(&mut self, held: Held) {
        self.hand_over();
        let between = self.machine.is_between_transactions();
        let desk = self.desk.as_ref();
        let sent_all = !self.machine.is_mid_request() && desk.is_none_or(|desk| !desk.up.has_output());
        let heard_all = desk.is_none_or(|desk| desk.down.undecided() == 0);
        let cancelled = self.card().let_go();
        self.note_floors(&held);
        self.note_definitions();
        let (mut server, pool) = held.give();
        if between && sent_all && heard_all && !cancelled {
            server.baggage.0 = self.machine.detach();
            return pool.release(server);
        }
        if self.machine.owes_only_probe() && sent_all && heard_all && !cancelled {
            server.baggage.0 = self.machine.detach();
            return pool.clean_after_answer(server);
        }
        if !self.machine.owes_nothing() {
            let identity = server.identity.clone();
            tokio::spawn(async move { crate::cancel::deliver(&identity).await });
        }
        if sent_all { pool.forget(server) } else { pool.cut(server) }
    }
}

/// What a client calls itself, for people.
fn application(settings: &Settings) -> String {
    match settings.get(b"application_name") {
        None => String::new(),
        Some(Value::Text(name)) => String::from_utf8_lossy(name).into_owned(),
        Some(Value::Sql(sql)) => {
            let sql = String::from_utf8_lossy(sql);
            let inside = sql.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
            inside.map_or_else(|| sql.to_string(), |inside| inside.replace("''", "'"))
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.desk.take().is_some() {
            self.worker.desks.forget();
        }
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("id", &self.entry.card.id).finish_non_exhaustive()
    }
}
