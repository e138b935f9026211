//! One session: unique writes and reads in a random order, over all protocols.
use crate::ledger::{DIRECT, FIRST_LIST, FIRST_REGISTER, Ledger, Level, Memory, SESSIONS};
use crate::random::Dice;
use pgherd_tests::stand::{PASSWORD, USER};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, Error, NoTls, SimpleQueryMessage, Statement};

/// Longer than anything may take: above pgherd's own `hold_timeout`.
const PATIENCE: Duration = Duration::from_secs(40);
/// Pause before another try to connect.
const PAUSE: Duration = Duration::from_millis(50);
/// Longest time a session thinks, in microseconds.
const THOUGHT: u64 = 20_000;

const READ_ONE: &str = "SELECT id, v FROM slot WHERE id = $1";
const READ_MANY: &str = "SELECT id, v FROM slot WHERE id >= $1";
const READ_LIST: &str = "SELECT $1::bigint, coalesce(max(seq), 0) FROM list WHERE id = $1";
// The larger one stays: a write whose session was lost may still come after the next one.
const WRITE: &str = "UPDATE slot SET v = greatest(v, $2) WHERE id = $1 RETURNING id, v";
const RAISE: &str = "UPDATE slot SET v = v + 1 WHERE id = $1 RETURNING id, v";
const APPEND: &str = "INSERT INTO list (id, seq) VALUES ($1, $2) RETURNING id, seq";

/// The tables of one run.
pub(crate) fn schema() -> String {
    format!(
        "CREATE TABLE slot (id bigint PRIMARY KEY, v bigint NOT NULL) WITH (fillfactor = 20);
         INSERT INTO slot SELECT id, 0 FROM generate_series(0, {DIRECT}) id;
         CREATE TABLE list (id bigint, seq bigint, PRIMARY KEY (id, seq));"
    )
}

/// How a statement is sent.
#[derive(Clone, Copy, Debug)]
enum Protocol {
    Simple,
    Unnamed,
    Prepared,
}

pub(crate) struct Connection {
    client: Client,
    prepared: HashMap<&'static str, Statement>,
}

impl Connection {
    async fn open(port: u16, options: &str) -> Result<Self, Error> {
        let mut config = Config::new();
        config.host("127.0.0.1").port(port).user(USER).password(PASSWORD).dbname(USER);
        if !options.is_empty() {
            config.options(options);
        }
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(Self { client, prepared: HashMap::new() })
    }

    async fn ask(
        &mut self,
        protocol: Protocol,
        text: &'static str,
        values: &[i64],
    ) -> Result<Vec<(usize, i64)>, Error> {
        let pair = |id: i64, value: i64| (usize::try_from(id).unwrap(), value);
        let typed: Vec<_> = values.iter().map(|value| (value as &(dyn ToSql + Sync), Type::INT8)).collect();
        let rows = match protocol {
            Protocol::Simple => {
                let text = values.iter().enumerate().fold(text.to_owned(), |text, (at, value)| {
                    text.replace(&format!("${}", at + 1), &value.to_string())
                });
                let answer = self.client.simple_query(&text).await?;
                let number = |row: &tokio_postgres::SimpleQueryRow, at| row.get(at).unwrap().parse().unwrap();
                let rows = answer.iter().filter_map(|message| match message {
                    SimpleQueryMessage::Row(row) => Some(pair(number(row, 0), number(row, 1))),
                    _ => None,
                });
                return Ok(rows.collect());
            }
            Protocol::Unnamed => self.client.query_typed(text, &typed).await?,
            Protocol::Prepared => {
                if !self.prepared.contains_key(text) {
                    let types: Vec<_> = values.iter().map(|_| Type::INT8).collect();
                    self.prepared.insert(text, self.client.prepare_typed(text, &types).await?);
                }
                let values: Vec<_> = typed.iter().map(|(value, _)| *value).collect();
                self.client.query(&self.prepared[text], &values).await?
            }
        };
        Ok(rows.iter().map(|row| pair(row.get(0), row.get(1))).collect())
    }
}

