//! What is known of the catalog of each database, for the classifier: read over a short connection of its own, at first and then from time to time.

use crate::manner::Manner;
use crate::shared::Shared;
use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;
use pgherd_pool::connect::{self, Connected};
use pgherd_pool::exchange::{Failed, Row, rows};
use pgherd_pool::pool::Key;
use pgherd_route::builtin::harmless_names;
use pgherd_route::digest::{self, Digest};
use pgherd_session::params::Settings;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;

/// Time from one reading of a catalog to the next, when nobody was seen to change it.
const PACE: Duration = Duration::from_secs(30);

/// Least time between two readings, however much is changed.
const LEAST: Duration = Duration::from_secs(1);

/// Pause after a reading that failed.
const BACKOFF: Duration = Duration::from_secs(1);

/// How often somebody who waits for a book looks into it.
const LOOK: Duration = Duration::from_millis(20);

/// Time one reading may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Most bytes of one digest.
const MOST: usize = 64 << 20;

/// Time without a session after which a book is closed.
const UNUSED: Duration = Duration::from_secs(600);

/// Most books that are open.
const MAX_BOOKS: usize = 1024;

/// Texts remembered per book because a replica refused them.
const MAX_BURNT: usize = 1024;

/// What the database says a session of this user begins with.
const DEFAULTS: &str = "SELECT name, setting FROM pg_catalog.pg_settings WHERE name IN ('default_transaction_read_only', 'default_transaction_isolation', 'synchronous_commit', 'standard_conforming_strings', 'client_encoding')";

/// What is known at one time. A value: a newer one replaces it.
#[derive(Debug, Default)]
pub struct Known {
    /// The catalog.
    pub digest: Digest,
    /// What sessions of the user begin with.
    pub(crate) defaults: Manner,
    /// How often the catalog had been changed when this was begun to be read.
    torn: u64,
}

/// Database and user.
type Title = (Arc<str>, Arc<str>);

/// What is known of one database, for one user.
#[derive(Debug)]
pub struct Book {
    key: Title,
    known: ArcSwap<Known>,
    /// How often somebody was seen to change the catalog.
    torn: AtomicU64,
    call: Notify,
    /// Hashes of texts that a replica refused.
    burnt: Mutex<Vec<u64>>,
    any_burnt: AtomicBool,
    /// Why the last reading failed.
    trouble: Mutex<Option<String>>,
    /// When a session used it last, in milliseconds of the process.
    used: AtomicU64,
}

impl Book {
    fn new(key: Title, now: u64) -> Book {
        Book {
            key,
            known: ArcSwap::default(),
            torn: AtomicU64::new(0),
            call: Notify::new(),
            burnt: Mutex::default(),
            any_burnt: AtomicBool::new(false),
            trouble: Mutex::default(),
            used: AtomicU64::new(now),
        }
    }

    /// What is known now; nothing from a change of the catalog until it was read after it.
    pub fn known(&self) -> Option<Guard<Arc<Known>>> {
        let known = self.known.load();
        (known.torn == self.torn.load(Ordering::SeqCst)).then_some(known)
    }

    /// The user it is for.
    pub fn user(&self) -> &str {
        &self.key.1
    }

    /// Why the catalog could not be read, if it could not.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().clone()
    }

    /// The catalog was changed: what is known counts for nothing until it is read again.
    pub(crate) fn tear(&self) {
        self.torn.fetch_add(1, Ordering::SeqCst);
        self.call.notify_one();
    }

    /// A replica refused this text although it was thought to be a read. It is not tried there again before the catalog was read once more, and may say why.
    pub(crate) fn burn(&self, hash: u64) {
        let mut burnt = self.burnt.lock();
        if burnt.len() >= MAX_BURNT {
            burnt.remove(0);
        }
        if !burnt.contains(&hash) {
            burnt.push(hash);
        }
        self.any_burnt.store(true, Ordering::Release);
    }

    /// Some text was refused by a replica since the catalog was read last.
    pub(crate) fn has_burnt(&self) -> bool {
        self.any_burnt.load(Ordering::Acquire)
    }

    pub(crate) fn is_burnt(&self, hash: u64) -> bool {
        self.burnt.lock().contains(&hash)
    }
}

