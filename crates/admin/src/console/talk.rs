//! The conversation: messages in, messages out, and commands to be run in between. It waits for nothing and reads any bytes.

use crate::console::command::{Asking, Block, Command, MAX_STATEMENTS, parse, split};
use crate::console::office::{Row, Standing};
use crate::console::reply::{self, Formats};
use crate::console::show::{Column, Show};
use bytes::{Buf, BytesMut};
use pgherd_wire::backend::{Status, tag as sent};
use pgherd_wire::frame::{HEADER_LEN, header};
use pgherd_wire::frontend::{Target, tag};
use pgherd_wire::sqlstate::code;
use pgherd_wire::write::{self, Report, Severity};
use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

mod extended;

/// Longest message of a client. psql's queries for TAB have some kilobytes.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// Statements and portals, each, that one client may have.
pub const MAX_NAMES: usize = 256;

/// Who talks.
#[derive(Clone, Debug)]
pub struct Speaker {
    /// Authenticated user.
    pub user: Arc<str>,
    /// Database as the client asked for it.
    pub database: Arc<str>,
    /// What it may do.
    pub standing: Standing,
    /// What `SHOW VERSION` says to it.
    pub version: Arc<str>,
}

/// What is to happen next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// More bytes are needed.
    More,
    /// This is to be run; its outcome goes to [`Talk::answer`] before the next step.
    Run(Command),
    /// The client says goodbye.
    Goodbye,
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A table's rows.
    Rows(Vec<Row>),
    /// It was done.
    Done,
    /// It failed.
    Failed(Report),
}

/// A statement that was prepared.
#[derive(Clone, Debug)]
struct Prepared {
    text: Arc<str>,
    command: Command,
}

/// A statement that was bound.
#[derive(Debug)]
struct Portal {
    prepared: Prepared,
    formats: Formats,
    /// Rows that were not sent yet; `None` before it was run.
    rows: Option<VecDeque<Row>>,
}

/// What an outcome belongs to.
#[derive(Debug)]
enum Running {
    /// The statement of a Query, and those behind it.
    Query { command: Command, rest: VecDeque<String> },
    /// An Execute: of which portal, and for how many rows at most (0: all).
    Portal { name: Box<[u8]>, max: usize },
}

/// One conversation.
#[derive(Debug)]
pub struct Talk {
    speaker: Speaker,
    status: Status,
    /// An extended request failed: what follows is dropped until Sync.
    skipping: bool,
    statements: HashMap<Box<[u8]>, Prepared>,
    portals: HashMap<Box<[u8]>, Portal>,
    running: Option<Running>,
}

impl Talk {
    /// A conversation that begins.
    pub fn new(speaker: Speaker) -> Talk {
        Talk {
            speaker,
            status: Status::Idle,
            skipping: false,
            statements: HashMap::new(),
            portals: HashMap::new(),
            running: None,
        }
    }

    /// Who talks.
    pub fn speaker(&self) -> &Speaker {
        &self.speaker
    }

