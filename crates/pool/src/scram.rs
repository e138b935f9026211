//! SCRAM-SHA-256 as the client (RFC 5802, RFC 7677; PostgreSQL documentation, "SASL Authentication"): by password, or by the two
//! keys that were recovered while a client of ours logged in with the same verifier. Pure but for the random nonce.

use aws_lc_rs::{constant_time, digest, hmac, pbkdf2, rand};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::fmt;
use std::num::NonZeroU32;

/// The mechanism's name on the wire.
pub const MECHANISM: &str = "SCRAM-SHA-256";

/// The mechanism bound to the TLS channel.
pub const MECHANISM_PLUS: &str = "SCRAM-SHA-256-PLUS";

/// A server that asks for more rounds than this gets none: at a few hundred nanoseconds each they would keep a thread busy for
/// seconds. PostgreSQL's default is 4096.
pub const MAX_ITERATIONS: u32 = 1_000_000;

/// Longest server nonce and salt taken, in bytes as they stand in the message.
const MAX_FIELD: usize = 1024;

const NONCE_BYTES: usize = 18;

/// What of a password takes part in an exchange, for one salt and iteration count.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// Proves that we know the password.
    pub client_key: [u8; 32],
    /// Lets us see that the server knows the verifier.
    pub server_key: [u8; 32],
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(..)")
    }
}

impl Keys {
    /// Derives the keys from a password (RFC 5802, section 3). Takes milliseconds of CPU: not for a thread that serves.
    pub fn derive(password: &str, salt: &[u8], iterations: NonZeroU32) -> Keys {
        // As PostgreSQL: a password that SASLprep refuses counts as it stands.
        let prepared = stringprep::saslprep(password).ok().filter(|text| !text.is_empty());
        let password = prepared.as_deref().unwrap_or(password);
        let mut salted = [0; 32];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, password.as_bytes(), &mut salted);
        Keys { client_key: mac(&salted, b"Client Key"), server_key: mac(&salted, b"Server Key") }
    }
}

/// Why an exchange failed on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    /// The server's message is not what RFC 5802 says.
    #[error("malformed SCRAM message from the server")]
    Malformed,
    /// The server's nonce does not continue ours.
    #[error("invalid SCRAM response (nonce mismatch)")]
    Nonce,
    /// More rounds than [`MAX_ITERATIONS`].
    #[error("the server asks for {0} SCRAM iterations, more than the limit of {MAX_ITERATIONS}")]
    Iterations(u32),
    /// The server does not know the verifier: it may be an impostor.
    #[error("incorrect server signature")]
    Signature,
    /// No random numbers to be had.
    #[error("could not generate nonce")]
    Random,
}

/// What an exchange says about the TLS channel it runs in (RFC 5802, section 6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Binding {
    /// We could not bind it: no TLS, or not asked to.
    Unable,
    /// We could, and the server did not offer to. One that did notices that somebody took its offer away.
    Unoffered,
    /// Bound to the server's certificate (`tls-server-end-point`, RFC 5929): with [`MECHANISM_PLUS`].
    EndPoint(Box<[u8]>),
}

impl Binding {
    /// The GS2 header, and the data behind it.
    fn header(&self) -> (&'static str, &[u8]) {
        match self {
            Binding::Unable => ("n,,", b""),
            Binding::Unoffered => ("y,,", b""),
            Binding::EndPoint(data) => ("p=tls-server-end-point,,", data),
        }
    }
}

/// Before the server spoke.
#[derive(Debug)]
pub struct Begun {
    nonce: String,
    binding: Binding,
}

/// What the server wants to be answered.
#[derive(Debug, PartialEq, Eq)]
pub struct Challenge {
    /// Salt of the server's verifier.
    pub salt: Vec<u8>,
    /// Its iteration count.
    pub iterations: NonZeroU32,
    auth_message: String,
    without_proof: String,
}

/// What the server's last message must contain.
pub struct Expected([u8; 32]);

impl Begun {
    /// Begins an exchange with a fresh nonce.
    ///
    /// # Errors
    /// [`ScramError::Random`].
    pub fn new(binding: Binding) -> Result<Begun, ScramError> {
        let mut bytes = [0; NONCE_BYTES];
        rand::fill(&mut bytes).map_err(|_| ScramError::Random)?;
        Ok(Begun { nonce: BASE64.encode(bytes), binding })
    }

    /// The client-first-message. The user name stays empty: PostgreSQL takes it from the startup packet.
    pub fn message(&self) -> String {
        format!("{}n=,r={}", self.binding.header().0, self.nonce)
    }

    /// Takes the server-first-message.
    ///
    /// # Errors
    /// [`ScramError`] when it is malformed, does not continue our nonce, or asks for too much work.
    pub fn challenge(self, server_first: &[u8]) -> Result<Challenge, ScramError> {
        let text = std::str::from_utf8(server_first).map_err(|_| ScramError::Malformed)?;
        let mut fields = text.split(',');
        let mut field = |name| {
            let value = fields.next().and_then(|field| field.strip_prefix(name));
            value.filter(|value| value.len() <= MAX_FIELD).ok_or(ScramError::Malformed)
        };
        let (nonce, salt, iterations) = (field("r=")?, field("s=")?, field("i=")?);
        let extends = nonce.strip_prefix(self.nonce.as_str()).is_some_and(|theirs| !theirs.is_empty());
        if !extends || !nonce.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ScramError::Nonce);
        }
        let salt = BASE64.decode(salt).map_err(|_| ScramError::Malformed)?;
        if salt.is_empty() {
            return Err(ScramError::Malformed);
        }
        let iterations: NonZeroU32 = iterations.parse().map_err(|_| ScramError::Malformed)?;
        if iterations.get() > MAX_ITERATIONS {
            return Err(ScramError::Iterations(iterations.get()));
        }
        let (header, data) = self.binding.header();
        let bound = BASE64.encode([header.as_bytes(), data].concat());
        let without_proof = format!("c={bound},r={nonce}");
        let auth_message = format!("n=,r={},{text},{without_proof}", self.nonce);
        Ok(Challenge { salt, iterations, auth_message, without_proof })
    }
}

