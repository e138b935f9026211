//! Plays a script and writes down what came, in a form that can be compared.
use crate::script::{Script, Step};
use pgherd_tests::raw::{Event, Message, Raw, frame};
use std::hash::{DefaultHasher, Hash, Hasher};

/// Bytes of a batch that are sent one by one; the rest of a large one follows in pieces.
const SINGLE_BYTES: usize = 3000;
/// Size of those pieces.
const PIECE: usize = 7919;
/// Longer texts are compared by length and digest.
const SHOWN: usize = 300;
/// OIDs from here on are given out by the server as objects are made (documentation, chapter "System Catalogs").
const FIRST_USER_OID: u32 = 16_384;

/// Where to play.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stage {
    pub(crate) port: u16,
    pub(crate) database: &'static str,
    pub(crate) byte_by_byte: bool,
}

/// Plays to the end; one line for each thing that came.
pub(crate) fn play(stage: Stage, user: &str, script: &Script) -> Vec<String> {
    let mut settings = vec![("user", user), ("database", stage.database)];
    settings.extend(script.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let mut heard = Vec::new();
    let mut raw = Raw::connect(stage.port, &settings, "").expect("somebody listens");
    let mut login: Vec<String> = raw.login.iter().map(shown).collect();
    // The order of the reports is no promise of the protocol.
    login.sort();
    heard.extend(login.into_iter().map(|line| format!("login {line}")));
    if !raw.is_in() {
        return heard;
    }
    let mut out = Vec::new();
    for step in &script.steps {
        let wait = match step {
            Step::Send(bytes) => {
                out.extend(bytes);
                continue;
            }
            wait => wait,
        };
        send(&mut raw, &mut out, stage, &mut heard);
        let alive = match wait {
            Step::UntilReady => read(&mut raw, &mut heard, |tag, _| tag == b'Z'),
            Step::UntilEmpty => {
                let mut before = 0;
                read(&mut raw, &mut heard, |tag, _| {
                    std::mem::replace(&mut before, tag) == b'I' && tag == b'Z'
                })
            }
            Step::Read(0) => true,
            Step::Read(count) => read(&mut raw, &mut heard, |_, read| read == *count),
            Step::UntilEnd => read(&mut raw, &mut heard, |_, _| false),
            Step::HalfClose => {
                raw.half_close();
                true
            }
            Step::Send(_) => unreachable!("handled above"),
        };
        if !alive {
            return heard;
        }
    }
    out.extend(frame(b'X', b""));
    send(&mut raw, &mut out, stage, &mut heard);
    read(&mut raw, &mut heard, |_, _| false);
    heard
}

fn send(raw: &mut Raw, out: &mut Vec<u8>, stage: Stage, heard: &mut Vec<String>) {
    let (single, rest) =
        if stage.byte_by_byte { out.split_at(out.len().min(SINGLE_BYTES)) } else { (&[][..], &out[..]) };
    let piece = if stage.byte_by_byte { PIECE } else { usize::MAX };
    // A peer that is gone is noticed when it is read from.
    let sent = single.chunks(1).chain(rest.chunks(piece)).try_for_each(|bytes| raw.send(bytes));
    if let Err(error) = sent
        && error.kind() == std::io::ErrorKind::WouldBlock
    {
        heard.push("nobody reads".to_owned());
    }
    out.clear();
}

/// Reads until `enough` says so of the last message's type and the count; false at the end of the connection.
fn read(raw: &mut Raw, heard: &mut Vec<String>, mut enough: impl FnMut(u8, usize) -> bool) -> bool {
    let mut count = 0;
    loop {
        let event = raw.receive();
        heard.push(shown(&event));
        let Event::Message(message) = event else { return false };
        count += 1;
        if enough(message.tag, count) {
            return true;
        }
    }
}

fn shown(event: &Event) -> String {
    match event {
        Event::Closed => "closed".to_owned(),
        Event::Silent => "silence".to_owned(),
        Event::Message(message) => format!("{} {}", char::from(message.tag), body(message)),
    }
}

fn body(message: &Message) -> String {
    match message.tag {
        b'K' => format!("{} bytes", message.body.len()),
        b'E' | b'N' => fields(&message.body),
        // The sender's process id.
        b'A' => text(message.body.get(4..).unwrap_or_default()),
        b'T' => columns(&message.body),
        b't' => types(&message.body),
        _ => text(&message.body),
    }
}

/// All fields but those that speak of the server's own source code.
fn fields(body: &[u8]) -> String {
    let parts = body.split(|byte| *byte == 0).filter(|part| !part.is_empty());
    let kept: Vec<String> = parts.filter(|part| !matches!(part[0], b'F' | b'L' | b'R')).map(text).collect();
    kept.join(" / ")
}

/// RowDescription, with the OIDs that objects of this run were given made equal.
fn columns(body: &[u8]) -> String {
    let mut rest = body.get(2..).unwrap_or_default();
    let mut out = Vec::new();
    while let Some(end) = rest.iter().position(|byte| *byte == 0) {
        let Some(facts) = rest.get(end + 1..end + 19) else { break };
        let number = |at: usize| u32::from_be_bytes(facts[at..at + 4].try_into().expect("four bytes"));
        let (table, kind) = (masked(number(0)), masked(number(6)));
        out.push(format!("{} {table}.{:?} {kind} {:?}", text(&rest[..end]), &facts[4..6], &facts[10..]));
        rest = &rest[end + 19..];
    }
    out.join(", ")
}

fn types(body: &[u8]) -> String {
    let oids = body.get(2..).unwrap_or_default().chunks_exact(4);
    let oids: Vec<u32> =
        oids.map(|four| masked(u32::from_be_bytes(four.try_into().expect("four bytes")))).collect();
    format!("{oids:?}")
}

fn masked(oid: u32) -> u32 {
    oid.min(FIRST_USER_OID)
}

fn text(bytes: &[u8]) -> String {
    if bytes.len() <= SHOWN {
        return bytes.escape_ascii().to_string();
    }
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("{}... {} bytes {:016x}", bytes[..40].escape_ascii(), bytes.len(), hasher.finish())
}
