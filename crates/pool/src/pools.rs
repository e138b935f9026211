//! All pools.

use crate::budget::Budget;
use crate::pause::Pauses;
use crate::pool::{Common, Key, Pool};
use crate::server::Baggage;
use crate::shape::Shape;
use parking_lot::{Mutex, RwLock};
use pgherd_topology::node::{Node, NodeId};
use pgherd_topology::snapshot::Snapshot;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Draws the shape of a pool; the binary implements it from its settings.
pub trait Blueprint: Send + Sync + 'static {
    /// The shape of the pool of this user and database on this node.
    fn shape(&self, node: &Node, database: &Arc<str>, user: &Arc<str>) -> Shape;
    /// Most connections to this node, over all pools.
    fn max_to_node(&self, node: &Node) -> usize;
}

/// All pools of the process.
pub struct Pools<B> {
    blueprint: RwLock<Arc<dyn Blueprint>>,
    pub(crate) common: Arc<Common>,
    pools: RwLock<HashMap<Key, Arc<Pool<B>>>>,
    nodes: Mutex<HashMap<NodeId, Arc<Budget>>>,
    all: Arc<Budget>,
    pub(crate) pauses: Pauses,
}

impl<B> std::fmt::Debug for Pools<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pools").field("count", &self.pools.read().len()).finish_non_exhaustive()
    }
}

impl<B: Baggage> Pools<B> {
    /// No pools yet. `max` is the limit over all nodes.
    pub fn new(blueprint: Arc<dyn Blueprint>, common: Common, max: usize) -> Arc<Pools<B>> {
        Arc::new(Pools {
            blueprint: RwLock::new(blueprint),
            common: Arc::new(common),
            pools: RwLock::default(),
            nodes: Mutex::default(),
            all: Budget::new(max),
            pauses: Pauses::default(),
        })
    }

    /// The pool of this key, made when there is none yet. `None` when the node is not in the present snapshot.
    pub fn get(&self, key: &Key) -> Option<Arc<Pool<B>>> {
        if let Some(pool) = self.pools.read().get(key) {
            return Some(pool.clone());
        }
        let snapshot = self.common.cell.load_full();
        let node = snapshot.node(key.node)?;
        let blueprint = self.blueprint.read().clone();
        let budget = self
            .nodes
            .lock()
            .entry(key.node)
            .or_insert_with(|| Budget::new(blueprint.max_to_node(node)))
            .clone();
        let shape = blueprint.shape(node, &key.database, &key.user);
        let mut pools = self.pools.write();
        let pool = pools.entry(key.clone()).or_insert_with(|| {
            let pool = Pool::new(key.clone(), shape, vec![budget, self.all.clone()], self.common.clone());
            pool.valid_since.store(node.valid_since, Ordering::Release);
            pool.epoch.store(snapshot.epoch, Ordering::Release);
            // Asked under the lock: whoever pauses either is seen here, or sees this pool.
            pool.inner.lock().paused = self.pauses.holds(&key.database);
            pool
        });
        Some(pool.clone())
    }

    /// What the pools share.
    pub fn common(&self) -> &Arc<Common> {
        &self.common
    }

    /// Every pool there is.
    pub fn all(&self) -> Vec<Arc<Pool<B>>> {
        self.pools.read().values().cloned().collect()
    }

    /// New settings: limits and shapes change; connections above a limit end as they are released.
    pub fn redraw(&self, blueprint: Arc<dyn Blueprint>, max: usize) {
        *self.blueprint.write() = blueprint.clone();
        self.all.set_max(max);
        let snapshot = self.common.cell.load_full();
        for (id, budget) in &*self.nodes.lock() {
            if let Some(node) = snapshot.node(*id) {
                budget.set_max(blueprint.max_to_node(node));
            }
        }
        self.reshape(&snapshot);
    }

    /// What this user's connections are opened with has changed: those to come are opened with the new; those there are stay.
    pub fn renew(&self, user: &str) {
        self.redraw_of(&self.common.cell.load_full(), |pool| *pool.key.user == *user);
    }

    fn reshape(&self, snapshot: &Snapshot) {
        self.redraw_of(snapshot, |_| true);
    }

    fn redraw_of(&self, snapshot: &Snapshot, which: impl Fn(&Pool<B>) -> bool) {
        let blueprint = self.blueprint.read().clone();
        for pool in self.all().into_iter().filter(|pool| which(pool)) {
            if let Some(node) = snapshot.node(pool.key.node) {
                pool.set_shape(blueprint.shape(node, &pool.key.database, &pool.key.user));
            }
        }
    }

    /// The topology changed: idle connections that are not valid any more are closed at once, those in use when they come back, and pools of nodes that left are closed.
    pub fn follow(&self, snapshot: &Snapshot) {
        for pool in self.all() {
            match snapshot.node(pool.key.node) {
                Some(node) => {
                    pool.epoch.store(snapshot.epoch, Ordering::Release);
                    if pool.shape.load().target.address != node.address {
                        let shape = self.blueprint.read().shape(node, &pool.key.database, &pool.key.user);
                        pool.set_shape(shape);
                    }
                    // Sequentially consistent: see `Pool::is_stale`.
                    if pool.valid_since.swap(node.valid_since, Ordering::SeqCst) < node.valid_since {
                        pool.drop_idle(|server| server.identity.epoch < node.valid_since);
                    }
                }
                None => {
                    self.pools.write().remove(&pool.key);
                    pool.close();
                }
            }
        }
    }

    /// Closes all idle connections to this database.
    pub fn vacate(&self, database: &str) {
        for pool in self.all() {
            if *pool.key.database == *database {
                pool.drop_idle(|_| true);
            }
        }
    }

    /// Makes room for a pool that may not connect because its node's (or the overall) limit is used up by others: closes the idle connection that was not used for the longest time.
    pub(crate) fn evict_for(&self, starved: &Pool<B>) {
        let pools = self.all();
        let same_node = |pool: &&Arc<Pool<B>>| pool.key.node == starved.key.node && pool.key != starved.key;
        let richest = pools.iter().filter(same_node).max_by_key(|pool| pool.stats().idle);
        if let Some(pool) = richest {
            let mut left = 1;
            pool.drop_idle(|_| std::mem::replace(&mut left, 0) > 0);
        }
    }
}