/// All open books.
#[derive(Debug, Default)]
pub struct Library {
    books: Mutex<HashMap<Title, Arc<Book>>>,
    /// Number of the digest made last; no two of the process have the same.
    last: AtomicU64,
    /// Held by who opens a book out of curiosity, so that there is one of them at a time.
    curious: tokio::sync::Mutex<()>,
}

impl Library {
    /// The book of this database and user; opened, and read from now on, when it is not.
    pub(crate) fn book(&self, shared: &Arc<Shared>, database: &Arc<str>, user: &Arc<str>) -> Arc<Book> {
        let key = (database.clone(), user.clone());
        let mut books = self.books.lock();
        let now = shared.now();
        if let Some(book) = books.get(&key) {
            book.used.store(now, Ordering::Relaxed);
            return book.clone();
        }
        if books.len() >= MAX_BOOKS {
            // Those that nobody uses.
            books.retain(|_, book| Arc::strong_count(book) > 2);
        }
        let book = Arc::new(Book::new(key.clone(), now));
        if books.len() >= MAX_BOOKS {
            // Nothing is known of one database too many, and nothing of it leaves the primary.
            return book;
        }
        books.insert(key, book.clone());
        tokio::spawn(keep(Arc::downgrade(shared), Arc::downgrade(&book)));
        book
    }

    /// The book of this database, whoever its user is, for people.
    pub fn of_database(&self, database: &str) -> Option<Arc<Book>> {
        self.books.lock().values().find(|book| *book.key.0 == *database).cloned()
    }

    /// Somebody changed the catalog of this database.
    pub(crate) fn tear(&self, database: &str) {
        for book in self.books.lock().values().filter(|book| *book.key.0 == *database) {
            book.tear();
        }
    }

    /// What is made of any catalog is made in another way from now on.
    pub(crate) fn tear_all(&self) {
        self.books.lock().values().for_each(|book| book.tear());
    }

