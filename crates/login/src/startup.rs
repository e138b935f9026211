//! The packets without a tag that open a connection (PostgreSQL documentation, "Message Formats"): taken apart, judged, nothing read.

use crate::door::{CancelRequest, Protocol};
use crate::error::LoginError;
use bytes::{BufMut, BytesMut};
use std::sync::Arc;

/// Longest startup packet PostgreSQL takes, without its length word.
pub const MAX_STARTUP: usize = 10_000;

const SSL_REQUEST: u32 = 1234 << 16 | 5679;
const GSS_REQUEST: u32 = 1234 << 16 | 5680;
const CANCEL_REQUEST: u32 = 1234 << 16 | 5678;

/// A cancel secret's length (protocol 3.2 made it variable).
const SECRET: std::ops::RangeInclusive<usize> = 4..=256;

/// A name and its value.
pub type Setting = (Box<str>, Box<str>);

/// One opening packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    /// The client asks for TLS.
    Ssl,
    /// The client asks for GSSAPI encryption.
    Gss,
    /// The client asks for a cancel.
    Cancel(CancelRequest),
    /// The client wants to log in.
    Startup(Startup),
}

/// Who wants to log in, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Startup {
    /// User; never empty.
    pub user: Arc<str>,
    /// Database; the user's name when none was given.
    pub database: Arc<str>,
    /// Settings: those in `options` first, because the others win over them.
    pub settings: Vec<Setting>,
    /// The value of `replication`, when it asks for a replication connection.
    pub replication: Option<Box<str>>,
    /// The protocol to speak from here on.
    pub protocol: Protocol,
    /// Present when the client must be told that it does not get all it asked for: the options nobody knows.
    pub unknown: Option<Vec<Box<str>>>,
}

impl Startup {
    /// Appends the NegotiateProtocolVersion, if there is anything to negotiate.
    pub fn negotiate(&self, out: &mut BytesMut) {
        let Some(unknown) = &self.unknown else { return };
        let length: usize = unknown.iter().map(|name| name.len() + 1).sum();
        out.put_u8(b'v');
        out.put_u32(12 + length as u32);
        out.put_u32(match self.protocol {
            Protocol::V3_0 => 3 << 16,
            Protocol::V3_2 => 3 << 16 | 2,
        });
        out.put_u32(unknown.len() as u32);
        for name in unknown {
            out.put_slice(name.as_bytes());
            out.put_u8(0);
        }
    }
}

/// The length of the packet whose length word this is, without that word.
///
/// # Errors
/// [`LoginError::StartupLength`] for one that cannot be.
pub fn length(word: [u8; 4]) -> Result<usize, LoginError> {
    match (u32::from_be_bytes(word) as usize).checked_sub(4) {
        Some(length @ 4..=MAX_STARTUP) => Ok(length),
        _ => Err(LoginError::StartupLength),
    }
}

/// Takes a packet apart, its length word removed.
///
/// # Errors
/// [`LoginError`], as PostgreSQL would refuse it.
pub fn parse(packet: &[u8]) -> Result<Opening, LoginError> {
    let (code, body) = packet.split_first_chunk::<4>().ok_or(LoginError::StartupLength)?;
    match u32::from_be_bytes(*code) {
        SSL_REQUEST if body.is_empty() => Ok(Opening::Ssl),
        GSS_REQUEST if body.is_empty() => Ok(Opening::Gss),
        CANCEL_REQUEST => cancel(body).map(Opening::Cancel),
        version => startup((version >> 16) as u16, version as u16, body).map(Opening::Startup),
    }
}

fn cancel(body: &[u8]) -> Result<CancelRequest, LoginError> {
    let (pid, secret) = body.split_first_chunk::<4>().ok_or(LoginError::CancelLength)?;
    if !SECRET.contains(&secret.len()) {
        return Err(LoginError::CancelLength);
    }
    Ok(CancelRequest { pid: i32::from_be_bytes(*pid), secret: secret.into() })
}

fn startup(major: u16, minor: u16, body: &[u8]) -> Result<Startup, LoginError> {
    if major != 3 {
        return Err(LoginError::Protocol(major, minor));
    }
    let (mut user, mut database, mut replication, mut options) = ("", "", "", "");
    let (mut settings, mut unknown) = (Vec::new(), Vec::new());
    for pair in Pairs(body) {
        let (name, value) = pair?;
        match name {
            "user" => user = value,
            "database" => database = value,
            "replication" => replication = value,
            "options" => options = value,
            _ if name.starts_with("_pq_.") => unknown.push(name.into()),
            _ => settings.push((name.into(), value.into())),
        }
    }
    if user.is_empty() {
        return Err(LoginError::NoUser);
    }
    let mut all = switches(options)?;
    all.append(&mut settings);
    let database = if database.is_empty() { user } else { database };
    Ok(Startup {
        user: user.into(),
        database: database.into(),
        settings: all,
        replication: wants_replication(replication)?.then(|| replication.into()),
        // 3.1 never existed; whoever asks for it gets what 3.0 is.
        protocol: if minor >= 2 { Protocol::V3_2 } else { Protocol::V3_0 },
        unknown: (minor > 2 || !unknown.is_empty()).then_some(unknown),
    })
}

