//! One pool: the connections of one user to one database on one node, shared by all workers.

use crate::budget::Budget;
use crate::clock::{CoarseClock, millis};
use crate::line::{Line, NoServer, Slot, Waiter};
use crate::server::{Baggage, Identity, Server};
use crate::shape::Shape;
use crate::shelf::Shelf;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use pgherd_topology::cell::Cell;
use pgherd_topology::gauge::Gauges;
use pgherd_topology::node::NodeId;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::Instant;

/// Pause after a failed attempt to connect, before the next one.
pub const CONNECT_BACKOFF: Duration = Duration::from_millis(200);

/// Milliseconds of idleness after which the kernel is asked, before a connection is handed out, whether the other side closed it: a busy event loop may not
/// have seen it yet, and a request sent to a server that is gone would be in doubt. A connection in steady use is never asked.
const UNWATCHED: u64 = 50;

/// Milliseconds for which a pool asks its idle connections one by one after one of them died.
const SUSPICION: u64 = 5_000;

/// Which pool.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Node.
    pub node: NodeId,
    /// Database.
    pub database: Arc<str>,
    /// User.
    pub user: Arc<str>,
}

/// What the pool tells the control plane; it only hastens a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// A connection was refused, or the node did not answer.
    Refused,
    /// A connection died.
    Lost,
}

pub(crate) struct Inner<B> {
    pub(crate) shelf: Shelf<Box<Server<B>>, Waiter<B>>,
    /// The shape's sizes, where the hot path can read them.
    pub(crate) max_size: usize,
    pub(crate) reserve_size: usize,
    /// Connections that exist or are being made.
    pub(crate) total: usize,
    pub(crate) connecting: usize,
    pub(crate) connect_after: Option<Instant>,
    pub(crate) closed: bool,
    /// An operator wants no connections now.
    pub(crate) paused: bool,
}

/// What pools share.
pub struct Common {
    /// For all limits in time that need not be exact.
    pub clock: CoarseClock,
    /// Connections in existence, by their number.
    pub identities: Mutex<HashMap<u64, Arc<Identity>>>,
    /// One runtime per home, where connects are made.
    pub homes: Vec<Handle>,
    /// Where the topology is swapped.
    pub cell: Arc<Cell>,
    /// How far the nodes' logs were, for those who must not read what is too old.
    pub gauges: Arc<Gauges>,
    /// Number of the connection made last.
    pub last: AtomicU64,
    /// Tells the control plane.
    pub hint: Box<dyn Fn(NodeId, Hint) + Send + Sync>,
    /// Tells who keeps the secrets that a server refused this user's.
    denied: Option<Denied>,
}

/// Is told of users whose secret a server refused.
pub type Denied = Box<dyn Fn(&str) + Send + Sync>;

impl Common {
    /// Things to share for pools whose connections live on these runtimes, one per home.
    pub fn new(
        homes: Vec<Handle>,
        cell: Arc<Cell>,
        gauges: Arc<Gauges>,
        hint: Box<dyn Fn(NodeId, Hint) + Send + Sync>,
    ) -> Common {
        Common {
            clock: CoarseClock::default(),
            identities: Mutex::default(),
            homes,
            cell,
            gauges,
            last: AtomicU64::new(0),
            hint,
            denied: None,
        }
    }

    /// The same, with somebody to be told of refused secrets.
    #[must_use]
    pub fn with_denied(self, denied: Denied) -> Common {
        Common { denied: Some(denied), ..self }
    }

    /// A server refused this user's secret.
    pub(crate) fn denied(&self, user: &str) {
        if let Some(denied) = &self.denied {
            denied(user);
        }
    }
}

/// One pool.
pub struct Pool<B> {
    /// Which.
    pub key: Key,
    pub(crate) common: Arc<Common>,
    pub(crate) shape: ArcSwap<Shape>,
    pub(crate) budgets: Vec<Arc<Budget>>,
    pub(crate) inner: Mutex<Inner<B>>,
    /// Milliseconds of idleness after which a connection is checked before use.
    check_after: AtomicU64,
    suspect_until: AtomicU64,
    /// Connections per home, those being made included.
    pub(crate) at_home: Vec<AtomicUsize>,
    pub(crate) valid_since: AtomicU64,
    pub(crate) epoch: AtomicU64,
    /// Connections of an earlier generation are closed as they become free.
    pub(crate) generation: AtomicU64,
    closed: AtomicBool,
    pub(crate) parameters: ArcSwap<Vec<(Box<str>, Box<str>)>>,
    pub(crate) checkouts: Vec<pgherd_metrics::counter::Counter>,
    /// Connections that sessions keep beyond their transactions.
    pub kept: AtomicUsize,
    pub(crate) connects: pgherd_metrics::counter::Counter,
    pub(crate) connect_failures: pgherd_metrics::counter::Counter,
}

