//! Waiting for a server: for a node, then in its pool's line.

use crate::answer::{self, Unserved};
use crate::card::{Bell, Doing};
use crate::checkout::{Held, Way};
use crate::session::{End, Session};
use crate::shared::Carried;
use pgherd_pool::connect::error::Fault;
use pgherd_pool::line::{NoServer, Turn};
use pgherd_pool::pool::Pool;
use pgherd_pool::server::Server;
use pgherd_route::choose::{Decision, Reason, Want};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::watch::Receiver;
use tokio::time::Instant;

enum Waited {
    Server(Box<Server<Carried>>),
    /// The pool cannot serve; another node may, or this one later.
    Elsewhere(NoServer),
    Over(End),
}

impl Session {
    /// Waits: for a node, then in its pool's line; until one of both deadlines.
    pub(crate) async fn acquire_slowly(&mut self) -> Result<Result<Held, Unserved>, End> {
        let arrived = Instant::now();
        let mut begun = arrived;
        self.entry.card.does(Doing::Waiting, self.shared.now());
        loop {
            if self.sit_out_a_pause().await? {
                // What an operator asked for is not held against the client.
                begun = Instant::now();
            }
            // Subscribed before the look, so that no change is missed in between.
            let mut changes = self.shared.cell.subscribe();
            let mut looks = self.shared.pools.common().gauges.subscribe();
            let way = match self.way() {
                Ok(way) => way,
                Err(Decision::Refuse(_)) => return Ok(Err(Unserved::ReadOnlyListener)),
                Err(Decision::Wait(want)) => match self.park(&mut changes, &mut looks, begun, want).await? {
                    Some(why) if !self.is_paused() => return Ok(Err(why)),
                    Some(_) | None => continue,
                },
                Err(Decision::Node { .. }) => continue,
            };
            let left = self.terms.fresh_wait.saturating_sub(begun.elapsed());
            if way.reason == Reason::NotFresh && !left.is_zero() {
                self.wait_for_news(&mut changes, Some(&mut looks), left.min(FRESH_PACE)).await?;
                continue;
            }
            let Some(pool) = self.pool(way.node) else { continue };
            match self.wait_in(&pool, begun).await {
                Waited::Server(server) if !self.is_proven(&way, &server) => pool.put_back(server),
                Waited::Server(server) => {
                    let waited = arrived.elapsed();
                    self.worker.counters.wait.record(waited);
                    self.count_wait(waited);
                    return Ok(Ok(self.hold(server, pool, &way)));
                }
                Waited::Over(end) => return Err(end),
                Waited::Elsewhere(NoServer::Paused) => self.wait_for(tokio::task::yield_now()).await?,
                Waited::Elsewhere(why) => {
                    if let Some(why) = self.next_try(&way, &pool, why, begun).await? {
                        return Ok(Err(why));
                    }
                }
            }
        }
    }

    fn is_paused(&self) -> bool {
        self.shared.pools.is_paused(&self.terms.database)
    }

    /// Waits while the database is paused, without a deadline: an operator ends it. True when it was.
    async fn sit_out_a_pause(&mut self) -> Result<bool, End> {
        let mut was = false;
        loop {
            // Subscribed before the look, so that no change is missed in between.
            let mut changes = self.shared.pools.watch_pauses();
            if !self.is_paused() {
                return Ok(was);
            }
            was = true;
            let card = self.card().clone();
            let leaves = poll_fn(|_| match card.bells() & Bell::Drain as u32 {
                0 => Poll::Pending,
                _ => Poll::Ready(()),
            });
            // Both branches are cancel safe: a change, and a look at the bells, which wake this task.
            self.wait_for(async {
                tokio::select! {
                    _ = changes.changed() => {}
                    () = leaves => {}
                }
            })
            .await?;
            if card.bells() & Bell::Drain as u32 != 0 {
                // The server it waits for will not come.
                return Err(End::Told(answer::shutdown()));
            }
        }
    }