    /// Takes messages off `input` and answers them, up to the first that needs something done.
    ///
    /// # Errors
    /// What the client is told before its connection is closed: it sent what no client may send.
    pub fn step(&mut self, input: &mut BytesMut, out: &mut BytesMut) -> Result<Step, Report> {
        loop {
            if let Some(command) = self.next_statement(out) {
                return Ok(Step::Run(command));
            }
            let broken = |what: &str| Report::new(Severity::Fatal, code::PROTOCOL_VIOLATION, what);
            let frame = match header(input) {
                Ok(Some(frame)) if frame.total > MAX_MESSAGE => {
                    return Err(broken("message is too long for the console"));
                }
                Ok(Some(frame)) if frame.total <= input.len() => frame,
                Ok(_) => return Ok(Step::More),
                Err(_) => return Err(broken("invalid message length")),
            };
            let message = input.split_to(frame.total);
            let body = &message[HEADER_LEN..];
            match frame.tag {
                tag::TERMINATE => return Ok(Step::Goodbye),
                tag::SYNC => self.sync(out),
                tag::QUERY => {
                    self.skipping = false;
                    let text = text(body).ok_or_else(|| broken("invalid query message"))?;
                    self.query(&text, out);
                }
                _ if self.skipping => {}
                tag::FLUSH | tag::COPY_DATA | tag::COPY_DONE | tag::COPY_FAIL => {}
                tag::PARSE | tag::BIND | tag::DESCRIBE | tag::EXECUTE | tag::CLOSE => {
                    match self.extended(frame.tag, body, out) {
                        Ok(Some(command)) => return Ok(Step::Run(command)),
                        Ok(None) => {}
                        Err(report) => self.fail_extended(&report, out),
                    }
                }
                tag::FUNCTION_CALL => {
                    self.fail(&reply::unknown("function call"), out);
                    write::ready(out, self.status);
                }
                _ => return Err(broken("unknown message type")),
            }
        }
    }

    /// The outcome of what was to be run.
    pub fn answer(&mut self, outcome: Outcome, out: &mut BytesMut) {
        match self.running.take() {
            Some(Running::Query { command, rest }) => {
                let failed = matches!(outcome, Outcome::Failed(_));
                self.tell(&command, outcome, out);
                // An error ends the whole text, as in PostgreSQL.
                let rest = if failed { VecDeque::new() } else { rest };
                self.continue_query(rest, out);
            }
            Some(Running::Portal { name, max }) => self.answer_portal(&name, max, outcome, out),
            None => {}
        }
    }

    fn understand(&self, text: &str) -> Command {
        let speaker = &self.speaker;
        parse(text, Asking { user: &speaker.user, database: &speaker.database, version: &speaker.version })
    }

    /// Why this client may not have this, in this state; `None` when it may.
    fn objection(&self, command: &Command, text: &str) -> Option<Report> {
        if self.status == Status::Failed
            && !matches!(command, Command::Block(Block::Commit | Block::Rollback))
        {
            let what = "current transaction is aborted, commands ignored until end of transaction block";
            return Some(Report::new(Severity::Error, code::IN_FAILED_SQL_TRANSACTION, what));
        }
        match command {
            Command::Unknown => Some(reply::unknown(text)),
            Command::Act(_) | Command::Show(Show::Fds) if self.speaker.standing != Standing::Admin => {
                Some(reply::not_admin())
            }
            _ => None,
        }
    }

    fn query(&mut self, text: &str, out: &mut BytesMut) {
        self.statements.remove(&b""[..]);
        self.portals.remove(&b""[..]);
        match split(text) {
            Some(parts) if parts.is_empty() => {
                write::frame(out, sent::EMPTY_QUERY, |_| {});
                write::ready(out, self.status);
            }
            Some(parts) => {
                let parts = parts.into_iter().map(str::to_owned).collect();
                self.continue_query(parts, out);
            }
            None => {
                let what = format!("more than {MAX_STATEMENTS} statements in one text");
                self.fail(&Report::new(Severity::Error, code::PROGRAM_LIMIT_EXCEEDED, what), out);
                write::ready(out, self.status);
            }
        }
    }

    /// Makes the next of these the one to run, or ends the query.
    fn continue_query(&mut self, mut rest: VecDeque<String>, out: &mut BytesMut) {
        let Some(text) = rest.pop_front() else { return write::ready(out, self.status) };
        let command = self.understand(&text);
        if let Some(report) = self.objection(&command, text.trim()) {
            self.fail(&report, out);
            return write::ready(out, self.status);
        }
        self.running = Some(Running::Query { command, rest });
    }

    /// The statement of the present query that is to be run; those that need nothing done are answered here.
    fn next_statement(&mut self, out: &mut BytesMut) -> Option<Command> {
        loop {
            let Some(Running::Query { command, .. }) = &self.running else { return None };
            let command = command.clone();
            match needs_nothing(&command) {
                Some(outcome) => self.answer(outcome, out),
                None => return Some(command),
            }
        }
    }

