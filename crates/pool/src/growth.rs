//! How a pool grows: when one more connection may be made, and what becomes of the attempt.

use crate::budget::Permit;
use crate::clock::millis;
use crate::connect::error::{ConnectError, Fault};
use crate::line::NoServer;
use crate::pool::{CONNECT_BACKOFF, Hint, Inner, Pool};
use crate::server::{Baggage, Identity, Server};
use crate::shape::{Shape, jitter};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tokio::time::Instant;

/// SQLSTATE of a refused password (PostgreSQL documentation, "PostgreSQL Error Codes").
const INVALID_PASSWORD: &str = "28P01";

impl<B: Baggage> Pool<B> {
    /// Decides whether one more connection is made now, and counts it if so.
    pub(crate) fn may_connect(&self, inner: &mut Inner<B>, now: Instant, reserve: bool) -> Option<Permit> {
        let shape = self.shape.load();
        let max = shape.max_size + if reserve { shape.reserve_size } else { 0 };
        let backoff = inner.connect_after.is_some_and(|after| now < after);
        let wanted = inner.shelf.waiting() > inner.connecting || inner.total < shape.min_size;
        if inner.closed
            || inner.paused
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

    /// The home with the fewest connections of this pool, so that all homes' waiters are served alike; of equals, `home`.
    fn poorest_home(&self, home: usize) -> usize {
        let homes = self.at_home.len();
        let count = |at: &usize| self.at_home[*at].load(Ordering::Relaxed);
        (0..homes).map(|step| (home + step) % homes).min_by_key(count).unwrap_or(0)
    }

    pub(crate) fn spawn_connect(self: &Arc<Self>, home: usize, permit: Permit) {
        let pool = self.clone();
        let at = self.poorest_home(home);
        self.at_home[at].fetch_add(1, Ordering::Relaxed);
        let task = async move { pool.connect_one(at, permit).await };
        match self.common.homes.get(at) {
            Some(runtime) => drop(runtime.spawn(task)),
            None => drop(tokio::spawn(task)),
        }
    }

    /// The epoch a connection belongs to that is begun now. A client that was woken by a new snapshot may be here before the pools have followed it: its connection
    /// must not be thrown away as one of before. But what is known of the node from before must still hold.
    fn present_epoch(&self, shape: &Shape) -> u64 {
        let snapshot = self.common.cell.load();
        match snapshot.node(self.key.node) {
            Some(node) if node.address == shape.target.address => snapshot.epoch,
            _ => self.epoch.load(Ordering::Acquire),
        }
    }

    async fn connect_one(self: Arc<Self>, home: usize, permit: Permit) {
        let shape = self.shape.load_full();
        let epoch = self.present_epoch(&shape);
        let generation = self.generation.load(Ordering::Acquire);
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
                let identity = Arc::new(Identity {
                    number,
                    node,
                    epoch,
                    opened: self.common.gauges.of(node).opened(),
                    target,
                    user: self.key.user.clone(),
                    local: made.transport.local_addr(),
                    encryption: made.transport.encryption(),
                    generation,
                    since: now,
                    used: AtomicU64::new(now),
                    statements: AtomicUsize::new(0),
                    pid: made.pid,
                    secret: made.secret,
                });
                self.common.identities.lock().insert(number, identity.clone());
                self.release(Box::new(Server {
                    transport: made.transport,
                    baggage: Box::default(),
                    home,
                    identity,
                    expires: shape.lifetime.map_or(u64::MAX, |lifetime| {
                        now.saturating_add(millis(jitter(lifetime, shape.jitter_percent, made.pid)))
                    }),
                    idle_since: now,
                    _permit: permit,
                }));
                self.go_on_connecting(home);
            }
            Err(error) => {
                drop(permit);
                self.at_home[home].fetch_sub(1, Ordering::Relaxed);
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
            if alone && !inner.paused { inner.shelf.dismiss(|_| true) } else { Vec::new() }
        };
        for waiter in refused {
            waiter.refuse(NoServer::Connect(error.clone()));
        }
        if error.sqlstate() == INVALID_PASSWORD {
            self.common.denied(&self.key.user);
        }
        if error.fault() == Fault::Node {
            (self.common.hint)(self.key.node, Hint::Refused);
        }
    }
}
