//! What the sessions of a database did: PgBouncer's statistics.
//!
//! A session counts in numbers of its own and hands them over when a transaction ends, by plain loads and stores on a line that only its worker writes to.
//! Time is read twice for a lone statement, when it goes to its server and when the answer is complete.

use crate::session::Session;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// Databases that are told apart. Names come from clients.
const MAX_DATABASES: usize = 1024;

/// Where what is beyond that is counted.
pub const OTHERS: &str = "(others)";

/// Bytes after which a long transaction hands over what it has counted.
const MUCH: u64 = 1 << 20;

macro_rules! sums {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Sums since the process began. Times are in microseconds.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Sums {
            $($(#[$doc])* pub $name: u64,)*
        }

        /// The same for one worker; no two workers share a cache line. Times are in nanoseconds.
        #[derive(Debug, Default)]
        #[repr(align(64))]
        struct Lane {
            $($name: AtomicU64,)*
        }

        impl Sums {
            /// Adds others to these.
            pub fn add(&mut self, other: &Sums) {
                $(self.$name += other.$name;)*
            }

            /// What these are more than earlier ones.
            pub fn since(&self, earlier: &Sums) -> Sums {
                Sums { $($name: self.$name.saturating_sub(earlier.$name),)* }
            }
        }

        impl Lane {
            fn read(&self) -> Sums {
                Sums { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

sums! {
    /// Servers handed to a session.
    assignments,
    /// Transactions.
    transactions,
    /// Requests that ended with ReadyForQuery.
    queries,
    /// Bytes from clients.
    received,
    /// Bytes from servers.
    sent,
    /// Time in transactions, from their first request to a server to their end.
    transaction_time,
    /// Time in which requests were being answered.
    query_time,
    /// Time clients waited for a server or a node.
    wait_time,
    /// Statements that clients prepared under names.
    client_parses,
    /// Statements that were prepared on servers.
    server_parses,
    /// Bind of such statements.
    binds,
    /// Clients that came in.
    logins,
}

/// One database.
#[derive(Debug)]
pub struct Tally {
    lanes: Box<[Lane]>,
}

impl Tally {
    fn new(workers: usize) -> Tally {
        Tally { lanes: (0..workers.max(1)).map(|_| Lane::default()).collect() }
    }

    /// All workers together.
    pub fn sums(&self) -> Sums {
        let mut sums = Sums::default();
        self.lanes.iter().for_each(|lane| sums.add(&lane.read()));
        for time in [&mut sums.transaction_time, &mut sums.query_time, &mut sums.wait_time] {
            *time /= 1000;
        }
        sums
    }

    fn lane(&self, home: usize) -> &Lane {
        &self.lanes[home % self.lanes.len()]
    }
}

/// All databases, by the names clients use.
#[derive(Debug)]
pub struct Tallies {
    workers: usize,
    known: Mutex<HashMap<Arc<str>, Arc<Tally>>>,
}

impl Tallies {
    /// None yet; each is to be written to by this many workers.
    pub fn new(workers: usize) -> Tallies {
        Tallies { workers, known: Mutex::default() }
    }

    /// That of a database.
    pub fn of(&self, database: &Arc<str>) -> Arc<Tally> {
        let mut known = self.known.lock();
        if let Some(tally) = known.get(database) {
            return tally.clone();
        }
        let name = if known.len() < MAX_DATABASES { database.clone() } else { OTHERS.into() };
        known.entry(name).or_insert_with(|| Arc::new(Tally::new(self.workers))).clone()
    }

    /// Every database with its sums, in order of the names.
    pub fn all(&self) -> Vec<(Arc<str>, Sums)> {
        let mut all: Vec<_> =
            self.known.lock().iter().map(|(name, tally)| (name.clone(), tally.sums())).collect();
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        all
    }
}

/// What a session has counted and not handed over yet.
#[derive(Debug)]
pub(crate) struct Toll {
    tally: Arc<Tally>,
    received: u64,
    sent: u64,
    /// Digest of the settings that others were shown last.
    pub(crate) shown: u64,
    /// When the transaction began that is open on a server.
    begun: Option<Instant>,
    /// When the request went to a server that is being answered.
    asked: Option<Instant>,
}

impl Toll {
    pub(crate) fn new(tally: Arc<Tally>) -> Toll {
        Toll { tally, received: 0, sent: 0, shown: 0, begun: None, asked: None }
    }

    /// Bytes came from the client.
    pub(crate) fn received(&mut self, count: usize) {
        self.received += count as u64;
    }
}

/// Adds where only this worker's thread writes.
fn bump(sum: &AtomicU64, n: u64) {
    if n != 0 {
        sum.store(sum.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Session {
    /// The client was let in.
    pub(crate) fn count_login(&self) {
        bump(&self.toll.tally.lane(self.worker.home).logins, 1);
    }

    /// The session got a server.
    pub(crate) fn count_assignment(&mut self) {
        bump(&self.toll.tally.lane(self.worker.home).assignments, 1);
        self.count_request();
    }

    /// The session had to wait for it.
    pub(crate) fn count_wait(&self, time: Duration) {
        bump(&self.toll.tally.lane(self.worker.home).wait_time, nanos(time));
    }

    /// A request goes to the server.
    pub(crate) fn count_request(&mut self) {
        if self.toll.asked.is_none() {
            let now = Instant::now();
            self.toll.asked = Some(now);
            self.toll.begun.get_or_insert(now);
        }
    }

    /// Bytes came from the server, and the machine has looked at them.
    pub(crate) fn count_answer(&mut self, bytes: usize) {
        self.toll.sent += bytes as u64;
        if self.machine.counts().queries > 0 || self.toll.sent + self.toll.received > MUCH {
            self.hand_over();
        }
    }

    /// Hands over what was counted.
    pub(crate) fn hand_over(&mut self) {
        let counts = self.machine.take_counts();
        let lane = self.toll.tally.lane(self.worker.home);
        bump(&lane.received, std::mem::take(&mut self.toll.received));
        bump(&lane.sent, std::mem::take(&mut self.toll.sent));
        bump(&lane.queries, counts.queries.into());
        bump(&lane.transactions, counts.transactions.into());
        bump(&lane.client_parses, counts.client_parses.into());
        bump(&lane.server_parses, counts.server_parses.into());
        bump(&lane.binds, counts.binds.into());
        if counts.queries == 0 || self.toll.asked.is_none() {
            return;
        }
        let now = Instant::now();
        let asked = self.toll.asked.take();
        bump(&lane.query_time, asked.map_or(0, |asked| nanos(now - asked)));
        if !self.machine.owes_nothing() {
            // More requests of the same pipeline are being answered.
            self.toll.asked = Some(now);
        }
        if counts.transactions > 0 {
            bump(&lane.transaction_time, self.toll.begun.take().map_or(0, |begun| nanos(now - begun)));
            self.toll.begun = self.toll.asked;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_limited() {
        let tallies = Tallies::new(2);
        for at in 0..MAX_DATABASES + 5 {
            bump(&tallies.of(&format!("d{at:04}").into()).lane(at).queries, 1);
        }
        let all = tallies.all();
        assert_eq!(all.len(), MAX_DATABASES + 1);
        assert_eq!((&*all[0].0, all[0].1.queries), (OTHERS, 5));
    }

    #[test]
    fn times_are_told_in_microseconds() {
        let tally = Tally::new(2);
        for home in 0..2 {
            bump(&tally.lane(home).query_time, nanos(Duration::from_micros(7)));
        }
        assert_eq!(tally.sums(), Sums { query_time: 14, ..Sums::default() });
        assert_eq!(tally.sums().since(&Sums { query_time: 4, ..Sums::default() }).query_time, 10);
    }
}
