//! The machine itself: its state, and the walk over frames in both directions. What each message means stands in `simple`, `extended`, `doomed` (requests)
//! and `replies`.

use crate::begin::Begin;
use crate::cached::Keeping;
use crate::effect::Effects;
use crate::flow::Flow;
use crate::loss::Ending;
use crate::names::Names;
use crate::params::Settings;
use crate::pending::{Fate, Kind, MAX_OWED, Owed, Pending};
use crate::pin::Pin;
use crate::prepared::Texts;
use crate::probe::{Probe, Probing};
use crate::reports::Reported;
use crate::server::ServerState;
use crate::step::{Halt, Sink};
use crate::unnamed::{Trust, Unnamed};
use bytes::BytesMut;
use pgherd_wire::backend::Status;
use pgherd_wire::write::Report;
use std::sync::Arc;

/// Most bytes of one message that are held before a decision (query text, the names of Bind, reports of a server). Longer messages flow on.
pub const MAX_HELD: usize = 64 * 1024;

/// Longest Parse that is remembered, so that it can be prepared again elsewhere. A longer one pins its session.
pub const MAX_PREPARED: usize = 1024 * 1024;

/// What the machine needs to know about the session once.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Prepared statements per server connection (`max_prepared_statements`).
    pub max_prepared_statements: usize,
    /// Statements one client may have prepared under names; above it PostgreSQL's out-of-memory answer is given.
    pub max_client_statements: usize,
    /// The pool's mode is `session`: the server is kept to the end.
    pub session_mode: bool,
    /// When a server is asked what a session has left in it.
    pub probing: Probing,
    /// What becomes of statements without a name.
    pub unnamed: Keeping,
}

/// A portal whose execution changes the session.
#[derive(Clone, Debug)]
pub(crate) struct Bound {
    pub(crate) portal: Box<[u8]>,
    pub(crate) effects: Effects,
}

/// What becomes of one message of the client.
pub(crate) enum Verdict {
    /// It goes on.
    Pass,
    /// It is dropped.
    Skip,
    /// This many bytes of its front were replaced by what was composed; the rest goes on.
    Replaced(usize),
    /// Nothing is decided: stop here.
    Stop(Halt),
}

