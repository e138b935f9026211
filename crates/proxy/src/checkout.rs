//! From a demand to a server: route, then take or wait.

use crate::age;
use crate::answer::{self, PoolFacts, Unserved};
use crate::card::{Bell, Doing};
use crate::desk::Port;
use crate::session::{End, Session};
use crate::shared::Carried;
use pgherd_pool::pool::{Key, Pool};
use pgherd_pool::server::Server;
use pgherd_route::choose::{Decision, Reason, Want, choose};
use pgherd_route::floor::Proof;
use pgherd_route::intent::Routing;
use pgherd_topology::gauge::Moment;
use pgherd_topology::node::NodeId;
use pgherd_wire::write::Report;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A server in a session's hands. When it is dropped there, because the session's task panicked or was ended, the server is closed, so that its pool does not
/// count it for ever.
pub(crate) struct Held {
    server: Option<Box<Server<Carried>>>,
    pub(crate) pool: Arc<Pool<Carried>>,
    pub(crate) node: NodeId,
    /// The node was a replica when the server was taken, so nothing can have been written through it.
    pub(crate) replica: bool,
    /// The node's moment when the server was taken.
    pub(crate) taken: Moment,
    /// Counted among those of the pool that sessions keep.
    kept: bool,
}

impl Held {
    pub(crate) fn server(&mut self) -> &mut Server<Carried> {
        self.server.as_mut().expect("only `give` takes it, and ends the holding")
    }

