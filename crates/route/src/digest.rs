//! What the catalog of one database says that no text shows: which names lead to something that must run on the primary.

use pgherd_sql::name::Name;
use pgherd_sql::wordlist::fold;

/// Produces the rows of a digest: columns `name`, `kind`, `reason`, all text. Its one parameter `$1 text[]` is
/// [`crate::builtin::harmless_names`]. Reads catalogs only, on PostgreSQL 13 and later.
pub const QUERY: &str = include_str!("digest/query.sql");

/// Why a name is tainted, mildest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// A function declared VOLATILE, nothing else known against it. It may only read; a hint can say so.
    Volatile,
    /// It reaches something tainted: through a view, a policy, a default, an operator, a type, a function's body.
    Reaches,
    /// It reaches something built in that writes or answers for its node.
    Denied,
    /// A function that sets `synchronous_commit` or `search_path` for itself.
    Setting,
    /// Its text is put together while it runs.
    Dynamic,
    /// An unlogged relation: a standby has no content for it.
    Unlogged,
    /// A foreign table.
    Foreign,
    /// A sequence: a standby answers with a later value.
    Sequence,
    /// A view that locks rows.
    Locks,
    /// A replica refused it although it was thought to be harmless.
    Learned,
    /// Something this version has no name for.
    Other,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Reason; 11] = [
        Reason::Volatile,
        Reason::Reaches,
        Reason::Denied,
        Reason::Setting,
        Reason::Dynamic,
        Reason::Unlogged,
        Reason::Foreign,
        Reason::Sequence,
        Reason::Locks,
        Reason::Learned,
        Reason::Other,
    ];

    /// The word used in the query's rows and in tables.
    pub fn word(self) -> &'static str {
        match self {
            Reason::Volatile => "volatile",
            Reason::Reaches => "reaches",
            Reason::Denied => "denied",
            Reason::Setting => "setting",
            Reason::Dynamic => "dynamic",
            Reason::Unlogged => "unlogged",
            Reason::Foreign => "foreign",
            Reason::Sequence => "sequence",
            Reason::Locks => "locks",
            Reason::Learned => "learned",
            Reason::Other => "other",
        }
    }

    fn from_word(word: &str) -> Reason {
        Reason::ALL.into_iter().find(|reason| reason.word() == word).unwrap_or(Reason::Other)
    }
}

/// What kind of thing has a tainted name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A function, aggregate, window function or procedure.
    Function,
    /// A table, view, sequence or foreign table.
    Relation,
    /// A type or domain.
    Type,
}

/// What is known against a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taint {
    /// The worst thing with that name.
    pub kind: Kind,
    /// Why it is tainted.
    pub reason: Reason,
}

/// One row of [`QUERY`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    /// The name, as the catalog has it; for `database` what was found.
    pub name: &'a str,
    /// `function`, `relation`, `type`, `operator` or `database`.
    pub kind: &'a str,
    /// `harmless`, or a [`Reason`]'s word.
    pub reason: &'a str,
}

/// The digest of one database. A value: a newer one replaces it.
#[derive(Clone, Debug, Default)]
pub struct Digest {
    loaded: bool,
    epoch: u64,
    off: Option<Box<str>>,
    names: Vec<Entry>,
    /// Indexes of `names` plus one by their fold; a power of two, at most half full. Empty without names.
    slots: Vec<u32>,
    operators: Vec<Box<str>>,
    has_foreign: bool,
    has_long: bool,
    has_types: bool,
}

#[derive(Clone, Debug)]
struct Entry {
    name: Box<str>,
    taint: Option<Taint>,
}

/// Names from this length on may be what is left of a longer one (63 bytes, less a character cut in two).
const LONG: usize = 60;

/// Operators that PostgreSQL looks up for words and clauses (LIKE, IN, BETWEEN, DISTINCT, ORDER BY): no text shows them.
const IMPLIED_OPERATORS: [&str; 13] =
    ["=", "<>", "<", ">", "<=", ">=", "~~", "!~~", "~~*", "!~~*", "~", "!~", "-"];

/// Functions that name a relation by a value, and to which one that is unlogged is empty on a standby.
const SIZES: [&str; 4] = ["pg_relation_size", "pg_table_size", "pg_indexes_size", "pg_total_relation_size"];

impl Digest {
    /// Nothing is known yet: no text is proven to read.
    pub fn not_loaded() -> Digest {
        Digest::default()
    }

