//! One admitted client, from its welcome to its goodbye.

use crate::answer;
use crate::card::Who;
use crate::cards::{Entry, LONG_SECRET};
use crate::session::{End, Session};
use crate::shared::{Shared, Worker};
use crate::tally::Toll;
use crate::terms::Terms;
use bytes::BytesMut;
use pgherd_login::door::{Admitted, Protocol};
use pgherd_net::transport::Transport;
use pgherd_route::intent::Routing;
use pgherd_session::machine::{Limits, Machine};
use pgherd_session::params::Settings;
use pgherd_session::pin::Pin;
use pgherd_wire::frame::HEADER_LEN;
use pgherd_wire::write::Report;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;

/// Time a client has to take its last words.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(2);

/// Statements one client may have prepared under names.
const MAX_CLIENT_STATEMENTS: usize = 100_000;

/// Serves one client until it leaves.
pub async fn serve(shared: Arc<Shared>, worker: Arc<Worker>, listener: Arc<str>, admitted: Box<Admitted>) {
    let who = Who::of(listener, &admitted);
    let Admitted { mut transport, settings, replication, protocol, unsent, unread, .. } = *admitted;
    let startup =
        Settings::from_startup(settings.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
    let (terms, entry) = match enter(&shared, who, &startup, replication.is_some(), protocol) {
        Ok(entered) => entered,
        Err(report) => return dismiss(&mut transport, &unsent, &report).await,
    };
    let limits = limits(&terms);
    let toll = Box::new(Toll::new(shared.tallies.of(&terms.name)));
    let shared_written = shared.written(&terms.database);
    let splits = terms.routing == Routing::Any;
    let book = splits.then(|| shared.library.book(&shared, &terms.database, &terms.user));
    let mut session = Session {
        machine: Machine::new(entry.card.id, shared.texts.clone(), startup, limits),
        random: seed(&shared),
        shared,
        worker,
        toll,
        written: shared_written,
        terms,
        client: transport,
        desk: None,
        entry,
        slot: Arc::default(),
        pools: Vec::new(),
        want_up: HEADER_LEN,
        want_down: HEADER_LEN,
        avoid: None,
        reruns: 0,
        wish: Default::default(),
        why: None,
        manner: Default::default(),
        floors: Default::default(),
        book,
        unflushed: None,
        unlooked: None,
        chance: false,
        crowded: false,
        leaving: false,
        waker: None,
    };
    session.machine.check_settings(crate::manner::refusal);
    if splits {
        session.machine.watch_commits();
    }
    session.take_in(&unread);
    let end = match Box::pin(session.welcome(&unsent)).await {
        Ok(held) => {
            drop((unsent, unread));
            // The client has not asked for anything yet.
            session.why = None;
            session.log_arrival();
            session.count_login();
            session.run(held).await
        }
        Err(End::Told(report)) => {
            let client = &mut session.client;
            dismiss(client, &unsent, &report).await;
            return;
        }
        Err(end) => end,
    };
    Box::pin(session.goodbye(end)).await;
}

fn limits(terms: &Terms) -> Limits {
    Limits {
        max_prepared_statements: terms.max_prepared_statements,
        max_client_statements: MAX_CLIENT_STATEMENTS,
        session_mode: terms.mode == crate::terms::Mode::Session,
        probing: terms.probing,
        unnamed: terms.unnamed,
    }
}

fn enter(
    shared: &Arc<Shared>,
    who: Who,
    startup: &Settings,
    replication: bool,
    protocol: Protocol,
) -> Result<(Terms, Entry), Report> {
    if replication {
        return Err(answer::no_replication());
    }
    if let Some(report) = crate::manner::refusal_at_login(startup) {
        return Err(report);
    }
    let steward = shared.steward.read().clone();
    let terms = steward
        .terms(&who.listener, &who.database, &who.user)
        .map_err(|_| answer::unknown_database(&who.database))?;
    if shared.disabled.read().contains(&*terms.name) {
        return Err(answer::disabled(&who.database));
    }
    let mut secret = vec![0; if protocol >= Protocol::V3_2 { LONG_SECRET } else { 4 }];
    (shared.random)(&mut secret);
    let entry = shared
        .cards
        .enter(who, &terms, steward.max_clients(), secret.into(), shared.now())
        .map_err(|full| answer::full(&full))?;
    Ok((terms, entry))
}

fn seed(shared: &Shared) -> u64 {
    let mut bytes = [0; 8];
    (shared.random)(&mut bytes);
    // xorshift stands still at 0.
    u64::from_ne_bytes(bytes) | 1
}

/// Last words to a client that has no session yet.
async fn dismiss(client: &mut Transport, unsent: &[u8], report: &Report) {
    let mut out = BytesMut::from(unsent);
    report.write(&mut out);
    let say = async {
        client.write_all(&out).await?;
        client.shutdown().await
    };
    let _ = tokio::time::timeout(GOODBYE_TIMEOUT, say).await;
}

impl Session {
    /// What the client sent before it was welcome.
    fn take_in(&mut self, unread: &[u8]) {
        if !unread.is_empty() {
            self.desk().up.push_input(unread);
        }
    }

    fn log_arrival(&self) {
        if self.shared.steward.read().visits().arrivals {
            let card = &self.entry.card;
            let client = card.who.peer.map(tracing::field::display);
            tracing::info!(session = card.id, client, listener = %card.who.listener, user = %card.who.user, database = %card.who.database, "connection authorized");
        }
    }

    fn log_departure(&self, end: &End) {
        let (card, pin) = (&self.entry.card, self.machine.pin().map(Pin::word));
        let (code, why) = match end {
            End::Left => (None, "client left".into()),
            End::Gone(why) => (None, format!("client connection lost: {why}")),
            End::Told(report) => (Some(report.code), report.message.clone()),
        };
        if self.shared.steward.read().visits().departures {
            let seconds = self.shared.now().saturating_sub(card.came) / 1000;
            let client = card.who.peer.map(tracing::field::display);
            tracing::info!(session = card.id, client, listener = %card.who.listener, user = %card.who.user, database = %card.who.database, seconds, pin, code, why, "disconnection");
        } else if code.is_some() {
            tracing::info!(session = card.id, user = %card.who.user, code, why, "session ended");
        } else {
            tracing::debug!(session = card.id, pin, why, "session ended");
        }
    }

    async fn goodbye(mut self, end: End) {
        self.worker.counters.goodbyes.add(1);
        self.hand_over();
        self.log_departure(&end);
        let told = match end {
            End::Gone(_) => return,
            // A message that is half-way cannot be followed by another one.
            End::Told(report) if !self.machine.is_mid_reply() => Some(report),
            End::Told(_) | End::Left => None,
        };
        let desk = self.desk.get_or_insert_with(|| self.worker.desks.take());
        if let Some(report) = told {
            desk.down.plan().compose(|out| report.write(out));
        }
        let client = &mut self.client;
        let say = async {
            std::future::poll_fn(|cx| desk.down.poll_drain(cx, client)).await?;
            client.shutdown().await
        };
        let _ = tokio::time::timeout(GOODBYE_TIMEOUT, say).await;
    }
}
