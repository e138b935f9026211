//! What becomes of the bytes of a lane, in order.

use bytes::{Buf, BytesMut};
use std::collections::VecDeque;

/// One piece of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment {
    /// The next bytes of the input go on.
    Pass(usize),
    /// The next bytes of the input are dropped.
    Skip(usize),
    /// The next authored bytes go on.
    Authored(usize),
}

/// Verdicts on the input that were not carried out yet.
#[derive(Debug, Default)]
pub struct Plan {
    pub(crate) segments: VecDeque<Segment>,
    pub(crate) authored: BytesMut,
    /// Input bytes the segments speak of.
    pub(crate) decided: usize,
    /// Bytes that will go out.
    pub(crate) output: usize,
}

impl Plan {
    /// The next `n` input bytes go on.
    #[inline]
    pub fn pass(&mut self, n: usize) {
        if n == 0 {
            return;
        }
        self.decided += n;
        self.output += n;
        match self.segments.back_mut() {
            Some(Segment::Pass(last)) => *last += n,
            _ => self.segments.push_back(Segment::Pass(n)),
        }
    }

    /// The next `n` input bytes are dropped.
    #[inline]
    pub fn skip(&mut self, n: usize) {
        if n == 0 {
            return;
        }
        self.decided += n;
        match self.segments.back_mut() {
            Some(Segment::Skip(last)) => *last += n,
            _ => self.segments.push_back(Segment::Skip(n)),
        }
    }

    /// Here go the bytes that `write` appends.
    pub fn compose(&mut self, write: impl FnOnce(&mut BytesMut)) {
        let before = self.authored.len();
        write(&mut self.authored);
        let n = self.authored.len() - before;
        if n == 0 {
            return;
        }
        self.output += n;
        match self.segments.back_mut() {
            Some(Segment::Authored(last)) => *last += n,
            _ => self.segments.push_back(Segment::Authored(n)),
        }
    }

    /// True when nothing waits to be carried out.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// What was to go out is dropped instead; bytes of our own vanish.
    pub fn suppress(&mut self) {
        let decided = self.decided;
        self.clear();
        self.skip(decided);
    }

    /// Forgets everything; the input it spoke of is undecided again.
    pub(crate) fn clear(&mut self) {
        self.segments.clear();
        self.authored.clear();
        (self.decided, self.output) = (0, 0);
    }

    /// Carries out what needs no writing at the front, then `n` bytes of output; returns how many input bytes are done with.
    pub(crate) fn advance(&mut self, mut n: usize) -> usize {
        let mut consumed = 0;
        self.output -= n;
        while let Some(front) = self.segments.front_mut() {
            match front {
                Segment::Skip(len) => consumed += *len,
                Segment::Pass(len) | Segment::Authored(len) if *len > n => {
                    *len -= n;
                    match front {
                        Segment::Pass(_) => consumed += n,
                        _ => self.authored.advance(n),
                    }
                    break;
                }
                Segment::Pass(len) => {
                    consumed += *len;
                    n -= *len;
                }
                Segment::Authored(len) => {
                    n -= *len;
                    let len = *len;
                    self.authored.advance(len);
                }
            }
            self.segments.pop_front();
        }
        self.decided -= consumed;
        consumed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advances_over_all_kinds() {
        let mut plan = Plan::default();
        plan.skip(2);
        plan.compose(|out| out.extend_from_slice(b"abc"));
        plan.pass(4);
        plan.skip(1);
        assert_eq!((plan.decided, plan.output), (7, 7));
        assert_eq!(plan.advance(0), 2);
        assert_eq!(plan.advance(2), 0);
        assert_eq!(plan.advance(2), 1);
        assert_eq!(&plan.authored[..], b"");
        assert_eq!(plan.advance(3), 4);
        assert!(plan.is_empty());
        assert_eq!((plan.decided, plan.output), (0, 0));
    }
}
