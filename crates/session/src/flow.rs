//! What is left of a message whose fate is known already.

use crate::step::Sink;

/// A message that is still flowing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flow {
    pub(crate) left: usize,
    pub(crate) skip: bool,
}

impl Flow {
    pub(crate) fn left(self) -> usize {
        self.left
    }

    pub(crate) fn start(&mut self, left: usize, skip: bool) {
        *self = Flow { left, skip };
    }

    /// Whatever is still to come is dropped.
    pub(crate) fn drop_rest(&mut self) {
        self.skip = true;
    }

    pub(crate) fn take(&mut self, available: usize, sink: &mut impl Sink) -> usize {
        let n = self.left.min(available);
        if self.skip {
            sink.skip(n)
        } else {
            sink.pass(n)
        }
        self.left -= n;
        n
    }
}
