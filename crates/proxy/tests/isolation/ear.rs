//! The reading half of a client: it holds every message it gets against its soul.

use crate::act::{Op, Unit};
use crate::soul::{Expect, Soul, Unnamed, ends_block};
use crate::support::client::short;
use crate::support::message::{field, take, text, values};
use crate::support::random::Random;
use bytes::BytesMut;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Why a client stops.
#[derive(Debug, PartialEq)]
pub(crate) enum End {
    /// It left.
    Left,
    /// It was told FATAL, or its connection was closed between messages.
    Ended,
}

/// Errors that tell of a lost or missing server.
const LOSSES: [&str; 4] = ["40001", "08007", "53300", "57P03"];

/// What the last words of a session may be.
const LAST_WORDS: [&str; 5] = ["57P01", "08006", "57P03", "53300", "57014"];

pub(crate) enum Outcome {
    Done,
    Failed,
    Lost,
}

/// The reading half.
pub(crate) struct Ear {
    pub(crate) me: String,
    pub(crate) input: BytesMut,
    pub(crate) random: Random,
    pub(crate) steps: u64,
    pub(crate) losses: u64,
    /// It asked for a cancel some time.
    pub(crate) cancels: bool,
    /// It broke off, perhaps in the middle of a message.
    pub(crate) over: bool,
    /// The statement that the portal is bound to; inner `None` when that is not known.
    portal: Option<Option<String>>,
    parameter: String,
    /// For the story of a failure.
    pub(crate) heard: Vec<String>,
}

impl Ear {
    pub(crate) fn new(me: &str, random: Random) -> Ear {
        Ear {
            me: me.into(),
            input: BytesMut::new(),
            random,
            steps: 0,
            losses: 0,
            cancels: false,
            over: false,
            portal: None,
            parameter: String::new(),
            heard: Vec::new(),
        }
    }

    fn owns(&self, tag: &str) -> bool {
        tag.is_empty() || tag.starts_with("any.") || tag.starts_with(&format!("{}.", self.me))
    }