    /// The book for somebody who only wants to know, and what is in it as soon as it is read, within the time. One that
    /// cannot be read, and that no session uses, is closed again.
    pub(crate) async fn look(
        &self,
        shared: &Arc<Shared>,
        database: &Arc<str>,
        user: &Arc<str>,
        time: Duration,
    ) -> (Arc<Book>, Option<Arc<Known>>) {
        let loaded = |book: &Book| {
            book.known().filter(|known| known.digest.is_loaded()).map(|known| Arc::clone(&known))
        };
        let opened = self.books.lock().get(&(database.clone(), user.clone())).cloned();
        if let Some((book, known)) = opened.and_then(|book| loaded(&book).map(|known| (book, known))) {
            return (book, Some(known));
        }
        let deadline = tokio::time::Instant::now() + time;
        let _alone = tokio::time::timeout_at(deadline, self.curious.lock()).await;
        let book = self.book(shared, database, user);
        loop {
            let known = loaded(&book);
            if known.is_some() || tokio::time::Instant::now() >= deadline {
                // The library, whoever keeps it, and we.
                if known.is_none() && Arc::strong_count(&book) <= 3 {
                    self.close(&book);
                }
                return (book, known);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn close(&self, book: &Arc<Book>) {
        let mut books = self.books.lock();
        if books.get(&book.key).is_some_and(|known| Arc::ptr_eq(known, book)) {
            books.remove(&book.key);
        }
    }
}

/// Reads one database's catalog for as long as somebody uses what is known.
async fn keep(shared: Weak<Shared>, book: Weak<Book>) {
    loop {
        let (Some(shared), Some(book)) = (shared.upgrade(), book.upgrade()) else { return };
        let idle = shared.now().saturating_sub(book.used.load(Ordering::Relaxed));
        if Arc::strong_count(&book) <= 2 && Duration::from_millis(idle) > UNUSED {
            return shared.library.close(&book);
        }
        let begun = tokio::time::Instant::now();
        // Whatever is changed from now on is another change.
        let torn = book.torn.load(Ordering::SeqCst);
        let read = tokio::time::timeout(LIMIT, read(&shared, &book, torn)).await;
        let trouble = read.unwrap_or_else(|_| Err("it takes too long".into())).err();
        let pause = if trouble.is_none() { PACE } else { BACKOFF };
        if let Some(why) = &trouble {
            tracing::debug!(database = %book.key.0, user = %book.key.1, why, "catalog not read");
        }
        *book.trouble.lock() = trouble;
        if pause == BACKOFF {
            book.known.store(Arc::new(Known { torn, ..Known::default() }));
        }
        // A large catalog that is changed all the time must not be read all the time. What could not be reached was not read.
        let least = if pause == PACE { LEAST.max(begun.elapsed() * 10) } else { LEAST };
        drop(shared);
        // Cancel safe: a call that is not heard now is heard the next time.
        let called = async {
            book.call.notified().await;
        };
        let _ = tokio::time::timeout(pause.saturating_sub(least), called).await;
        drop(book);
        tokio::time::sleep(least).await;
    }
}

async fn read(shared: &Shared, book: &Book, torn: u64) -> Result<(), String> {
    let snapshot = shared.cell.load_full();
    // The primary has the newest catalog; a replica's is better than none.
    let node = snapshot.primary.or_else(|| snapshot.eligible_replicas().next().map(|node| node.id));
    let node = node.ok_or("no node to read it from")?;
    let (database, user) = book.key.clone();
    if shared.pools.is_paused(&database) {
        return Err("the database is paused".into());
    }
    let pool = shared.pools.get(&Key { node, database, user }).ok_or("no pool")?;
    let target = pool.shape().target.clone();
    // Compiling the query would cost more than it saves.
    let settings = [("application_name".into(), "pgherd catalog".into()), ("jit".into(), "off".into())];
    let made = connect::connect(&target, &settings).await.map_err(|error| error.to_string())?;
    let Connected { mut transport, .. } = made;
    let defaults = rows(&mut transport, DEFAULTS.as_bytes(), LIMIT, MOST).await.map_err(told)?;
    let names = harmless_names().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(",");
    let sql = digest::QUERY.replace("$1", &format!("'{{{names}}}'"));
    let found = rows(&mut transport, sql.as_bytes(), LIMIT, MOST).await.map_err(told)?;
    let _ = transport.write_all(&pgherd_wire::write::TERMINATE).await;
    let epoch = shared.library.last.fetch_add(1, Ordering::Relaxed) + 1;
    let vouched = shared.policy.load_full().vouched.clone();
    let digest =
        Digest::new(epoch, found.iter().filter_map(entry)).vouched(vouched.iter().map(String::as_str));
    if let Some(why) = digest.splitting_off() {
        tracing::warn!(database = %book.key.0, why, "reads of this database stay on the primary");
    }
    book.known.store(Arc::new(Known { digest, defaults: defaults_of(&defaults), torn }));
    let mut burnt = book.burnt.lock();
    burnt.clear();
    book.any_burnt.store(false, Ordering::Release);
    Ok(())
}

fn told(failed: Failed) -> String {
    match failed {
        Failed::Refused(body) => {
            let text = pgherd_wire::backend::Fields::view(&body).get(b'M').unwrap_or_default();
            String::from_utf8_lossy(text).into_owned()
        }
        other => format!("{other:?}"),
    }
}

fn entry(row: &Row) -> Option<digest::Row<'_>> {
    let [Some(name), Some(kind), Some(reason)] = &row[..] else { return None };
    Some(digest::Row { name, kind, reason })
}

fn defaults_of(found: &[Row]) -> Manner {
    let pairs = found.iter().filter_map(|row| match &row[..] {
        [Some(name), Some(value)] => Some((name.as_bytes(), value.as_bytes())),
        _ => None,
    });
    Manner::read(&Settings::from_startup(pairs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_before_a_change_counts_for_nothing() {
        let book = Book::new(("app".into(), "alice".into()), 0);
        let read = |torn| book.known.store(Arc::new(Known { torn, ..Known::default() }));
        let begun = book.torn.load(Ordering::SeqCst);
        read(begun);
        assert!(book.known().is_some());
        book.tear();
        assert!(book.known().is_none());
        // A reading that was under way when it was changed may have missed it.
        read(begun);
        assert!(book.known().is_none());
        read(book.torn.load(Ordering::SeqCst));
        assert!(book.known().is_some());
    }
}
