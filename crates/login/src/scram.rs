//! SCRAM-SHA-256 and SCRAM-SHA-256-PLUS as the server (RFC 5802, RFC 7677; PostgreSQL documentation, "SASL Authentication"). Pure: the
//! server's half of the nonce is an argument.

use crate::error::LoginError;
use aws_lc_rs::{constant_time, digest, hmac, pbkdf2};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::fmt;
use std::num::NonZeroU32;

/// The mechanism without channel binding.
pub const MECHANISM: &str = "SCRAM-SHA-256";

/// The mechanism bound to the TLS channel.
pub const MECHANISM_PLUS: &str = "SCRAM-SHA-256-PLUS";

/// PostgreSQL's default iteration count.
pub const ITERATIONS: NonZeroU32 = NonZeroU32::new(4096).expect("4096 is not zero");

/// A verifier of more rounds than this judges no password in clear: at a few hundred nanoseconds each they would keep a thread busy for
/// seconds, and a user may choose them. An exchange by SCRAM costs us no round.
pub const MAX_ITERATIONS: u32 = 1_000_000;

const KEY: usize = 32;

/// What is stored of a password: enough to judge a proof, not enough to make one.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    iterations: NonZeroU32,
    salt: Box<[u8]>,
    stored_key: [u8; KEY],
    server_key: [u8; KEY],
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier(..)")
    }
}

impl Verifier {
    /// Reads PostgreSQL's form, `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey` (documentation of `pg_authid`).
    pub fn parse(text: &str) -> Option<Verifier> {
        let (first, second) = text.strip_prefix(MECHANISM)?.strip_prefix('$')?.split_once('$')?;
        let (iterations, salt) = first.split_once(':')?;
        let (stored_key, server_key) = second.split_once(':')?;
        Some(Verifier {
            iterations: iterations.parse().ok()?,
            salt: BASE64.decode(salt).ok().filter(|salt| !salt.is_empty())?.into(),
            stored_key: key(stored_key)?,
            server_key: key(server_key)?,
        })
    }

    /// Makes a verifier from a password. Takes milliseconds of CPU: not for a thread that serves.
    pub fn derive(password: &str, salt: &[u8], iterations: NonZeroU32) -> Verifier {
        // As PostgreSQL: a password that SASLprep refuses counts as it stands.
        let prepared = stringprep::saslprep(password).ok().filter(|text| !text.is_empty());
        let password = prepared.as_deref().unwrap_or(password);
        let mut salted = [0; KEY];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, password.as_bytes(), &mut salted);
        Verifier {
            iterations,
            salt: salt.into(),
            stored_key: hash(&mac(&salted, b"Client Key")),
            server_key: mac(&salted, b"Server Key"),
        }
    }

    /// A verifier no password fits, always the same for a name: what a stranger is put to the test with.
    pub fn decoy(secret: &[u8; KEY], name: &str) -> Verifier {
        let stored_key = mac(secret, format!("stored {name}").as_bytes());
        let server_key = mac(secret, format!("server {name}").as_bytes());
        Verifier { iterations: ITERATIONS, salt: decoy_salt(secret, name), stored_key, server_key }
    }

    /// True when the password is the one. Takes milliseconds of CPU: not for a thread that serves.
    pub fn accepts(&self, password: &str) -> bool {
        if self.iterations.get() > MAX_ITERATIONS {
            return false;
        }
        let other = Verifier::derive(password, &self.salt, self.iterations);
        constant_time::verify_slices_are_equal(&self.stored_key, &other.stored_key).is_ok()
    }
}

/// The salt of a user who has none: the same at every attempt, different for every name, as a real one would be.
pub fn decoy_salt(secret: &[u8; KEY], name: &str) -> Box<[u8]> {
    mac(secret, format!("salt {name}").as_bytes())[..16].into()
}

/// The channel binding a client may have chosen.
#[derive(Clone, Copy, Debug)]
pub struct Binding<'a> {
    /// True when it selected the mechanism with PLUS.
    pub selected: bool,
    /// Our `tls-server-end-point`, when PLUS was offered.
    pub end_point: Option<&'a [u8]>,
}

/// Between the server's first message and the client's last.
#[derive(Debug)]
pub struct Exchange {
    verifier: Verifier,
    nonce: String,
    client_first_bare: String,
    server_first: String,
    binding: String,
    bound: bool,
}

/// A proof that held.
#[derive(Debug, PartialEq, Eq)]
pub struct Proved {
    /// The server-final-message.
    pub server_final: String,
    /// The client's key: with it one can log in to a server that holds the same verifier.
    pub client_key: [u8; KEY],
    /// The server's key of the verifier.
    pub server_key: [u8; KEY],
}

