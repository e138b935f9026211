//! Users that are looked up elsewhere when they come: asked for once by however many clients of that name, and remembered for a while,
//! whether they exist or not. A failed login makes the next one ask again, because the password may be a new one.

use crate::users::{Secret, User};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

/// Most names remembered, those that nobody has included.
pub const MAX_NAMES: usize = 10_000;

/// Longest name that is asked for, in bytes; a server cuts names at 63 unless it was built otherwise.
const MAX_NAME: usize = 256;

/// Least time between two questions for one name that failed logins bring about.
const PACE: Duration = Duration::from_secs(1);

/// How long what was found is believed while nobody answers. A user who was taken away meanwhile gets no server either.
const STALE: Duration = Duration::from_secs(3600);

/// An answer on its way: the user's secret, or that there is no such user. Dropping it gives the question up.
pub type Fetching = Pin<Box<dyn Future<Output = Result<Option<Secret>, NotAnswered>> + Send>>;

/// Who knows the users.
pub trait Source: fmt::Debug + Send + Sync {
    /// Asks for the user of that name.
    fn fetch(&self, name: &str) -> Fetching;
}

/// A question that got no answer, and why; for the log, never for a client. Worth asking again later.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotAnswered(pub String);

/// How long answers hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// A user that was found.
    pub found: Duration,
    /// That there is no such user.
    pub unknown: Duration,
    /// How long one question may take.
    pub within: Duration,
}

/// Looks users up and remembers them.
#[derive(Debug)]
pub struct Directory {
    source: Box<dyn Source>,
    freshness: Freshness,
    slots: Mutex<HashMap<Box<str>, Arc<Slot>>>,
    /// The user found last: strangers are treated alike.
    usual: Mutex<Option<Arc<User>>>,
}

/// What is known of one name.
#[derive(Debug)]
struct Slot {
    /// Held by the one who asks.
    gate: Semaphore,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    known: Option<Known>,
    failed: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Known {
    user: Option<Arc<User>>,
    at: Instant,
    doubted: bool,
}

impl Directory {
    /// A directory that knows nobody yet.
    pub fn new(source: Box<dyn Source>, freshness: Freshness) -> Directory {
        Directory { source, freshness, slots: Mutex::default(), usual: Mutex::default() }
    }

    /// The user of that name; `None` when there is none. Cancel safe: the next who asks for the same name asks the source.
    ///
    /// # Errors
    /// [`NotAnswered`] when the source gave no answer in time, and none is remembered that could do.
    pub async fn find(&self, name: &str) -> Result<Option<Arc<User>>, NotAnswered> {
        if name.len() > MAX_NAME {
            return Ok(None);
        }
        let began = Instant::now();
        let slot = self.slot(name);
        if let Some(user) = self.fresh(&slot) {
            return Ok(user);
        }
        let _asking = slot.gate.acquire().await.map_err(|_| NotAnswered("the gate is closed".into()))?;
        // Whoever stood in line finds what the one before was told, even when nothing is remembered for longer than that.
        let told = slot.state.lock().known.clone().filter(|known| known.at > began);
        if let Some(user) = told.map(|known| known.user).or_else(|| self.fresh(&slot)) {
            return Ok(user);
        }
        if slot.state.lock().failed.is_some_and(|failed| failed > began) {
            return self.stale(&slot).ok_or_else(|| NotAnswered("somebody else had no answer".into()));
        }
        let answer = timeout(self.freshness.within, self.source.fetch(name)).await;
        match answer.unwrap_or_else(|_| Err(NotAnswered("timeout expired".into()))) {
            Ok(secret) => Ok(self.learn(&slot, secret)),
            Err(error) => {
                slot.state.lock().failed = Some(Instant::now());
                let stale = self.stale(&slot);
                tracing::warn!(user = name, %error, remembered = stale.is_some(), "could not look up a user");
                stale.ok_or(error)
            }
        }
    }

    /// A login of that name failed by what is remembered, here or at a server: the next one asks again, unless this one just did.
    pub fn doubt(&self, name: &str) {
        let Some(slot) = self.slots.lock().get(name).cloned() else { return };
        if let Some(known) = &mut slot.state.lock().known {
            known.doubted |= known.at.elapsed() >= PACE;
        }
    }

    /// True when the user found last has a secret of this kind.
    pub(crate) fn usually(&self, kind: impl Fn(&Secret) -> bool) -> bool {
        self.usual.lock().as_ref().is_some_and(|user| kind(&user.secret))
    }

    /// How many names are remembered.
    pub fn len(&self) -> usize {
        self.slots.lock().len()
    }

    /// True when nobody was looked up yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn slot(&self, name: &str) -> Arc<Slot> {
        let mut slots = self.slots.lock();
        if let Some(slot) = slots.get(name) {
            return slot.clone();
        }
        if slots.len() >= MAX_NAMES {
            self.make_room(&mut slots);
        }
        let slot = Arc::new(Slot { gate: Semaphore::new(1), state: Mutex::default() });
        slots.insert(name.into(), slot.clone());
        slot
    }

    /// Forgets names nobody has, which a stranger can make up at will; when that is not enough, the older half.
    fn make_room(&self, slots: &mut HashMap<Box<str>, Arc<Slot>>) {
        let found = |slot: &Slot| {
            let state = slot.state.lock();
            state.known.as_ref().filter(|known| known.user.is_some()).map(|known| known.at)
        };
        slots.retain(|_, slot| found(slot).is_some_and(|at| at.elapsed() < self.freshness.found));
        if slots.len() >= MAX_NAMES {
            let mut ages: Vec<Instant> = slots.values().filter_map(|slot| found(slot)).collect();
            let middle = ages.len() / 2;
            let (_, median, _) = ages.select_nth_unstable(middle);
            let median = *median;
            // Of those that came at the same moment some must go too.
            let mut kept = 0;
            slots.retain(|_, slot| {
                kept += usize::from(found(slot).is_some_and(|at| at >= median));
                kept <= MAX_NAMES / 2 && found(slot).is_some_and(|at| at >= median)
            });
        }
    }

    /// What is remembered, as long as it counts.
    fn fresh(&self, slot: &Slot) -> Option<Option<Arc<User>>> {
        let state = slot.state.lock();
        let known = state.known.as_ref().filter(|known| !known.doubted)?;
        let holds = if known.user.is_some() { self.freshness.found } else { self.freshness.unknown };
        (known.at.elapsed() < holds).then(|| known.user.clone())
    }

    /// What was found before, for want of something better. That somebody does not exist is not held on to.
    fn stale(&self, slot: &Slot) -> Option<Option<Arc<User>>> {
        let state = slot.state.lock();
        let known =
            state.known.as_ref().filter(|known| known.user.is_some() && known.at.elapsed() < STALE)?;
        Some(known.user.clone())
    }

    fn learn(&self, slot: &Slot, secret: Option<Secret>) -> Option<Arc<User>> {
        let mut state = slot.state.lock();
        let before = state.known.take().and_then(|known| known.user);
        // The same secret is the same user, with the verifier that was made of its password.
        let user = secret.map(|secret| match before {
            Some(before) if before.secret == secret => before,
            _ => Arc::new(User { secret, derived: OnceLock::new() }),
        });
        state.known = Some(Known { user: user.clone(), at: Instant::now(), doubted: false });
        drop(state);
        if let Some(user) = &user {
            *self.usual.lock() = Some(user.clone());
        }
        user
    }
}

#[cfg(test)]
#[path = "directory_tests.rs"]
mod tests;
