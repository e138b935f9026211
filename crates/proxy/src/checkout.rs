//! From a demand to a server: route, then take or wait.

use crate::answer::{self, PoolFacts, Unserved};
use crate::card::{Bell, Doing};
use crate::desk::Port;
use crate::session::{End, Session};
use crate::shared::Carried;
use pgherd_pool::connect::error::Fault;
use pgherd_pool::line::{NoServer, Turn};
use pgherd_pool::pool::{Key, Pool};
use pgherd_pool::server::Server;
use pgherd_route::choose::{Decision, Reason, Want, choose};
use pgherd_route::intent::{Class, Intent, Routing};
use pgherd_session::step::Demand;
use pgherd_topology::node::NodeId;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::time::Instant;

/// A server in a session's hands. When it is dropped there, because the session's task panicked or was ended, the server is closed, so that its pool does not
/// count it for ever.
pub(crate) struct Held {
    server: Option<Box<Server<Carried>>>,
    pub(crate) pool: Arc<Pool<Carried>>,
    pub(crate) node: NodeId,
    /// The node was a replica when the server was taken, so nothing can have been written through it.
    pub(crate) replica: bool,
}

impl Held {
    pub(crate) fn server(&mut self) -> &mut Server<Carried> {
        self.server.as_mut().expect("only `give` takes it, and ends the holding")
    }

    /// Ends the holding: the server, and the pool it goes back to.
    pub(crate) fn give(mut self) -> (Box<Server<Carried>>, Arc<Pool<Carried>>) {
        let server = self.server.take().expect("only `give` takes it, and ends the holding");
        (server, self.pool.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            self.pool.cut(server);
        }
    }
}

/// A node to ask for a server.
struct Way {
    node: NodeId,
    reason: Reason,
    read_only: bool,
    replica: bool,
}

enum Waited {
    Server(Box<Server<Carried>>),
    /// The pool cannot serve; another node may, or this one later.
    Elsewhere(NoServer),
    Over(End),
}

impl Session {
    /// A server for the request at the front, attached to the machine. `Ok(None)`: there was none in time, and the client has been told.
    pub(crate) async fn checkout(&mut self, demand: Demand) -> Result<Option<Held>, End> {
        // The common case: a node, and an idle server of its pool. No clock, no allocation, no wait.
        match self.acquire(demand).await? {
            Ok(held) => Ok(Some(held)),
            Err(why) => self.refuse(why),
        }
    }

    /// The same for whoever wants to know why there is none.
    pub(crate) async fn acquire(&mut self, demand: Demand) -> Result<Result<Held, Unserved>, End> {
        if let Some(held) = self.take_idle(demand) {
            return Ok(Ok(held));
        }
        Box::pin(self.acquire_slowly(demand)).await
    }

    /// An idle server of the node the transaction goes to, if there is one that needs no check.
    pub(crate) fn take_idle(&mut self, demand: Demand) -> Option<Held> {
        let way = self.way(demand).ok()?;
        let pool = self.pool(way.node)?;
        let server = pool.try_checkout(self.worker.home, self.machine.settings().digest())?;
        if pool.wants_check(&server) {
            // It goes back unused: the slow way takes it again and asks it.
            pool.put_back(server);
            return None;
        }
        Some(self.hold(server, pool, &way))
    }

    fn way(&mut self, demand: Demand) -> Result<Way, Decision> {
        if self.terms.routing == Routing::Primary
            && let Some(node) = self.shared.cell.load().primary
        {
            // What `choose` would say, for the most frequent case.
            return Ok(Way { node, reason: Reason::Primary, read_only: false, replica: false });
        }
        let intent = Intent {
            routing: self.terms.routing,
            preference: self.terms.preference,
            class: Class::Unknown,
            read_only: demand.read_only,
            serializable: false,
            avoid: self.avoid,
        };
        // xorshift: spreads reads, guards nothing.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let snapshot = self.shared.cell.load();
        match choose(&snapshot, &intent, &self.shared.policy.load(), self.random) {
            Decision::Node { node, reason, read_only } => {
                Ok(Way { node, reason, read_only, replica: snapshot.primary != Some(node) })
            }
            other => Err(other),
        }
    }

    /// The pool of this session's user and database on a node.
    fn pool(&mut self, node: NodeId) -> Option<Arc<Pool<Carried>>> {
        if let Some((_, pool)) = self.pools.iter().find(|(known, pool)| *known == node && !pool.is_closed()) {
            return Some(pool.clone());
        }
        let key = Key { node, database: self.terms.database.clone(), user: self.terms.user.clone() };
        let pool = self.shared.pools.get(&key)?;
        self.pools.retain(|(known, _)| *known != node);
        self.pools.push((node, pool.clone()));
        Some(pool)
    }