impl<B> std::fmt::Debug for Pool<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("key", &self.key).finish_non_exhaustive()
    }
}

impl<B: Baggage> Pool<B> {
    /// An empty pool. `budgets` are limits shared with other pools.
    pub fn new(key: Key, shape: Shape, budgets: Vec<Arc<Budget>>, common: Arc<Common>) -> Arc<Pool<B>> {
        let homes = common.homes.len().max(1);
        let inner = Inner {
            max_size: shape.max_size,
            reserve_size: shape.reserve_size,
            shelf: Shelf::new(homes),
            total: 0,
            connecting: 0,
            connect_after: None,
            closed: false,
            paused: false,
        };
        Arc::new(Pool {
            key,
            common,
            check_after: AtomicU64::new(shape.check_after.map_or(u64::MAX, millis)),
            shape: ArcSwap::from_pointee(shape),
            budgets,
            inner: Mutex::new(inner),
            suspect_until: AtomicU64::new(0),
            at_home: (0..homes).map(|_| AtomicUsize::new(0)).collect(),
            valid_since: AtomicU64::new(0),
            epoch: AtomicU64::new(0),
            generation: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            parameters: ArcSwap::default(),
            checkouts: (0..homes).map(|_| Default::default()).collect(),
            kept: AtomicUsize::new(0),
            connects: Default::default(),
            connect_failures: Default::default(),
        })
    }

    /// From now on it behaves so.
    pub(crate) fn set_shape(&self, shape: Shape) {
        self.check_after.store(shape.check_after.map_or(u64::MAX, millis), Ordering::Relaxed);
        {
            let mut inner = self.inner.lock();
            (inner.max_size, inner.reserve_size) = (shape.max_size, shape.reserve_size);
        }
        self.shape.store(Arc::new(shape));
    }

    /// How it behaves now.
    pub fn shape(&self) -> Arc<Shape> {
        self.shape.load_full()
    }

    /// The node left, or the route to it was closed for good: this pool serves nobody any more.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(crate) fn mark_closed(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// What a server reported about its settings when it was connected to last; empty before the first connection.
    pub fn parameters(&self) -> Arc<Vec<(Box<str>, Box<str>)>> {
        self.parameters.load_full()
    }

    /// An idle server, if there is one; a connection that died meanwhile is thrown away. `digest` is the session's own (see [`Baggage::digest`]).
    pub fn try_checkout(self: &Arc<Self>, home: usize, digest: u64) -> Option<Box<Server<B>>> {
        loop {
            let mut server =
                self.inner.lock().shelf.take(home, |server| server.baggage.digest() == digest)?;
            let idle = self.common.clock.now().saturating_sub(server.idle_since);
            let stirred = (idle >= UNWATCHED || self.is_suspect()) && server.transport.is_stirred();
            if !stirred
                && !server.is_disturbed()
                && server.identity.epoch >= self.valid_since.load(Ordering::Acquire)
            {
                return Some(server);
            }
            self.suspect();
            self.forget(server);
        }
    }

    /// A connection died: others may have too, without the event loop having seen it yet. For a while each is asked before it is handed out.
    pub(crate) fn suspect(&self) {
        self.suspect_until.store(self.common.clock.now() + SUSPICION, Ordering::Relaxed);
    }

    fn is_suspect(&self) -> bool {
        self.common.clock.now() < self.suspect_until.load(Ordering::Relaxed)
    }

    /// True when the node was fenced since this server was opened. Asked once more after a session has shown that it holds the server: either this is seen here, or
    /// whoever fences sees the session.
    pub fn is_stale(&self, server: &Server<B>) -> bool {
        std::sync::atomic::fence(Ordering::SeqCst);
        server.identity.epoch < self.valid_since.load(Ordering::Acquire)
    }

    /// Counts a server handed to a session of this home; called on that home's own thread.
    pub fn count_checkout(&self, home: usize) {
        self.checkouts[home % self.checkouts.len()].bump_local(1);
    }

    /// True when the server was idle for so long that it must be asked whether it lives ([`crate::exchange::check`]) before it is used.
    pub fn wants_check(&self, server: &Server<B>) -> bool {
        let after = self.check_after.load(Ordering::Relaxed);
        self.common.clock.now().saturating_sub(server.idle_since) > after
    }

