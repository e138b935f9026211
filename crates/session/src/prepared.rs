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
    /// Query text, NUL and parameter types, as they stand in Parse after the name.
    pub rest: Arc<[u8]>,
    /// Of one that stands for a text without a name: under which settings it was read ([`crate::params::Settings::meaning`]).
    pub(crate) meaning: u64,
    /// How often all texts had been retired when it was made.
    generation: u64,
    /// A server found it out of date.
    outdated: AtomicBool,
    /// It may have parameters, so that its plan may depend on their values.
    pub(crate) takes_values: bool,
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
        self.rest.split(|b| *b == 0).next().unwrap_or_default()
    }
}

/// What names of ours begin with on servers; a client's own name that begins so is never sent to one.
pub const SERVER_PREFIX: &[u8] = b"pgherd_";

/// All texts that some session has prepared now, and those that came again without a name; one for all sessions.
#[derive(Debug, Default)]
pub struct Texts {
    known: Mutex<HashMap<Arc<[u8]>, Weak<Statement>>>,
    last: AtomicU64,
    /// Texts without names.
    sights: Sights,
    /// How often all were retired.
    generation: AtomicU64,
}

impl Texts {
    /// The statement of this text, if some session has it now.
    pub fn find(&self, rest: &[u8]) -> Option<Arc<Statement>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(rest).and_then(Weak::upgrade)
    }

    /// The statement of this text: the one that others use, or a new one.
    pub fn intern(&self, rest: &[u8]) -> Arc<Statement> {
        // A panic elsewhere cannot leave the map half changed, so a poisoned lock is still good.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(statement) = known.get(rest).and_then(Weak::upgrade) {
            return statement;
        }
        if known.len() == known.capacity() {
            // Forgotten texts go before the map grows, so it holds at most twice what is in use.
            known.retain(|_, statement| statement.strong_count() > 0);
        }
        let statement = self.make(rest, 0);
        known.insert(statement.rest.clone(), Arc::downgrade(&statement));
        statement
    }

    fn make(&self, rest: &[u8], meaning: u64) -> Arc<Statement> {
        let id = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        Arc::new(Statement {
            id,
            name: format!("pgherd_{id}").into_bytes().into(),
            rest: rest.into(),
            meaning,
            generation: self.generation.load(Ordering::Relaxed),
            outdated: AtomicBool::new(false),
            takes_values: memchr::memchr(b'$', rest).is_some(),
            proven: AtomicU64::new(0),
            note: AtomicU64::new(0),
        })
    }

    /// A client sends this text without a name, to be read under settings of this meaning. The statement that stands for it, when that was so before and its
    /// meaning does not depend on when it is read.
    pub(crate) fn see(&self, rest: &[u8], meaning: u64) -> Option<Arc<Statement>> {
        self.sights.see(rest, meaning, |known| self.is_current(known), || self.make(rest, meaning))
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
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend(known.values().filter_map(Weak::upgrade));
        all
    }

    /// The same for all texts: tables or types were made, changed or dropped.
    pub fn retire_all(&self) {
        self.generation.fetch_add(1, Ordering::Relaxed);
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// What servers made of this text is out of date: who prepares it from now on gets a new statement, on every server. Who has the old one keeps it, as each
    /// session would that prepared it directly.
    pub fn retire(&self, statement: &Arc<Statement>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.get(&statement.rest).is_some_and(|current| std::ptr::eq(current.as_ptr(), &**statement)) {
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
    fn forgotten_texts_are_not_kept() {
        let texts = Texts::default();
        for i in 0..10_000 {
            texts.intern(format!("select {i}\0\0\0").as_bytes());
        }
        assert!(texts.known.lock().unwrap().len() < 100);
    }
}
