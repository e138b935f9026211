//! What a client is told when it comes in: the settings a direct connection would report.

use crate::answer;
use crate::checkout::Held;
use crate::session::{End, Session};
use crate::terms::Mode;
use crate::wish::Wish;
use bytes::BytesMut;
use pgherd_pool::exchange::{Failed, Parameters, simple};
use pgherd_route::floor::Floors;
use pgherd_route::intent::{Class, Preference, Routing};
use pgherd_session::params::{Settings, Value};
use pgherd_session::server::ServerState;
use pgherd_wire::backend::{Fields, Status};
use pgherd_wire::write::{self, Report, Severity};
use std::sync::Arc;
use std::time::Duration;

/// Startup settings whose report is remembered, over all users and databases; above it all are forgotten.
const MAX_WELCOMES: usize = 4096;

/// Time a server has to take a session's startup settings.
const SETTINGS_TIMEOUT: Duration = Duration::from_secs(10);

impl Session {
    /// Lets the client in: proves its startup settings on a server (once for each different set of them), then sends settings, key and ReadyForQuery. In pool mode
    /// `session` the server it will keep is taken now.
    pub(crate) async fn welcome(&mut self, unsent: &[u8]) -> Result<Option<Held>, End> {
        let startup = self.machine.settings().clone();
        let name = plain_name(&startup);
        let proven = if name.is_some() { startup.with(b"application_name", None) } else { startup };
        let key = (self.terms.database.clone(), self.terms.user.clone(), proven.digest());
        let known = self.shared.welcomes.lock().get(&key).cloned();
        let reported = match known {
            Some(reported) => reported,
            None => {
                let reported = Arc::new(self.prove(&proven).await?);
                let mut welcomes = self.shared.welcomes.lock();
                if welcomes.len() >= MAX_WELCOMES {
                    welcomes.clear();
                }
                welcomes.insert(key, reported.clone());
                reported
            }
        };
        self.machine.set_reported(reported.clone());
        let held = match self.terms.mode {
            Mode::Session => Some(self.take_own().await?),
            Mode::Transaction | Mode::Statement => None,
        };
        let mut out = BytesMut::with_capacity(1024);
        out.extend_from_slice(unsent);
        for (parameter, value) in reported.iter() {
            let value = match &**parameter {
                b"application_name" => name.as_deref().unwrap_or(value),
                // The client asked for it itself.
                b"default_transaction_read_only"
                    if self.machine.settings().get(b"default_transaction_read_only").is_some() =>
                {
                    value
                }
                // Drivers choose among several hosts by these two; they speak of what the listener is for, not of the node that answered.
                b"in_hot_standby" | b"default_transaction_read_only" => match self.terms.routing {
                    Routing::Replicas => &b"on"[..],
                    Routing::Primary | Routing::Any => b"off",
                },
                _ => value,
            };
            write::parameter_status(&mut out, parameter, value);
        }
        write::backend_key(&mut out, self.entry.pid(), &self.entry.card.secret);
        write::ready(&mut out, Status::Idle);
        self.desk().down.plan().compose(|to| to.extend_from_slice(&out));
        // The client has read nothing and written nothing yet.
        self.floors = Floors::default();
        Ok(held)
    }

    /// A server for the whole session.
    async fn take_own(&mut self) -> Result<Held, End> {
        self.wish = Wish::default();
        match self.acquire().await? {
            Ok(mut held) => {
                self.entry.show(held.server().identity.pid);
                Ok(held)
            }
            Err(why) => {
                let mut report = answer::unserved(&why);
                report.severity = Severity::Fatal;
                Err(End::Told(report))
            }
        }
    }

    /// Applies the settings on a server and reads what it reports.
    async fn prove(&mut self, settings: &Settings) -> Result<Parameters, End> {
        if self.terms.routing == Routing::Any {
            // Without a primary a client may come in all the same.
            let preference = Some(Preference::PrimaryPreferred);
            self.wish = Wish { class: Class::Read, lone: true, preference, ..Wish::default() };
        }
        let mut held = match self.acquire().await? {
            Ok(held) => held,
            Err(why) => {
                let mut report = answer::unserved(&why);
                report.severity = Severity::Fatal;
                return Err(End::Told(report));
            }
        };
        let mut reported: Parameters = held
            .pool
            .parameters()
            .iter()
            .map(|(name, value)| (name.as_bytes().into(), value.as_bytes().into()))
            .collect();
        let mut state = self.machine.detach().unwrap_or_default();
        let refused = if settings.digest() == 0 {
            None
        } else {
            match apply(&mut held.server().transport, &mut state, settings).await {
                Ok(changed) => {
                    merge(&mut reported, changed);
                    None
                }
                Err(failed) => Some(failed),
            }
        };
        // The machine took part only to hold the server; it gives it back as it is now.
        self.machine.attach(state, false);
        match refused {
            None => {
                self.release(held);
                Ok(reported)
            }
            Some(Failed::Refused(words)) => {
                self.release(held);
                Err(End::Told(refusal(&words)))
            }
            Some(_) => {
                self.abandon_lost(held);
                let report = Report::new(
                    Severity::Fatal,
                    pgherd_wire::sqlstate::code::CONNECTION_FAILURE,
                    "lost the server while it took the session's settings",
                );
                Err(End::Told(report.hint("Connect again.")))
            }
        }
    }
}

async fn apply(
    transport: &mut pgherd_net::transport::Transport,
    state: &mut ServerState,
    settings: &Settings,
) -> Result<Parameters, Failed> {
    // Simple queries destroy the unnamed statement.
    state.unnamed = None;
    // From a server without settings, so that all the reports these settings cause are seen.
    if state.applied.digest() != 0 {
        simple(transport, &state.applied.delta(&Settings::default()), SETTINGS_TIMEOUT).await?;
        state.applied = Settings::default();
    }
    let answer = simple(transport, &Settings::default().delta(settings), SETTINGS_TIMEOUT).await?;
    state.applied = settings.clone();
    Ok(answer.parameters)
}

/// Later reports replace earlier ones of the same name.
fn merge(reported: &mut Parameters, changed: Parameters) {
    for (name, value) in changed {
        match reported.iter_mut().find(|(known, _)| *known == name) {
            Some(entry) => entry.1 = value,
            None => reported.push((name, value)),
        }
    }
}

/// The application name, when the server would report it as it was given: then it need not be asked.
fn plain_name(settings: &Settings) -> Option<Box<[u8]>> {
    match settings.get(b"application_name") {
        Some(Value::Text(name)) if name.len() < 64 && name.iter().all(|b| (0x20..0x7f).contains(b)) => {
            Some(name.clone())
        }
        _ => None,
    }
}

/// A startup setting the server does not take ends the connection, as it would a direct one.
fn refusal(words: &[u8]) -> Report {
    let fields = Fields::view(words);
    let text =
        |field| fields.get(field).map(|text| String::from_utf8_lossy(text).into_owned()).unwrap_or_default();
    let code = match fields.sqlstate() {
        Some(b"42704") => "42704",
        Some(b"42501") => "42501",
        Some(b"55P02") => "55P02",
        _ => "22023",
    };
    Report::new(Severity::Fatal, code, text(b'M')).detail(text(b'D')).hint(text(b'H'))
}
