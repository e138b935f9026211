//! Standing in line for a server.

use crate::connect::error::ConnectError;
use crate::pool::Pool;
use crate::server::{Baggage, Server};
use crate::shelf::Ticket;
use parking_lot::Mutex;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use tokio::time::Instant;

/// Why a waiter got no server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoServer {
    /// The pool has no connection and could not make one.
    Connect(ConnectError),
    /// The time in line is over.
    Timeout,
    /// The node left the cluster, or the route to it was closed.
    Closed,
    /// An operator has paused the database; to be asked again when that is over.
    Paused,
}

#[derive(Debug)]
enum State<B> {
    Away,
    Waiting(Option<Waker>),
    Served(Box<Server<B>>),
    Refused(NoServer),
    /// Still waiting, but for so long that the client should be told.
    Notice(Option<Waker>),
}

/// Where a session waits; one for its whole life, so that waiting allocates nothing.
#[derive(Debug)]
pub struct Slot<B> {
    state: Mutex<State<B>>,
    /// How often its session has stood in line: whoever serves it must mean the present time.
    stay: AtomicU64,
}

impl<B> Default for Slot<B> {
    fn default() -> Self {
        Slot { state: Mutex::new(State::Away), stay: AtomicU64::new(0) }
    }
}

impl<B> Slot<B> {
    /// Sets the state of the stay in line; gives it back when the session has left the line meanwhile, perhaps to stand in another one.
    fn set(&self, stay: u64, new: State<B>) -> Option<State<B>> {
        let mut state = self.state.lock();
        if self.stay.load(Ordering::Relaxed) != stay
            || !matches!(*state, State::Waiting(_) | State::Notice(_))
        {
            return Some(new);
        }
        let old = std::mem::replace(&mut *state, new);
        drop(state);
        if let State::Waiting(Some(waker)) | State::Notice(Some(waker)) = old {
            waker.wake();
        }
        None
    }

    /// Lets the session tell its client that it waits.
    fn give_notice(&self, stay: u64) {
        let mut state = self.state.lock();
        if self.stay.load(Ordering::Relaxed) != stay {
            return;
        }
        if let State::Waiting(waker) = &mut *state {
            let waker = waker.take();
            *state = State::Notice(None);
            drop(state);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

/// What happened in line.
#[derive(Debug)]
pub enum Turn<B> {
    /// Here is a server.
    Served(Box<Server<B>>),
    /// There will be none.
    Refused(NoServer),
    /// Nothing yet, but the wait is long: tell the client, then go on waiting.
    Notice,
}

/// A waiter in the pool's queue as the janitor sees it.
#[derive(Debug)]
pub(crate) struct Waiter<B> {
    pub(crate) slot: Arc<Slot<B>>,
    pub(crate) stay: u64,
    pub(crate) since: Instant,
    pub(crate) deadline: Instant,
    pub(crate) noticed: bool,
}

impl<B> Waiter<B> {
    /// Here is a server. It comes back when its session has left the line between being called and being served.
    #[must_use]
    pub(crate) fn serve(&self, server: Box<Server<B>>) -> Option<Box<Server<B>>> {
        match self.slot.set(self.stay, State::Served(server)) {
            Some(State::Served(server)) => Some(server),
            _ => None,
        }
    }

    /// There will be none.
    pub(crate) fn refuse(&self, why: NoServer) {
        drop(self.slot.set(self.stay, State::Refused(why)));
    }

    /// See [`Slot::give_notice`].
    pub(crate) fn notice(&self) -> impl FnOnce() + use<B> {
        let (slot, stay) = (self.slot.clone(), self.stay);
        move || slot.give_notice(stay)
    }
}

/// A place in line. Dropping it leaves the line; a server that was already given goes back to the pool.
#[derive(Debug)]
pub struct Line<'a, B: Baggage> {
    pub(crate) pool: &'a Arc<Pool<B>>,
    pub(crate) slot: &'a Arc<Slot<B>>,
    pub(crate) home: usize,
    pub(crate) ticket: Ticket,
    /// The turn came; there is no place in line any more.
    pub(crate) over: bool,
}

impl<'a, B: Baggage> Line<'a, B> {
    /// A session begins a stay in line.
    pub(crate) fn stand(slot: &'a Arc<Slot<B>>, since: Instant, deadline: Instant) -> Waiter<B> {
        let mut state = slot.state.lock();
        *state = State::Waiting(None);
        let stay = slot.stay.fetch_add(1, Ordering::Relaxed) + 1;
        drop(state);
        Waiter { slot: slot.clone(), stay, since, deadline, noticed: false }
    }

    /// Cancel safe: nothing is lost when the future returned is dropped.
    pub fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Turn<B>> {
        let mut state = self.slot.state.lock();
        match &mut *state {
            State::Waiting(waker) => {
                if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                    *waker = Some(cx.waker().clone());
                }
                Poll::Pending
            }
            State::Notice(_) => {
                *state = State::Waiting(None);
                Poll::Ready(Turn::Notice)
            }
            State::Served(_) | State::Refused(_) | State::Away => {
                self.over = true;
                match std::mem::replace(&mut *state, State::Away) {
                    State::Served(server) => Poll::Ready(Turn::Served(server)),
                    State::Refused(why) => Poll::Ready(Turn::Refused(why)),
                    _ => Poll::Ready(Turn::Refused(NoServer::Closed)),
                }
            }
        }
    }
}

impl<B: Baggage> Future for Line<'_, B> {
    type Output = Turn<B>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Turn<B>> {
        self.poll_turn(cx)
    }
}

impl<B: Baggage> Drop for Line<'_, B> {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let waiting = self.pool.abandon(self.home, self.ticket);
        let state = std::mem::replace(&mut *self.slot.state.lock(), State::Away);
        if let (false, State::Served(server)) = (waiting, state) {
            self.pool.release(server);
        }
    }
}

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;
