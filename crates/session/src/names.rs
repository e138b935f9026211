//! The names a client gave to its prepared statements.

use crate::prepared::{SERVER_PREFIX, Statement};
use std::collections::HashMap;
use std::sync::Arc;

/// Most bytes of names and texts one client may have prepared. PostgreSQL has no such limit, but it is not one process for all clients either.
pub const MAX_BYTES: usize = 64 * 1024 * 1024;

/// Names, their statements, and what they hold.
#[derive(Debug, Default)]
pub struct Names {
    known: HashMap<Box<[u8]>, Arc<Statement>>,
    /// Little more than [`MAX_BYTES`] at the most.
    bytes: u32,
    /// How many are of SQL's PREPARE.
    sql: u32,
}

/// A number to tell one name from another (FNV-1a); with many names two may share one.
pub(crate) fn mark(name: &[u8]) -> u32 {
    name.iter().fold(0x811c_9dc5, |mark, byte| (mark ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

fn size(name: &[u8], statement: &Statement) -> u32 {
    u32::try_from(name.len() + statement.rest.len()).unwrap_or(u32::MAX)
}

impl Names {
    /// The statement of this name.
    pub fn get(&self, name: &[u8]) -> Option<&Arc<Statement>> {
        self.known.get(name)
    }

    /// The name that this client gave to the statement that servers know by this one: the name with this mark, when it gave it several.
    pub fn of_servers(&self, ours: &[u8], marked: u32) -> Option<&[u8]> {
        let names =
            || self.known.iter().filter(|(_, statement)| *statement.name == *ours).map(|(name, _)| &**name);
        names().find(|name| mark(name) == marked).or_else(|| names().next())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// True when `statement` cannot be added within `most` names and [`MAX_BYTES`].
    pub fn is_full(&self, most: usize, statement: usize) -> bool {
        self.known.len() >= most || self.bytes as usize + statement > MAX_BYTES
    }

    /// Some are of SQL's PREPARE.
    pub fn has_sql(&self) -> bool {
        self.sql > 0
    }

    /// Takes those away, in no order, but for those that a server would take for ours.
    pub(crate) fn take_sql(&mut self) -> Vec<(Box<[u8]>, Arc<Statement>)> {
        let can_go = |name: &[u8], known: &Statement| known.is_sql() && !name.starts_with(SERVER_PREFIX);
        let names: Vec<_> =
            self.known.iter().filter(|(name, s)| can_go(name, s)).map(|(name, _)| name.clone()).collect();
        names.into_iter().filter_map(|name| self.remove(&name).map(|statement| (name, statement))).collect()
    }

    /// Gives a name.
    pub fn insert(&mut self, name: Box<[u8]>, statement: Arc<Statement>) {
        self.remove(&name);
        self.bytes = self.bytes.saturating_add(size(&name, &statement));
        self.sql += u32::from(statement.is_sql());
        self.known.insert(name, statement);
    }

    /// Takes a name away.
    pub fn remove(&mut self, name: &[u8]) -> Option<Arc<Statement>> {
        let statement = self.known.remove(name)?;
        self.bytes = self.bytes.saturating_sub(size(name, &statement));
        self.sql -= u32::from(statement.is_sql());
        Some(statement)
    }

    /// Takes all names away, and the memory they needed.
    pub fn clear(&mut self) {
        *self = Names::default();
    }

    /// Takes away all names but these.
    pub fn keep_only(&mut self, keep: impl Fn(&[u8]) -> bool) {
        let gone: Vec<_> = self.known.keys().filter(|name| !keep(name)).cloned().collect();
        if gone.len() == self.known.len() {
            return self.clear();
        }
        for name in gone {
            self.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prepared::Texts;

    #[test]
    fn bytes_are_counted_in_and_out() {
        let texts = Texts::default();
        let mut names = Names::default();
        for name in [&b"a"[..], b"b", b"a"] {
            names.insert(name.into(), texts.intern(b"select 1\0\0\0"));
        }
        assert_eq!((names.len(), names.bytes), (2, 24));
        assert!(names.is_full(2, 0) && !names.is_full(3, 0) && names.is_full(3, MAX_BYTES));
        names.keep_only(|name| name == b"b");
        assert_eq!((names.len(), names.bytes), (1, 12));
        assert!(names.remove(b"b").is_some() && names.remove(b"b").is_none());
        assert_eq!((names.len(), names.bytes), (0, 0));
    }
}
