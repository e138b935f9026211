//! The walk over the client's frames.

use crate::machine::{MAX_HELD, MAX_PREPARED, Machine, Verdict};
use crate::pending::MAX_OWED;
use crate::step::{Broken, Halt, Sink};
use pgherd_wire::frame::{BadLength, HEADER_LEN, Header, header};
use pgherd_wire::frontend::{BindNames, max_frame, tag};
use pgherd_wire::write;

impl Machine {
    /// Looks at the client's bytes. `bytes` are those that were not decided yet; verdicts go to `up` (towards the server), answers of our own to `down`.
    ///
    /// # Errors
    /// [`Broken`]: the session ends; nothing after this point of the client's stream was decided.
    pub fn client(&mut self, bytes: &[u8], up: &mut impl Sink, down: &mut impl Sink) -> Result<Halt, Broken> {
        let mut rest = bytes;
        loop {
            if self.up.left > 0 {
                if rest.is_empty() {
                    return Ok(Halt::More(1));
                }
                rest = &rest[self.up.take(rest.len(), up)..];
                continue;
            }
            let Some(frame) = header(rest).map_err(Broken::ClientLength)? else {
                return Ok(Halt::More(HEADER_LEN));
            };
            let limit = max_frame(frame.tag).ok_or(Broken::ClientTag(frame.tag))?;
            if frame.total > limit {
                return Err(Broken::ClientLength(BadLength {
                    tag: frame.tag,
                    length: (frame.total - 1) as i32,
                }));
            }
            if self.hopes_too_much(frame.total) {
                up.compose(write::flush);
                return Ok(Halt::Full);
            }
            let want = request_appetite(frame, rest);
            if rest.len() < want {
                return Ok(Halt::More(want));
            }
            if self.owed.len() >= MAX_OWED {
                // Small replies lie in the server's buffer until it is full, or is told to empty it.
                up.compose(write::flush);
                return Ok(Halt::Full);
            }
            // Never more than was asked for: what is decided must not depend on how much more is there by chance.
            let body = &rest[HEADER_LEN..frame.total.min(rest.len()).min(want.max(MAX_HELD))];
            let waited = self.turns.waiting;
            if self.must_wait_its_turn() || self.must_wait_to_know(frame.tag, body, waited, up) {
                return Ok(Halt::More(HEADER_LEN));
            }
            if self.waits_for_names(frame, rest, waited, up) {
                self.turns.await_turn();
                return Ok(Halt::More(HEADER_LEN));
            }
            if self.awaits_admission() && frame.tag != tag::TERMINATE {
                return Ok(Halt::Next);
            }
            let verdict = self.request(frame, body, up, down);
            if !matches!(verdict, Verdict::Stop(_)) {
                let bytes = u32::try_from(frame.total).unwrap_or(u32::MAX);
                self.unnamed.shown = self.unnamed.shown.saturating_add(bytes);
                // Also one that was answered here ends the unit that was admitted.
                let ends = matches!(frame.tag, tag::QUERY | tag::FUNCTION_CALL | tag::SYNC);
                self.turns.admitted &= !ends;
            }
            match verdict {
                Verdict::Pass => self.up.start(frame.total, false),
                Verdict::Skip => self.up.start(frame.total, true),
                Verdict::Replaced(front) => {
                    up.skip(front);
                    rest = &rest[front..];
                    self.up.start(frame.total - front, false);
                }
                Verdict::Stop(halt) => return Ok(halt),
            }
        }
    }

    fn request(&mut self, frame: Header, body: &[u8], up: &mut impl Sink, down: &mut impl Sink) -> Verdict {
        match frame.tag {
            tag::TERMINATE => Verdict::Stop(Halt::Goodbye),
            _ if self.refusal.is_some() => self.refused_request(frame, body, down),
            _ if self.doomed.is_some() => self.doomed_request(frame, body, down),
            tag::COPY_DATA | tag::COPY_DONE | tag::COPY_FAIL => self.copy_message(frame.tag),
            tag::SYNC => self.sync(frame, up, down),
            tag::FLUSH if self.copy_in || !self.batch || self.discard => Verdict::Skip,
            tag::FLUSH => {
                self.flush(down);
                Verdict::Pass
            }
            // Any other message makes a copy fail and is lost with it: the server says so, and owes nothing for it.
            _ if self.copy_in => {
                self.copy_in = false;
                Verdict::Pass
            }
            tag::QUERY => self.query(frame, body, up, down),
            tag::FUNCTION_CALL => self.function_call(up),
            _ if self.discard => Verdict::Skip,
            _ => self.extended(frame, body, up, down),
        }
    }
}

/// How many bytes of a client's message must be there before it can be decided.
fn request_appetite(frame: Header, have: &[u8]) -> usize {
    match frame.tag {
        tag::QUERY => frame.total.min(MAX_HELD),
        tag::PARSE if frame.total <= MAX_PREPARED => frame.total,
        tag::PARSE => MAX_HELD,
        tag::DESCRIBE | tag::CLOSE | tag::EXECUTE => frame.total,
        tag::BIND => {
            let front = &have[HEADER_LEN..frame.total.min(have.len())];
            let enough = BindNames::view(front).is_some();
            if enough { HEADER_LEN } else { frame.total.min(MAX_HELD).min(have.len() + 1) }
        }
        _ => HEADER_LEN,
    }
}