impl Exchange {
    /// Takes the client-first-message. `nonce` is our half: printable, without comma, never used before.
    ///
    /// # Errors
    /// [`LoginError`], as PostgreSQL refuses it.
    pub fn begin(
        message: &[u8],
        binding: Binding<'_>,
        verifier: Verifier,
        nonce: &str,
    ) -> Result<Exchange, LoginError> {
        let message = text(message)?;
        let (flag, rest) = message.split_once(',').ok_or(LoginError::Scram("Comma expected."))?;
        let bound = bind(flag, binding)?;
        let (authzid, bare) = rest.split_once(',').ok_or(LoginError::Scram("Comma expected."))?;
        if !authzid.is_empty() {
            return Err(if authzid.starts_with("a=") {
                LoginError::ScramFeature("client uses authorization identity, but it is not supported")
            } else {
                LoginError::Scram("Unexpected attribute before the user name.")
            });
        }
        if bare.starts_with("m=") {
            return Err(LoginError::ScramFeature("client requires an unsupported SCRAM extension"));
        }
        let mut fields = bare.split(',');
        // The name is not used: the startup packet has it.
        if !fields.next().is_some_and(|field| field.starts_with("n=")) {
            return Err(LoginError::Scram("Attribute \"n\" expected."));
        }
        let theirs = fields
            .next()
            .and_then(|field| field.strip_prefix("r="))
            .ok_or(LoginError::Scram("Attribute \"r\" expected."))?;
        if theirs.is_empty() || !theirs.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(LoginError::Scram("Non-printable characters in SCRAM nonce."));
        }
        let nonce = format!("{theirs}{nonce}");
        let server_first = format!("r={nonce},s={},i={}", BASE64.encode(&verifier.salt), verifier.iterations);
        let mut expected = format!("{flag},,").into_bytes();
        if bound {
            expected.extend_from_slice(binding.end_point.unwrap_or_default());
        }
        Ok(Exchange {
            verifier,
            nonce,
            client_first_bare: bare.to_owned(),
            server_first,
            binding: BASE64.encode(expected),
            bound,
        })
    }

    /// The server-first-message.
    pub fn challenge(&self) -> &str {
        &self.server_first
    }

    /// Takes the client-final-message. `Ok(None)` is a wrong proof.
    ///
    /// # Errors
    /// [`LoginError`] when the message is malformed or belongs to another exchange or channel.
    pub fn finish(&self, message: &[u8]) -> Result<Option<Proved>, LoginError> {
        let message = text(message)?;
        let (without_proof, proof) =
            message.rsplit_once(",p=").ok_or(LoginError::Scram("Attribute \"p\" expected."))?;
        let mut fields = without_proof.split(',');
        let mut field = |name, what| {
            fields.next().and_then(|field| field.strip_prefix(name)).ok_or(LoginError::Scram(what))
        };
        let binding = field("c=", "Attribute \"c\" expected.")?;
        let nonce = field("r=", "Attribute \"r\" expected.")?;
        let mut proof = key(proof).ok_or(LoginError::Scram("Malformed proof in client-final-message."))?;
        if binding != self.binding {
            return Err(if self.bound {
                LoginError::Binding
            } else {
                LoginError::Scram("Unexpected channel-binding attribute in client-final-message.")
            });
        }
        if constant_time::verify_slices_are_equal(nonce.as_bytes(), self.nonce.as_bytes()).is_err() {
            return Err(LoginError::ScramNonce);
        }
        let whole = format!("{},{},{without_proof}", self.client_first_bare, self.server_first);
        let signature = mac(&self.verifier.stored_key, whole.as_bytes());
        for (byte, mask) in proof.iter_mut().zip(signature) {
            *byte ^= mask;
        }
        let server_signature = mac(&self.verifier.server_key, whole.as_bytes());
        if constant_time::verify_slices_are_equal(&hash(&proof), &self.verifier.stored_key).is_err() {
            return Ok(None);
        }
        Ok(Some(Proved {
            server_final: format!("v={}", BASE64.encode(server_signature)),
            client_key: proof,
            server_key: self.verifier.server_key,
        }))
    }
}

/// Judges the channel binding flag; true when the exchange is bound.
fn bind(flag: &str, binding: Binding<'_>) -> Result<bool, LoginError> {
    match (flag, binding.selected) {
        ("n" | "y", true) => Err(LoginError::Scram(
            "The client selected SCRAM-SHA-256-PLUS, but the SCRAM message does not include channel binding data.",
        )),
        ("n", false) => Ok(false),
        ("y", false) if binding.end_point.is_some() => Err(LoginError::BindingNegotiation),
        ("y", false) => Ok(false),
        ("p=tls-server-end-point", true) => Ok(true),
        (flag, selected) if flag.starts_with("p=") => Err(if selected {
            LoginError::Scram("Unsupported SCRAM channel-binding type.")
        } else {
            LoginError::Scram(
                "The client selected SCRAM-SHA-256 without channel binding, but the SCRAM message includes channel binding data.",
            )
        }),
        _ => Err(LoginError::Scram("Unexpected channel-binding flag.")),
    }
}

fn text(message: &[u8]) -> Result<&str, LoginError> {
    match std::str::from_utf8(message) {
        Ok("") => Err(LoginError::Scram("The message is empty.")),
        Ok(text) if text.contains('\0') => {
            Err(LoginError::Scram("Message length does not match input length."))
        }
        Ok(text) => Ok(text),
        Err(_) => Err(LoginError::Scram("The message is not UTF-8.")),
    }
}

fn key(text: &str) -> Option<[u8; KEY]> {
    BASE64.decode(text).ok()?.try_into().ok()
}

fn hash(bytes: &[u8]) -> [u8; KEY] {
    let mut out = [0; KEY];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

fn mac(key: &[u8], message: &[u8]) -> [u8; KEY] {
    let mut out = [0; KEY];
    out.copy_from_slice(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref());
    out
}

#[cfg(test)]
#[path = "scram_tests.rs"]
mod tests;