    /// The digest that these rows make. `epoch` is higher than that of the digest it replaces, so that what was decided
    /// under the old one can be told.
    pub fn new<'a>(epoch: u64, rows: impl IntoIterator<Item = Row<'a>>) -> Digest {
        let mut digest = Digest { loaded: true, epoch, ..Digest::default() };
        for row in rows {
            digest.add(row);
        }
        if digest.names.iter().any(|entry| entry.taint.is_some_and(|taint| taint.reason == Reason::Unlogged))
        {
            for name in SIZES {
                digest.put(name, Some(Taint { kind: Kind::Function, reason: Reason::Unlogged }));
            }
        }
        digest
    }

    /// The same, with one name more against which a replica spoke up.
    #[must_use]
    pub fn learned(&self, epoch: u64, name: &str, kind: Kind) -> Digest {
        let mut digest = Digest { epoch, ..self.clone() };
        digest.put(name, Some(Taint { kind, reason: Reason::Learned }));
        digest
    }

    /// The same, with functions that somebody vouches for: those with nothing against them but that they are declared volatile become harmless. Others stay what
    /// they are, and so does what the catalog shows to reach any of them.
    #[must_use]
    pub fn vouched<'a>(mut self, functions: impl IntoIterator<Item = &'a str>) -> Digest {
        for name in functions {
            if let Some(entry) = self.index(name).and_then(|index| self.names.get_mut(index))
                && entry.taint.is_some_and(|taint| taint.reason == Reason::Volatile)
            {
                entry.taint = None;
            }
        }
        self
    }

    /// False until the catalog was read.
    pub fn is_loaded(&self) -> bool {
        self.loaded
    }

    /// The number of this digest; rises with each change.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Set when the catalog holds something that no text shows: nothing in this database is proven to read. The reason is
    /// for people.
    pub fn splitting_off(&self) -> Option<&str> {
        self.off.as_deref()
    }

    /// Number of names it knows, tainted or not.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// True if it knows no name.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.operators.is_empty()
    }

    /// What is known against `name`, whatever it stands for in a text. `fold` is the name's [`Name::fold`].
    pub fn taint(&self, name: Name<'_>, fold: u32) -> Option<Taint> {
        self.find(name, fold)?.taint
    }

    /// A function of the database whose name may be called: all its overloads are harmless.
    pub fn vouches_for(&self, name: Name<'_>, fold: u32) -> bool {
        self.find(name, fold).is_some_and(|entry| entry.taint.is_none())
    }

    /// True for the symbol of a tainted operator.
    pub fn taints_operator(&self, symbol: &[u8]) -> bool {
        self.operators.iter().any(|operator| operator.as_bytes() == symbol)
    }

    /// True if some type or domain is tainted.
    pub fn has_tainted_types(&self) -> bool {
        self.has_types
    }

    /// A name in a text that cannot be compared reliably, because it has bytes outside ASCII, could be a tainted one.
    pub fn may_taint_foreign(&self, length: usize) -> bool {
        self.has_foreign || (self.has_long && length > LONG / 3)
    }

    fn add(&mut self, row: Row<'_>) {
        let kind = match row.kind {
            "database" => {
                self.off.get_or_insert_with(|| row.name.into());
                return;
            }
            "operator" => {
                if IMPLIED_OPERATORS.contains(&row.name) {
                    self.off.get_or_insert_with(|| format!("operator {}", row.name).into());
                }
                if !self.taints_operator(row.name.as_bytes()) {
                    self.operators.push(row.name.into());
                }
                return;
            }
            "function" => Kind::Function,
            "type" => Kind::Type,
            _ => Kind::Relation,
        };
        let harmless = kind == Kind::Function && row.reason == "harmless";
        self.put(row.name, (!harmless).then(|| Taint { kind, reason: Reason::from_word(row.reason) }));
    }

    fn put(&mut self, name: &str, taint: Option<Taint>) {
        if taint.is_some() {
            self.has_foreign |= !name.is_ascii();
            self.has_long |= name.len() >= LONG;
            self.has_types |= taint.is_some_and(|taint| taint.kind == Kind::Type);
        }
        let Some(entry) = self.place(name) else { return };
        let worse = |new: Taint| entry.taint.is_none_or(|old| new.reason > old.reason);
        if taint.is_some_and(worse) {
            entry.taint = taint;
        }
    }

    /// The entry of `name`, made when there is none.
    fn place(&mut self, name: &str) -> Option<&mut Entry> {
        let (fold, found) = (fold(name.as_bytes()), self.index(name));
        let index = found.unwrap_or(self.names.len());
        if found.is_none() {
            self.names.push(Entry { name: name.into(), taint: None });
            if self.names.len() * 2 > self.slots.len() {
                self.rebuild();
            } else {
                self.occupy(fold, index);
            }
        }
        self.names.get_mut(index)
    }

    /// Where the entry of `name`, as the catalog has it, is.
    fn index(&self, name: &str) -> Option<usize> {
        let same =
            |digest: &Digest, index: usize| digest.names.get(index).is_some_and(|entry| &*entry.name == name);
        self.probe(fold(name.as_bytes()), same)
    }

    fn find(&self, name: Name<'_>, fold: u32) -> Option<&Entry> {
        let is = |digest: &Digest, index: usize| {
            digest.names.get(index).is_some_and(|entry| name.is(entry.name.as_bytes()))
        };
        self.probe(fold, is).and_then(|index| self.names.get(index))
    }

    fn probe(&self, fold: u32, is: impl Fn(&Digest, usize) -> bool) -> Option<usize> {
        let mask = self.slots.len().checked_sub(1)?;
        let mut slot = fold as usize & mask;
        loop {
            let index = (*self.slots.get(slot)? as usize).checked_sub(1)?;
            if is(self, index) {
                return Some(index);
            }
            slot = (slot + 1) & mask;
        }
    }

    fn rebuild(&mut self) {
        let size = (self.names.len() * 4).next_power_of_two();
        self.slots.clear();
        self.slots.resize(size, 0);
        for index in 0..self.names.len() {
            let fold = self.names.get(index).map_or(0, |entry| fold(entry.name.as_bytes()));
            self.occupy(fold, index);
        }
    }

    fn occupy(&mut self, fold: u32, index: usize) {
        let Some(mask) = self.slots.len().checked_sub(1) else { return };
        let mut slot = fold as usize & mask;
        while self.slots.get(slot).is_some_and(|taken| *taken != 0) {
            slot = (slot + 1) & mask;
        }
        if let Some(free) = self.slots.get_mut(slot) {
            *free = u32::try_from(index + 1).unwrap_or(0);
        }
    }
}

#[cfg(test)]
#[path = "digest_tests.rs"]
mod tests;
