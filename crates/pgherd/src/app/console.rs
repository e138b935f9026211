//! The console's place in the process: who is let in, who is there, and how they are reached.

mod acts;
mod facts;
mod office;
mod ours;
pub mod setting;
mod sockets;
pub mod statistics;
mod tables;

use crate::app::House;
use bytes::BytesMut;
use parking_lot::Mutex;
use pgherd_admin::console::office::Standing;
use pgherd_admin::console::talk::Speaker;
use pgherd_admin::console::visit::{self, Call};
use pgherd_login::door::Admitted;
use pgherd_net::transport::Transport;
use pgherd_proxy::card::Who;
use pgherd_proxy::cards::LONG_SECRET;
use pgherd_wire::sqlstate::code;
use pgherd_wire::write::{Report, Severity};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// Names that mean the console, unless a `[[database]]` has them.
pub const DATABASES: [&str; 2] = ["pgherd", PGBOUNCER];

/// The name tools for PgBouncer use.
const PGBOUNCER: &str = "pgbouncer";

/// Clients of the console at once.
const MAX_GUESTS: usize = 64;

/// "Process ids" of the console's clients begin here; those of sessions are smaller, or a server's own.
const FIRST_PID: i32 = 0x7000_0000;

/// Time a refused client has to take its last words.
const GOODBYE: Duration = Duration::from_secs(2);

/// One client of the console, as others see it.
pub struct Guest {
    /// Number, unique among all clients.
    pub id: u64,
    /// Who it is.
    pub who: Who,
    /// When it came, in milliseconds of the process.
    pub came: u64,
    pid: i32,
    secret: Box<[u8]>,
    calls: watch::Sender<Call>,
}

/// All clients of the console. They have a thread of their own: a long table delays neither traffic nor a probe.
pub struct Consoles {
    runtime: Handle,
    guests: Mutex<BTreeMap<u64, Arc<Guest>>>,
    /// Commands so far.
    pub asked: AtomicU64,
    /// Clients so far.
    pub came: AtomicU64,
}

impl Consoles {
    /// Starts the thread; it runs until the process ends.
    ///
    /// # Errors
    /// When the thread or its event loop cannot be made.
    pub fn start() -> io::Result<Consoles> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        std::thread::Builder::new()
            .name("console".into())
            .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
        Ok(Consoles {
            runtime: handle,
            guests: Mutex::default(),
            asked: AtomicU64::new(0),
            came: AtomicU64::new(0),
        })
    }

    /// Runs something on the console's thread for as long as the process serves.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(task);
    }

    /// Everybody who is there.
    pub fn guests(&self) -> Vec<Arc<Guest>> {
        self.guests.lock().values().cloned().collect()
    }

    /// Delivers a cancel request; false when its key is of no client of the console. Compares in constant time.
    pub fn cancel(&self, pid: i32, secret: &[u8]) -> bool {
        let guests = self.guests.lock();
        let is_meant = |guest: &&Arc<Guest>| {
            let differs = guest.secret.iter().zip(secret).fold(0, |seen, (a, b)| seen | (a ^ b));
            guest.pid == pid && guest.secret.len() == secret.len() && differs == 0
        };
        let found = guests.values().find(is_meant);
        found.map(|guest| guest.calls.send_replace(Call::Cancel)).is_some()
    }

    /// Sends a client away; false when there is none of this number.
    pub fn kill(&self, id: u64) -> bool {
        let guests = self.guests.lock();
        let call = || Call::Leave(pgherd_proxy::answer::killed());
        guests.get(&id).map(|guest| guest.calls.send_replace(call())).is_some()
    }

    /// Sends everybody away: pgherd ends.
    pub fn close(&self) {
        for guest in self.guests.lock().values() {
            guest.calls.send_replace(Call::Leave(pgherd_proxy::answer::shutdown()));
        }
    }
}

/// A place among the guests, given up when dropped.
struct Place {
    house: Arc<House>,
    guest: Arc<Guest>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.house.consoles.guests.lock().remove(&self.guest.id);
    }
}

/// Serves a client that asked for the console, until it leaves.
pub async fn enter(house: Arc<House>, listener: Arc<str>, admitted: Box<Admitted>) {
    let mut admitted = admitted;
    let standing = match objection(&house, &admitted) {
        Ok(standing) => standing,
        Err(report) => {
            tracing::info!(peer = %admitted.peer, user = %admitted.user, why = report.message, "not let into the console");
            return dismiss(&mut admitted.transport, &admitted.unsent, &report).await;
        }
    };
    let (place, calls) = take_place(house.clone(), listener, &admitted);
    let Admitted { transport, user, database, unsent, unread, .. } = *admitted;
    let office = Arc::new(office::Office::new(house.clone()));
    let version = office.version_for(&database).into();
    let arrival = visit::Arrival {
        speaker: Speaker { user, database, standing, version },
        pid: place.guest.pid,
        secret: place.guest.secret.clone(),
        unsent,
        unread,
        calls,
    };
    let visit = visit::visit(transport, arrival, office);
    let done = house.consoles.runtime.spawn(async move {
        let _place = place;
        visit.await;
    });
    // The socket lives on this worker's event loop, and counts there.
    let _ = done.await;
}

fn objection(house: &House, admitted: &Admitted) -> Result<Standing, Report> {
    if admitted.replication.is_some() {
        return Err(pgherd_proxy::answer::no_replication());
    }
    let fatal = |code, what: &str| Report::new(Severity::Fatal, code, what);
    let Some(standing) = house.keeper.read().standing(&admitted.user) else {
        let report = fatal(code::INVALID_AUTHORIZATION, "not allowed");
        return Err(
            report.detail("Only the users in auth.admin_users and auth.stats_users may use the console.")
        );
    };
    if house.consoles.guests.lock().len() >= MAX_GUESTS {
        return Err(fatal(code::TOO_MANY_CONNECTIONS, "too many clients of the console"));
    }
    Ok(standing)
}

fn take_place(house: Arc<House>, listener: Arc<str>, admitted: &Admitted) -> (Place, watch::Receiver<Call>) {
    let (sender, calls) = watch::channel(Call::Nothing);
    let long = admitted.protocol >= pgherd_login::door::Protocol::V3_2;
    let mut secret = vec![0; if long { LONG_SECRET } else { 4 }];
    (house.shared.random)(&mut secret);
    let id = house.shared.cards.next_id();
    let guest = Arc::new(Guest {
        id,
        who: Who::of(listener, admitted),
        came: house.shared.now(),
        pid: FIRST_PID | (id as i32 & 0x00ff_ffff),
        secret: secret.into(),
        calls: sender,
    });
    house.consoles.guests.lock().insert(id, guest.clone());
    house.consoles.came.fetch_add(1, Ordering::Relaxed);
    (Place { house, guest }, calls)
}

/// Last words to a client that is not let in.
async fn dismiss(transport: &mut Transport, unsent: &[u8], report: &Report) {
    let mut out = BytesMut::from(unsent);
    report.write(&mut out);
    let say = async {
        transport.write_all(&out).await?;
        transport.shutdown().await
    };
    let _ = tokio::time::timeout(GOODBYE, say).await;
}
