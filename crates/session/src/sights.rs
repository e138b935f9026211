//! Texts that clients send without a name, remembered from the second time on.

use crate::prepared::Statement;
use pgherd_sql::lexer::Lexer;
use pgherd_sql::token::Kind;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

/// Longest Parse (its text and parameter types, in bytes) that is remembered.
pub(crate) const MAX_TEXT: usize = 16 * 1024;

/// Parts with a lock each, so that workers seldom meet.
const SHARDS: usize = 8;
/// Places for texts that were seen once, in each part. A place that another text took means that a text must be seen twice more.
const ONCE: usize = 1024;
/// Sets of places for texts that are remembered, in each part. With [`WAYS`] that makes 1024 texts, of 16 MiB at the very most.
const SETS: usize = 32;
/// Places in each set; the one that was not used for the longest time is taken.
const WAYS: usize = 4;
/// How often a text is seen before it is tried again, when servers found it out of date.
const SHUNNED: u32 = 1000;

/// What is remembered; bounded, whatever clients send.
#[derive(Debug, Default)]
pub(crate) struct Sights([Mutex<Shard>; SHARDS]);

#[derive(Debug, Default)]
struct Shard {
    /// Allocated at the first use.
    once: Vec<u64>,
    ways: Vec<Way>,
    clock: u64,
}

#[derive(Clone, Debug, Default)]
struct Way {
    /// 0: free.
    hash: u64,
    used: u64,
    /// None: not to be kept on servers, for so many more times.
    statement: Option<Arc<Statement>>,
    shunned: u32,
}

/// What a text and the settings it is read under come to. Equal hashes are no proof; never 0.
fn hash(rest: &[u8], meaning: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    (rest, meaning).hash(&mut hasher);
    hasher.finish().max(1)
}

impl Sights {
    /// A text is seen. The statement for it, when it was seen before; `make` makes one, and `is_current` says whether one is still good.
    pub(crate) fn see(
        &self,
        rest: &[u8],
        meaning: u64,
        is_current: impl Fn(&Statement) -> bool,
        make: impl FnOnce() -> Arc<Statement>,
    ) -> Option<Arc<Statement>> {
        let hash = hash(rest, meaning);
        let mut shard = self.shard(hash);
        let shard = &mut *shard;
        if shard.once.is_empty() {
            (shard.once, shard.ways) = (vec![0; ONCE], vec![Way::default(); SETS * WAYS]);
        }
        shard.clock += 1;
        let (clock, once) = (shard.clock, hash as usize / SHARDS % ONCE);
        if let Some(way) = shard.set(hash).iter_mut().find(|way| way.hash == hash) {
            way.used = clock;
            match &way.statement {
                Some(known) if *known.rest != *rest || known.meaning != meaning => return None,
                Some(known) if is_current(known) => return Some(known.clone()),
                // Tables have changed since: it is prepared anew, under another name.
                Some(_) => way.statement = Some(make()),
                None if way.shunned > 0 => way.shunned -= u32::from(way.shunned != u32::MAX),
                None => way.statement = Some(make()),
            }
            return way.statement.clone();
        }
        if std::mem::replace(&mut shard.once[once], hash) != hash {
            return None;
        }
        shard.once[once] = 0;
        let statement = may_be_kept(rest).then(make);
        let shunned = if statement.is_some() { 0 } else { u32::MAX };
        let way = shard.set(hash).iter_mut().min_by_key(|way| way.used)?;
        *way = Way { hash, used: clock, statement: statement.clone(), shunned };
        statement
    }

    /// A server found this one out of date, or might have: for a while the text goes as it is.
    pub(crate) fn shun(&self, statement: &Statement) {
        let hash = hash(&statement.rest, statement.meaning);
        let mut shard = self.shard(hash);
        if shard.ways.is_empty() {
            return;
        }
        let is = |way: &&mut Way| way.statement.as_ref().is_some_and(|known| known.id == statement.id);
        if let Some(way) = shard.set(hash).iter_mut().find(is) {
            (way.statement, way.shunned) = (None, SHUNNED);
        }
    }