impl Connection {
    /// What another session must be given so that it reads nothing older than what this one wrote.
    async fn token(&self, protocol: Protocol) -> Result<String, Error> {
        const SHOW: &str = "SHOW pgherd.causal_token";
        let rows = match protocol {
            Protocol::Simple => {
                let answer = self.client.simple_query(SHOW).await?;
                let row = answer.iter().find_map(|message| match message {
                    SimpleQueryMessage::Row(row) => row.get(0),
                    _ => None,
                });
                return Ok(row.unwrap().to_owned());
            }
            Protocol::Unnamed => self.client.query_typed(SHOW, &[]).await?,
            Protocol::Prepared => self.client.query(SHOW, &[]).await?,
        };
        assert_eq!((rows.len(), rows[0].columns()[0].name()), (1, "pgherd.causal_token"));
        Ok(rows[0].get(0))
    }
}

/// One session of a run, over all its connections.
pub(crate) struct Session {
    pub(crate) number: usize,
    pub(crate) port: u16,
    /// What it asks for.
    pub(crate) asks: Option<Level>,
    /// What it is held to.
    pub(crate) level: Level,
    /// Its commits are acknowledged before they are flushed.
    pub(crate) asynchronous: bool,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) dice: Dice,
    pub(crate) until: Instant,
    /// Its other connection.
    pub(crate) spare: Option<Connection>,
}

impl Session {
    /// Works until its time is over.
    pub(crate) async fn run(mut self) {
        let (mut connection, mut memory) = (None, Memory::default());
        while Instant::now() < self.until {
            let Some(open) = connection.as_mut() else {
                match tokio::time::timeout(PATIENCE, self.connect()).await.expect("a connection in time") {
                    Ok(new) => (connection, memory) = (Some(new), Memory::default()),
                    Err(error) => {
                        self.ledger.error("connect", &error);
                        tokio::time::sleep(PAUSE).await;
                    }
                }
                continue;
            };
            tokio::time::sleep(Duration::from_micros(self.dice.below(THOUGHT))).await;
            let done = tokio::time::timeout(PATIENCE, self.act(open, &mut memory)).await;
            done.unwrap_or_else(|_| panic!("session {} hangs", self.number));
            if open.client.is_closed() {
                connection = None;
            }
        }
    }

    async fn connect(&self) -> Result<Connection, Error> {
        // Both ways to ask are to be tried.
        let word = self.asks.map(Level::word);
        let at_startup = self.number.is_multiple_of(2);
        let options = match word {
            Some(word) if at_startup => format!("-c pgherd.consistency={word}"),
            _ => String::new(),
        };
        let connection = Connection::open(self.port, &options).await?;
        if let Some(word) = word.filter(|_| !at_startup) {
            connection.client.batch_execute(&format!("SET pgherd.consistency = '{word}'")).await?;
        }
        if self.asynchronous {
            connection.client.batch_execute("SET synchronous_commit TO off").await?;
        }
        Ok(connection)
    }

    async fn act(&mut self, connection: &mut Connection, memory: &mut Memory) {
        // All that is random is drawn in one row, whatever happens.
        let (what, which) = (self.dice.below(100), self.dice.below(SESSIONS as u64));
        let protocol = [Protocol::Simple, Protocol::Unnamed, Protocol::Prepared][self.dice.below(3) as usize];
        let (name, done) = match what {
            0..=19 => ("write", self.write(connection, memory, protocol, which).await),
            20..=24 => ("block", self.block(connection, memory, protocol).await),
            25..=26 => ("hand over", self.hand_over(connection, memory, protocol).await),
            27..=39 => ("read block", self.read_block(connection, memory, protocol).await),
            _ => ("read", self.read(connection, memory, protocol, which).await),
        };
        if let Err(error) = done {
            self.ledger.error(name, &error);
            if !connection.client.is_closed() {
                // A block may be open.
                let _ = connection.client.batch_execute("ROLLBACK").await;
            }
        }
    }

    async fn write(
        &self,
        connection: &mut Connection,
        memory: &mut Memory,
        protocol: Protocol,
        which: u64,
    ) -> Result<(), Error> {
        let own = self.number as i64;
        let (slot, text) = match which % 3 {
            0 => (self.number, WRITE),
            1 => (FIRST_LIST + self.number, APPEND),
            _ => (FIRST_REGISTER + (which / 3) as usize % (DIRECT - FIRST_REGISTER), RAISE),
        };
        let next = self.ledger.attempt(slot);
        let values: &[i64] = match which % 3 {
            2 => &[slot as i64],
            _ => &[own, next],
        };
        let rows = connection.ask(protocol, text, values).await?;
        self.ledger.acknowledge(memory, slot, rows[0].1);
        Ok(())
    }

