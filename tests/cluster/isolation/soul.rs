//! One client: what it did to its session, and the look at all that comes that nothing of it belongs to somebody else.
use crate::random::Dice;
use crate::world::World;
use pgherd_tests::raw::{Event, Message, Raw, field, frame, query, tags};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// The connection is gone; what the session was is gone with it.
pub(crate) struct Gone;

/// How what was asked for ended, on a session that lives on.
pub(crate) enum Answer {
    /// As it should.
    Done(Vec<Event>),
    /// With this SQLSTATE.
    Failed(String),
}

/// What a session has made, as far as its client was told.
#[derive(Default)]
pub(crate) struct Memory {
    /// Settings that are not what they were at the start.
    pub(crate) settings: BTreeMap<&'static str, String>,
    /// What its temporary table says.
    pub(crate) temporary: Option<String>,
    /// What its statements say: by protocol, and by SQL.
    pub(crate) statements: BTreeMap<&'static str, String>,
    pub(crate) channels: BTreeSet<String>,
    /// Session locks and the tokens that were left for them.
    pub(crate) locks: BTreeMap<usize, u64>,
    /// Values of `application_name` the server may report.
    pub(crate) names: BTreeSet<String>,
    /// Notifications that came and nobody has asked for yet.
    pub(crate) heard: Vec<(String, String)>,
}

pub(crate) struct Soul {
    pub(crate) number: u64,
    pub(crate) dice: Dice,
    pub(crate) world: Arc<World>,
    pub(crate) memory: Memory,
    raw: Option<Raw>,
    serial: u64,
}

impl Soul {
    pub(crate) fn new(number: u64, dice: Dice, world: Arc<World>) -> Self {
        Self { number, dice, world, memory: Memory::default(), raw: None, serial: 0 }
    }

    /// A text that is this client's and was never used before.
    pub(crate) fn tag(&mut self) -> String {
        self.serial += 1;
        format!("<{}:{}>", self.number, self.serial)
    }

    /// The connection, opened when there is none.
    pub(crate) fn raw(&mut self) -> Result<&mut Raw, Gone> {
        if self.raw.is_none() {
            self.memory = Memory::default();
            let name = self.tag();
            let settings = [("user", "app"), ("database", "app"), ("application_name", &*name)];
            let raw = Raw::connect(self.world.port, &settings, "").ok().filter(Raw::is_in);
            let Some(mut raw) = raw else {
                std::thread::sleep(Duration::from_millis(50));
                return Err(Gone);
            };
            raw.patience = Duration::from_secs(40);
            self.memory.names.insert(name.clone());
            self.memory.settings.insert("application_name", name);
            self.raw = Some(raw);
        }
        self.raw.as_mut().ok_or(Gone)
    }

    /// Leaves without a word.
    pub(crate) fn leave(&mut self) {
        self.raw = None;
        self.memory = Memory::default();
    }

    pub(crate) fn key(&mut self) -> Result<Vec<u8>, Gone> {
        self.raw()?.key().ok_or(Gone)
    }

    /// Sends bytes that end with a Query or a Sync for each of `rounds`, and gives what came up to the last ReadyForQuery.
    pub(crate) fn exchange(&mut self, bytes: &[u8], rounds: usize) -> Result<Answer, Gone> {
        self.send(bytes)?;
        let mut all = Vec::new();
        for _ in 0..rounds {
            all.extend(self.hear()?);
        }
        let error = pgherd_tests::raw::sqlstate(&all);
        Ok(if error.is_empty() { Answer::Done(all) } else { Answer::Failed(error) })
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        if self.raw()?.send(bytes).is_err() {
            // It may have said why.
            let _ = self.hear();
            self.leave();
            return Err(Gone);
        }
        Ok(())
    }

    /// Up to ReadyForQuery.
    pub(crate) fn hear(&mut self) -> Result<Vec<Event>, Gone> {
        let events = self.raw()?.until_ready();
        for event in &events {
            if let Event::Message(message) = event {
                self.judge(message);
            }
        }
        match events.last() {
            Some(Event::Silent) => {
                self.breach(&format!("silence after {}", tags(&events)));
                self.leave();
                Err(Gone)
            }
            Some(Event::Closed) | None => {
                self.leave();
                Err(Gone)
            }
            Some(Event::Message(_)) => Ok(events),
        }
    }