    /// Those that are remembered.
    pub(crate) fn all(&self) -> Vec<Arc<Statement>> {
        let of = |shard: &Mutex<Shard>| -> Vec<_> {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.ways.iter().filter_map(|way| way.statement.clone()).collect()
        };
        self.0.iter().flat_map(of).collect()
    }

    fn shard(&self, hash: u64) -> std::sync::MutexGuard<'_, Shard> {
        // Nothing in there is half-way done while it panics.
        self.0[hash as usize % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    fn set(&mut self, hash: u64) -> &mut [Way] {
        let first = (hash >> 32) as usize % SETS * WAYS;
        &mut self.ways[first..first + WAYS]
    }
}

/// A look at the first letter, for whoever asks at every Parse.
pub(crate) fn may_read_or_write(query: &[u8]) -> bool {
    let first = query.iter().find(|b| !b.is_ascii_whitespace()).map(u8::to_ascii_lowercase);
    matches!(first, Some(b's' | b'i' | b'u' | b'd' | b'm' | b'v' | b'w' | b'/' | b'-' | b'('))
}

/// The text is one whose meaning does not depend on when it is read: SELECT, INSERT, UPDATE, DELETE, MERGE, VALUES or WITH, without a constant that is made
/// from the clock (`'now'`, `'today'`) or from a name the server does not watch (`regproc` and its like) when the text is analysed, which for a prepared
/// statement is once (documentation, chapter 8.5.1.4).
pub(crate) fn may_be_kept(rest: &[u8]) -> bool {
    let mut lexer = Lexer::new(pgherd_wire::frontend::query_text(rest), true);
    let mut first = None;
    while let Some(token) = lexer.next() {
        let text = token.of(lexer.text());
        let keeps = match token.kind {
            Kind::Word if first.is_none() => {
                first = Some(text);
                let words: [&[u8]; 7] =
                    [b"select", b"insert", b"update", b"delete", b"merge", b"values", b"with"];
                words.iter().any(|word| text.eq_ignore_ascii_case(word))
            }
            Kind::Word | Kind::Quoted => {
                let makes_a_table = first.is_some_and(|first| first.eq_ignore_ascii_case(b"select"))
                    && text.eq_ignore_ascii_case(b"into");
                !makes_a_table && !names_by_text(unquoted(text))
            }
            Kind::String | Kind::National | Kind::Escape | Kind::Dollar => {
                !text.contains(&b'\\') && !speaks_of_today(text)
            }
            Kind::Error | Kind::UnicodeQuoted | Kind::Unicode => false,
            _ => true,
        };
        if !keeps {
            return false;
        }
    }
    first.is_some()
}

/// A type whose constants are numbers of objects, found by name once. Plans are made anew when what a `regclass` names changes; of others nobody takes note
/// (documentation, chapter 8.19).
fn names_by_text(word: &[u8]) -> bool {
    let types: [&[u8]; 10] = [
        b"regproc",
        b"regprocedure",
        b"regoper",
        b"regoperator",
        b"regtype",
        b"regrole",
        b"regnamespace",
        b"regconfig",
        b"regdictionary",
        b"regcollation",
    ];
    types.iter().any(|known| word.eq_ignore_ascii_case(known))
}

fn unquoted(word: &[u8]) -> &[u8] {
    word.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(word)
}

fn speaks_of_today(literal: &[u8]) -> bool {
    let words: [&[u8]; 4] = [b"now", b"today", b"tomorrow", b"yesterday"];
    literal
        .split(|b| !b.is_ascii_alphabetic())
        .any(|word| words.iter().any(|today| word.eq_ignore_ascii_case(today)))
}

#[cfg(test)]
#[path = "sights_tests.rs"]
mod tests;
