//! What proves to a server that we are a role.

use crate::scram::{Challenge, Keys};
use parking_lot::Mutex;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// How many passwords are stretched at a time, by the whole process: a storm of new connections must not take every core.
const MAX_STRETCHING: usize = 2;

static STRETCHING: Semaphore = Semaphore::const_new(MAX_STRETCHING);

/// What we can prove who we are with. Never shows its secrets in logs.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// Nothing: the server must trust us.
    None,
    /// The password; good for every method.
    Password(Arc<Password>),
    /// SCRAM keys recovered from a client's proof; good for a server that holds the same verifier.
    ScramKeys(Keys),
    /// `md5` and 32 hexadecimal digits, as PostgreSQL stores it; good for md5 only.
    Md5(Md5Hash),
}

/// A stored md5 password: `md5` and 32 hexadecimal digits.
#[derive(Clone, PartialEq, Eq)]
pub struct Md5Hash(pub Box<str>);

impl fmt::Debug for Md5Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Md5Hash(..)")
    }
}

/// A password, with the keys derived from it for the salt seen last, so that the second connection to a node costs no stretching.
pub struct Password {
    text: Box<str>,
    derived: Mutex<Option<Derived>>,
}

struct Derived {
    salt: Vec<u8>,
    iterations: NonZeroU32,
    keys: Keys,
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

impl Password {
    /// Wraps a password.
    pub fn new(text: impl Into<Box<str>>) -> Arc<Password> {
        Arc::new(Password { text: text.into(), derived: Mutex::new(None) })
    }

    /// The password itself.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The keys for a server's challenge; stretched on a thread of their own when they are not those of last time. `None` when that
    /// thread could not run. Cancel safe.
    pub(crate) async fn keys(self: &Arc<Self>, challenge: &Challenge) -> Option<Keys> {
        if let Some(keys) = self.remembered(challenge) {
            return Some(keys);
        }
        let _permit = STRETCHING.acquire().await.ok()?;
        // Whoever stood in line behind an equal challenge finds its result.
        if let Some(keys) = self.remembered(challenge) {
            return Some(keys);
        }
        let (salt, iterations) = (challenge.salt.clone(), challenge.iterations);
        let password = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            let keys = Keys::derive(&password.text, &salt, iterations);
            *password.derived.lock() = Some(Derived { salt, iterations, keys: keys.clone() });
            keys
        })
        .await
        .ok()
    }

    fn remembered(&self, challenge: &Challenge) -> Option<Keys> {
        let derived = self.derived.lock();
        let known = derived.as_ref()?;
        let same = known.salt == challenge.salt && known.iterations == challenge.iterations;
        same.then(|| known.keys.clone())
    }
}
