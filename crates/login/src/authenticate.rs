//! From the startup packet to AuthenticationOk (PostgreSQL documentation, "Authentication Methods"). A user who does not exist is put
//! through the same exchange as one who does, and hears the same.

use crate::badge::{Badge, system_user};
use crate::door::Peer;
use crate::error::{LoginError, Mismatch, Stop};
use crate::ident::may_be;
use crate::scram::{self, Binding, Exchange, MECHANISM, MECHANISM_PLUS, Verifier};
use crate::secret::ClientSecret;
use crate::settings::{ClientCert, Method, Settings};
use crate::stream::Stream;
use crate::users::{Secret, User};
use aws_lc_rs::{constant_time, rand};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{Buf, BufMut, BytesMut};
use md5::{Digest, Md5};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Longest PasswordMessage PostgreSQL takes.
const MAX_PASSWORD: usize = 65_535;

/// Longest SASL message PostgreSQL takes.
const MAX_SASL: usize = 1024;

const NONCE_BYTES: usize = 18;

const AUTH_OK: u32 = 0;
const AUTH_CLEARTEXT: u32 = 3;
const AUTH_MD5: u32 = 5;
const AUTH_SASL: u32 = 10;
const AUTH_SASL_CONTINUE: u32 = 11;
const AUTH_SASL_FINAL: u32 = 12;

/// What a login is judged with.
#[derive(Debug)]
pub(crate) struct Judge<'a> {
    pub(crate) settings: &'a Settings,
    /// Key of the decoys: fixed while the process lives.
    pub(crate) decoy_key: &'a [u8; 32],
    /// Places for stretching passwords.
    pub(crate) stretching: &'a Semaphore,
    /// Our `tls-server-end-point`; `None` without TLS.
    pub(crate) end_point: Option<&'a [u8]>,
}

