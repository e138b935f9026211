//! What must happen although nobody asks: deadlines in line, idle connections, minimum sizes, connects that wait for their turn. One task on the control
//! thread calls [`tick`]; so a session that waits needs no timer of its own.

use crate::clock::millis;
use crate::line::{NoServer, Waiter};
use crate::pool::Pool;
use crate::pools::Pools;
use crate::server::{Baggage, Server};
use crate::shape::jitter;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How often the janitor looks; the resolution of all waits in line.
pub const INTERVAL: Duration = Duration::from_millis(50);

/// One round over all pools.
pub fn tick<B: Baggage>(pools: &Pools<B>, now: Instant) {
    pools.common.clock.tick();
    for pool in pools.all() {
        pool.serve_the_line(now);
        pool.drop_expired();
        if pool.keep_going(now) {
            pools.evict_for(&pool);
        }
    }
}

impl<B: Baggage> Pool<B> {
    fn serve_the_line(&self, now: Instant) {
        let notice_after = self.shape.load().notice_after;
        let mut noticed = Vec::new();
        let late = {
            let mut inner = self.inner.lock();
            if inner.shelf.waiting() == 0 {
                return;
            }
            inner.shelf.dismiss(|waiter: &mut Waiter<B>| {
                if notice_after.is_some_and(|after| !waiter.noticed && now >= waiter.since + after) {
                    waiter.noticed = true;
                    noticed.push(waiter.notice());
                }
                now >= waiter.deadline
            })
        };
        noticed.into_iter().for_each(|notice| notice());
        for waiter in late {
            waiter.refuse(NoServer::Timeout);
        }
    }

    /// Closes idle connections that are too old or idle for too long, and those that died on the shelf.
    fn drop_expired(self: &Arc<Self>) {
        let now = self.common.clock.now();
        let shape = self.shape.load_full();
        let mut left = self.inner.lock().total;
        self.drop_idle(|server| {
            let old = now >= server.expires;
            let unused = shape.idle_timeout.is_some_and(|after| {
                let after = jitter(after, shape.jitter_percent, server.identity.pid);
                now.saturating_sub(server.idle_since) > millis(after)
            });
            let dead = server.is_disturbed();
            if dead {
                self.suspect();
            }
            let gone = (old || unused) && left > shape.min_size || dead;
            left -= usize::from(gone);
            gone
        });
    }

    /// Connects for those who wait, and up to the minimum. True when somebody waits although only a limit shared with other pools stands in the way.
    fn keep_going(self: &Arc<Self>, now: Instant) -> bool {
        let shape = self.shape.load_full();
        let mut inner = self.inner.lock();
        let waited = inner.shelf.waiters().map(|waiter| now.saturating_duration_since(waiter.since)).max();
        let reserve = waited.is_some_and(|waited| waited >= shape.reserve_after);
        if inner.paused {
            return false;
        }
        match self.may_connect(&mut inner, now, reserve) {
            Some(permit) => {
                drop(inner);
                // Spread over the homes, so that connections made in advance are everybody's.
                let home = self.stats().connects as usize;
                self.spawn_connect(home, permit);
                false
            }
            None => {
                inner.shelf.waiting() > 0
                    && inner.total == 0
                    && inner.connecting == 0
                    && inner.connect_after.is_none_or(|after| now >= after)
            }
        }
    }

    pub(crate) fn drop_idle(self: &Arc<Self>, mut gone: impl FnMut(&mut Server<B>) -> bool) {
        let taken = self.inner.lock().shelf.sweep(|server| gone(server));
        for server in taken {
            self.forget(server);
        }
    }

    /// The node left: nobody is served any more.
    pub(crate) fn close(self: &Arc<Self>) {
        let waiters = {
            let mut inner = self.inner.lock();
            inner.closed = true;
            self.mark_closed();
            inner.shelf.dismiss(|_| true)
        };
        for waiter in waiters {
            waiter.refuse(NoServer::Closed);
        }
        self.drop_idle(|_| true);
    }
}
