//! What all sessions of the process share.

use crate::cards::Cards;
use crate::desk::Desks;
use crate::library::Library;
use crate::routed::{Routed, RoutingRow};
use crate::tally::Tallies;
use crate::terms::Steward;
use crate::vacate::Vacating;
use crate::written::Written;
use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};
use pgherd_metrics::counter::Counter;
use pgherd_metrics::latency::Latency;
use pgherd_metrics::registry::Registry;
use pgherd_pool::exchange::Parameters;
use pgherd_pool::pools::Pools;
use pgherd_pool::server::Baggage;
use pgherd_route::choose::{Policy, Reason};
use pgherd_session::pin::Pin;
use pgherd_session::prepared::Texts;
use pgherd_session::server::ServerState;
use pgherd_topology::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::num::NonZeroU64;
use std::sync::Arc;

/// What sessions leave on servers.
#[derive(Debug, Default)]
pub struct Carried(pub Option<Box<ServerState>>);

impl Baggage for Carried {
    fn digest(&self) -> u64 {
        self.0.as_ref().map_or(0, |state| state.applied.digest())
    }

    fn is_dirty(&self) -> bool {
        self.0.as_ref().is_some_and(|state| state.dirty.is_some())
    }

    fn is_spoiled(&self) -> bool {
        self.0.as_ref().is_some_and(|state| state.dirty == Some(Pin::Load))
    }

    fn was_reset(&mut self) {
        if let Some(state) = &mut self.0 {
            state.was_reset();
        }
    }
}

/// What one worker counts; no two workers write to the same cache line.
#[derive(Debug)]
pub struct WorkerCounters {
    /// Transactions by reason of their route, in the order of [`Reason::ALL`].
    pub routed: Vec<Arc<Counter>>,
    /// Time spent waiting for a server or a node.
    pub wait: Arc<Latency>,
    /// Sessions that ended.
    pub goodbyes: Arc<Counter>,
    /// Requests shown again to another server after the first was lost.
    pub reruns: Arc<Counter>,
    /// Requests run again on the primary after a replica refused them.
    pub refusals: Arc<Counter>,
    /// READ ONLY transactions that left their replica in the middle, and went on on the primary.
    pub moved: Arc<Counter>,
    /// Servers lost in a session's hands.
    pub lost: Arc<Counter>,
    /// Cancel requests delivered to a server.
    pub cancels: Arc<Counter>,
}

impl WorkerCounters {
    fn new(registry: &Registry) -> WorkerCounters {
        let reason = |reason: &Reason| {
            registry.counter(
                "pgherd_transactions_total",
                "Transactions sent to a server, by reason of their route.",
                &[("reason", reason.word())],
            )
        };
        WorkerCounters {
            routed: Reason::ALL.iter().map(reason).collect(),
            wait: registry.latency(
                "pgherd_pool_wait_seconds",
                "Time transactions waited for a server, when they had to wait.",
                &[],
            ),
            goodbyes: registry.counter("pgherd_client_goodbyes_total", "Client sessions that ended.", &[]),
            reruns: registry.counter(
                "pgherd_reruns_total",
                "Requests run again on another server after theirs was lost.",
                &[],
            ),
            refusals: registry.counter(
                "pgherd_replica_refusals_total",
                "Reads run again on the primary after a replica refused them.",
                &[],
            ),
            moved: registry.counter(
                "pgherd_read_only_moves_total",
                "READ ONLY transactions that were begun on a replica and went on on the primary.",
                &[],
            ),
            lost: registry.counter(
                "pgherd_servers_lost_total",
                "Server connections that died while a session used them.",
                &[],
            ),
            cancels: registry.counter("pgherd_cancels_total", "Cancel requests delivered to a server.", &[]),
        }
    }
}

/// One worker's own things.
#[derive(Debug)]
pub struct Worker {
    /// Its number, the home of its sockets.
    pub home: usize,
    /// Lanes nobody needs just now.
    pub desks: Desks,
    /// Its counters.
    pub counters: WorkerCounters,
}

