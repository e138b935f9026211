//! The conversation from StartupMessage to the first ReadyForQuery (PostgreSQL documentation, "Message Flow", "Start-up").

use crate::connect::credentials::{Credentials, Md5Hash};
use crate::connect::error::{ConnectError, ServerError};
use crate::connect::stream::Stream;
use crate::connect::{Connected, Target};
use crate::scram::{Begun, Binding, Challenge, Expected, Keys, MECHANISM, MECHANISM_PLUS};
use crate::sslmode::ChannelBinding;
use bytes::BytesMut;
use md5::{Digest, Md5};
use postgres_protocol::authentication::md5_hash;

/// Protocol 3.0. 3.2 would add nothing for us but longer cancel secrets, and some servers and poolers refuse it.
const PROTOCOL: u32 = 3 << 16;

/// A server that reports more parameters than this is none of ours; PostgreSQL reports fifteen.
const MAX_PARAMETERS: usize = 1000;

const AUTH_OK: u32 = 0;
const AUTH_CLEARTEXT: u32 = 3;
const AUTH_MD5: u32 = 5;
const AUTH_SASL: u32 = 10;
const AUTH_SASL_CONTINUE: u32 = 11;
const AUTH_SASL_FINAL: u32 = 12;

/// Logs in on a fresh stream.
pub(super) async fn login(
    mut stream: Stream,
    target: &Target,
    settings: &[(Box<str>, Box<str>)],
) -> Result<Connected, ConnectError> {
    stream.send(&startup(target, settings)?).await?;
    authenticate(&mut stream, target).await?;
    settle(stream).await
}

fn startup(target: &Target, settings: &[(Box<str>, Box<str>)]) -> Result<Vec<u8>, ConnectError> {
    let fixed = [("user", &*target.user), ("database", &*target.database)];
    let more = settings.iter().map(|(name, value)| (&**name, &**value));
    let mut packet = vec![0; 4];
    packet.extend_from_slice(&PROTOCOL.to_be_bytes());
    for text in fixed.into_iter().chain(more).flat_map(|(name, value)| [name, value]) {
        if text.contains('\0') {
            return Err(ConnectError::Protocol("a startup setting contains a zero byte"));
        }
        packet.extend_from_slice(text.as_bytes());
        packet.push(0);
    }
    packet.push(0);
    let length =
        u32::try_from(packet.len()).map_err(|_| ConnectError::Protocol("startup settings are too long"))?;
    packet[..4].copy_from_slice(&length.to_be_bytes());
    Ok(packet)
}

/// Where a SCRAM exchange stands. A server must finish what it began: otherwise it never proved that it knows us.
enum Scram {
    Unused,
    Begun(Begun),
    Answered(Expected),
    Verified,
}