    fn hold(&mut self, mut server: Box<Server<Carried>>, pool: Arc<Pool<Carried>>, way: &Way) -> Held {
        let at = Reason::ALL.iter().position(|reason| *reason == way.reason).unwrap_or(0);
        self.worker.counters.routed[at].bump_local(1);
        pool.count_checkout(self.worker.home);
        let card = &self.entry.card;
        card.hold(server.identity.number);
        if pool.is_stale(&server) {
            // Fenced between the pool's look and ours.
            card.ring(Bell::Cut);
        }
        card.does(Doing::Active, self.shared.now());
        self.machine.attach(server.baggage.0.take().unwrap_or_default(), way.read_only);
        if let Some(desk) = self.desk.as_mut() {
            desk.up.keep();
        }
        Held { server: Some(server), pool, node: way.node, replica: way.replica }
    }

    /// Waits: for a node, then in its pool's line; until one of both deadlines.
    async fn acquire_slowly(&mut self, demand: Demand) -> Result<Result<Held, Unserved>, End> {
        let begun = Instant::now();
        self.entry.card.does(Doing::Waiting, self.shared.now());
        let mut failure = None;
        loop {
            // Subscribed before the look, so that no change is missed in between.
            let mut changes = self.shared.cell.subscribe();
            let way = match self.way(demand) {
                Ok(way) => way,
                Err(Decision::Refuse(_)) => return Ok(Err(Unserved::ReadOnlyListener)),
                Err(Decision::Wait(want)) => {
                    if let Some(why) = self.park(&mut changes, begun, want, &mut failure).await? {
                        return Ok(Err(why));
                    }
                    continue;
                }
                Err(Decision::Node { .. }) => continue,
            };
            let Some(pool) = self.pool(way.node) else { continue };
            match self.wait_in(&pool, begun).await {
                Waited::Server(server) => {
                    self.worker.counters.wait.record(begun.elapsed());
                    return Ok(Ok(self.hold(server, pool, &way)));
                }
                Waited::Over(end) => return Err(end),
                Waited::Elsewhere(why) => {
                    if let Some(why) = self.next_try(&way, &pool, why, begun, &mut failure).await? {
                        return Ok(Err(why));
                    }
                }
            }
        }
    }

    /// Nowhere to go just now. `Some` when it was for too long.
    async fn park(
        &mut self,
        changes: &mut tokio::sync::watch::Receiver<u64>,
        begun: Instant,
        want: Want,
        failure: &mut Option<Unserved>,
    ) -> Result<Option<Unserved>, End> {
        let hold = self.terms.timeouts.hold;
        let Some(left) = hold.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) else {
            let phase = self.shared.cell.load().phase;
            return Ok(Some(failure.take().unwrap_or(Unserved::NoNode(want, begun.elapsed(), phase))));
        };
        self.wait_for(async {
            let _ = tokio::time::timeout(left, changes.changed()).await;
        })
        .await?;
        Ok(None)
    }

    /// A node's pool has no server for us. Another node may have; the same one again after a pause. `Some` when there is no use in it.
    async fn next_try(
        &mut self,
        way: &Way,
        pool: &Arc<Pool<Carried>>,
        why: NoServer,
        begun: Instant,
        failure: &mut Option<Unserved>,
    ) -> Result<Option<Unserved>, End> {
        let unserved = Unserved::NoServer(why.clone(), begun.elapsed(), self.facts(pool));
        let hopeless = match &why {
            NoServer::Timeout => true,
            NoServer::Closed => false,
            NoServer::Connect(error) => error.fault() == Fault::Settings,
        };
        if hopeless || begun.elapsed() >= self.terms.timeouts.hold {
            return Ok(Some(unserved));
        }
        *failure = Some(unserved);
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
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(End::Gone(error.kind())),
            }
        }
        Poll::Pending
    }

    fn facts(&self, pool: &Pool<Carried>) -> PoolFacts {
        let stats = pool.stats();
        PoolFacts {
            database: self.terms.database.to_string(),
            user: self.terms.user.to_string(),
            node: self
                .shared
                .cell
                .load()
                .node(pool.key.node)
                .map_or_else(String::new, |node| node.name.to_string()),
            size: pool.shape().max_size,
            waiting: stats.waiting,
        }
    }

    /// No server: the request is answered with an error, the connection lives on.
    fn refuse(&mut self, why: Unserved) -> Result<Option<Held>, End> {
        (self.avoid, self.reruns) = (None, 0);
        self.machine.refuse_request(answer::unserved(&why));
        let Some(desk) = self.desk.as_mut() else { return Ok(None) };
        // Once it is answered it must not be shown again together with a later request.
        desk.up.forget_kept();
        let (bytes, plan) = desk.up.parts();
        let halt = self.machine.client(bytes, &mut Port(plan), &mut Port(desk.down.plan()));
        match halt {
            // What follows in the same bytes is looked at again by `listen`.
            Ok(_) => {
                self.want_up = pgherd_wire::frame::HEADER_LEN;
                Ok(None)
            }
            Err(broken) => Err(End::Told(answer::broken(&broken))),
        }
    }
}

/// Bytes read from a client that waits for a server.
const MAX_READ_AHEAD: usize = 16 * 1024;
