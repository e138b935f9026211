//! A fake client: says what it is told to, and reads answers.

use super::message::{field, query, take, terminate, values};
use super::{Stage, message};
use bytes::BytesMut;
use pgherd_login::door::CancelRequest;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// Longest time an answer may take on the tests' clock.
const PATIENCE: Duration = Duration::from_secs(900);

pub struct Client {
    pub stream: DuplexStream,
    pub input: BytesMut,
    pub key: Option<CancelRequest>,
}

impl Client {
    /// Enters and reads up to the first ReadyForQuery.
    pub async fn enter(stage: &Stage, user: &str) -> Client {
        Client::with(stage, user, &[]).await.expect("let in")
    }

    /// The same with startup settings; the code of the FATAL when it is not let in.
    pub async fn with(stage: &Stage, user: &str, settings: &[(&str, &str)]) -> Result<Client, String> {
        let stream = stage.admit(user, settings, 64 * 1024);
        let mut client = Client { stream, input: BytesMut::new(), key: None };
        loop {
            match client.next().await {
                Some((b'Z', _)) => return Ok(client),
                Some((b'K', body)) => {
                    let pid = i32::from_be_bytes(*body.first_chunk().expect("a process id"));
                    client.key = Some(CancelRequest { pid, secret: body[4..].into() });
                }
                Some((b'E', body)) => return Err(field(&body, b'C')),
                Some(_) => {}
                None => return Err("closed".into()),
            }
        }
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the session reads");
    }

    /// The next message; `None` when the connection was closed.
    pub async fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some(message) = take(&mut self.input) {
                return Some(message);
            }
            let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.input)).await;
            if read.expect("an answer in time").unwrap_or(0) == 0 {
                assert!(self.input.is_empty(), "half a message: {:?}", self.input);
                return None;
            }
        }
    }

    /// Everything up to ReadyForQuery (or the end), each message as a short word: its tag, and what matters of it.
    pub async fn answer(&mut self) -> Vec<String> {
        let mut words = Vec::new();
        loop {
            let Some((tag, body)) = self.next().await else {
                words.push("gone".into());
                return words;
            };
            words.push(short(tag, &body));
            if tag == b'Z' {
                return words;
            }
        }
    }

    /// Asks a simple query and reads its answer.
    pub async fn ask(&mut self, sql: &str) -> Vec<String> {
        self.send(&query(sql)).await;
        self.answer().await
    }

    /// The one value a simple query returns.
    pub async fn value(&mut self, sql: &str) -> String {
        let answer = self.ask(sql).await;
        let row = answer.iter().find_map(|word| word.strip_prefix("D:"));
        row.unwrap_or_else(|| panic!("no row in {answer:?}")).to_string()
    }

    pub async fn leave(mut self) {
        let _ = self.stream.write_all(&terminate()).await;
    }
}

/// A message as a word.
pub fn short(tag: u8, body: &[u8]) -> String {
    let kind = char::from(tag);
    match tag {
        b'D' => format!("D:{}", values(body).join(",")),
        b'E' | b'N' => format!("{kind}:{}", field(body, b'C')),
        b'C' => format!("C:{}", message::text(body).0),
        b'Z' => format!("Z:{}", char::from(body[0])),
        b'S' => {
            let (name, rest) = message::text(body);
            format!("S:{name}={}", message::text(rest).0)
        }
        _ => kind.to_string(),
    }
}