    /// Goes on over its other connection, which is given a token.
    async fn hand_over(
        &mut self,
        connection: &mut Connection,
        memory: &mut Memory,
        protocol: Protocol,
    ) -> Result<(), Error> {
        let token = connection.token(protocol).await?;
        let next = match self.spare.take() {
            Some(spare) if !spare.client.is_closed() => spare,
            _ => self.connect().await?,
        };
        next.client.batch_execute(&format!("SET pgherd.causal_token = '{token}'")).await?;
        self.spare = Some(std::mem::replace(connection, next));
        memory.forget_reads();
        Ok(())
    }

    async fn block(
        &self,
        connection: &mut Connection,
        memory: &mut Memory,
        protocol: Protocol,
    ) -> Result<(), Error> {
        let (own, list) = (self.number, FIRST_LIST + self.number);
        let (first, second) = (self.ledger.attempt(own), self.ledger.attempt(list));
        connection.client.batch_execute("BEGIN").await?;
        connection.ask(protocol, WRITE, &[own as i64, first]).await?;
        connection.ask(protocol, APPEND, &[own as i64, second]).await?;
        connection.client.batch_execute("COMMIT").await?;
        self.ledger.acknowledge(memory, own, first);
        self.ledger.acknowledge(memory, list, second);
        Ok(())
    }

    async fn read_block(
        &self,
        connection: &mut Connection,
        memory: &mut Memory,
        protocol: Protocol,
    ) -> Result<(), Error> {
        let before = self.ledger.before();
        connection.client.batch_execute("BEGIN READ ONLY").await?;
        let mut rows = connection.ask(protocol, READ_MANY, &[0]).await?;
        rows.extend(connection.ask(protocol, READ_ONE, &[self.number as i64]).await?);
        connection.client.batch_execute("COMMIT").await?;
        self.judge(memory, &before, &rows, "block", protocol);
        Ok(())
    }

    async fn read(
        &self,
        connection: &mut Connection,
        memory: &mut Memory,
        protocol: Protocol,
        which: u64,
    ) -> Result<(), Error> {
        let before = self.ledger.before();
        let rows = match which % 4 {
            0 => connection.ask(protocol, READ_ONE, &[self.number as i64]).await?,
            1 => connection.ask(protocol, READ_MANY, &[FIRST_REGISTER as i64]).await?,
            2 => connection.ask(protocol, READ_MANY, &[0]).await?,
            _ => {
                // Its own part of the list more often than that of others.
                let whose = if which % 8 == 3 { self.number } else { which as usize };
                let mut rows = connection.ask(protocol, READ_LIST, &[whose as i64]).await?;
                rows.iter_mut().for_each(|row| row.0 += FIRST_LIST);
                rows
            }
        };
        self.judge(memory, &before, &rows, "read", protocol);
        Ok(())
    }

    fn judge(
        &self,
        memory: &mut Memory,
        before: &crate::ledger::Before,
        rows: &[(usize, i64)],
        kind: &str,
        protocol: Protocol,
    ) {
        self.ledger.reads.fetch_add(1, Ordering::Relaxed);
        assert!(!rows.is_empty(), "every slot has a row");
        let who = format!("session {} {kind} {protocol:?}", self.number);
        for row in rows {
            self.ledger.judge(self.level, memory, before, *row, &who);
        }
    }
}

/// Writes on the primary itself, around pgherd, until its time is over.
pub(crate) async fn write_directly(port: u16, ledger: Arc<Ledger>, mut dice: Dice, until: Instant) {
    let (mut connection, mut memory) = (None, Memory::default());
    while Instant::now() < until {
        tokio::time::sleep(Duration::from_micros(dice.below(THOUGHT))).await;
        let Some(open) = connection.as_mut() else {
            connection = Connection::open(port, "").await.ok();
            continue;
        };
        let next = ledger.attempt(DIRECT);
        match open.ask(Protocol::Unnamed, WRITE, &[DIRECT as i64, next]).await {
            Ok(_) => ledger.acknowledge(&mut memory, DIRECT, next),
            Err(_) => connection = None,
        }
    }
}
