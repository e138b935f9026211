//! One client of the console, from its welcome to its goodbye: the only place here that waits.

use crate::console::act::Act;
use crate::console::cell::Cell;
use crate::console::command::Command;
use crate::console::complete::Of;
use crate::console::office::{Office, Row};
use crate::console::show::Show;
use crate::console::talk::{MAX_MESSAGE, Outcome, Speaker, Step, Talk};
use bytes::BytesMut;
use pgherd_wire::backend::Status;
use pgherd_wire::sqlstate::code;
use pgherd_wire::write::{self, Report, Severity};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch::Receiver;
use tokio::time::timeout;

/// Time a client has to take what it asked for.
const WRITE_TIME: Duration = Duration::from_secs(60);

/// Time a client has to take its last words.
const GOODBYE_TIME: Duration = Duration::from_secs(2);

/// The version of PgBouncer whose console this is.
pub const PGBOUNCER: &str = "1.25.0";

/// What somebody else wants of a client of the console.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Call {
    /// Nothing.
    #[default]
    Nothing,
    /// A cancel request came: what it waits for is given up, a PAUSE is undone.
    Cancel,
    /// It must leave, and why.
    Leave(Report),
}

/// How a client's stay begins.
#[derive(Debug)]
pub struct Arrival {
    /// Who it is.
    pub speaker: Speaker,
    /// Its key for cancel requests.
    pub pid: i32,
    /// The secret half of the key.
    pub secret: Box<[u8]>,
    /// What it must be sent first.
    pub unsent: BytesMut,
    /// What it sent already.
    pub unread: BytesMut,
    /// Calls for it.
    pub calls: Receiver<Call>,
}

/// Serves one client until it leaves, breaks off, or is called away. Not cancel safe: dropping it closes the connection.
pub async fn visit<S: AsyncRead + AsyncWrite + Unpin>(stream: S, arrival: Arrival, office: Arc<dyn Office>) {
    let Arrival { speaker, pid, secret, unsent, unread, calls } = arrival;
    let mut visit = Visit { stream, office, talk: Talk::new(speaker), input: unread, out: unsent, calls };
    welcome(&mut visit.out, pid, &secret);
    let last = match visit.serve().await {
        Ok(()) => None,
        Err(End::Told(report)) => Some(report),
        Err(End::Gone(error)) => {
            tracing::debug!(%error, "a client of the console is gone");
            return;
        }
    };
    if let Some(report) = last {
        report.write(&mut visit.out);
    }
    let _ = timeout(GOODBYE_TIME, async {
        visit.stream.write_all(&visit.out).await?;
        visit.stream.shutdown().await
    })
    .await;
}

/// What PgBouncer's console reports, and who really speaks.
fn welcome(out: &mut BytesMut, pid: i32, secret: &[u8]) {
    let server = format!("{PGBOUNCER}/bouncer");
    for (name, value) in [
        ("server_version", server.as_str()),
        ("client_encoding", "UTF8"),
        ("server_encoding", "UTF8"),
        ("DateStyle", "ISO"),
        ("TimeZone", "GMT"),
        ("integer_datetimes", "on"),
        ("standard_conforming_strings", "on"),
        ("is_superuser", "on"),
        ("pgherd.version", env!("CARGO_PKG_VERSION")),
    ] {
        write::parameter_status(out, name.as_bytes(), value.as_bytes());
    }
    write::backend_key(out, pid, secret);
    write::ready(out, Status::Idle);
}

enum End {
    /// The connection broke.
    Gone(io::Error),
    /// It ends, and the client is told why.
    Told(Report),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> End {
        End::Gone(error)
    }
}