impl Judge<'_> {
    /// Puts a client through its exchange. On success AuthenticationOk is the end of the stream's output, not yet sent.
    pub(crate) async fn authenticate(
        &self,
        stream: &mut Stream,
        name: &str,
        peer: &Peer,
        badge: Option<&Badge>,
    ) -> Result<ClientSecret, Stop> {
        let (method, trusted, clientcert) = self.settings.rule(name);
        // A Unix socket has no TLS in which a certificate could be shown.
        let clientcert = if matches!(peer, Peer::Unix(_)) { ClientCert::Off } else { clientcert };
        if badge.is_none() && (clientcert != ClientCert::Off || method == Method::Cert) {
            return Err(LoginError::CertificateRequired.into());
        }
        let by_system = method == Method::Peer && matches!(peer, Peer::Unix(_));
        let secret = if method == Method::Cert {
            self.bears(name, badge).map_err(|why| LoginError::Certificate(name.into(), why))?;
            self.stored(name)
        } else if by_system {
            self.runs_as(name, peer).await?;
            self.stored(name)
        } else if trusted.contains(peer) {
            self.stored(name)
        } else {
            let proved = self.prove(stream, name, method).await;
            if let (Err(Stop::Refused(LoginError::Password(..))), Some(directory)) =
                (&proved, &self.settings.directory)
            {
                directory.doubt(name);
            }
            proved?
        };
        if clientcert == ClientCert::VerifyFull && self.bears(name, badge).is_err() {
            return Err(LoginError::Password(name.into(), Mismatch::Certificate).into());
        }
        request(&mut stream.output, AUTH_OK, b"");
        Ok(secret)
    }

    /// Whether a certificate may be this user; why not, for the log.
    fn bears(&self, name: &str, badge: Option<&Badge>) -> Result<(), Box<str>> {
        match badge.and_then(|badge| badge.common_name.as_deref()) {
            None => Err("the certificate contains no user name".into()),
            Some(found) if may_be(self.settings.names.cert.as_deref(), found, name) => Ok(()),
            Some(found) => Err(format!("the certificate is of \"{found}\"").into()),
        }
    }

    /// Whether the process on the other side of a Unix socket may be this user.
    async fn runs_as(&self, name: &str, peer: &Peer) -> Result<(), Stop> {
        let known = peer.clone();
        let system = self.apart(move || system_user(&known)).await?;
        let why = match &system {
            Some(system) if may_be(self.settings.names.peer.as_deref(), system, name) => return Ok(()),
            Some(system) => format!("the process runs as \"{system}\""),
            None => format!("the process runs as nobody the system knows by name: {peer:?}"),
        };
        Err(LoginError::Peer(name.into(), why.into()).into())
    }

    /// What is stored of a user who shows nothing, as far as it opens servers. Nobody is looked up for it: whoever is let in without a
    /// question is let in while the servers are away.
    fn stored(&self, name: &str) -> ClientSecret {
        match self.settings.users.lookup(name).as_ref().map(|user| &user.secret) {
            Some(Secret::Plain(password)) => ClientSecret::Password(password.clone()),
            Some(Secret::Md5(hash)) => ClientSecret::Md5(hash.clone()),
            Some(Secret::Scram(_) | Secret::None) | None => ClientSecret::None,
        }
    }

    /// Lets a client prove that it is the user.
    async fn prove(&self, stream: &mut Stream, name: &str, method: Method) -> Result<ClientSecret, Stop> {
        let user = match (self.settings.users.lookup(name), &self.settings.directory) {
            (None, Some(directory)) => {
                directory.find(name).await.map_err(|_| LoginError::Lookup(name.into()))?
            }
            (user, _) => user,
        };
        match method {
            Method::Password => self.password(stream, name, user).await,
            Method::Md5 if self.hashes(user.as_deref()) => self.md5(stream, name, user).await,
            // Who is known by another sign from elsewhere; a certificate has been looked at before.
            Method::Md5 | Method::ScramSha256 | Method::Cert | Method::Peer => {
                self.scram(stream, name, user).await
            }
        }
    }

    /// True when an md5 challenge is the way for this user; strangers go the way of the most.
    fn hashes(&self, user: Option<&User>) -> bool {
        let by_md5 = |secret: &Secret| matches!(secret, Secret::Md5(_) | Secret::Plain(_));
        match user.map(|user| &user.secret) {
            Some(Secret::None) | None => self.settings.mostly(by_md5),
            Some(secret) => by_md5(secret),
        }
    }

    async fn password(
        &self,
        stream: &mut Stream,
        name: &str,
        user: Option<Arc<User>>,
    ) -> Result<ClientSecret, Stop> {
        if !stream.is_tls() && !self.settings.cleartext_without_tls {
            return Err(LoginError::Cleartext.into());
        }
        request(&mut stream.output, AUTH_CLEARTEXT, b"");
        let password = string(answer(stream, MAX_PASSWORD).await?)?;
        let matches = match user.as_ref().map(|user| &user.secret) {
            Some(Secret::Plain(stored)) => equal(stored.as_bytes(), password.as_bytes()),
            Some(Secret::Md5(stored)) => equal(stored.as_bytes(), stored_md5(name, &password).as_bytes()),
            Some(Secret::Scram(verifier)) => self.stretch(verifier.clone(), &password).await?,
            Some(Secret::None) | None => {
                // As much work as for the most.
                if self.settings.mostly(|secret| matches!(secret, Secret::Scram(_))) {
                    self.stretch(Verifier::decoy(self.decoy_key, name), &password).await?;
                }
                false
            }
        };
        if matches {
            Ok(ClientSecret::Password(password.into()))
        } else {
            Err(wrong(name, user.as_deref(), Method::Password))
        }
    }

    /// Judges a password by a verifier, on a thread of its own.
    async fn stretch(&self, verifier: Verifier, password: &str) -> Result<bool, Stop> {
        let password = password.to_owned();
        self.apart(move || verifier.accepts(&password)).await
    }

    async fn apart<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Stop> {
        let internal = || Stop::Refused(LoginError::Internal);
        let _permit = self.stretching.acquire().await.map_err(|_| internal())?;
        tokio::task::spawn_blocking(work).await.map_err(|_| internal())
    }

    async fn md5(
        &self,
        stream: &mut Stream,
        name: &str,
        user: Option<Arc<User>>,
    ) -> Result<ClientSecret, Stop> {
        let mut salt = [0; 4];
        rand::fill(&mut salt).map_err(|_| LoginError::Internal)?;
        request(&mut stream.output, AUTH_MD5, &salt);
        let told = string(answer(stream, MAX_PASSWORD).await?)?;
        let (stored, secret) = match user.as_ref().map(|user| &user.secret) {
            Some(Secret::Plain(password)) => {
                (stored_md5(name, password), ClientSecret::Password(password.clone()))
            }
            Some(Secret::Md5(hash)) => (hash.to_string(), ClientSecret::Md5(hash.clone())),
            Some(Secret::Scram(_) | Secret::None) | None => (stored_md5(name, ""), ClientSecret::None),
        };
        let hash = stored.strip_prefix("md5").unwrap_or(&stored);
        let expected = md5(Md5::new().chain_update(hash).chain_update(salt));
        let matches = equal(expected.as_bytes(), told.as_bytes());
        if matches && secret != ClientSecret::None {
            Ok(secret)
        } else {
            Err(wrong(name, user.as_deref(), Method::Md5))
        }
    }

    async fn scram(
        &self,
        stream: &mut Stream,
        name: &str,
        user: Option<Arc<User>>,
    ) -> Result<ClientSecret, Stop> {
        let verifier = self.verifier(name, user.as_ref()).await?;
        let mut mechanisms = Vec::with_capacity(64);
        for mechanism in self.end_point.map(|_| MECHANISM_PLUS).into_iter().chain([MECHANISM]) {
            mechanisms.extend_from_slice(mechanism.as_bytes());
            mechanisms.push(0);
        }
        mechanisms.push(0);
        request(&mut stream.output, AUTH_SASL, &mechanisms);
        let initial = answer(stream, MAX_SASL).await?;
        let (selected, message) = initial_response(&initial)?;
        let binding = match selected {
            MECHANISM => Binding { selected: false, end_point: self.end_point },
            MECHANISM_PLUS if self.end_point.is_some() => {
                Binding { selected: true, end_point: self.end_point }
            }
            _ => return Err(LoginError::Mechanism.into()),
        };
        let (verifier, genuine) = match verifier {
            Some(verifier) => (verifier, true),
            None => (Verifier::decoy(self.decoy_key, name), false),
        };
        let mut nonce = [0; NONCE_BYTES];
        rand::fill(&mut nonce).map_err(|_| LoginError::Internal)?;
        let exchange = Exchange::begin(message, binding, verifier, &BASE64.encode(nonce))?;
        request(&mut stream.output, AUTH_SASL_CONTINUE, exchange.challenge().as_bytes());
        let proved = exchange.finish(&answer(stream, MAX_SASL).await?)?;
        let Some(proved) = proved.filter(|_| genuine) else {
            return Err(wrong(name, user.as_deref(), Method::ScramSha256));
        };
        request(&mut stream.output, AUTH_SASL_FINAL, proved.server_final.as_bytes());
        Ok(match user.as_ref().map(|user| &user.secret) {
            Some(Secret::Plain(password)) => ClientSecret::Password(password.clone()),
            _ => ClientSecret::ScramKeys { client_key: proved.client_key, server_key: proved.server_key },
        })
    }

    /// The user's verifier. That of a plain password is made once, with the salt a decoy for that name would have.
    async fn verifier(&self, name: &str, user: Option<&Arc<User>>) -> Result<Option<Verifier>, Stop> {
        let Some(user) = user else { return Ok(None) };
        let password = match &user.secret {
            Secret::Scram(verifier) => return Ok(Some(verifier.clone())),
            Secret::Md5(_) | Secret::None => return Ok(None),
            Secret::Plain(password) => password.clone(),
        };
        if let Some(verifier) = user.derived.get() {
            return Ok(Some(verifier.clone()));
        }
        let salt = scram::decoy_salt(self.decoy_key, name);
        let user = Arc::clone(user);
        let made = self
            .apart(move || {
                // Whoever waited for the same finds it done.
                user.derived.get_or_init(|| Verifier::derive(&password, &salt, scram::ITERATIONS)).clone()
            })
            .await?;
        Ok(Some(made))
    }
}