    /// Nowhere to go just now. `Some` when it was for too long.
    async fn park(
        &mut self,
        changes: &mut Receiver<u64>,
        looks: &mut Receiver<u64>,
        begun: Instant,
        want: Want,
    ) -> Result<Option<Unserved>, End> {
        let hold = self.terms.timeouts.hold;
        let Some(left) = hold.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) else {
            let phase = self.shared.cell.load().phase;
            return Ok(Some(Unserved::NoNode(want, begun.elapsed(), phase)));
        };
        // No snapshot tells when a replica has caught up; only a look does.
        if want == Want::Fresh {
            self.wait_for_news(changes, Some(looks), left.min(FRESH_PACE)).await?;
        } else {
            self.wait_for_news(changes, None, left).await?;
        }
        Ok(None)
    }

    /// Waits until the snapshot changed or a look at some node found something, for `limit` at most; then all nodes count again.
    pub(crate) async fn wait_for_news(
        &mut self,
        changes: &mut Receiver<u64>,
        looks: Option<&mut Receiver<u64>>,
        limit: Duration,
    ) -> Result<(), End> {
        self.wish.stale = false;
        let look = async {
            match looks {
                Some(looks) => drop(looks.changed().await),
                None => std::future::pending().await,
            }
        };
        // Each branch is cancel safe: two changes, and a timer.
        self.wait_for(async {
            tokio::select! {
                _ = changes.changed() => {}
                () = look => {}
                () = tokio::time::sleep(limit) => {}
            }
        })
        .await
    }

    /// A node's pool has no server for us. Another node may have; the same one again after a pause. `Some` when there is no use in it.
    async fn next_try(
        &mut self,
        way: &Way,
        pool: &Arc<Pool<Carried>>,
        why: NoServer,
        begun: Instant,
    ) -> Result<Option<Unserved>, End> {
        let unserved = Unserved::NoServer(why.clone(), begun.elapsed(), self.facts(pool));
        let hopeless = match &why {
            NoServer::Timeout => true,
            NoServer::Closed | NoServer::Paused => false,
            NoServer::Connect(error) => error.fault() == Fault::Settings,
        };
        if hopeless || begun.elapsed() >= self.terms.timeouts.hold {
            return Ok(Some(unserved));
        }
        let tried_all = self.avoid.replace(way.node) == Some(way.node);
        if tried_all || !way.replica {
            self.wait_for(tokio::time::sleep(pgherd_pool::pool::CONNECT_BACKOFF / 4)).await?;
        }
        Ok(None)
    }

    /// Stands in a pool's line, watching the client meanwhile.
    async fn wait_in(&mut self, pool: &Arc<Pool<Carried>>, begun: Instant) -> Waited {
        let timeouts = self.terms.timeouts;
        let deadline = begun + timeouts.query_wait;
        let digest = self.machine.settings().digest();
        let mut dead = 0;
        loop {
            let server = match pool.try_checkout(self.worker.home, digest) {
                Some(server) => server,
                None => match self.stand_in(pool, deadline).await {
                    Waited::Server(server) => server,
                    other => return other,
                },
            };
            let mut server = server;
            if !pool.wants_check(&server) || pgherd_pool::exchange::check(&mut server).await {
                return Waited::Server(server);
            }
            pool.lost(server);
            dead += 1;
            if dead > pool.shape().max_size {
                return Waited::Elsewhere(NoServer::Closed);
            }
        }
    }

    async fn stand_in(&mut self, pool: &Arc<Pool<Carried>>, deadline: Instant) -> Waited {
        let slot = self.slot.clone();
        let mut line = match pool.stand_in_line(self.worker.home, &slot, deadline) {
            Ok(line) => line,
            Err(why) => return Waited::Elsewhere(why),
        };
        loop {
            let turn = poll_fn(|cx| match line.poll_turn(cx) {
                Poll::Ready(turn) => Poll::Ready(Ok(turn)),
                Poll::Pending => self.poll_patience(cx).map(Err),
            })
            .await;
            match turn {
                Ok(Turn::Served(server)) => return Waited::Server(server),
                Ok(Turn::Refused(why)) => return Waited::Elsewhere(why),
                Ok(Turn::Notice) => {
                    let notice = answer::waits(&self.facts(pool));
                    let desk = self.desk();
                    desk.down.plan().compose(|out| notice.write(out));
                }
                Err(end) => return Waited::Over(end),
            }
        }
    }

    /// Waits for `event`, unless the client leaves or the session is ended meanwhile.
    async fn wait_for(&mut self, event: impl Future<Output = ()>) -> Result<(), End> {
        let mut event = Box::pin(event);
        poll_fn(|cx| match event.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Ok(())),
            Poll::Pending => self.poll_patience(cx).map(Err),
        })
        .await
    }

    /// While a session waits: is its client still there, and is the session still wanted? Ready when not.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.listen_for_bells(cx);
        if let Some(end) = self.heed_bells(false) {
            return Poll::Ready(end);
        }
        if let Some(end) = self.poll_say(cx) {
            return Poll::Ready(end);
        }
        let worker = &self.worker;
        let desk = self.desk.get_or_insert_with(|| worker.desks.take());
        // Whatever the client sends while it waits is read up to one buffer: so its leaving is noticed.
        while desk.up.undecided() < MAX_READ_AHEAD {
            match desk.up.poll_fill(cx, &mut self.client, 0) {
                Poll::Pending => break,
                Poll::Ready(Ok(0)) => return Poll::Ready(End::Left),
                Poll::Ready(Ok(count)) => self.toll.received(count),
                Poll::Ready(Err(error)) => return Poll::Ready(End::Gone(error.kind())),
            }
        }
        Poll::Pending
    }
}

/// Bytes read from a client that waits for a server.
pub(crate) const MAX_READ_AHEAD: usize = 16 * 1024;

/// Time after which a transaction that waits for a fresh replica looks again without being told: while nothing but time helps, nobody tells.
pub(crate) const FRESH_PACE: Duration = Duration::from_millis(50);