    /// Stands in line until `deadline`, and sees to it that a connection is made when there may be one more.
    pub fn stand_in_line<'a>(
        self: &'a Arc<Self>,
        home: usize,
        slot: &'a Arc<Slot<B>>,
        deadline: Instant,
    ) -> Result<Line<'a, B>, NoServer> {
        let now = Instant::now();
        let waiter = Line::stand(slot, now, deadline);
        let (ticket, connect, idle) = {
            let mut inner = self.inner.lock();
            if inner.closed {
                return Err(NoServer::Closed);
            }
            if inner.paused {
                return Err(NoServer::Paused);
            }
            let ticket = inner.shelf.wait(home, waiter);
            // Between the look at the shelf and the line a server may have come back.
            let idle = inner.shelf.take(home, |_| true).and_then(|server| {
                let waiter = inner.shelf.next(home)?;
                Some((waiter, server))
            });
            (ticket, self.may_connect(&mut inner, now, false), idle)
        };
        if let Some((waiter, mut server)) = idle {
            // Like any idle server it may have died or been fenced meanwhile; it goes round once more then.
            let fresh = server.identity.epoch >= self.valid_since.load(Ordering::Acquire);
            if !fresh || server.is_disturbed() {
                self.forget(server);
                waiter.refuse(NoServer::Closed);
            } else if let Some(server) = waiter.serve(server) {
                self.put_back(server);
            }
        }
        if let Some(permit) = connect {
            self.spawn_connect(home, permit);
        }
        Ok(Line { pool: self, slot, home, ticket, over: false })
    }

    /// A session is done with a server: it goes to whoever waits longest (see [`Shelf::next`]), or on the shelf. Dirty ones are reset first; spoiled, stale, expired
    /// and superfluous ones are closed.
    pub fn release(self: &Arc<Self>, mut server: Box<Server<B>>) {
        server.idle_since = self.common.clock.now();
        self.put_back(server);
    }

    /// The same for a server that was taken and not used: it has been idle all the while.
    pub fn put_back(self: &Arc<Self>, server: Box<Server<B>>) {
        if server.baggage.is_spoiled() {
            return self.forget(server);
        }
        if server.baggage.is_dirty() {
            return crate::reset::start(self.clone(), server);
        }
        if server.identity.epoch < self.valid_since.load(Ordering::Acquire) {
            return self.forget(server);
        }
        let now = self.common.clock.now();
        let waiter = {
            let mut inner = self.inner.lock();
            let superfluous = inner.total > inner.max_size
                && (inner.shelf.waiting() == 0 || inner.total > inner.max_size + inner.reserve_size);
            let outdated = server.identity.generation < self.generation.load(Ordering::Acquire);
            if inner.closed || inner.paused || now >= server.expires || superfluous || outdated {
                drop(inner);
                return self.forget(server);
            }
            match inner.shelf.next(server.home) {
                Some(waiter) => waiter,
                None => return inner.shelf.put(server.home, server),
            }
        };
        if let Some(server) = waiter.serve(server) {
            // It left the line before it could be served: the next one, then.
            self.put_back(server);
        }
    }

    /// Closes a server that must not be used again.
    pub fn forget(self: &Arc<Self>, mut server: Box<Server<B>>) {
        let home = server.home;
        server.retire();
        self.common.identities.lock().remove(&server.identity.number);
        drop(server);
        self.gone(home);
    }

    /// Closes a server in the middle of a message, without a word: a Terminate would become a part of that message, and might complete it.
    pub fn cut(self: &Arc<Self>, server: Box<Server<B>>) {
        let home = server.home;
        self.common.identities.lock().remove(&server.identity.number);
        drop(server);
        self.gone(home);
    }

    /// A server of this pool is closed already.
    pub(crate) fn gone(self: &Arc<Self>, home: usize) {
        self.at_home[home % self.at_home.len()].fetch_sub(1, Ordering::Relaxed);
        self.inner.lock().total -= 1;
        self.go_on_connecting(home);
    }

    /// A server died in a session's hands. The control plane is told.
    pub fn lost(self: &Arc<Self>, server: Box<Server<B>>) {
        self.suspect();
        (self.common.hint)(self.key.node, Hint::Lost);
        self.cut(server);
    }

    pub(crate) fn abandon(&self, home: usize, ticket: crate::shelf::Ticket) -> bool {
        self.inner.lock().shelf.abandon(home, ticket)
    }
}
