//! Standing in line for a server.

use crate::connect::error::ConnectError;
use crate::pool::Pool;
use crate::server::{Baggage, Server};
use crate::shelf::Ticket;
use parking_lot::Mutex;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
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
}

impl<B> Default for Slot<B> {
    fn default() -> Self {
        Slot { state: Mutex::new(State::Away) }
    }
}

impl<B> Slot<B> {
    pub(crate) fn serve(&self, server: Box<Server<B>>) {
        self.set(State::Served(server));
    }

    pub(crate) fn refuse(&self, why: NoServer) {
        self.set(State::Refused(why));
    }

    fn set(&self, new: State<B>) {
        let old = std::mem::replace(&mut *self.state.lock(), new);
        if let State::Waiting(Some(waker)) | State::Notice(Some(waker)) = old {
            waker.wake();
        }
    }

    /// Lets the session tell its client that it waits.
    pub(crate) fn give_notice(&self) {
        let mut state = self.state.lock();
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
    pub(crate) since: Instant,
    pub(crate) deadline: Instant,
    pub(crate) noticed: bool,
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
    pub(crate) fn stand(slot: &'a Arc<Slot<B>>) -> Arc<Slot<B>> {
        *slot.state.lock() = State::Waiting(None);
        slot.clone()
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
