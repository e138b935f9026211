//! A session as others see it, and the bell they ring.

use parking_lot::Mutex;
use pgherd_login::door::{Admitted, Peer};
use pgherd_session::pin::Pin;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::task::Waker;

/// What a session is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Doing {
    /// Waits for its client, outside a transaction.
    Idle,
    /// Waits for its client, inside a transaction.
    IdleInTransaction,
    /// A request is being answered.
    Active,
    /// Waits for a server, or for a node.
    Waiting,
}

impl Doing {
    const ALL: [Doing; 4] = [Doing::Idle, Doing::IdleInTransaction, Doing::Active, Doing::Waiting];

    /// The word used in tables and as metric label.
    pub fn word(self) -> &'static str {
        match self {
            Doing::Idle => "idle",
            Doing::IdleInTransaction => "idle_in_transaction",
            Doing::Active => "active",
            Doing::Waiting => "waiting",
        }
    }
}

/// What others want of a session; several may ring at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Bell {
    /// The server it holds is not to be used any more: the node was fenced.
    Cut = 1,
    /// An operator ends the session.
    Kill = 2,
    /// pgherd shuts down: leave when idle.
    Drain = 4,
    /// pgherd shuts down and waits no longer.
    Stop = 8,
    /// `client_idle_timeout` passed.
    ClientIdle = 16,
    /// `idle_in_transaction_timeout` passed.
    IdleInTransaction = 32,
    /// `query_timeout` passed.
    QueryTimeout = 64,
    /// Idle for a while: buffers go back.
    Rest = 128,
}

/// Who a session is, and where its client comes from.
#[derive(Clone, Debug)]
pub struct Who {
    /// Name of the listener.
    pub listener: Arc<str>,
    /// Database as the client asked for it.
    pub database: Arc<str>,
    /// Authenticated user.
    pub user: Arc<str>,
    /// The client's address; `None` for a Unix socket.
    pub peer: Option<SocketAddr>,
    /// The address it came to; `None` for a Unix socket.
    pub local: Option<SocketAddr>,
    /// TLS version and cipher suite, with TLS.
    pub encryption: Option<Box<str>>,
    /// What the client called itself when it came.
    pub application: Box<str>,
}

impl Who {
    /// A client that was let in by this listener.
    pub fn of(listener: Arc<str>, admitted: &Admitted) -> Who {
        // Of two settings with the same name the later counts.
        let application = admitted.settings.iter().rev().find(|(name, _)| &**name == "application_name");
        Who {
            listener,
            database: admitted.database.clone(),
            user: admitted.user.clone(),
            peer: match &admitted.peer {
                Peer::Tcp(address) => Some(*address),
                Peer::Unix(_) => None,
            },
            local: admitted.transport.local_addr(),
            encryption: admitted.transport.encryption(),
            application: application.map(|(_, value)| value.clone()).unwrap_or_default(),
        }
    }
}

/// Marks the number of the held server while a cancel request is bound to it.
const CANCELLING: u64 = 1 << 63;

/// One session's card.
#[derive(Debug)]
pub struct Card {
    /// Number of the session, unique in the process.
    pub id: u64,
    /// Slot in the register, and "process id" of the key the client got.
    pub slot: u32,
    /// Secret of the key the client got.
    pub secret: Box<[u8]>,
    /// Who it is.
    pub who: Who,
    /// When it came in, in milliseconds of the process.
    pub came: u64,
    /// Limits in time.
    pub timeouts: crate::terms::Timeouts,
    doing: AtomicU8,
    since: AtomicU64,
    /// Statements prepared under names when it was last between two transactions.
    pub statements: AtomicUsize,
    /// What the client calls itself now, when that is something else than at first.
    renamed: Mutex<Option<Box<str>>>,
    bells: AtomicU32,
    waker: Mutex<Option<Waker>>,
    /// Why it keeps its server: place in [`Pin::ALL`] plus one, 0 for no reason.
    pin: AtomicU8,
    /// Number of the server it holds, 0 for none; with [`CANCELLING`] while a cancel request is on its way there.
    held: AtomicU64,
}

