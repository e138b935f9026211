//! Databases that somebody wants for himself (to drop, rename or copy them): where no client of ours is connected, no idle connection of ours stands in the way.

use crate::shared::Shared;

/// Milliseconds for which PostgreSQL waits for others to leave before it refuses (`CountOtherDBBackends`).
const PATIENCE: u64 = 5_000;

/// Most databases that are vacated at once; who comes when there are more is refused by PostgreSQL if connections are left.
const MAX_VACATING: usize = 256;

/// A database that should be left alone for a while.
#[derive(Debug)]
pub(crate) struct Vacating {
    database: Box<str>,
    until: u64,
}

impl Shared {
    /// A request on its way needs this database to be left alone: its idle connections are closed, now and for as long as PostgreSQL waits. A client that is
    /// connected keeps them: directly it would be in the way, too.
    pub(crate) fn vacate(&self, database: &[u8]) {
        let Ok(database) = std::str::from_utf8(database) else { return };
        {
            let mut vacating = self.vacating.lock();
            vacating.retain(|one| *one.database != *database);
            if vacating.len() >= MAX_VACATING {
                return;
            }
            vacating.push(Vacating { database: database.into(), until: self.now() + PATIENCE });
        }
        self.go_on_vacating();
    }

    /// Clients may have left since, and connections may have come back from them.
    pub(crate) fn go_on_vacating(&self) {
        let mut vacating = self.vacating.lock();
        if vacating.is_empty() {
            return;
        }
        let now = self.now();
        vacating.retain(|one| now < one.until);
        for one in vacating.iter().filter(|one| !self.cards.has_database(&one.database)) {
            self.pools.vacate(&one.database);
        }
    }
}
