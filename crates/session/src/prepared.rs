//! Prepared statements, shared by text.

use crate::sights::Sights;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// One text with its parameter types, as servers know it.
#[derive(Debug)]
pub struct Statement {
    /// Number of the text; never used for another one while the process lives.
    pub id: u64,
    /// Its name on servers, `pgherd_<id>`.
    pub name: Box<[u8]>,
    /// Query text, NUL and parameter types, as they stand in Parse after the name; or parameter types, AS and the statement, as they stand in SQL's PREPARE
    /// after the name.
    pub rest: Arc<[u8]>,
    /// Of one that stands for a text without a name, or is SQL's: under which settings it was read ([`crate::params::Settings::meaning`]).
    pub(crate) meaning: u64,
    /// How often all texts had been retired when it was made.
    generation: u64,
    /// A server found it out of date.
    outdated: AtomicBool,
    /// It may have parameters, so that its plan may depend on their values.
    pub(crate) takes_values: bool,
    /// Where in `rest` the statement begins, when it is SQL's.
    body: Option<usize>,
    /// Digest of the settings under which a server accepted it last, plus one; 0 when none has yet.
    proven: AtomicU64,
    /// For whoever classifies it; 0 at first.
    note: AtomicU64,
}

impl Statement {
    /// A server accepted it under settings of this digest.
    pub fn prove(&self, digest: u64) {
        self.proven.store(digest.wrapping_add(1), Ordering::Relaxed);
    }

    /// True when the last server that was asked accepted it, under settings of this digest.
    pub fn is_proven(&self, digest: u64) -> bool {
        self.proven.load(Ordering::Relaxed) == digest.wrapping_add(1)
    }

    /// What somebody noted down about it last; 0 when nobody has.
    pub fn note(&self) -> u64 {
        self.note.load(Ordering::Relaxed)
    }

    /// Notes something down. The machine does not care what.
    pub fn set_note(&self, note: u64) {
        self.note.store(note, Ordering::Relaxed);
    }

    /// The query text.
    pub fn query(&self) -> &[u8] {
        match self.body {
            Some(body) => self.rest.get(body..).unwrap_or_default(),
            None => self.rest.split(|b| *b == 0).next().unwrap_or_default(),
        }
    }

    /// It was prepared by SQL's PREPARE.
    pub fn is_sql(&self) -> bool {
        self.body.is_some()
    }

    /// The PREPARE that makes it, under `name`, which must need no quotes or have them.
    pub(crate) fn prepare_as(&self, name: &[u8]) -> Vec<u8> {
        [b"PREPARE ", name, b" ", &*self.rest].concat()
    }
}

/// What names of ours begin with on servers; a client's own name that begins so is never sent to one.
pub const SERVER_PREFIX: &[u8] = b"pgherd_";

/// All texts that some session has prepared now, and those that came again without a name; one for all sessions.
#[derive(Debug, Default)]
pub struct Texts {
    known: Mutex<Known<Arc<[u8]>>>,
    /// Those of SQL's PREPARE, which are keyed by their settings as well.
    sql: Mutex<Known<(Arc<[u8]>, u64)>>,
    last: AtomicU64,
    /// Texts without names.
    sights: Sights,
    /// How often all were retired.
    generation: AtomicU64,
}

type Known<K> = HashMap<K, Weak<Statement>>;

/// A panic elsewhere cannot leave the map half changed, so a poisoned lock is still good.
fn lock<K>(known: &Mutex<Known<K>>) -> std::sync::MutexGuard<'_, Known<K>> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Forgotten texts go before the map grows, so it holds at most twice what is in use.
fn make_room<K: Eq + std::hash::Hash>(known: &mut Known<K>) {
    if known.len() == known.capacity() {
        known.retain(|_, statement| statement.strong_count() > 0);
    }
}

impl Texts {
    /// The statement of this text, if some session has it now.
    pub fn find(&self, rest: &[u8]) -> Option<Arc<Statement>> {
        lock(&self.known).get(rest).and_then(Weak::upgrade)
    }

    /// The statement of this text: the one that others use, or a new one.
    pub fn intern(&self, rest: &[u8]) -> Arc<Statement> {
        let mut known = lock(&self.known);
        if let Some(statement) = known.get(rest).and_then(Weak::upgrade) {
            return statement;
        }
        make_room(&mut known);
        let statement = self.make(rest.into(), None, 0);
        known.insert(statement.rest.clone(), Arc::downgrade(&statement));
        statement
    }

    /// The same for what stands after the name in a PREPARE, of which the statement begins at `body`. Types are looked up and constants are read when it is
    /// prepared, and never again: only sessions of the same settings, of this meaning, may share one.
    pub fn intern_sql(&self, rest: &[u8], body: usize, meaning: u64) -> Arc<Statement> {
        let mut known = lock(&self.sql);
        let key = (Arc::from(rest), meaning);
        if let Some(statement) = known.get(&key).and_then(Weak::upgrade) {
            return statement;
        }
        make_room(&mut known);
        let statement = self.make(key.0.clone(), Some(body), meaning);
        known.insert(key, Arc::downgrade(&statement));
        statement
    }

