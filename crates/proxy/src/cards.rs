//! The register of sessions: limits on clients, and who a cancel request speaks of.

use crate::card::{Card, Who};
use crate::terms::Terms;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Which limit a client ran into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Full {
    /// `max_client_connections`.
    All(usize),
    /// The user's.
    User(usize),
    /// The database's.
    Database(usize),
    /// pgherd is shutting down.
    Closing,
}

#[derive(Debug, Default)]
struct Inner {
    slots: Vec<Option<Arc<Card>>>,
    free: Vec<u32>,
    /// Slots of sessions that show the process id of their server instead; two nodes may have the same.
    pids: HashMap<i32, Vec<u32>>,
    users: HashMap<Arc<str>, usize>,
    databases: HashMap<Arc<str>, usize>,
    closing: bool,
}

/// All sessions of the process.
#[derive(Debug, Default)]
pub struct Cards {
    inner: Mutex<Inner>,
    last: AtomicU64,
}

/// Secret bytes of a key under protocol 3.2.
pub const LONG_SECRET: usize = 32;

impl Cards {
    /// Registers a session.
    ///
    /// # Errors
    /// [`Full`] when a limit is reached.
    pub fn enter(
        self: &Arc<Self>,
        who: Who,
        terms: &Terms,
        max: usize,
        secret: Box<[u8]>,
        now: u64,
    ) -> Result<Entry, Full> {
        let (database, user) = (who.database.clone(), who.user.clone());
        let mut inner = self.inner.lock();
        let count = inner.slots.len() - inner.free.len();
        if inner.closing {
            return Err(Full::Closing);
        }
        if count >= max {
            return Err(Full::All(max));
        }
        if inner.users.get(&user).copied().unwrap_or(0) >= terms.max_clients_of_user {
            return Err(Full::User(terms.max_clients_of_user));
        }
        if inner.databases.get(&database).copied().unwrap_or(0) >= terms.max_clients_of_database {
            return Err(Full::Database(terms.max_clients_of_database));
        }
        *inner.users.entry(user).or_default() += 1;
        *inner.databases.entry(database).or_default() += 1;
        let slot = inner.free.pop().unwrap_or_else(|| {
            inner.slots.push(None);
            (inner.slots.len() - 1) as u32
        });
        let id = self.next_id();
        let card = Arc::new(Card::new(id, slot, secret, who, terms.timeouts, now));
        inner.slots[slot as usize] = Some(card.clone());
        Ok(Entry { cards: self.clone(), card, shown: None })
    }

    /// The session that this key was given to. Compares in constant time.
    pub fn find(&self, pid: i32, secret: &[u8]) -> Option<Arc<Card>> {
        let inner = self.inner.lock();
        let own = usize::try_from(pid).ok().and_then(|pid| pid.checked_sub(1));
        let others = inner.pids.get(&pid).into_iter().flatten().map(|slot| *slot as usize);
        let cards = own.into_iter().chain(others).filter_map(|slot| inner.slots.get(slot)?.as_ref());
        let is_meant = |card: &&Arc<Card>| {
            let differs = card.secret.iter().zip(secret).fold(0, |seen, (a, b)| seen | (a ^ b));
            card.secret.len() == secret.len() && differs == 0
        };
        cards.into_iter().find(is_meant).cloned()
    }

    /// Calls `each` with every session, a few at a time, so that nobody waits long for the register.
    pub fn each(&self, mut each: impl FnMut(&Arc<Card>)) {
        const BATCH: usize = 512;
        let mut from = 0;
        loop {
            let batch: Vec<Arc<Card>> = {
                let inner = self.inner.lock();
                if from >= inner.slots.len() {
                    return;
                }
                inner.slots[from..].iter().take(BATCH).flatten().cloned().collect()
            };
            batch.iter().for_each(&mut each);
            from += BATCH;
        }
    }

    /// A number no session has or will have.
    pub fn next_id(&self) -> u64 {
        self.last.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Clients of each user and of each database, by the names the clients used.
    pub fn counts(&self) -> (HashMap<Arc<str>, usize>, HashMap<Arc<str>, usize>) {
        let inner = self.inner.lock();
        (inner.users.clone(), inner.databases.clone())
    }

    /// Sessions now.
    pub fn count(&self) -> usize {
        let inner = self.inner.lock();
        inner.slots.len() - inner.free.len()
    }

    /// Somebody is connected to this database.
    pub fn has_database(&self, database: &str) -> bool {
        self.inner.lock().databases.contains_key(database)
    }

    /// Nobody comes in any more.
    pub fn close(&self) {
        self.inner.lock().closing = true;
    }

    fn leave(&self, card: &Card, shown: Option<i32>) {
        let mut inner = self.inner.lock();
        if let Some(slots) = shown.and_then(|pid| inner.pids.get_mut(&pid)) {
            slots.retain(|slot| *slot != card.slot);
        }
        if let Some(pid) = shown.filter(|pid| inner.pids.get(pid).is_some_and(Vec::is_empty)) {
            inner.pids.remove(&pid);
        }
        inner.slots[card.slot as usize] = None;
        inner.free.push(card.slot);
        let inner = &mut *inner;
        for (counts, name) in [(&mut inner.users, &card.who.user), (&mut inner.databases, &card.who.database)]
        {
            if let Some(count) = counts.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(name);
                }
            }
        }
    }
}

/// A session's place in the register; given up when dropped.
#[derive(Debug)]
pub struct Entry {
    cards: Arc<Cards>,
    /// The card.
    pub card: Arc<Card>,
    /// The process id of the server, where the key shows that.
    shown: Option<i32>,
}

impl Entry {
    /// "Process id" of the key.
    pub fn pid(&self) -> i32 {
        self.shown.unwrap_or(self.card.slot as i32 + 1)
    }

    /// The session keeps one server for good: the key shows that one's process id, so that tools find it in `pg_stat_activity`. Once.
    pub(crate) fn show(&mut self, pid: i32) {
        if self.shown.is_none() {
            self.shown = Some(pid);
            self.cards.inner.lock().pids.entry(pid).or_default().push(self.card.slot);
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.cards.leave(&self.card, self.shown);
    }
}
