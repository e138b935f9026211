//! A transcript: what is done, and what must come of it.
//!
//! ```text
//! == title
//! startup name=value ...     settings of sessions made after this line
//! reported Name=value ...    what a server reports when those are in force
//! limits STATEMENTS [CLIENT] most statements of a server, and of a client
//! session_mode               the pool's mode is session
//! session N                  the lines that follow are of session N (1 at first); servers and texts are shared
//! C> messages                from the client          S> messages     from its server
//! ->S messages               all that went to the server since the last such line
//! ->C messages               all that went to the client since the last such line
//! need server [read_only | read_write] [serializable | other_level] [lone]
//! attach NAME [read_only] [replica]   `replica`: the request is kept for a rewind
//! free                       the server is of no more use, and goes back
//! goodbye | broken WHY | pin WORD | no pin | status I|T|E | stake WORD | fatal
//! refuse CODE "text" ...     no server is to be had
//! rewind                     the server was lost, the request is shown again
//! again                      it said that what stands there for the unnamed statement is out of date, the request is shown again
//! lose CODE "text" ...       the server was lost, the client is told this
//! lose quietly | cannot lose | cannot rewind
//! leave                      the session ends and its server goes back
//! dirty NAME WORD | clean NAME        what a server that went back is
//! ```
//!
//! An indented line goes on with the one before it. Outputs that no line speaks of, and a server that is free without `free`, are faults.

use crate::notation::{Side, bytes, report};
use crate::words::{Word, split};
use pgherd_session::step::Demand;
use pgherd_wire::write::Report;

/// One line.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Startup(Vec<(String, String)>),
    Reported(Vec<(String, String)>),
    Limits(usize, usize),
    SessionMode,
    Session(u64),
    Send(Side, Vec<u8>),
    Went(Side, Vec<u8>),
    Need(Demand),
    Attach { name: String, read_only: bool, replica: bool },
    Free,
    Goodbye,
    Broken(String),
    Pin(Option<String>),
    Status(u8),
    Stake(String),
    Fatal,
    Refuse(Report),
    Rewind,
    Again,
    Lose(Report),
    LoseQuietly,
    CannotLose,
    CannotRewind,
    Leave,
    Left(String, Option<String>),
}

/// A transcript with its title; each step with its line number.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub title: String,
    pub steps: Vec<(usize, Step)>,
}

/// Reads all transcripts of a file.
pub(crate) fn scripts(text: &str) -> Result<Vec<Script>, String> {
    let mut scripts: Vec<Script> = Vec::new();
    for (number, line) in joined(text) {
        if let Some(title) = line.strip_prefix("==") {
            scripts.push(Script { title: title.trim().into(), steps: Vec::new() });
            continue;
        }
        let words = split(&line).map_err(|fault| format!("line {number}: {fault}"))?;
        if words.is_empty() {
            continue;
        }
        let script = scripts.last_mut().ok_or_else(|| format!("line {number} stands before any title"))?;
        let step = step(&words).map_err(|fault| format!("line {number}: {fault}"))?;
        script.steps.push((number, step));
    }
    Ok(scripts)
}

/// Lines with their numbers, indented ones joined to the one before.
fn joined(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        match lines.last_mut() {
            Some((_, last)) if line.starts_with(' ') => {
                last.push(' ');
                last.push_str(line.trim());
            }
            _ => lines.push((at + 1, line.to_string())),
        }
    }
    lines
}

fn step(words: &[Word]) -> Result<Step, String> {
    let bare: Vec<String> =
        words.iter().map(|word| String::from_utf8_lossy(&word.bytes()).into_owned()).collect();
    let word = |at: usize| bare.get(at).cloned().ok_or_else(|| format!("{} lacks an argument", bare[0]));
    let has = |what: &str| bare[1..].iter().any(|word| word == what);
    let number = |at: usize| word(at)?.parse::<usize>().map_err(|error| format!("{}: {error}", bare[0]));
    let told = |from: usize| report(&mut words[from..].iter().peekable());
    Ok(match bare[0].as_str() {
        "C>" => Step::Send(Side::Client, bytes(Side::Client, &words[1..])?),
        "S>" => Step::Send(Side::Server, bytes(Side::Server, &words[1..])?),
        "->S" => Step::Went(Side::Server, bytes(Side::Client, &words[1..])?),
        "->C" => Step::Went(Side::Client, bytes(Side::Server, &words[1..])?),
        "startup" => Step::Startup(pairs(&bare)),
        "reported" => Step::Reported(pairs(&bare)),
        "limits" => Step::Limits(number(1)?, if bare.len() > 2 { number(2)? } else { 100 }),
        "session_mode" => Step::SessionMode,
        "session" => Step::Session(number(1)? as u64),
        "need" => Step::Need(Demand {
            read_only: has("read_only").then_some(true).or(has("read_write").then_some(false)),
            serializable: has("serializable").then_some(true).or(has("other_level").then_some(false)),
            lone: has("lone"),
        }),
        "attach" => Step::Attach { name: word(1)?, read_only: has("read_only"), replica: has("replica") },
        "free" => Step::Free,
        "goodbye" => Step::Goodbye,
        "broken" => Step::Broken(word(1)?),
        "pin" => Step::Pin(Some(word(1)?)),
        "no" if has("pin") => Step::Pin(None),
        "status" => Step::Status(word(1)?.as_bytes()[0]),
        "stake" => Step::Stake(word(1)?),
        "fatal" => Step::Fatal,
        "refuse" => Step::Refuse(told(1)?),
        "rewind" => Step::Rewind,
        "again" => Step::Again,
        "lose" if has("quietly") => Step::LoseQuietly,
        "lose" => Step::Lose(told(1)?),
        "cannot" if has("lose") => Step::CannotLose,
        "cannot" if has("rewind") => Step::CannotRewind,
        "leave" => Step::Leave,
        "dirty" => Step::Left(word(1)?, Some(word(2)?)),
        "clean" => Step::Left(word(1)?, None),
        other => return Err(format!("unknown line {other}")),
    })
}

/// The words after the first, each a name and a value.
fn pairs(words: &[String]) -> Vec<(String, String)> {
    let pairs = words[1..].iter().filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.into(), value.into())).collect()
}