    /// The same text of SQL's under settings of another meaning.
    pub(crate) fn under(&self, statement: &Statement, meaning: u64) -> Arc<Statement> {
        self.intern_sql(&statement.rest, statement.body.unwrap_or_default(), meaning)
    }

    /// One like it that nobody shares.
    pub(crate) fn copy(&self, statement: &Statement) -> Arc<Statement> {
        self.make(statement.rest.clone(), statement.body, statement.meaning)
    }

    fn make(&self, rest: Arc<[u8]>, body: Option<usize>, meaning: u64) -> Arc<Statement> {
        let id = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        Arc::new(Statement {
            id,
            name: format!("pgherd_{id}").into_bytes().into(),
            meaning,
            generation: self.generation.load(Ordering::Relaxed),
            outdated: AtomicBool::new(false),
            takes_values: memchr::memchr(b'$', &rest).is_some(),
            rest,
            body,
            proven: AtomicU64::new(0),
            note: AtomicU64::new(0),
        })
    }

    /// A client sends this text without a name, to be read under settings of this meaning. The statement that stands for it, when that was so before and its
    /// meaning does not depend on when it is read.
    pub(crate) fn see(&self, rest: &[u8], meaning: u64) -> Option<Arc<Statement>> {
        self.sights.see(
            rest,
            meaning,
            |known| self.is_current(known),
            || self.make(rest.into(), None, meaning),
        )
    }

    /// Nobody has found out, since this statement was made, that tables or types have changed.
    pub(crate) fn is_current(&self, statement: &Statement) -> bool {
        statement.generation == self.generation.load(Ordering::Relaxed)
            && !statement.outdated.load(Ordering::Relaxed)
    }

    /// A server found this statement, which stands for a text without a name, out of date, or might have: for a while nothing stands for that text.
    pub(crate) fn shun(&self, statement: &Statement) {
        statement.outdated.store(true, Ordering::Relaxed);
        self.sights.shun(statement);
    }

    /// All of them that somebody has now, and those that stand for texts without a name, in no order; for those who look.
    pub fn all(&self) -> Vec<Arc<Statement>> {
        let mut all = self.sights.all();
        all.extend(lock(&self.known).values().filter_map(Weak::upgrade));
        all.extend(lock(&self.sql).values().filter_map(Weak::upgrade));
        all
    }

    /// The same for all texts: tables or types were made, changed or dropped.
    pub fn retire_all(&self) {
        self.generation.fetch_add(1, Ordering::Relaxed);
        lock(&self.known).clear();
        lock(&self.sql).clear();
    }

    /// What servers made of this text is out of date: who prepares it from now on gets a new statement, on every server. Who has the old one keeps it, as each
    /// session would that prepared it directly.
    pub fn retire(&self, statement: &Arc<Statement>) {
        let is_it = |known: &Weak<Statement>| std::ptr::eq(known.as_ptr(), &**statement);
        if statement.is_sql() {
            let key = (statement.rest.clone(), statement.meaning);
            let mut known = lock(&self.sql);
            if known.get(&key).is_some_and(is_it) {
                known.remove(&key);
            }
            return;
        }
        let mut known = lock(&self.known);
        if known.get(&statement.rest).is_some_and(is_it) {
            known.remove(&statement.rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_text_has_one_statement() {
        let texts = Texts::default();
        let a = texts.intern(b"select 1\0\0\0");
        let b = texts.intern(b"select 1\0\0\0");
        assert!(Arc::ptr_eq(&a, &b));
        assert_eq!((&*a.name, a.query()), (&b"pgherd_1"[..], &b"select 1"[..]));
        drop((a, b));
        assert_eq!(texts.intern(b"select 1\0\0\0").id, 2);
    }

    #[test]
    fn a_retired_statement_is_replaced_once() {
        let texts = Texts::default();
        let old = texts.intern(b"select 1\0\0\0");
        texts.retire(&old);
        let new = texts.intern(b"select 1\0\0\0");
        assert_eq!((old.id, new.id), (1, 2));
        texts.retire(&old);
        assert!(Arc::ptr_eq(&texts.intern(b"select 1\0\0\0"), &new));
    }

    #[test]
    fn a_prepare_is_shared_under_the_same_settings_only() {
        let texts = Texts::default();
        let a = texts.intern_sql(b"as select 1", 3, 7);
        assert_eq!((a.query(), a.is_sql()), (&b"select 1"[..], true));
        assert_eq!(a.prepare_as(&a.name), b"PREPARE pgherd_1 as select 1");
        assert!(Arc::ptr_eq(&a, &texts.intern_sql(b"as select 1", 3, 7)));
        assert_eq!((texts.intern_sql(b"as select 1", 3, 8).id, texts.copy(&a).id), (2, 3));
        texts.retire(&a);
        assert_eq!(texts.intern_sql(b"as select 1", 3, 7).id, 4);
    }

    #[test]
    fn forgotten_texts_are_not_kept() {
        let texts = Texts::default();
        for i in 0..10_000 {
            texts.intern(format!("select {i}\0\0\0").as_bytes());
        }
        assert!(texts.known.lock().unwrap().len() < 100);
    }
}