/// Startup settings that a server has accepted, with what it reported for them; see `welcome`.
pub(crate) type Welcomes = HashMap<(Arc<str>, Arc<str>, u64), Arc<Parameters>>;

/// Databases whose last write is remembered while nobody uses them.
const MAX_WRITTEN: usize = 1024;

/// Fills bytes with what nobody can guess.
pub type Random = Box<dyn Fn(&mut [u8]) + Send + Sync>;

/// What all sessions share.
pub struct Shared {
    /// Where the topology is swapped.
    pub cell: Arc<Cell>,
    /// All pools.
    pub pools: Arc<Pools<Carried>>,
    /// All sessions.
    pub cards: Arc<Cards>,
    /// All prepared texts.
    pub texts: Arc<Texts>,
    /// Draws up terms.
    pub steward: RwLock<Arc<dyn Steward>>,
    /// What a choice of node depends on.
    pub policy: ArcSwap<Policy>,
    /// Makes secrets.
    pub random: Random,
    pub(crate) welcomes: Mutex<Welcomes>,
    /// What sessions did, by database.
    pub tallies: Tallies,
    /// Databases whose new clients are refused, by the names clients use.
    pub disabled: RwLock<HashSet<Box<str>>>,
    /// What is known of the databases' catalogs.
    pub library: Library,
    written: Mutex<HashMap<Arc<str>, Arc<Written>>>,
    pub(crate) routed: Routed,
    pub(crate) vacating: Mutex<Vec<Vacating>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("sessions", &self.cards.count()).finish_non_exhaustive()
    }
}

impl Shared {
    /// Puts together what sessions share. `random` fills bytes for secrets.
    pub fn new(
        cell: Arc<Cell>,
        pools: Arc<Pools<Carried>>,
        steward: Arc<dyn Steward>,
        random: Random,
    ) -> Arc<Shared> {
        let routed = Routed::new(pools.common().homes.len());
        Arc::new(Shared {
            disabled: RwLock::default(),
            tallies: Tallies::new(pools.common().homes.len()),
            cell,
            pools,
            cards: Arc::default(),
            texts: Arc::default(),
            policy: ArcSwap::from_pointee(steward.policy()),
            steward: RwLock::new(steward),
            random,
            welcomes: Mutex::default(),
            library: Library::default(),
            written: Mutex::default(),
            routed,
            vacating: Mutex::default(),
        })
    }

    /// One worker's own things.
    pub fn worker(home: usize, registry: &Registry) -> Arc<Worker> {
        Arc::new(Worker { home, desks: Desks::default(), counters: WorkerCounters::new(registry) })
    }

    /// Units routed since the start, by what they were and where they went, or would have gone; for people and for metrics.
    pub fn routing_rows(&self) -> Vec<RoutingRow> {
        self.routed.rows()
    }

    /// The last write to a database by anybody.
    pub(crate) fn written(&self, database: &Arc<str>) -> Arc<Written> {
        let mut written = self.written.lock();
        if let Some(known) = written.get(database) {
            return known.clone();
        }
        if written.len() >= MAX_WRITTEN {
            // Those that nobody uses just now; a database that comes back counts as written to.
            written.retain(|_, written| Arc::strong_count(written) > 1);
        }
        written.entry(database.clone()).or_default().clone()
    }

    /// New settings.
    pub fn reload(&self, steward: Arc<dyn Steward>) {
        let (policy, old) = (Arc::new(steward.policy()), self.policy.load_full());
        let vouched = policy.vouched != old.vouched;
        self.policy.store(policy);
        if vouched {
            self.library.tear_all();
        }
        *self.steward.write() = steward;
        self.welcomes.lock().clear();
    }

    /// The topology changed: what servers report may have, too.
    pub(crate) fn forget_welcomes(&self) {
        self.welcomes.lock().clear();
    }

    /// Milliseconds of the pools' coarse clock.
    #[inline]
    pub fn now(&self) -> u64 {
        self.pools.common().clock.now()
    }

    /// The same for who remembers it; at least 1.
    pub(crate) fn moment(&self) -> NonZeroU64 {
        NonZeroU64::new(self.now()).unwrap_or(NonZeroU64::MIN)
    }
}