fn wrong(name: &str, user: Option<&User>, method: Method) -> Stop {
    let why = match (user.map(|user| &user.secret), method) {
        (None, _) => Mismatch::NoUser,
        (Some(Secret::None), _) => Mismatch::NoSecret,
        (Some(Secret::Md5(_)), Method::ScramSha256) => Mismatch::Md5Hash,
        (Some(_), _) => Mismatch::Wrong,
    };
    LoginError::Password(name.into(), why).into()
}

/// Appends an authentication request.
fn request(out: &mut BytesMut, code: u32, data: &[u8]) {
    out.put_u8(b'R');
    out.put_u32(8 + data.len() as u32);
    out.put_u32(code);
    out.put_slice(data);
}

/// Sends what there is to send, and reads the answer: the body of a message of tag `p`.
async fn answer(stream: &mut Stream, longest: usize) -> Result<BytesMut, Stop> {
    stream.flush().await?;
    stream.need(5).await?;
    match stream.input[0] {
        b'p' => {}
        b'X' => return Err(Stop::Left),
        other => return Err(LoginError::Answer(other).into()),
    }
    let word = [stream.input[1], stream.input[2], stream.input[3], stream.input[4]];
    let length = (u32::from_be_bytes(word) as usize)
        .checked_sub(4)
        .filter(|&length| length <= longest)
        .ok_or(LoginError::AnswerLength)?;
    stream.need(5 + length).await?;
    stream.input.advance(5);
    Ok(stream.input.split_to(length))
}

