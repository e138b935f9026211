//! One pool: the connections of one user to one database on one node, shared by all workers.

use crate::budget::{Budget, Permit};
use crate::clock::{CoarseClock, millis};
use crate::connect::Target;
use crate::connect::error::{ConnectError, Fault};
use crate::line::{Line, NoServer, Slot, Waiter};
use crate::server::{Baggage, Identity, Server};
use crate::shelf::Shelf;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use pgherd_topology::node::NodeId;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::Instant;

/// Pause after a failed attempt to connect, before the next one.
pub const CONNECT_BACKOFF: Duration = Duration::from_millis(200);

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

/// How a pool behaves; swapped whole on reload.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Where and as whom to connect.
    pub target: Arc<Target>,
    /// Connections kept even when idle.
    pub min_size: usize,
    /// Most connections.
    pub max_size: usize,
    /// Connections above `max_size`, for waiters that waited longer than `reserve_after`.
    pub reserve_size: usize,
    /// See `reserve_size`.
    pub reserve_after: Duration,
    /// Most connects at the same time.
    pub connect_ramp: usize,
    /// A connection older than this (give or take 10 %) is closed at its next release.
    pub lifetime: Option<Duration>,
    /// A connection idle for longer is closed, above `min_size`.
    pub idle_timeout: Option<Duration>,
    /// A connection idle for longer is asked whether it lives before it is used.
    pub check_after: Option<Duration>,
    /// After this time in line a client is told that it waits.
    pub notice_after: Option<Duration>,
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
}

/// What pools share.
pub struct Common {
    /// For all limits in time that need not be exact.
    pub clock: CoarseClock,
    /// Connections in existence, by their number.
    pub identities: Mutex<HashMap<u64, Arc<Identity>>>,
    /// One runtime per home, where connects are made.
    pub homes: Vec<Handle>,
    /// Number of the connection made last.
    pub last: AtomicU64,
    /// Tells the control plane.
    pub hint: Box<dyn Fn(NodeId, Hint) + Send + Sync>,
}

