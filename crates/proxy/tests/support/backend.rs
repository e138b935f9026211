//! One fake server process: the session protocol with PostgreSQL's semantics, and a small language in place of SQL (see `statement.rs`).

use super::message::{c_str, frame, report, take, text};
use super::node::{Line, Node};
use bytes::BytesMut;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// The connection is over.
#[derive(Debug)]
pub struct Over;

impl From<io::Error> for Over {
    fn from(_: io::Error) -> Over {
        Over
    }
}

/// What became of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ran {
    Done,
    Failed,
}

pub type Values = BTreeMap<String, String>;

pub struct Backend {
    pub node: Arc<Node>,
    pub pid: i32,
    pub line: Arc<Line>,
    stream: DuplexStream,
    input: BytesMut,
    pub out: Vec<u8>,
    /// Bytes it may still send before it dies.
    budget: Option<u64>,
    pub settings: Values,
    /// Before the present transaction; LOCAL ones are put back at its end.
    pub before: Option<Values>,
    pub local: Values,
    reported: Values,
    pub status: u8,
    pub statements: BTreeMap<String, String>,
    portals: BTreeMap<String, (String, Vec<String>)>,
    skips: bool,
    pub queries: u64,
}

impl Backend {
    pub fn new(
        node: Arc<Node>,
        stream: DuplexStream,
        pid: i32,
        line: Arc<Line>,
        budget: Option<u64>,
    ) -> Backend {
        Backend {
            node,
            pid,
            line,
            stream,
            input: BytesMut::new(),
            out: Vec::new(),
            budget,
            settings: Values::new(),
            before: None,
            local: Values::new(),
            reported: Values::new(),
            status: b'I',
            statements: BTreeMap::new(),
            portals: BTreeMap::new(),
            skips: false,
            queries: 0,
        }
    }

    pub async fn serve(mut self, secret: &[u8]) -> Result<(), Over> {
        self.out.extend(frame(b'R', &0u32.to_be_bytes()));
        for (name, value) in [("server_version", "15.0"), ("in_hot_standby", "off"), ("application_name", "")]
        {
            self.out.extend(frame(b'S', &[c_str(name), c_str(value)].concat()));
        }
        self.out.extend(frame(b'K', &[&self.pid.to_be_bytes(), secret].concat()));
        self.ready().await?;
        let line = self.line.clone();
        tokio::select! {
            biased;
            () = line.cut.notified() => Ok(()),
            over = self.work() => over,
        }
    }

    async fn work(&mut self) -> Result<(), Over> {
        loop {
            let (tag, body) = self.next().await?;
            match tag {
                b'X' => return Err(Over),
                b'S' => {
                    self.queries += 1;
                    self.skips = false;
                    self.finish_implicit(Ran::Done);
                    self.ready().await?;
                }
                _ if self.skips => {}
                b'Q' if !body.ends_with(b"\0") => return Err(Over),
                b'Q' => self.simple(&text(&body).0).await?,
                b'H' => self.flush().await?,
                b'd' | b'c' | b'f' => {}
                _ => {
                    if self.extended(tag, &body).await? == Ran::Failed {
                        self.finish_implicit(Ran::Failed);
                        self.skips = true;
                        self.flush().await?;
                    }
                }
            }
        }
    }

