//! One client's life: it sends units, cut into pieces, and listens.

use crate::act::{Muse, Unit};
use crate::ear::{Ear, End, Outcome};
use crate::soul::{Expect, Soul, Unnamed};
use crate::support::message::{frame, sync, terminate};
use crate::support::random::Random;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream};

pub(crate) struct Life {
    pub(crate) muse: Muse,
    pub(crate) soul: Soul,
    pub(crate) stream: DuplexStream,
    pub(crate) ear: Ear,
}

impl Life {
    /// Some units, one after the other or pipelined; an error ends the life.
    pub(crate) async fn act(&mut self) -> Result<(), End> {
        let mut units = vec![self.muse.unit()];
        while units.last().is_some_and(Unit::may_be_followed) && units.len() < 5 && self.muse.random.one_in(2)
        {
            let next = self.muse.unit();
            if next.pipelines() {
                units.push(next);
            }
        }
        self.ear.heard.push(format!(">>{units:?}"));
        let bytes: Vec<u8> = units.iter().flat_map(Unit::bytes).collect();
        let cut = self.muse.random.one_in(60).then(|| self.muse.random.below(bytes.len() as u64) as usize);
        let (mut from, mut to) = tokio::io::split(&mut self.stream);
        let (ear, soul) = (&mut self.ear, &mut self.soul);
        let mut random = self.muse.random.fork();
        if let [Unit::CopyIn(tag, lines, fails)] = &units[..] {
            send(&mut to, &bytes, &mut random).await;
            return copy_in(ear, soul, (&mut from, &mut to), (tag, *lines, *fails)).await;
        }
        let speak = async {
            send(&mut to, &bytes[..cut.unwrap_or(bytes.len())], &mut random).await;
            to
        };
        let flushed = matches!(units[0], Unit::Flushed(_));
        let start = (soul.status, soul.clone());
        let listen = async {
            for unit in &units {
                let start = (soul.status, soul.clone());
                let outcome = ear.hears(&mut from, soul, unit).await?;
                if flushed {
                    return Ok(Some(outcome));
                }
                ear.hears_ready(&mut from, soul, start, outcome).await?;
            }
            Ok(None)
        };
        // An error may be heard before all was said; half a message must not stay behind.
        let (outcome, mut to) = {
            tokio::pin!(speak, listen);
            let (mut heard, mut spoken) = (None, None);
            loop {
                if let (Some(_), Some(_)) = (&heard, &spoken) {
                    break (heard.flatten(), spoken);
                }
                tokio::select! {
                    biased;
                    outcome = &mut listen, if heard.is_none() => heard = Some(outcome?),
                    to = &mut speak, if spoken.is_none() => {
                        if cut.is_some() {
                            return Err(End::Left);
                        }
                        spoken = Some(to);
                    }
                }
            }
        };
        let (Some(outcome), Some(to)) = (outcome, to.as_mut()) else { return Ok(()) };
        send(to, &sync(), &mut Random::new(1)).await;
        ear.hears_ready(&mut from, soul, start, outcome).await
    }

    pub(crate) async fn leave(mut self) {
        if !self.ear.over && self.muse.random.one_in(2) {
            let _ = self.stream.write_all(&terminate()).await;
        }
    }
}

/// Sends in pieces, now and then with a pause.
async fn send(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8], random: &mut Random) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let n = if random.one_in(2) { rest.len() } else { 1 + random.below(rest.len() as u64) as usize };
        if to.write_all(&rest[..n]).await.is_err() {
            return;
        }
        rest = &rest[n..];
        match random.below(6) {
            0 => tokio::time::sleep(Duration::from_millis(random.below(10))).await,
            1 => tokio::task::yield_now().await,
            _ => {}
        }
    }
}

async fn copy_in(
    ear: &mut Ear,
    soul: &mut Soul,
    (from, to): (&mut (impl AsyncRead + Unpin), &mut (impl AsyncWrite + Unpin)),
    (tag, lines, fails): (&str, u64, bool),
) -> Result<(), End> {
    let start = (soul.status, soul.clone());
    soul.unnamed = Unnamed::Unsure;
    let first = if soul.status == b'E' { Expect::Error(&["25P02"]) } else { Expect::Tag(b'G') };
    let mut outcome = ear.meets(from, &[first]).await?;
    if matches!(outcome, Outcome::Done) {
        let mut bytes = Vec::new();
        (0..lines).for_each(|_| bytes.extend(frame(b'd', tag.as_bytes())));
        bytes.extend(if fails { frame(b'f', b"no\0") } else { frame(b'c', b"") });
        let mut random = ear.random.fork();
        send(to, &bytes, &mut random).await;
        let end = if fails { Expect::Error(&["57014"]) } else { Expect::Done("COPY 9") };
        outcome = ear.meets(from, &[end]).await?;
    }
    ear.hears_ready(from, soul, start, outcome).await
}