impl Common {
    /// Things to share for pools whose connections live on these runtimes, one per home.
    pub fn new(homes: Vec<Handle>, hint: Box<dyn Fn(NodeId, Hint) + Send + Sync>) -> Common {
        Common {
            clock: CoarseClock::default(),
            identities: Mutex::default(),
            homes,
            last: AtomicU64::new(0),
            hint,
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
    pub(crate) valid_since: AtomicU64,
    pub(crate) epoch: AtomicU64,
    closed: AtomicBool,
    parameters: ArcSwap<Vec<(Box<str>, Box<str>)>>,
    pub(crate) checkouts: Vec<pgherd_metrics::counter::Counter>,
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
        };
        Arc::new(Pool {
            key,
            common,
            check_after: AtomicU64::new(shape.check_after.map_or(u64::MAX, millis)),
            shape: ArcSwap::from_pointee(shape),
            budgets,
            inner: Mutex::new(inner),
            valid_since: AtomicU64::new(0),
            epoch: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            parameters: ArcSwap::default(),
            checkouts: (0..homes).map(|_| Default::default()).collect(),
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
            if !server.is_disturbed() && server.identity.epoch >= self.valid_since.load(Ordering::Acquire) {
                return Some(server);
            }
            self.forget(server);
        }
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

    /// Decides whether one more connection is made now, and counts it if so.
    pub(crate) fn may_connect(&self, inner: &mut Inner<B>, now: Instant, reserve: bool) -> Option<Permit> {
        let shape = self.shape.load();
        let max = shape.max_size + if reserve { shape.reserve_size } else { 0 };
        let backoff = inner.connect_after.is_some_and(|after| now < after);
        let wanted = inner.shelf.waiting() > inner.connecting || inner.total < shape.min_size;
        if inner.closed
            || backoff
            || !wanted
            || inner.total >= max
            || inner.connecting >= shape.connect_ramp.max(1)
        {
            return None;
        }
        let permit = Permit::take(&self.budgets)?;
        inner.total += 1;
        inner.connecting += 1;
        Some(permit)
    }

    pub(crate) fn spawn_connect(self: &Arc<Self>, home: usize, permit: Permit) {
        let pool = self.clone();
        let at = home % self.common.homes.len().max(1);
        let task = async move { pool.connect_one(at, permit).await };
        match self.common.homes.get(at) {
            Some(runtime) => drop(runtime.spawn(task)),
            None => drop(tokio::spawn(task)),
        }
    }

    async fn connect_one(self: Arc<Self>, home: usize, permit: Permit) {
        let shape = self.shape.load_full();
        let epoch = self.epoch.load(Ordering::Acquire);
        let made = crate::connect::connect(&shape.target, &[]).await;
        let made = made.and_then(|made| {
            // Nothing may follow ReadyForQuery before we ask for something.
            if made.unread.is_empty() {
                Ok(made)
            } else {
                Err(ConnectError::Protocol("bytes after the login"))
            }
        });
        match made {
            Ok(made) => {
                self.connects.add(1);
                self.parameters.store(Arc::new(made.parameters));
                {
                    let mut inner = self.inner.lock();
                    inner.connecting -= 1;
                    inner.connect_after = None;
                }
                let now = self.common.clock.now();
                let number = self.common.last.fetch_add(1, Ordering::Relaxed) + 1;
                let (target, node) = (shape.target.clone(), self.key.node);
                let identity =
                    Arc::new(Identity { number, node, epoch, target, pid: made.pid, secret: made.secret });
                self.common.identities.lock().insert(number, identity.clone());
                self.release(Box::new(Server {
                    transport: made.transport,
                    baggage: Box::default(),
                    home,
                    identity,
                    expires: shape
                        .lifetime
                        .map_or(u64::MAX, |lifetime| now.saturating_add(millis(jitter(lifetime)))),
                    idle_since: now,
                    _permit: permit,
                }));
                self.go_on_connecting(home);
            }
            Err(error) => {
                drop(permit);
                self.connect_failed(&error);
            }
        }
    }

    /// One more connection when more are wanted still.
    pub(crate) fn go_on_connecting(self: &Arc<Self>, home: usize) {
        let connect = self.may_connect(&mut self.inner.lock(), Instant::now(), false);
        if let Some(permit) = connect {
            self.spawn_connect(home, permit);
        }
    }

    fn connect_failed(&self, error: &ConnectError) {
        self.connect_failures.add(1);
        tracing::debug!(node = self.key.node.0, database = %self.key.database, user = %self.key.user, %error, "could not connect");
        let refused = {
            let mut inner = self.inner.lock();
            inner.connecting -= 1;
            inner.total -= 1;
            inner.connect_after = Some(Instant::now() + CONNECT_BACKOFF);
            // As long as there are connections, whoever waits will be served by one of them. When we ourselves ran out of something, waiting is all that helps.
            let alone = inner.total == inner.connecting && error.fault() != Fault::Local;
            if alone { inner.shelf.dismiss(|_| true) } else { Vec::new() }
        };
        for waiter in refused {
            waiter.refuse(NoServer::Connect(error.clone()));
        }
        if error.fault() == Fault::Node {
            (self.common.hint)(self.key.node, Hint::Refused);
        }
    }

    /// A session is done with a server: it goes to whoever waits longest (see [`Shelf::next`]), or on the shelf. Dirty ones are reset first; stale, expired and
    /// superfluous ones are closed.
    pub fn release(self: &Arc<Self>, mut server: Box<Server<B>>) {
        server.idle_since = self.common.clock.now();
        self.put_back(server);
    }

    /// The same for a server that was taken and not used: it has been idle all the while.
    pub fn put_back(self: &Arc<Self>, server: Box<Server<B>>) {
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
            if inner.closed || now >= server.expires || superfluous {
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
        self.inner.lock().total -= 1;
        self.go_on_connecting(home);
    }

    /// A server died in a session's hands. The control plane is told.
    pub fn lost(self: &Arc<Self>, server: Box<Server<B>>) {
        (self.common.hint)(self.key.node, Hint::Lost);
        self.cut(server);
    }

    pub(crate) fn abandon(&self, home: usize, ticket: crate::shelf::Ticket) -> bool {
        self.inner.lock().shelf.abandon(home, ticket)
    }
}

/// `lifetime` give or take 10 %, so that connections made together do not end together.
fn jitter(lifetime: Duration) -> Duration {
    let random = RandomState::new().hash_one(0u8) % 2001;
    lifetime.mul_f64(0.9 + random as f64 / 10_000.0)
}