impl Challenge {
    /// The client-final-message, and what to expect back.
    pub fn answer(&self, keys: &Keys) -> (String, Expected) {
        let stored_key = digest::digest(&digest::SHA256, &keys.client_key);
        let mut proof = mac(stored_key.as_ref(), self.auth_message.as_bytes());
        for (byte, key) in proof.iter_mut().zip(keys.client_key) {
            *byte ^= key;
        }
        let message = format!("{},p={}", self.without_proof, BASE64.encode(proof));
        (message, Expected(mac(&keys.server_key, self.auth_message.as_bytes())))
    }
}

impl Expected {
    /// Checks the server-final-message.
    ///
    /// # Errors
    /// [`ScramError::Signature`] when the server does not prove that it knows the verifier.
    pub fn verify(&self, server_final: &[u8]) -> Result<(), ScramError> {
        let signature = server_final.strip_prefix(b"v=").ok_or(ScramError::Malformed)?;
        let signature = signature.split(|&byte| byte == b',').next().unwrap_or_default();
        let signature = BASE64.decode(signature).map_err(|_| ScramError::Malformed)?;
        constant_time::verify_slices_are_equal(&signature, &self.0).map_err(|_| ScramError::Signature)
    }
}

fn mac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message);
    let mut out = [0; 32];
    out.copy_from_slice(tag.as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ITERATIONS: NonZeroU32 = NonZeroU32::new(4096).expect("4096 is not zero");

    fn begun() -> Begun {
        Begun { nonce: "rOprNGfwEbeRWgbNEkqO".into(), binding: Binding::Unable }
    }

    const SERVER_FIRST: &[u8] =
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    /// The example of RFC 7677, section 3. Its user has a name, PostgreSQL's have none: hence the message put together by hand.
    #[test]
    fn keys_are_those_of_the_rfc() {
        let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let keys = Keys::derive("pencil", &salt, ITERATIONS);
        let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let challenge = Challenge {
            salt: salt.clone(),
            iterations: ITERATIONS,
            without_proof: format!("c=biws,r={nonce}"),
            auth_message: format!(
                "n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r={nonce}"
            ),
        };
        let (message, expected) = challenge.answer(&keys);
        assert_eq!(message, format!("c=biws,r={nonce},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="));
        assert_eq!(expected.verify(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="), Ok(()));
        assert_eq!(
            expected.verify(b"v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="),
            Err(ScramError::Signature)
        );
        assert_eq!(expected.verify(b"e=other-error"), Err(ScramError::Malformed));
    }

    #[test]
    fn takes_a_good_challenge() {
        let challenge = begun().challenge(SERVER_FIRST).unwrap();
        assert_eq!((challenge.salt.len(), challenge.iterations.get()), (16, 4096));
    }

    #[test]
    fn refuses_bad_challenges() {
        for (message, error) in [
            (&b"r=somebodyelse,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"[..], ScramError::Nonce),
            (b"r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", ScramError::Nonce),
            (b"r=rOprNGfwEbeRWgbNEkqOx,s=,i=4096", ScramError::Malformed),
            (b"r=rOprNGfwEbeRWgbNEkqOx,s=!!!!,i=4096", ScramError::Malformed),
            (b"r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=0", ScramError::Malformed),
            (b"r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=-1", ScramError::Malformed),
            (b"r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=99999999999", ScramError::Malformed),
            (b"r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=1000001", ScramError::Iterations(1_000_001)),
            (b"r=rOprNGfwEbeRWgbNEkqOx,s=W22Z", ScramError::Malformed),
            (b"\xff", ScramError::Malformed),
        ] {
            assert_eq!(begun().challenge(message), Err(error), "{}", String::from_utf8_lossy(message));
        }
        let long = format!("r=rOprNGfwEbeRWgbNEkqO{},s=W22Z,i=1", "x".repeat(2000));
        assert_eq!(begun().challenge(long.as_bytes()), Err(ScramError::Malformed));
    }

    #[test]
    fn agrees_with_the_oracle_on_unusual_passwords() {
        use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
        for password in ["secret", "", "pass\u{a0}word", "I\u{ad}X", "\u{2168}", "\u{7}bell", "пароль"]
        {
            for (binding, theirs) in [
                (Binding::Unable, ChannelBinding::unsupported()),
                (Binding::Unoffered, ChannelBinding::unrequested()),
                (Binding::EndPoint([7; 32].into()), ChannelBinding::tls_server_end_point(vec![7; 32])),
            ] {
                let mut oracle = ScramSha256::new(password.as_bytes(), theirs);
                let theirs = String::from_utf8(oracle.message().to_vec()).unwrap();
                let nonce = theirs.rsplit("r=").next().unwrap();
                let server_first = format!("r={nonce}more,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=16");
                oracle.update(server_first.as_bytes()).unwrap();
                let begun = Begun { nonce: nonce.into(), binding };
                assert!(theirs.starts_with(begun.binding.header().0), "{theirs}");
                let challenge = begun.challenge(server_first.as_bytes()).unwrap();
                let keys = Keys::derive(password, &challenge.salt, challenge.iterations);
                let answer = challenge.answer(&keys).0;
                let theirs = String::from_utf8(oracle.message().to_vec()).unwrap();
                assert_eq!(answer, theirs, "{password}");
            }
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = begun().challenge(&bytes);
            let _ = Expected([0; 32]).verify(&bytes);
        }
    }
}