/// The text of a PasswordMessage: one string, nothing behind it.
fn string(body: BytesMut) -> Result<String, Stop> {
    let text = match body.split_last() {
        Some((0, text)) if !text.contains(&0) => text,
        _ => return Err(LoginError::PasswordSize.into()),
    };
    if text.is_empty() {
        return Err(LoginError::EmptyPassword.into());
    }
    Ok(String::from_utf8(text.to_vec()).map_err(|_| LoginError::Encoding)?)
}

/// Mechanism and message of a SASLInitialResponse.
fn initial_response(body: &[u8]) -> Result<(&str, &[u8]), LoginError> {
    let end = body.iter().position(|&byte| byte == 0).ok_or(LoginError::Mechanism)?;
    let mechanism = std::str::from_utf8(&body[..end]).map_err(|_| LoginError::Mechanism)?;
    let (length, message) = body[end + 1..].split_first_chunk::<4>().ok_or(LoginError::AnswerLength)?;
    if u32::from_be_bytes(*length) as usize != message.len() {
        return Err(LoginError::AnswerLength);
    }
    Ok((mechanism, message))
}

/// An md5 secret as PostgreSQL stores it.
fn stored_md5(name: &str, password: &str) -> String {
    md5(Md5::new().chain_update(password).chain_update(name))
}

/// A digest as PostgreSQL writes it.
fn md5(digest: Md5) -> String {
    format!("md5{:032x}", u128::from_be_bytes(digest.finalize().into()))
}

fn equal(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_tells_apart_what_a_client_cannot() {
        let user = |secret| User { secret, derived: Default::default() };
        let md5 = Secret::Md5("md5".into());
        for (user, method, why) in [
            (None, Method::ScramSha256, Mismatch::NoUser),
            (Some(user(Secret::None)), Method::Password, Mismatch::NoSecret),
            (Some(user(md5.clone())), Method::ScramSha256, Mismatch::Md5Hash),
            (Some(user(md5)), Method::Md5, Mismatch::Wrong),
            (Some(user(Secret::Plain("x".into()))), Method::ScramSha256, Mismatch::Wrong),
        ] {
            let Stop::Refused(error) = wrong("bob", user.as_ref(), method) else { panic!("refused") };
            assert_eq!(error, LoginError::Password("bob".into(), why));
            assert_eq!(error.to_string(), "password authentication failed for user \"bob\"");
            let mut told = BytesMut::new();
            error.encode(&mut told);
            let detail = error.detail_log().expect("the log is told");
            assert!(!String::from_utf8_lossy(&told).contains(detail), "{detail}");
        }
    }
}