struct Visit<S> {
    stream: S,
    office: Arc<dyn Office>,
    talk: Talk,
    input: BytesMut,
    out: BytesMut,
    calls: Receiver<Call>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Visit<S> {
    async fn serve(&mut self) -> Result<(), End> {
        loop {
            match self.talk.step(&mut self.input, &mut self.out).map_err(End::Told)? {
                Step::More => {
                    self.flush().await?;
                    if !self.read().await? {
                        return Ok(());
                    }
                }
                Step::Run(command) => {
                    self.office.asked();
                    let Some(outcome) = self.run(command).await? else { return Ok(()) };
                    self.talk.answer(outcome, &mut self.out);
                }
                Step::Goodbye => return Ok(()),
            }
        }
    }

    async fn flush(&mut self) -> Result<(), End> {
        let send = async {
            self.stream.write_all(&self.out).await?;
            self.stream.flush().await
        };
        timeout(WRITE_TIME, send).await.map_err(|_| End::Gone(io::ErrorKind::TimedOut.into()))??;
        // A long table's buffer is not kept.
        self.out = BytesMut::new();
        Ok(())
    }

    /// More bytes; false when the client has hung up.
    async fn read(&mut self) -> Result<bool, End> {
        loop {
            // Both branches are cancel safe: `read_buf` keeps what it read, a change that is not taken now is taken the next time.
            tokio::select! {
                count = self.stream.read_buf(&mut self.input) => return Ok(count? > 0),
                call = self.calls.changed() => self.heed(call.is_err())?,
            }
        }
    }

    /// A call that came while nothing was being done.
    fn heed(&mut self, alone: bool) -> Result<(), End> {
        match self.calls.borrow_and_update().clone() {
            Call::Leave(report) => Err(End::Told(report)),
            // Whoever could call is gone: pgherd ends.
            _ if alone => Err(End::Gone(io::ErrorKind::ConnectionAborted.into())),
            Call::Nothing | Call::Cancel => Ok(()),
        }
    }

    /// Runs a command; `None` when the client has hung up meanwhile.
    async fn run(&mut self, command: Command) -> Result<Option<Outcome>, End> {
        Ok(Some(match command {
            Command::Show(Show::Version) => {
                let version = self.talk.speaker().version.to_string();
                Outcome::Rows(vec![vec![Cell::text(version)]])
            }
            Command::Show(show) => Outcome::Rows(self.office.rows(show)),
            Command::Complete(completion) => {
                let names: Vec<String> = match completion.of {
                    Of::Shows => Show::ALL.iter().map(|show| show.word().to_owned()).collect(),
                    Of::Settings => self.office.settings(),
                    Of::Databases => self.office.databases(),
                    Of::Nothing => Vec::new(),
                };
                let chosen = completion.choose(names.iter().map(String::as_str));
                let row = |name: &str| -> Row { vec![Cell::text(name.to_owned())] };
                Outcome::Rows(chosen.into_iter().map(row).collect())
            }
            Command::Act(act) => return self.act(act).await,
            Command::Empty
            | Command::Value(..)
            | Command::Block(_)
            | Command::Idle(_)
            | Command::Ignored
            | Command::Unknown => Outcome::Done,
        }))
    }

    /// Does something, and listens to the client meanwhile.
    async fn act(&mut self, act: Act) -> Result<Option<Outcome>, End> {
        // What it asked for before must not wait for this.
        self.flush().await?;
        tracing::info!(user = %self.talk.speaker().user, command = act.subject(), "console command");
        self.calls.mark_unchanged();
        let mut doing = self.office.act(act.clone());
        loop {
            let has_room = self.input.len() < MAX_MESSAGE;
            // Every branch is cancel safe: see `read`; what is done is polled on, not begun anew.
            tokio::select! {
                biased;
                done = &mut doing => return Ok(Some(match done {
                    Ok(()) => Outcome::Done,
                    Err(report) => Outcome::Failed(report),
                })),
                count = self.stream.read_buf(&mut self.input), if has_room => {
                    if count? == 0 {
                        return Ok(None);
                    }
                }
                call = self.calls.changed() => {
                    if *self.calls.borrow() == Call::Cancel {
                        drop(doing);
                        return Ok(Some(self.cancel(act).await));
                    }
                    self.heed(call.is_err())?;
                }
            }
        }
    }

    /// As PgBouncer does: giving up the wait for a PAUSE ends the pause.
    async fn cancel(&mut self, act: Act) -> Outcome {
        self.calls.borrow_and_update();
        if let Act::Pause(database) = act {
            let _ = self.office.act(Act::Resume(database)).await;
        }
        let what = "canceling statement due to user request";
        Outcome::Failed(Report::new(Severity::Error, code::QUERY_CANCELED, what))
    }
}

#[cfg(test)]
#[path = "visit_tests.rs"]
mod tests;