/// One session's state machine.
#[derive(Debug)]
pub struct Machine {
    pub(crate) id: u64,
    pub(crate) limits: Limits,
    pub(crate) texts: Arc<Texts>,
    pub(crate) server: Option<Box<ServerState>>,
    pub(crate) owed: Pending,
    /// Transaction status: as the server told last, or as we answered in its place.
    pub(crate) status: Status,
    pub(crate) up: Flow,
    pub(crate) down: Flow,
    /// An error came: the client's messages are dropped until its Sync.
    pub(crate) discard: bool,
    /// Extended requests went out since the last Sync.
    pub(crate) batch: bool,
    /// How many Syncs went out: the number of the present batch.
    pub(crate) batches: u64,
    /// The server is in COPY IN.
    pub(crate) copy_in: bool,
    /// A BEGIN that was answered but not sent.
    pub(crate) begin: Option<Box<Begin>>,
    /// The BEGIN sent before the present request, kept for a rewind.
    pub(crate) begun: Option<Box<Begin>>,
    pub(crate) names: Names,
    /// A Parse or a Close of a named statement may be on its way.
    pub(crate) has_named: bool,
    /// The server may have statements of SQL's PREPARE under the session's own names.
    pub(crate) has_real: bool,
    /// A Query on its way gives or takes names.
    pub(crate) naming: bool,
    pub(crate) unnamed: Unnamed,
    /// The batch in which it was made, or closed, last.
    pub(crate) unnamed_in: u64,
    pub(crate) unnamed_effects: Option<Box<Effects>>,
    /// The portal bound last, when executing it has effects.
    pub(crate) bound: Option<Box<Bound>>,
    /// The worst that executing a portal of this transaction can do to its block.
    pub(crate) bound_ending: Ending,
    /// The block ends with the portal bound last.
    pub(crate) bound_closes: bool,
    pub(crate) startup: Settings,
    /// What the client was told of them.
    pub(crate) reported: Arc<Reported>,
    pub(crate) settings: Settings,
    /// Settings (session's, server's) as they were before this transaction changed them.
    pub(crate) before: Option<(Settings, Settings)>,
    /// The settings before the first RESET since the last ReadyForQuery.
    pub(crate) reset_from: Option<Settings>,
    /// Since the last ReadyForQuery a ROLLBACK was confirmed.
    pub(crate) rolled_back: bool,
    /// Since the last ReadyForQuery settings were changed around a ROLLBACK: which of them are in force is not known.
    pub(crate) mixed: bool,
    /// Since the last ReadyForQuery an error came.
    pub(crate) failed: bool,
    /// A command of this transaction may have changed settings, so ParameterStatus is no surprise.
    pub(crate) touched: bool,
    /// What is executed by the requests in flight may be another statement than was foreseen.
    pub(crate) unproven: bool,
    pub(crate) pin: Option<Pin>,
    pub(crate) probe: Probe,
    pub(crate) vacates: Option<Box<[u8]>>,
    pub(crate) redefined: bool,
    /// A request in flight may have committed something by the time its server is lost.
    pub(crate) uncertain: bool,
    /// A request in flight may end the transaction block, so what follows it may run outside of one.
    pub(crate) leaving: bool,
    /// The server must run this session read-only (a replica listener that fell back to the primary).
    pub(crate) read_only: bool,
    /// Something of the present request's reply went to the client.
    pub(crate) relayed: bool,
    /// The server said it is going away; its words.
    pub(crate) fatal: Option<Box<[u8]>>,
    pub(crate) doomed: Option<crate::doomed::Doomed>,
    /// Units one by one, and how many there were.
    pub(crate) turns: crate::turns::Turns,
    /// The block that could go on elsewhere.
    pub(crate) block: Option<Box<crate::block::Block>>,
    /// What whoever chooses servers wants to know.
    pub(crate) watch: crate::turns::Watch,
    /// A setting that holds the answer to a question, for one unit.
    pub(crate) lent: Option<Box<crate::asked::Lent>>,
    pub(crate) counts: crate::counts::Counts,
    /// The statement at the front fails with this, on the server that has its transaction.
    pub(crate) veto: Option<Box<Report>>,
    /// The message at the front gets this answer and no server.
    pub(crate) refusal: Option<Box<Report>>,
}

impl Machine {
    /// A session that holds no server. `id` must be unique in the process and not 0.
    pub fn new(id: u64, texts: Arc<Texts>, startup: Settings, limits: Limits) -> Machine {
        Machine {
            id,
            pin: limits.session_mode.then_some(Pin::SessionMode),
            probe: Probe::default(),
            vacates: None,
            redefined: false,
            limits,
            texts,
            server: None,
            owed: Pending::default(),
            status: Status::Idle,
            up: Flow::default(),
            down: Flow::default(),
            discard: false,
            batch: false,
            batches: 0,
            copy_in: false,
            begin: None,
            begun: None,
            names: Names::default(),
            has_named: false,
            has_real: false,
            naming: false,
            unnamed: Unnamed::default(),
            unnamed_in: 0,
            unnamed_effects: None,
            bound: None,
            bound_ending: Ending::default(),
            bound_closes: false,
            settings: startup.clone(),
            startup,
            reported: Arc::default(),
            before: None,
            reset_from: None,
            rolled_back: false,
            touched: false,
            mixed: false,
            failed: false,
            unproven: false,
            uncertain: false,
            leaving: false,
            read_only: false,
            relayed: false,
            fatal: None,
            doomed: None,
            turns: Default::default(),
            block: None,
            watch: Default::default(),
            lent: None,
            counts: Default::default(),
            veto: None,
            refusal: None,
        }
    }

