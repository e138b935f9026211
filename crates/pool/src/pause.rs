//! What an operator asks of pools: to let go of all connections for a while, or of those there are now.

use crate::line::NoServer;
use crate::pool::Pool;
use crate::pools::Pools;
use crate::server::{Baggage, Identity};
use parking_lot::Mutex;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::watch;

/// Databases that are paused, by their names on the servers.
#[derive(Debug)]
pub(crate) struct Pauses {
    paused: Mutex<Paused>,
    /// One change at a time reaches the pools.
    applying: Mutex<()>,
    /// Rises with every change.
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Paused {
    all: bool,
    databases: HashSet<Arc<str>>,
}

impl Default for Pauses {
    fn default() -> Pauses {
        Pauses { paused: Mutex::default(), applying: Mutex::default(), changed: watch::channel(0).0 }
    }
}

impl Pauses {
    pub(crate) fn holds(&self, database: &str) -> bool {
        let paused = self.paused.lock();
        paused.all || paused.databases.contains(database)
    }
}

impl<B: Baggage> Pools<B> {
    /// Pauses a database, or all (`None`): idle connections are closed, those in use when they come back, no new ones are made, and whoever asks for one is told
    /// to wait for a change. False when it was paused already.
    pub fn pause(&self, database: Option<&str>) -> bool {
        let fresh = {
            let mut paused = self.pauses.paused.lock();
            match database {
                None => !std::mem::replace(&mut paused.all, true),
                Some(database) => paused.databases.insert(database.into()),
            }
        };
        self.apply();
        fresh
    }

    /// The end of that. False when it was not paused.
    pub fn resume(&self, database: Option<&str>) -> bool {
        let was = {
            let mut paused = self.pauses.paused.lock();
            match database {
                None => std::mem::replace(&mut paused.all, false),
                Some(database) => paused.databases.remove(database),
            }
        };
        self.apply();
        was
    }

    fn apply(&self) {
        let _alone = self.pauses.applying.lock();
        for pool in self.all() {
            pool.set_paused(self.pauses.holds(&pool.key.database));
        }
        self.pauses.changed.send_modify(|count| *count += 1);
    }

    /// This database is paused, or all are.
    pub fn is_paused(&self, database: &str) -> bool {
        self.pauses.holds(database)
    }

    /// All databases are paused.
    pub fn is_all_paused(&self) -> bool {
        self.pauses.paused.lock().all
    }

    /// Tells of every pause and its end.
    pub fn watch_pauses(&self) -> watch::Receiver<u64> {
        self.pauses.changed.subscribe()
    }

    /// Connections that exist now, to a database or to all, are closed as they become free.
    pub fn reconnect(&self, database: Option<&str>) {
        for pool in self.of(database) {
            let newest = pool.generation.fetch_add(1, Ordering::AcqRel) + 1;
            pool.drop_idle(|server| server.identity.generation < newest);
        }
    }

    /// Connections that [`Pools::reconnect`] meant and that are still there.
    pub fn outdated(&self, database: Option<&str>) -> usize {
        let pools = self.of(database);
        let identities = self.common().identities.lock();
        let is_old = |identity: &&Arc<Identity>| pools.iter().any(|pool| pool.outdates(identity));
        identities.values().filter(is_old).count()
    }

    /// Connections to a database or to all, those being made included.
    pub fn connections(&self, database: Option<&str>) -> usize {
        self.of(database).iter().map(|pool| pool.inner.lock().total).sum()
    }

    fn of(&self, database: Option<&str>) -> Vec<Arc<Pool<B>>> {
        let mut pools = self.all();
        pools.retain(|pool| database.is_none_or(|database| *pool.key.database == *database));
        pools
    }
}

impl<B: Baggage> Pool<B> {
    /// This connection is one of ours, and is closed when it becomes free.
    pub fn outdates(&self, identity: &Identity) -> bool {
        identity.node == self.key.node
            && identity.user == self.key.user
            && *identity.target.database == *self.key.database
            && identity.generation < self.generation.load(Ordering::Acquire)
    }

    fn set_paused(self: &Arc<Self>, paused: bool) {
        let waiters = {
            let mut inner = self.inner.lock();
            inner.paused = paused;
            // They ask again when the pause is over: another node may be the right one then.
            if paused { inner.shelf.dismiss(|_| true) } else { Vec::new() }
        };
        for waiter in waiters {
            waiter.refuse(NoServer::Paused);
        }
        if paused {
            self.drop_idle(|_| true);
        }
    }
}