    /// The session keeps it beyond its transaction.
    pub(crate) fn keep(&mut self) {
        if !std::mem::replace(&mut self.kept, true) {
            self.pool.kept.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Ends the holding: the server, and the pool it goes back to.
    pub(crate) fn give(mut self) -> (Box<Server<Carried>>, Arc<Pool<Carried>>) {
        let server = self.server.take().expect("only `give` takes it, and ends the holding");
        (server, self.pool.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.kept {
            self.pool.kept.fetch_sub(1, Ordering::Relaxed);
        }
        if let Some(server) = self.server.take() {
            self.pool.cut(server);
        }
    }
}

/// A node to ask for a server.
pub(crate) struct Way {
    pub(crate) node: NodeId,
    pub(crate) reason: Reason,
    read_only: bool,
    pub(crate) replica: bool,
    /// Why it is fresh enough.
    proof: Proof,
}

impl Session {
    /// A server for the request at the front, attached to the machine. `Ok(None)`: there was none in time, and the client has been told.
    pub(crate) async fn checkout(&mut self) -> Result<Option<Held>, End> {
        // The common case: a node, and an idle server of its pool. No clock, no allocation, no wait.
        match self.acquire().await? {
            Ok(held) => Ok(Some(held)),
            Err(why) => self.refuse(why),
        }
    }

    /// The same for whoever wants to know why there is none.
    pub(crate) async fn acquire(&mut self) -> Result<Result<Held, Unserved>, End> {
        if let Some(held) = self.take_idle() {
            return Ok(Ok(held));
        }
        Box::pin(self.acquire_slowly()).await
    }

    /// An idle server of the node the transaction goes to, if there is one that needs no check.
    pub(crate) fn take_idle(&mut self) -> Option<Held> {
        let mut way = self.way().ok()?;
        loop {
            if way.reason == Reason::NotFresh && !self.terms.fresh_wait.is_zero() {
                return None;
            }
            let pool = self.pool(way.node)?;
            let server = pool.try_checkout(self.worker.home, self.machine.settings().digest())?;
            if pool.wants_check(&server) {
                // It goes back unused: the slow way takes it again and asks it.
                pool.put_back(server);
                return None;
            }
            if self.is_proven(&way, &server) {
                return Some(self.hold(server, pool, &way));
            }
            pool.put_back(server);
            way = self.way().ok()?;
        }
    }

    /// The server's own connection bears out that its node is fresh enough. If not, replicas are out of the question for this time.
    pub(crate) fn is_proven(&mut self, way: &Way, server: &Server<Carried>) -> bool {
        let gauges = &self.shared.pools.common().gauges;
        let proven = !way.replica || way.proof.holds(way.node, server.identity.opened, gauges);
        self.wish.stale |= !proven;
        proven
    }

    pub(crate) fn way(&mut self) -> Result<Way, Decision> {
        let snapshot = self.shared.cell.load();
        if self.terms.routing == Routing::Primary
            && let Some(node) = snapshot.primary
        {
            // What `choose` would say, for the most frequent case.
            let proof = Proof::default();
            return Ok(Way { node, reason: Reason::Primary, read_only: false, replica: false, proof });
        }
        let intent = self.intent();
        let (need, age) = self.need(&snapshot);
        // xorshift: spreads reads, guards nothing.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let gauges = &self.shared.pools.common().gauges;
        let stale = self.wish.stale;
        let policy = self.shared.policy.load();
        let asked = [self.wish.max_staleness, age].into_iter().flatten().min();
        let limit = age::limit(asked, &snapshot, &policy);
        let fresh = |node| {
            !stale
                && age::check(node, limit, &snapshot, &self.shared).is_ok()
                && need.admits(node, gauges).is_some()
        };
        let decision = choose(&snapshot, &intent, &policy, self.random, fresh);
        if matches!(decision, Decision::Node { reason: Reason::NotFresh, .. } | Decision::Wait(Want::Fresh)) {
            self.floors.want(gauges);
        }
        let (decision, would) = self.shade(decision, &snapshot, &policy);
        self.wish.would = would;
        match decision {
            Decision::Node { node, reason, read_only } => {
                let replica = snapshot.primary != Some(node);
                let proof = if replica { need.admits(node, gauges) } else { Some(Proof::default()) };
                let Some(proof) = proof else {
                    // What was known of it a moment ago is void.
                    self.wish.stale = true;
                    return self.way();
                };
                let reason = if self.wish.refused { Reason::Rerun } else { reason };
                Ok(Way { node, reason, read_only, replica, proof })
            }
            other => Err(other),
        }
    }

    /// The pool of this session's user and database on a node.
    pub(crate) fn pool(&mut self, node: NodeId) -> Option<Arc<Pool<Carried>>> {
        if let Some((_, pool)) = self.pools.iter().find(|(known, pool)| *known == node && !pool.is_closed()) {
            return Some(pool.clone());
        }
        let key = Key { node, database: self.terms.database.clone(), user: self.terms.user.clone() };
        let pool = self.shared.pools.get(&key)?;
        self.pools.retain(|(known, _)| *known != node);
        self.pools.push((node, pool.clone()));
        Some(pool)
    }

    pub(crate) fn hold(
        &mut self,
        mut server: Box<Server<Carried>>,
        pool: Arc<Pool<Carried>>,
        way: &Way,
    ) -> Held {
        let at = Reason::ALL.iter().position(|reason| *reason == way.reason).unwrap_or(0);
        self.worker.counters.routed[at].bump_local(1);
        pool.count_checkout(self.worker.home);
        self.count_assignment();
        self.note_why(way);
        self.count_unit(way.node, way.replica);
        let card = &self.entry.card;
        card.hold(server.identity.number);
        server.identity.used.store(self.shared.now(), Ordering::Relaxed);
        if pool.is_stale(&server) {
            // Fenced between the pool's look and ours.
            card.ring(Bell::Cut);
        }
        card.does(Doing::Active, self.shared.now());
        self.machine.attach(server.baggage.0.take().unwrap_or_default(), way.read_only);
        let chosen = way.replica && self.terms.routing == Routing::Any;
        if chosen {
            // What comes next may have to go elsewhere.
            self.machine.take_turns();
            self.follow_block();
        }
        self.chance = chosen && self.terms.rerun;
        if let Some(desk) = self.desk.as_mut() {
            desk.up.keep();
        }
        let taken = self.shared.pools.common().gauges.of(way.node).now();
        Held { server: Some(server), pool, node: way.node, replica: way.replica, taken, kept: false }
    }

    pub(crate) fn facts(&self, pool: &Pool<Carried>) -> PoolFacts {
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
            kept: pool.kept.load(Ordering::Relaxed),
        }
    }

    /// No server: the request is answered with an error, the connection lives on.
    fn refuse(&mut self, why: Unserved) -> Result<Option<Held>, End> {
        self.refuse_with(answer::unserved(&why)).map(|()| None)
    }

    pub(crate) fn refuse_with(&mut self, report: Report) -> Result<(), End> {
        self.forget_request();
        self.machine.refuse_request(report);
        let Some(desk) = self.desk.as_mut() else { return Ok(()) };
        // Once it is answered it must not be shown again together with a later request.
        desk.up.forget_kept();
        let (bytes, plan) = desk.up.parts();
        let halt = self.machine.client(bytes, &mut Port(plan), &mut Port(desk.down.plan()));
        match halt {
            // What follows in the same bytes is looked at again by `listen`.
            Ok(_) => {
                self.want_up = pgherd_wire::frame::HEADER_LEN;
                Ok(())
            }
            Err(broken) => Err(End::Told(answer::broken(&broken))),
        }
    }
}