    /// Gives the session a server. With `read_only`, transactions on it default to READ ONLY.
    pub fn attach(&mut self, mut server: Box<ServerState>, read_only: bool) {
        let others = server.guest != 0 && server.guest != self.id;
        (server.is_lent, server.foreign) = (server.is_lent | others, server.vague && others);
        server.guest = self.id;
        self.server = Some(server);
        self.read_only = read_only;
        self.relayed = false;
        self.fatal = None;
        self.turns = Default::default();
        self.has_real = false;
        self.unnamed.mark();
    }

    /// Takes the server away: after [`Machine::is_free`], or at the end of the session, when it may be dirty.
    pub fn detach(&mut self) -> Option<Box<ServerState>> {
        self.take_back();
        let mut server = self.server.take()?;
        if server.loaded {
            server.dirty = Some(Pin::Load);
        } else if std::mem::take(&mut self.probe.due) {
            server.dirty = Some(Pin::Unprovable);
        } else if server.dirty.is_none() {
            server.dirty = self.pin.filter(|pin| *pin != Pin::SessionMode || self.limits.session_mode);
        }
        self.owed.shrink();
        self.unnamed.shrink();
        self.begun = None;
        Some(server)
    }

    /// The server is of no more use: nothing is owed, no transaction is open, no message is half-way, and nothing pins it.
    #[inline]
    pub fn is_free(&self) -> bool {
        self.server.is_some() && self.pin.is_none() && !self.probe.due && self.is_between_transactions()
    }

    /// Nothing is owed, no transaction is open, no message is half-way.
    #[inline]
    pub fn is_between_transactions(&self) -> bool {
        self.owed.is_empty()
            && self.status == Status::Idle
            && !self.batch
            && !self.copy_in
            && self.down.left == 0
            && self.up.left == 0
            && self.begin.is_none()
            && self.doomed.is_none()
    }

    /// What was counted since [`Machine::take_counts`].
    pub fn counts(&self) -> &crate::counts::Counts {
        &self.counts
    }

    /// The same, and counting begins anew.
    pub fn take_counts(&mut self) -> crate::counts::Counts {
        std::mem::take(&mut self.counts)
    }

    /// Holds a server.
    pub fn is_attached(&self) -> bool {
        self.server.is_some()
    }

    /// Transaction status as the client knows it.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Nothing is owed to the client: whatever happens next begins with its own request.
    pub fn owes_nothing(&self) -> bool {
        self.owed.is_empty()
    }

    /// After [`Halt::Full`]: so many replies came that it is worth looking at the client's bytes again.
    pub fn has_room(&self) -> bool {
        self.owed.len() <= MAX_OWED / 2 && !self.unnamed.hoping
    }

    /// Why the server is kept, if it is.
    pub fn pin(&self) -> Option<Pin> {
        self.pin
    }

    /// The server's last words, when it said it goes away.
    pub fn fatal(&self) -> Option<&[u8]> {
        self.fatal.as_deref()
    }

    /// A frame to the client is half-way: nothing else may be put into its stream.
    pub fn is_mid_reply(&self) -> bool {
        self.down.left > 0 && !self.down.skip
    }

    /// A message to the server is half-way: nothing else may be put into its stream.
    pub fn is_mid_request(&self) -> bool {
        self.up.left > 0 && !self.up.skip
    }

    /// The session's settings as they are now.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Prepared statements under names.
    pub fn statement_count(&self) -> usize {
        self.names.len()
    }

    pub(crate) fn pin_for(&mut self, pin: Pin) {
        self.has_real |= pin == Pin::SqlPrepare;
        // What no server can be asked about outlasts what one can: the pin must not end with the latter.
        self.pin = self.pin.filter(|old| pin.is_visible() || !old.is_visible()).or(Some(pin));
        self.suspect(pin);
    }

    /// Owes one reply to a request of the client that goes on.
    pub(crate) fn owe(&mut self, kind: Kind) -> &mut Owed {
        if kind.ends_unit() {
            self.turns.units += 1;
            self.unnamed.trust = Trust::None;
        }
        self.owed.push(Owed::new(kind, Fate::Forward))
    }
}

/// Composes an answer to the client.
pub(crate) fn answer(down: &mut impl Sink, write: impl FnOnce(&mut BytesMut)) {
    down.compose(write);
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
