//! One direction of a relay: what was read, what was decided about it, what is still to be written.

use crate::plan::{Plan, Segment};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Size of a fresh buffer.
pub const FIRST_BUFFER: usize = 8 * 1024;

/// Size up to which reads alone let a buffer grow.
pub const MAX_BUFFER: usize = 64 * 1024;

/// Most slices of one vectored write.
const MAX_SLICES: usize = 16;

/// Reads smaller than a quarter of the buffer, this many in a row, before it shrinks.
const SMALL_READS: u8 = 2;

/// One direction. The buffer that was read into is the one that is written from.
#[derive(Debug, Default)]
pub struct Lane {
    buffer: Vec<u8>,
    /// First byte that matters: kept or not yet carried out.
    head: usize,
    /// End of what was read.
    tail: usize,
    /// Bytes after `head` that were written already and are only kept for a rewind.
    kept: usize,
    keeping: bool,
    small_reads: u8,
    /// The last read was refused for want of room.
    full: bool,
    plan: Plan,
}

impl Lane {
    /// Bytes that were read and not decided yet, and the plan that takes the verdicts.
    pub fn parts(&mut self) -> (&[u8], &mut Plan) {
        let from = self.head + self.kept + self.plan.decided;
        (&self.buffer[from..self.tail], &mut self.plan)
    }

    /// Bytes that were read and not decided yet.
    pub fn undecided_bytes(&self) -> &[u8] {
        &self.buffer[self.head + self.kept + self.plan.decided..self.tail]
    }

    /// The last [`Lane::poll_fill`] did not even ask the stream, for want of room: whoever makes room must read again, nobody else wakes the task for it.
    pub fn was_full(&self) -> bool {
        self.full
    }

    /// How many bytes were read and not decided yet.
    pub fn undecided(&self) -> usize {
        self.tail - self.head - self.kept - self.plan.decided
    }

    /// The plan alone, for bytes of our own.
    pub fn plan(&mut self) -> &mut Plan {
        &mut self.plan
    }

    /// True when something waits to be written.
    #[inline]
    pub fn has_output(&self) -> bool {
        self.plan.output > 0
    }

    /// Bytes that wait to be written.
    pub fn output(&self) -> usize {
        self.plan.output
    }

    /// True when nothing is held at all: the buffer may be lent to somebody else.
    pub fn is_empty(&self) -> bool {
        self.tail == self.head && self.plan.is_empty()
    }

    /// Puts bytes that were read elsewhere behind what was read.
    pub fn push_input(&mut self, bytes: &[u8]) {
        self.make_room(bytes.len());
        self.buffer[self.tail..self.tail + bytes.len()].copy_from_slice(bytes);
        self.tail += bytes.len();
    }

    /// From now on what is written is kept, so that it can be shown again; up to one full buffer.
    ///
    /// What was decided before is not part of it: it was answered without a server, and must not be shown twice.
    pub fn keep(&mut self) {
        self.forget_kept();
        self.carry_out();
        self.keeping = true;
    }

    /// What was kept is not needed any more.
    pub fn forget_kept(&mut self) {
        self.head += std::mem::take(&mut self.kept);
        self.keeping = false;
        self.settle();
    }

    /// True while everything since [`Lane::keep`] can be shown again.
    pub fn can_rewind(&self) -> bool {
        self.keeping
    }

    /// Everything since [`Lane::keep`] is undecided again; bytes of our own are gone.
    pub fn rewind(&mut self) {
        self.kept = 0;
        self.plan.clear();
    }

    /// Drops what was read and planned.
    pub fn clear(&mut self) {
        self.plan.clear();
        (self.head, self.tail, self.kept, self.keeping) = (0, 0, 0, false);
    }