    /// The next message.
    pub async fn next(&mut self) -> Result<(u8, Vec<u8>), Over> {
        loop {
            if let Some(message) = take(&mut self.input) {
                return Ok(message);
            }
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(Over);
            }
        }
    }

    pub async fn flush(&mut self) -> Result<(), Over> {
        let out = std::mem::take(&mut self.out);
        let room = self.budget.map_or(out.len(), |budget| out.len().min(budget as usize));
        self.stream.write_all(&out[..room]).await?;
        if let Some(budget) = self.budget.as_mut() {
            *budget -= room as u64;
            if *budget == 0 {
                return self.die(room == out.len()).await;
            }
        }
        Ok(())
    }

    /// Dies: with last words when it is at a message's end, else in the middle of it.
    async fn die(&mut self, at_end: bool) -> Result<(), Over> {
        if at_end && self.pid % 2 == 0 {
            self.stream.write_all(&report(b'E', "FATAL", "57P01", "terminating")).await?;
        } else if at_end && self.pid % 5 == 0 {
            // Something no session is ever sent.
            self.stream.write_all(&frame(b'W', b"\0\0")).await?;
        }
        Err(Over)
    }

    async fn ready(&mut self) -> Result<(), Over> {
        let name = "application_name";
        let value = self.settings.get(name).cloned().unwrap_or_default();
        if *self.reported.entry(name.into()).or_default() != value {
            self.out.extend(frame(b'S', &[c_str(name), c_str(&value)].concat()));
            self.reported.insert(name.into(), value);
        }
        self.out.extend(frame(b'Z', &[self.status]));
        self.flush().await
    }

    pub fn error(&mut self, code: &str, message: &str) -> Ran {
        self.out.extend(report(b'E', "ERROR", code, message));
        Ran::Failed
    }

    /// The end of what was no block.
    fn finish_implicit(&mut self, ran: Ran) {
        match (self.status, ran) {
            (b'I', Ran::Done) => self.end_transaction(true),
            (b'I', Ran::Failed) => self.end_transaction(false),
            (_, Ran::Failed) => self.status = b'E',
            _ => {}
        }
    }

    pub fn end_transaction(&mut self, commits: bool) {
        self.portals.clear();
        if let Some(before) = self.before.take()
            && !commits
        {
            self.settings = before;
        }
        for (name, value) in std::mem::take(&mut self.local) {
            if commits {
                match value.is_empty() {
                    true => self.settings.remove(&name),
                    false => self.settings.insert(name, value),
                };
            }
        }
    }

    async fn simple(&mut self, sql: &str) -> Result<(), Over> {
        self.statements.remove("");
        self.queries += 1;
        let mut ran = Ran::Done;
        let parts = super::statement::split(sql);
        if parts.is_empty() {
            self.out.extend(frame(b'I', b""));
        }
        for part in parts {
            ran = self.run(&part, &[], true).await?;
            if ran == Ran::Failed {
                break;
            }
        }
        self.finish_implicit(ran);
        self.ready().await
    }

    async fn extended(&mut self, tag: u8, body: &[u8]) -> Result<Ran, Over> {
        if !body.ends_with(b"\0") && matches!(tag, b'P' | b'B' | b'C' | b'D' | b'E') && !body.contains(&0) {
            // Half a message, completed by a Terminate: its client means to leave.
            return Err(Over);
        }
        let (first, rest) = text(if tag == b'D' || tag == b'C' { &body[1..] } else { body });
        match tag {
            b'P' => return Ok(self.parse(first, &text(rest).0)),
            b'B' => return Ok(self.bind(first, rest)),
            b'D' if body[0] == b'S' => {
                let Some(sql) = self.statements.get(&first).cloned() else { return Ok(self.unknown(&first)) };
                self.out.extend(frame(b't', &[0, 0]));
                self.describe(&sql);
            }
            b'D' => match self.portals.get(&first).cloned() {
                Some((sql, _)) => self.describe(&sql),
                None => return Ok(self.error("34000", "no such portal")),
            },
            b'C' => {
                if body[0] == b'S' {
                    self.statements.remove(&first);
                } else {
                    self.portals.remove(&first);
                }
                self.out.extend(frame(b'3', b""));
            }
            b'E' => match self.portals.get(&first).cloned() {
                Some((sql, values)) => return self.run(&sql, &values, false).await,
                None => return Ok(self.error("34000", "no such portal")),
            },
            other => panic!("message type {}", other.escape_ascii()),
        }
        Ok(Ran::Done)
    }

    fn parse(&mut self, name: String, sql: &str) -> Ran {
        if name.is_empty() {
            self.statements.remove("");
        }
        if self.status == b'E' && !super::statement::ends_block(sql) {
            return self.aborted();
        }
        if sql.starts_with("broken") {
            return self.error("42601", sql);
        }
        if sql == "SELECT pgherd_refused" {
            return self.error("42703", "column \"pgherd_refused\" does not exist");
        }
        if self.statements.contains_key(&name) {
            return self.error("42P05", &format!("prepared statement \"{name}\" already exists"));
        }
        self.statements.insert(name, sql.into());
        self.out.extend(frame(b'1', b""));
        Ran::Done
    }

    fn bind(&mut self, portal: String, rest: &[u8]) -> Ran {
        let (name, rest) = text(rest);
        let Some(sql) = self.statements.get(&name).cloned() else { return self.unknown(&name) };
        if self.status == b'E' && !super::statement::ends_block(&sql) {
            return self.aborted();
        }
        let values = super::message::values(&rest[2..rest.len() - 2]);
        self.portals.insert(portal, (sql, values));
        self.out.extend(frame(b'2', b""));
        Ran::Done
    }

    pub fn aborted(&mut self) -> Ran {
        self.error("25P02", "current transaction is aborted")
    }

    fn unknown(&mut self, name: &str) -> Ran {
        self.error("26000", &format!("prepared statement \"{name}\" does not exist"))
    }

    fn describe(&mut self, sql: &str) {
        match super::statement::columns(sql) {
            0 => self.out.extend(frame(b'n', b"")),
            n => self.out.extend(super::message::columns(n)),
        }
    }
}