impl Card {
    /// A card for a session that is just coming in.
    pub fn new(
        id: u64,
        slot: u32,
        secret: Box<[u8]>,
        who: Who,
        timeouts: crate::terms::Timeouts,
        now: u64,
    ) -> Card {
        Card {
            id,
            slot,
            secret,
            statements: AtomicUsize::new(0),
            renamed: Mutex::new(None),
            who,
            came: now,
            timeouts,
            doing: AtomicU8::new(Doing::Waiting as u8),
            since: AtomicU64::new(now),
            bells: AtomicU32::new(0),
            waker: Mutex::new(None),
            pin: AtomicU8::new(0),
            held: AtomicU64::new(0),
        }
    }

    /// What the session is doing, and since when (milliseconds of the process).
    pub fn doing(&self) -> (Doing, u64) {
        let doing = Doing::ALL[usize::from(self.doing.load(Ordering::Relaxed)) % Doing::ALL.len()];
        (doing, self.since.load(Ordering::Relaxed))
    }

    /// The session does something else now.
    #[inline]
    pub fn does(&self, doing: Doing, now: u64) {
        self.doing.store(doing as u8, Ordering::Relaxed);
        self.since.store(now, Ordering::Relaxed);
    }

    /// The session keeps its server for this reason, or for none.
    pub(crate) fn set_pin(&self, pin: Option<Pin>) {
        let at = |pin| Pin::ALL.iter().position(|one| *one == pin).map_or(0, |at| at as u8 + 1);
        self.pin.store(pin.map_or(0, at), Ordering::Relaxed);
    }

    /// Why the session keeps its server, if it does.
    pub fn pin(&self) -> Option<Pin> {
        let at = usize::from(self.pin.load(Ordering::Relaxed)).checked_sub(1)?;
        Pin::ALL.get(at).copied()
    }

    /// What the client calls itself now (`application_name`).
    pub fn application(&self) -> String {
        self.renamed.lock().as_deref().unwrap_or(&self.who.application).to_owned()
    }

    /// The client calls itself so from now on.
    pub(crate) fn rename(&self, application: &str) {
        *self.renamed.lock() = Some(application.into());
    }

    /// Rings: the session sees it at its next step.
    pub fn ring(&self, bell: Bell) {
        self.bells.fetch_or(bell as u32, Ordering::AcqRel);
        if let Some(waker) = &*self.waker.lock() {
            waker.wake_by_ref();
        }
    }

    /// Who is to be woken by a bell.
    pub fn listen(&self, waker: &Waker) {
        let mut current = self.waker.lock();
        if !current.as_ref().is_some_and(|current| current.will_wake(waker)) {
            *current = Some(waker.clone());
        }
    }

    /// Bells that ring, as a bit set.
    #[inline]
    pub fn bells(&self) -> u32 {
        self.bells.load(Ordering::Acquire)
    }

    /// This bell was heeded.
    pub fn heed(&self, bell: Bell) {
        self.bells.fetch_and(!(bell as u32), Ordering::AcqRel);
    }

    /// The session holds the server of this number now.
    #[inline]
    pub fn hold(&self, number: u64) {
        self.held.store(number, Ordering::Release);
    }

    /// The session holds no server any more. True when a cancel request is under way to the one it held: then nobody else may use that.
    #[must_use]
    #[inline]
    pub fn let_go(&self) -> bool {
        self.held.swap(0, Ordering::AcqRel) & CANCELLING != 0
    }

    /// Number of the server it holds.
    pub fn held_server(&self) -> Option<u64> {
        Some(self.held.load(Ordering::Acquire) & !CANCELLING).filter(|number| *number != 0)
    }

    /// Binds a cancel request to the server held now; while it is bound, that server goes to nobody else. `None` when the session holds none, or one that is
    /// being cancelled already.
    pub(crate) fn bind_cancel(&self) -> Option<u64> {
        let held = self.held.load(Ordering::Acquire);
        if held == 0 || held & CANCELLING != 0 {
            return None;
        }
        self.held.compare_exchange(held, held | CANCELLING, Ordering::AcqRel, Ordering::Relaxed).ok()
    }

    /// The cancel request was delivered, or failed.
    pub(crate) fn unbind_cancel(&self, number: u64) {
        // When the session let go meanwhile there is nothing to unbind.
        let _ = self.held.compare_exchange(number | CANCELLING, number, Ordering::AcqRel, Ordering::Relaxed);
    }
}