    /// Room to read into, so that `want` undecided bytes fit in all (0: whatever is natural). False when the lane is full of what is to be written first.
    fn prepare(&mut self, want: usize) -> bool {
        self.settle();
        if self.buffer.is_empty() {
            self.buffer = vec![0; FIRST_BUFFER.max(want)];
        }
        let missing = want.saturating_sub(self.undecided()).max(1);
        if self.tail + missing <= self.buffer.len() {
            return true;
        }
        if self.head > 0 {
            self.buffer.copy_within(self.head..self.tail, 0);
            (self.head, self.tail) = (0, self.tail - self.head);
        }
        if self.tail + missing <= self.buffer.len() {
            return true;
        }
        let size = self.buffer.len();
        if size < MAX_BUFFER {
            self.buffer.resize((self.tail + missing).next_power_of_two().max(size * 2), 0);
            return true;
        }
        if self.kept > 0 {
            self.forget_kept();
            return self.prepare(want);
        }
        // Bytes that wait to be written leave by themselves; only one message that must be whole makes the buffer larger than that.
        if self.plan.decided > 0 {
            return false;
        }
        self.buffer.resize((self.tail + missing).next_power_of_two(), 0);
        true
    }

    fn make_room(&mut self, n: usize) {
        let want = self.undecided() + n;
        if !self.prepare(want) || self.tail + n > self.buffer.len() {
            self.buffer.resize(self.tail + n, 0);
        }
    }

    /// When all was carried out, the next read starts at the front again.
    fn settle(&mut self) {
        if self.head == self.tail && self.kept == 0 {
            (self.head, self.tail) = (0, 0);
        }
    }

    /// Reads once, so that at least `want` undecided bytes fit. `Ready(Ok(0))` is the end of the stream. Never reads, and is `Pending` without a waker, when the lane is
    /// full: [`Lane::poll_drain`] makes room.
    pub fn poll_fill<S: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
        want: usize,
    ) -> Poll<io::Result<usize>> {
        self.full = !self.prepare(want);
        if self.full {
            return Poll::Pending;
        }
        let mut space = ReadBuf::new(&mut self.buffer[self.tail..]);
        ready!(Pin::new(stream).poll_read(cx, &mut space))?;
        let n = space.filled().len();
        self.tail += n;
        self.measure(n);
        Poll::Ready(Ok(n))
    }

    /// Growth follows reads that fill the buffer (in [`Lane::prepare`]); two small reads in a row mark it for shrinking.
    fn measure(&mut self, read: usize) {
        if self.buffer.len() > FIRST_BUFFER && read < self.buffer.len() / 4 {
            self.small_reads = self.small_reads.saturating_add(1);
        } else {
            self.small_reads = 0;
        }
    }

    /// Gives a large buffer back when it is empty and was not needed lately, or when `all`.
    pub fn shrink(&mut self, all: bool) {
        if self.is_empty() && self.buffer.len() > FIRST_BUFFER && (all || self.small_reads >= SMALL_READS) {
            self.buffer = vec![0; FIRST_BUFFER];
            (self.head, self.tail, self.small_reads) = (0, 0, 0);
        }
    }

    /// Carries out what needs no writing, when there is nothing to write.
    pub fn carry_out(&mut self) {
        if self.plan.output == 0 && !self.plan.is_empty() {
            self.advance(0);
        }
    }

    /// Writes until nothing is left or the stream takes no more. `Ready` means that all is written. Cancel safe: what was written is accounted for.
    pub fn poll_drain<S: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<io::Result<()>> {
        while self.plan.output > 0 {
            let n = ready!(self.poll_write_some(cx, stream))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(n);
        }
        if !self.plan.is_empty() {
            self.advance(0);
        }
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, n: usize) {
        let consumed = self.plan.advance(n);
        if self.keeping {
            self.kept += consumed;
        } else {
            self.head += consumed;
            self.settle();
        }
    }

    fn poll_write_some<S: AsyncWrite + Unpin>(
        &self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let mut used = 0;
        let (mut input, mut authored) =
            (&self.buffer[self.head + self.kept..self.tail], &self.plan.authored[..]);
        for segment in &self.plan.segments {
            let (slice, rest) = match *segment {
                Segment::Skip(n) => {
                    input = &input[n..];
                    continue;
                }
                Segment::Pass(n) => input.split_at(n),
                Segment::Authored(n) => authored.split_at(n),
            };
            match segment {
                Segment::Pass(_) => input = rest,
                _ => authored = rest,
            }
            slices[used] = IoSlice::new(slice);
            used += 1;
            if used == MAX_SLICES {
                break;
            }
        }
        match &slices[..used] {
            [one] => Pin::new(stream).poll_write(cx, one),
            several => Pin::new(stream).poll_write_vectored(cx, several),
        }
    }
}

#[cfg(test)]
#[path = "lane_tests.rs"]
mod tests;