async fn authenticate(stream: &mut Stream, target: &Target) -> Result<(), ConnectError> {
    let mut scram = Scram::Unused;
    let required = target.ssl.binding() == ChannelBinding::Require;
    loop {
        let (code, data) = request(stream).await?;
        scram = match (code, scram) {
            (AUTH_OK, Scram::Verified) => return Ok(()),
            (AUTH_OK | AUTH_CLEARTEXT | AUTH_MD5, Scram::Unused) if required => return Err(unbound()),
            (AUTH_OK, Scram::Unused) => return Ok(()),
            (AUTH_OK, _) => {
                return Err(ConnectError::Auth("the server did not finish the SCRAM exchange".into()));
            }
            (AUTH_CLEARTEXT, Scram::Unused) => {
                stream.send(&password_message(cleartext(&target.credentials)?)).await?;
                Scram::Unused
            }
            (AUTH_MD5, Scram::Unused) => {
                let salt = <[u8; 4]>::try_from(&data[..])
                    .map_err(|_| ConnectError::Protocol("md5 salt of the wrong length"))?;
                stream.send(&password_message(&md5(target, salt)?)).await?;
                Scram::Unused
            }
            (AUTH_SASL, Scram::Unused) => Scram::Begun(begin(stream, &data, target).await?),
            (AUTH_SASL_CONTINUE, Scram::Begun(begun)) => {
                let challenge =
                    begun.challenge(&data).map_err(|error| ConnectError::Auth(error.to_string()))?;
                let keys = keys(&target.credentials, &challenge).await?;
                let (answer, expected) = challenge.answer(&keys);
                stream.send(&message(answer.as_bytes())).await?;
                Scram::Answered(expected)
            }
            (AUTH_SASL_FINAL, Scram::Answered(expected)) => {
                expected.verify(&data).map_err(|error| ConnectError::Auth(error.to_string()))?;
                Scram::Verified
            }
            (AUTH_CLEARTEXT | AUTH_MD5 | AUTH_SASL | AUTH_SASL_CONTINUE | AUTH_SASL_FINAL, _) => {
                return Err(ConnectError::Protocol("authentication request out of order"));
            }
            (other, _) => {
                return Err(ConnectError::Auth(format!("authentication method {other} is not supported")));
            }
        };
    }
}

/// The next authentication request: its code and its data.
async fn request(stream: &mut Stream) -> Result<(u32, BytesMut), ConnectError> {
    loop {
        let (tag, mut body) = stream.next().await?;
        match tag {
            b'R' => {
                let code = body
                    .first_chunk::<4>()
                    .copied()
                    .ok_or(ConnectError::Protocol("truncated authentication request"))?;
                return Ok((u32::from_be_bytes(code), body.split_off(4)));
            }
            b'E' => return Err(ConnectError::Server(Box::new(ServerError::parse(&body)))),
            // Notices; and an older server's word on options it does not know, which are no reason to stop.
            b'N' | b'v' => {}
            _ => return Err(ConnectError::Protocol("expected an authentication request")),
        }
    }
}

fn cleartext(credentials: &Credentials) -> Result<&str, ConnectError> {
    match credentials {
        Credentials::Password(password) => Ok(password.text()),
        Credentials::None | Credentials::ScramKeys(_) | Credentials::Md5(_) => Err(lacking("a password")),
    }
}

fn md5(target: &Target, salt: [u8; 4]) -> Result<String, ConnectError> {
    match &target.credentials {
        Credentials::Password(password) => {
            Ok(md5_hash(target.user.as_bytes(), password.text().as_bytes(), salt))
        }
        Credentials::Md5(Md5Hash(stored)) => {
            let hash = stored.strip_prefix("md5").unwrap_or(stored);
            let digest = Md5::new().chain_update(hash).chain_update(salt).finalize();
            Ok(format!("md5{:032x}", u128::from_be_bytes(digest.into())))
        }
        Credentials::None | Credentials::ScramKeys(_) => Err(lacking("an md5 password")),
    }
}

async fn begin(stream: &mut Stream, mechanisms: &[u8], target: &Target) -> Result<Begun, ConnectError> {
    if matches!(target.credentials, Credentials::None | Credentials::Md5(_)) {
        return Err(lacking("a SCRAM password"));
    }
    let offered =
        |mechanism: &str| mechanisms.split(|&byte| byte == 0).any(|name| name == mechanism.as_bytes());
    let end_point = match target.ssl.binding() {
        ChannelBinding::Disable => None,
        ChannelBinding::Prefer | ChannelBinding::Require => stream.end_point(),
    };
    let (mechanism, binding) = match end_point {
        Some(end_point) if offered(MECHANISM_PLUS) => (MECHANISM_PLUS, Binding::EndPoint(end_point)),
        _ if target.ssl.binding() == ChannelBinding::Require => return Err(unbound()),
        Some(_) => (MECHANISM, Binding::Unoffered),
        None => (MECHANISM, Binding::Unable),
    };
    if !offered(mechanism) {
        return Err(ConnectError::Auth("none of the server's SASL mechanisms is supported".into()));
    }
    let begun = Begun::new(binding).map_err(|error| ConnectError::Local(error.to_string()))?;
    let first = begun.message();
    let mut body = Vec::with_capacity(64);
    body.extend_from_slice(mechanism.as_bytes());
    body.push(0);
    body.extend_from_slice(&(first.len() as u32).to_be_bytes());
    body.extend_from_slice(first.as_bytes());
    stream.send(&message(&body)).await?;
    Ok(begun)
}