/// Name and value pairs up to the terminator.
struct Pairs<'a>(&'a [u8]);

impl<'a> Pairs<'a> {
    fn text(&mut self) -> Result<&'a str, LoginError> {
        let end = self.0.iter().position(|&byte| byte == 0).ok_or(LoginError::StartupLayout)?;
        let (text, rest) = self.0.split_at(end);
        self.0 = &rest[1..];
        std::str::from_utf8(text).map_err(|_| LoginError::Encoding)
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = Result<(&'a str, &'a str), LoginError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0 == [0] {
            return None;
        }
        // An early terminator leaves an empty name behind: then something follows it, and the layout is wrong.
        let pair = match self.text() {
            Ok("") => Err(LoginError::StartupLayout),
            Ok(name) => self.text().map(|value| (name, value)),
            Err(error) => Err(error),
        };
        if pair.is_err() {
            self.0 = &[0];
        }
        Some(pair)
    }
}

fn wants_replication(value: &str) -> Result<bool, LoginError> {
    if value.is_empty() {
        return Ok(false);
    }
    if value == "database" {
        return Ok(true);
    }
    // As PostgreSQL reads a truth value: any unambiguous beginning of a word, in any case.
    let lower = value.to_ascii_lowercase();
    let begins = |word: &str, least: usize| lower.len() >= least && word.starts_with(&lower);
    if begins("true", 1) || begins("yes", 1) || lower == "on" || lower == "1" {
        Ok(true)
    } else if begins("false", 1) || begins("no", 1) || begins("off", 2) || lower == "0" {
        Ok(false)
    } else {
        Err(LoginError::Replication(value.into()))
    }
}

/// Takes `options` apart as the server's command line would be: `-c name=value`, `-cname=value`, `--name=value`; dashes in names are
/// underscores. `-e` and `-S` are the two other switches a client may still meet in old advice.
fn switches(options: &str) -> Result<Vec<Setting>, LoginError> {
    let mut settings = Vec::new();
    let mut words = Words(options.chars());
    while let Some(word) = words.next() {
        let mut glued_or_next = |glued: &str| {
            if glued.is_empty() { words.next() } else { Some(glued.to_owned()) }
        };
        if let Some(assignment) = word.strip_prefix("--").filter(|rest| !rest.is_empty()) {
            settings.push(assign(assignment).ok_or_else(|| LoginError::SwitchValue(word.as_str().into()))?);
        } else if let Some(glued) = word.strip_prefix("-c") {
            let assignment = glued_or_next(glued).ok_or_else(|| LoginError::Switch(word.as_str().into()))?;
            let missing = || LoginError::SwitchValue(format!("-c {assignment}").into());
            settings.push(assign(&assignment).ok_or_else(missing)?);
        } else if let Some(glued) = word.strip_prefix("-S") {
            let value = glued_or_next(glued).ok_or_else(|| LoginError::Switch(word.as_str().into()))?;
            settings.push(("work_mem".into(), value.into()));
        } else if word == "-e" {
            settings.push(("datestyle".into(), "euro".into()));
        } else {
            return Err(LoginError::Switch(word.into()));
        }
    }
    Ok(settings)
}

fn assign(assignment: &str) -> Option<Setting> {
    let (name, value) = assignment.split_once('=')?;
    Some((name.replace('-', "_").into(), value.into()))
}

/// Words between white space; a backslash takes the next character as it is.
struct Words<'a>(std::str::Chars<'a>);

impl Words<'_> {
    fn next(&mut self) -> Option<String> {
        let is_space = |c: char| matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c');
        let mut first = self.0.find(|&c| !is_space(c))?;
        let mut word = String::new();
        loop {
            match first {
                '\\' => word.extend(self.0.next()),
                c if is_space(c) => return Some(word),
                c => word.push(c),
            }
            match self.0.next() {
                Some(c) => first = c,
                None => return Some(word),
            }
        }
    }
}

#[cfg(test)]
#[path = "startup_tests.rs"]
mod tests;