    /// The next message that belongs to an answer; what may come at any time is checked and dropped.
    async fn next(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> Result<(u8, Vec<u8>), End> {
        loop {
            if let Some((tag, body)) = take(&mut self.input) {
                self.steps += 1;
                self.heard.push(short(tag, &body));
                match tag {
                    b'N' => {
                        let said = field(&body, b'M');
                        assert!(self.owns(&said) || said.starts_with("waiting"), "{}: {said}", self.me);
                    }
                    b'S' => {
                        let (name, rest) = text(&body);
                        let value = text(rest).0;
                        assert!(name != "application_name" || self.owns(&value), "{}: {value}", self.me);
                    }
                    b'E' if field(&body, b'V') == "FATAL" => {
                        let code = field(&body, b'C');
                        assert!(LAST_WORDS.contains(&&*code), "{}: FATAL {code}", self.me);
                        return Err(End::Ended);
                    }
                    _ => return Ok((tag, body)),
                }
                continue;
            }
            if self.random.one_in(40) {
                tokio::time::sleep(Duration::from_millis(self.random.below(20))).await;
            }
            let read = tokio::time::timeout(Duration::from_secs(900), stream.read_buf(&mut self.input)).await;
            if read.unwrap_or_else(|_| panic!("{}: no answer", self.me)).unwrap_or(0) == 0 {
                return Err(End::Ended);
            }
        }
    }

    pub(crate) async fn meets(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        expected: &[Expect],
    ) -> Result<Outcome, End> {
        for expect in expected {
            let (tag, body) = self.next(stream).await?;
            if tag == b'E' {
                let code = field(&body, b'C');
                if LOSSES.contains(&&*code) {
                    self.losses += 1;
                    return Ok(Outcome::Lost);
                }
                let cancelled = code == "57014" && self.cancels && self.owns(&field(&body, b'M'));
                let meant = match expect {
                    Expect::Error(codes) => codes.contains(&&*code),
                    Expect::DoneOrAborted(_) => code == "25P02",
                    _ => false,
                };
                let own = code != "22012" || self.owns(&field(&body, b'M'));
                assert!((meant || cancelled) && own, "{}: {expect:?} but {code}", self.me);
                return Ok(Outcome::Failed);
            }
            let right = match expect {
                Expect::Tag(expected) | Expect::DoneOrAborted(expected) => tag == *expected,
                Expect::Row(columns) => tag == b'D' && values(&body) == *columns,
                Expect::Data(line) => tag == b'd' && body == line.as_bytes(),
                Expect::Done(done) => tag == b'C' && text(&body).0 == *done,
                Expect::Error(_) => false,
            };
            assert!(right, "{}: {expect:?} but {}", self.me, short(tag, &body));
        }
        Ok(Outcome::Done)
    }

    /// One unit's answer but for its ReadyForQuery; true when it failed.
    pub(crate) async fn hears(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        soul: &mut Soul,
        unit: &Unit,
    ) -> Result<Outcome, End> {
        match unit {
            Unit::Simple(texts) => {
                soul.unnamed = Unnamed::Unsure;
                if texts.is_empty() {
                    // Answered in a failed block, too; in a lost one it is refused.
                    return match self.next(stream).await? {
                        (b'I', _) => Ok(Outcome::Done),
                        (b'E', body) if soul.status == b'E' || LOSSES.contains(&&*field(&body, b'C')) => {
                            Ok(if soul.status == b'E' { Outcome::Failed } else { Outcome::Lost })
                        }
                        (tag, body) => panic!("{}: empty query but {}", self.me, short(tag, &body)),
                    };
                }
                for text in texts {
                    match self.meets(stream, &soul.expect(text, "", true)).await? {
                        Outcome::Done => soul.apply(text),
                        other => return Ok(other),
                    }
                }
                Ok(Outcome::Done)
            }
            Unit::Batch(ops) | Unit::Flushed(ops) => {
                for op in ops {
                    match self.hears_op(stream, soul, op).await? {
                        Outcome::Done => {}
                        other => {
                            // Whether a later Parse of the unnamed statement ran is not always known.
                            soul.unnamed = Unnamed::Unsure;
                            return Ok(other);
                        }
                    }
                }
                Ok(Outcome::Done)
            }
            Unit::CopyIn(..) => unreachable!("has its own way"),
        }
    }

    async fn hears_op(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        soul: &mut Soul,
        op: &Op,
    ) -> Result<Outcome, End> {
        let failed = soul.status == b'E';
        let missing = |name: &str| soul.text(name).is_err();
        let aborted = |name: &str| failed && !soul.text(name).ok().flatten().is_some_and(ends_block);
        let expected = match op {
            Op::Flush => return Ok(Outcome::Done),
            // Decided when it was sent: a text the server knows already is not asked for, although the block may have failed by then.
            Op::Parse { text, .. } if failed && !ends_block(text) => Expect::DoneOrAborted(b'1'),
            Op::Parse { text, .. } if text.starts_with("broken") => Expect::Error(&["42601", "42P05"]),
            Op::Parse { name, .. } if soul.names.contains_key(name) => Expect::Error(&["42P05"]),
            Op::Parse { .. } => Expect::Tag(b'1'),
            Op::Bind { name, .. } | Op::Describe { name } if missing(name) => {
                Expect::Error(&["26000", "25P02"])
            }
            Op::Bind { name, .. } | Op::Describe { name } if soul.text(name) == Ok(None) => {
                return self.hears_unsure(stream, op).await;
            }
            Op::Bind { name, .. } if aborted(name) => Expect::Error(&["26000", "25P02"]),
            Op::Bind { .. } => Expect::Tag(b'2'),
            Op::Describe { name } => return self.hears_description(stream, soul, name).await,
            Op::Execute => return self.hears_execute(stream, soul).await,
            Op::Close { .. } => Expect::Tag(b'3'),
        };
        let outcome = self.meets(stream, &[expected]).await?;
        if !matches!(outcome, Outcome::Done) {
            return Ok(outcome);
        }
        match op {
            Op::Parse { name, text } if name.is_empty() => soul.unnamed = Unnamed::Is(text.clone()),
            Op::Parse { name, text } => drop(soul.names.insert(name.clone(), text.clone())),
            Op::Bind { name, parameter } => {
                self.portal = soul.text(name).ok().map(|text| text.map(String::from));
                self.parameter = parameter.clone();
            }
            Op::Close { name } if name.is_empty() => soul.unnamed = Unnamed::Nothing,
            Op::Close { name } => drop(soul.names.remove(name)),
            _ => {}
        }
        Ok(outcome)
    }

    /// Bind or Describe of an unnamed statement that may be there or not.
    async fn hears_unsure(&mut self, stream: &mut (impl AsyncRead + Unpin), op: &Op) -> Result<Outcome, End> {
        let (tag, body) = self.next(stream).await?;
        match (tag, op) {
            (b'E', _) => {
                let code = field(&body, b'C');
                if LOSSES.contains(&&*code) {
                    return Ok(Outcome::Lost);
                }
                assert!(["26000", "25P02"].contains(&&*code), "{}: {code}", self.me);
                Ok(Outcome::Failed)
            }
            (b'2', Op::Bind { parameter, .. }) => {
                self.portal = Some(None);
                self.parameter = parameter.clone();
                Ok(Outcome::Done)
            }
            (b't', Op::Describe { .. }) => match self.next(stream).await?.0 {
                b'T' | b'n' => Ok(Outcome::Done),
                b'E' => Ok(Outcome::Lost),
                other => panic!("{}: {op:?} but {other}", self.me),
            },
            _ => panic!("{}: {op:?} but {}", self.me, short(tag, &body)),
        }
    }

    async fn hears_description(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        soul: &Soul,
        name: &str,
    ) -> Result<Outcome, End> {
        let known = soul.text(name).ok().flatten().unwrap_or_default();
        let rows = crate::support::statement::columns(known) > 0;
        let end = Expect::Tag(if rows { b'T' } else { b'n' });
        if soul.status != b'E' {
            return self.meets(stream, &[Expect::Tag(b't'), end]).await;
        }
        // In a lost block it is refused; PostgreSQL itself refuses to describe what returns rows.
        match self.next(stream).await? {
            (b'E', _) => Ok(Outcome::Failed),
            (b't', _) => self.meets(stream, &[end]).await,
            (tag, body) => panic!("{}: description but {}", self.me, short(tag, &body)),
        }
    }

    async fn hears_execute(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        soul: &mut Soul,
    ) -> Result<Outcome, End> {
        let Some(Some(bound)) = self.portal.clone() else {
            return self.hears_anything_of_ours(stream).await;
        };
        let expected = soul.expect(&bound, &self.parameter.clone(), false);
        let outcome = self.meets(stream, &expected).await?;
        if matches!(outcome, Outcome::Done) {
            soul.apply(&bound);
        }
        Ok(outcome)
    }

    /// The answer of a statement that is not known: its own words, or nothing.
    async fn hears_anything_of_ours(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
    ) -> Result<Outcome, End> {
        loop {
            let (tag, body) = self.next(stream).await?;
            match tag {
                b'D' => assert!(values(&body).iter().all(|value| self.owns(value)), "{}: {body:?}", self.me),
                b'd' => assert!(self.owns(&String::from_utf8_lossy(&body)), "{}: {body:?}", self.me),
                b'C' if ["SET", "RESET", "BEGIN", "COMMIT", "ROLLBACK"].contains(&&*text(&body).0) => {
                    // What it did to the session cannot be followed: such a client leaves.
                    return Err(End::Left);
                }
                b'C' => return Ok(Outcome::Done),
                b'E' if LOSSES.contains(&&*field(&body, b'C')) => return Ok(Outcome::Lost),
                b'E' => return Ok(Outcome::Failed),
                b'H' | b'c' => {}
                _ => panic!("{}: {} of an unknown statement", self.me, short(tag, &body)),
            }
        }
    }

    /// The end of a unit.
    pub(crate) async fn hears_ready(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        soul: &mut Soul,
        (began, start): (u8, Soul),
        outcome: Outcome,
    ) -> Result<(), End> {
        let (mut tag, mut body) = self.next(stream).await?;
        let late = tag == b'E' && LOSSES.contains(&&*field(&body, b'C'));
        if late {
            // The server died after its last row, or while nothing was asked of it.
            self.losses += 1;
            (tag, body) = self.next(stream).await?;
        }
        match outcome {
            Outcome::Lost => soul.lose(began, start, body[0]),
            _ if late => soul.lose(began, start, body[0]),
            Outcome::Done => soul.finish(false),
            Outcome::Failed => soul.finish(true),
        }
        assert!(
            tag == b'Z' && body[0] == soul.status,
            "{}: ready {} but {}",
            self.me,
            char::from(soul.status),
            short(tag, &body)
        );
        Ok(())
    }
}