async fn keys(credentials: &Credentials, challenge: &Challenge) -> Result<Keys, ConnectError> {
    match credentials {
        Credentials::ScramKeys(keys) => Ok(keys.clone()),
        Credentials::Password(password) => password
            .keys(challenge)
            .await
            .ok_or_else(|| ConnectError::Local("no thread to derive SCRAM keys on".into())),
        Credentials::None | Credentials::Md5(_) => Err(lacking("a SCRAM password")),
    }
}

fn unbound() -> ConnectError {
    ConnectError::Auth("channel binding is required, and the server's login is not bound to TLS".into())
}

fn lacking(what: &str) -> ConnectError {
    ConnectError::Auth(format!("the server asks for {what}, and none is known"))
}

fn password_message(text: &str) -> Vec<u8> {
    let mut body = text.as_bytes().to_vec();
    body.push(0);
    message(&body)
}

/// A message of tag `p`, which all answers to authentication requests share.
fn message(body: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(5 + body.len());
    message.push(b'p');
    message.extend_from_slice(&(4 + body.len() as u32).to_be_bytes());
    message.extend_from_slice(body);
    message
}

/// Collects what follows AuthenticationOk, until the server is ready.
async fn settle(mut stream: Stream) -> Result<Connected, ConnectError> {
    let mut parameters: Vec<(Box<str>, Box<str>)> = Vec::with_capacity(16);
    let (mut pid, mut secret): (i32, Box<[u8]>) = (0, Box::default());
    loop {
        let (tag, body) = stream.next().await?;
        match tag {
            b'S' => {
                let (name, value) = pair(&body).ok_or(ConnectError::Protocol("malformed ParameterStatus"))?;
                match parameters.iter().position(|(known, _)| *known == name) {
                    Some(at) => parameters[at].1 = value,
                    None if parameters.len() == MAX_PARAMETERS => {
                        return Err(ConnectError::Protocol("too many parameters"));
                    }
                    None => parameters.push((name, value)),
                }
            }
            b'K' => {
                let (id, rest) = body
                    .split_first_chunk::<4>()
                    .ok_or(ConnectError::Protocol("truncated BackendKeyData"))?;
                if !(4..=256).contains(&rest.len()) {
                    return Err(ConnectError::Protocol("cancel secret of impossible length"));
                }
                (pid, secret) = (i32::from_be_bytes(*id), rest.into());
            }
            b'Z' if body[..] == *b"I" => {
                let (transport, unread) = stream.into_parts();
                return Ok(Connected { transport, parameters, pid, secret, unread });
            }
            b'E' => return Err(ConnectError::Server(Box::new(ServerError::parse(&body)))),
            b'N' | b'v' => {}
            _ => return Err(ConnectError::Protocol("unexpected message after authentication")),
        }
    }
}

/// Name and value of a ParameterStatus. Values that are not UTF-8 are replaced where they are not: nothing is relayed from here.
fn pair(body: &[u8]) -> Option<(Box<str>, Box<str>)> {
    let mut parts = body.split(|&byte| byte == 0);
    let (name, value, end) = (parts.next()?, parts.next()?, parts.next()?);
    if !end.is_empty() || parts.next().is_some() || name.is_empty() {
        return None;
    }
    Some((String::from_utf8_lossy(name).into(), String::from_utf8_lossy(value).into()))
}