    /// Everything a simple query is told about one statement.
    fn tell(&mut self, command: &Command, outcome: Outcome, out: &mut BytesMut) {
        match outcome {
            Outcome::Failed(report) => self.fail(&report, out),
            Outcome::Rows(rows) => {
                let (columns, formats) = (columns(command), Formats::default());
                reply::row_description(out, &columns, &formats);
                rows.iter().for_each(|row| reply::data_row(out, &columns, row, &formats));
                write::command_complete(out, complete_tag(command, rows.len()).as_bytes());
            }
            Outcome::Done => self.complete(command, out),
        }
    }

    /// The end of a command without rows.
    fn complete(&mut self, command: &Command, out: &mut BytesMut) {
        match command {
            Command::Empty => return reply::bare(out, sent::EMPTY_QUERY),
            Command::Show(_) => reply::help().write(out),
            Command::Ignored => Report::new(Severity::Notice, "00000", "SET ignored").write(out),
            Command::Block(block) => {
                // The end of a failed block is a rollback, whatever was asked for.
                let failed = self.status == Status::Failed;
                self.status = if *block == Block::Begin { Status::Open } else { Status::Idle };
                let block = if failed { Block::Rollback } else { *block };
                return write::command_complete(out, block.tag().as_bytes());
            }
            _ => {}
        }
        write::command_complete(out, complete_tag(command, 0).as_bytes());
    }

    fn fail(&mut self, report: &Report, out: &mut BytesMut) {
        report.write(out);
        if self.status == Status::Open {
            self.status = Status::Failed;
        }
    }

    fn sync(&mut self, out: &mut BytesMut) {
        self.skipping = false;
        if self.status == Status::Idle {
            // Portals end with their transaction.
            self.portals.clear();
        }
        write::ready(out, self.status);
    }
}

/// The outcome of what needs no one's help.
fn needs_nothing(command: &Command) -> Option<Outcome> {
    match command {
        Command::Empty
        | Command::Block(_)
        | Command::Idle(_)
        | Command::Ignored
        | Command::Show(Show::Help) => Some(Outcome::Done),
        Command::Value(_, cell) => Some(Outcome::Rows(vec![vec![cell.clone()]])),
        Command::Show(_) | Command::Complete(_) | Command::Act(_) | Command::Unknown => None,
    }
}

/// The columns of what it gives back; empty for what gives back no rows.
fn columns(command: &Command) -> Cow<'static, [Column]> {
    match command {
        Command::Show(show) => Cow::Borrowed(show.columns()),
        Command::Value(column, _) => Cow::Owned(vec![*column]),
        Command::Complete(_) => Cow::Borrowed(crate::console::complete::COLUMNS),
        Command::Empty
        | Command::Block(_)
        | Command::Idle(_)
        | Command::Ignored
        | Command::Act(_)
        | Command::Unknown => Cow::Borrowed(&[]),
    }
}

fn complete_tag(command: &Command, rows: usize) -> Cow<'static, str> {
    match command {
        Command::Act(act) => act.tag(),
        Command::Idle(tag) => Cow::Borrowed(tag),
        Command::Ignored => Cow::Borrowed("SET"),
        Command::Complete(_) => Cow::Owned(format!("SELECT {rows}")),
        Command::Show(_) | Command::Value(..) => Cow::Borrowed("SHOW"),
        Command::Empty | Command::Block(_) | Command::Unknown => Cow::Borrowed(""),
    }
}

/// The one string a body holds; bytes that are not UTF-8 are replaced, they can name nothing of ours.
fn text(body: &[u8]) -> Option<String> {
    let text = body.strip_suffix(b"\0").filter(|text| !text.contains(&0))?;
    Some(String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
#[path = "talk_tests.rs"]
mod tests;