    pub(crate) fn simple(&mut self, sql: &str) -> Result<Answer, Gone> {
        self.exchange(&query(sql), 1)
    }

    /// The same, of which one row with one value is expected; `None` when it failed for a reason that is nobody's fault.
    pub(crate) fn value(&mut self, sql: &str) -> Result<Option<String>, Gone> {
        match self.simple(sql)? {
            Answer::Done(events) => Ok(Some(pgherd_tests::raw::column(&events).join(","))),
            Answer::Failed(state) => {
                self.excuse(&state, sql);
                Ok(None)
            }
        }
    }

    /// An error that only a lost server or a crowded pool explains.
    pub(crate) fn excuse(&self, state: &str, doing: &str) {
        if !matches!(state, "57P01" | "08006" | "08007" | "40001" | "53300") {
            self.breach(&format!("{doing}: {state}"));
        }
        self.world.count(&format!("excused {state}"));
    }

    pub(crate) fn expect(&self, doing: &str, found: &str, expected: &str) {
        if found != expected {
            self.breach(&format!("{doing}: {found:.200}, not {expected:.200}"));
        }
    }

    pub(crate) fn breach(&self, what: &str) {
        self.world.breach(format!("client {}: {what}", self.number));
    }

    /// Nothing in any message may carry the mark of somebody else.
    pub(crate) fn judge(&mut self, message: &Message) {
        if let Some(foreign) = foreign(&message.body, self.number)
            && message.tag != b'A'
        {
            self.breach(&format!("{} carries {foreign}", char::from(message.tag)));
        }
        match message.tag {
            b'S' => {
                let mut parts = message.body.split(|byte| *byte == 0).map(String::from_utf8_lossy);
                let (name, value) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
                if name == "application_name" && !value.is_empty() && !self.memory.names.contains(&*value) {
                    self.breach(&format!("application_name is reported as {value}"));
                }
            }
            b'A' => {
                let mut parts = message.body[4..].split(|byte| *byte == 0).map(String::from_utf8_lossy);
                let channel = parts.next().unwrap_or_default().into_owned();
                let payload = parts.next().unwrap_or_default().into_owned();
                if !self.memory.channels.contains(&channel) || !payload.ends_with(&channel) {
                    self.breach(&format!("a notification {payload:?} on {channel} came"));
                }
                self.world.count("notifications");
                self.memory.heard.push((channel, payload));
            }
            b'N' => self.world.count(&format!("notice {}", field(&message.body, b'C'))),
            b'D' => self.world.count("rows"),
            _ => {}
        }
    }
}

/// The first mark in these bytes that is not this client's.
pub(crate) fn foreign(body: &[u8], number: u64) -> Option<String> {
    let mut rest = body;
    while let Some(at) = rest.iter().position(|byte| *byte == b'<') {
        rest = &rest[at + 1..];
        let digits: String =
            rest.iter().take_while(|byte| byte.is_ascii_digit()).map(|byte| char::from(*byte)).collect();
        if rest.get(digits.len()) == Some(&b':') && digits.parse().is_ok_and(|found: u64| found != number) {
            return Some(format!("<{digits}:"));
        }
    }
    None
}

/// Parse.
pub(crate) fn parse(name: &str, sql: &str) -> Vec<u8> {
    frame(b'P', &[name.as_bytes(), b"\0", sql.as_bytes(), b"\0\0\0"].concat())
}

/// Bind of the unnamed portal to one text parameter, and Execute.
pub(crate) fn run(name: &str, value: &str) -> Vec<u8> {
    let length = u32::try_from(value.len()).unwrap().to_be_bytes();
    let bind = [b"\0", name.as_bytes(), b"\0\0\0\0\x01", &length, value.as_bytes(), b"\0\0"].concat();
    [frame(b'B', &bind), frame(b'E', b"\0\0\0\0\0")].concat()
}

/// Close of a statement.
pub(crate) fn close(name: &str) -> Vec<u8> {
    frame(b'C', &[b"S", name.as_bytes(), b"\0"].concat())
}

/// Sync.
pub(crate) fn sync() -> Vec<u8> {
    frame(b'S', b"")
}
