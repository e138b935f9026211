//! What becomes of the session's settings, and what its client is told of them (ParameterStatus) and of other things a server says unasked.

use crate::machine::{Machine, answer};
use crate::params::{Settings, Value};
use crate::pending::Fate;
use crate::pin::Pin;
use crate::replies::Delivery;
use crate::step::Sink;
use pgherd_wire::backend::{parameter_status, tag};
use pgherd_wire::write;
use std::sync::Arc;

/// Names and values a server reports, as the client was told when it came in.
pub type Reported = Vec<(Box<[u8]>, Box<[u8]>)>;

impl Machine {
    /// What a server reports when the settings given at startup are in force.
    pub fn set_reported(&mut self, reported: Arc<Reported>) {
        self.reported = reported;
    }

    /// Messages a server may send at any time.
    pub(crate) fn unasked(&mut self, kind: u8, body: &[u8]) -> Delivery {
        let ours = self.owed.head().is_some_and(|head| head.fate == Fate::Swallow);
        match kind {
            // A notification for somebody else who listened on this server is nobody's here.
            tag::NOTIFICATION if self.pin.is_none() => Delivery::Drop,
            // It may come while the server answers a question of ours, and comes only once.
            tag::NOTIFICATION => Delivery::Pass,
            _ if ours => Delivery::Drop,
            // A port speaks of what it is for, not of the node behind it.
            tag::PARAMETER_STATUS if body.starts_with(b"in_hot_standby\0") => Delivery::Drop,
            tag::PARAMETER_STATUS if self.is_only_the_servers(body) => Delivery::Drop,
            tag::PARAMETER_STATUS => {
                // While nothing is asked the server can only have read its settings again.
                if !self.owed.is_empty() && !self.touched && !self.changes_settings() {
                    // A reported setting changed although no command we saw changes one: inside a function, perhaps.
                    self.pin_for(Pin::Settings);
                }
                Delivery::Pass
            }
            _ => Delivery::Pass,
        }
    }

    /// The request being answered, or one in this transaction, may change settings.
    fn changes_settings(&mut self) -> bool {
        let effects = self.owed.head().and_then(|head| head.effects.as_ref());
        effects.is_some_and(|effects| !effects.list.is_empty())
    }

    /// After a RESET the server tells of its own default, where the session has what it started with.
    fn is_only_the_servers(&self, body: &[u8]) -> bool {
        let (Some(server), Some((name, _))) = (&self.server, parameter_status(body)) else { return false };
        if !self.touched || self.rolled_back || self.failed {
            return false;
        }
        let name = name.to_ascii_lowercase();
        let started = self.startup.get(&name);
        started.is_some() && self.settings.get(&name) == started && server.applied.get(&name) != started
    }

    /// Changes the session's settings and what is applied on the server alike.
    pub(crate) fn change(&mut self, with: impl Fn(&Settings) -> Settings) {
        let Some(server) = self.server.as_mut() else { return };
        self.mixed |= self.rolled_back;
        if self.before.is_none() {
            self.before = Some((self.settings.clone(), server.applied.clone()));
        }
        self.settings = with(&self.settings);
        server.applied = with(&server.applied);
    }

    /// RESET goes back to what the session started with; the server went back to its own default, which the next prelude mends.
    pub(crate) fn reset(&mut self, name: &[u8]) {
        self.note_reset();
        let started = self.startup.get(name).cloned();
        self.change(|settings| settings.with(name, None));
        self.settings = self.settings.with(name, started);
    }

    pub(crate) fn reset_all(&mut self) {
        self.note_reset();
        // Who the session acts as is no setting to it (documentation, RESET).
        let who = |settings: &Settings, from: &Settings| settings.acting_as(from);
        self.change(|settings| who(&Settings::default(), settings));
        self.settings = who(&self.startup, &self.settings);
    }

    pub(crate) fn discard_all(&mut self) {
        self.note_reset();
        self.before = None;
        self.settings = self.startup.clone();
        self.pin = self.limits.session_mode.then_some(Pin::SessionMode);
        if let Some(server) = self.server.as_mut() {
            (server.applied, server.dirty) = (Settings::default(), None);
        }
        self.forget_statements();
    }

    fn note_reset(&mut self) {
        if self.reset_from.is_none() {
            self.reset_from = Some(self.settings.clone());
        }
    }

    /// ReadyForQuery comes: before it the client hears which reported settings are again what it started with.
    pub(crate) fn tell_resets(&mut self, down: &mut impl Sink) {
        let Some(old) = self.reset_from.take() else { return };
        if self.rolled_back || self.failed {
            return;
        }
        let startup = &self.startup;
        let back = |name: &[u8], value: &Value| {
            old.get(name) != Some(value) && self.settings.get(name) == Some(value)
        };
        for (name, value) in startup.iter().filter(|(name, value)| back(name, value)) {
            let told = self.reported.iter().find(|(reported, _)| reported.eq_ignore_ascii_case(name));
            let Some((reported, default)) = told else { continue };
            let value = match value {
                // This one is each client's own, and told as it was given.
                Value::Text(text) if name == b"application_name" => text,
                _ => default,
            };
            answer(down, |out| write::parameter_status(out, reported, value));
        }
    }
}
