//! Waiting for the client, without a server.

use crate::card::{Bell, Doing};
use crate::session::{End, Session};
use pgherd_session::step::Halt;
use pgherd_wire::backend::Status;
use std::future::poll_fn;
use std::task::{Context, Poll};

impl Session {
    /// Waits for a request that needs a server, and knows then what it wants; answers by itself what needs none. Cancel safe, although nobody cancels it.
    pub(crate) async fn listen(&mut self) -> Result<(), End> {
        poll_fn(|cx| self.poll_listen(cx)).await
    }

    fn poll_listen(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        loop {
            if let Some(end) = self.heed_bells(false) {
                return Poll::Ready(Err(end));
            }
            if self
                .desk
                .as_ref()
                .is_some_and(|desk| desk.up.undecided() > 0 && desk.up.undecided() >= self.want_up)
            {
                match self.think_up() {
                    Ok(Halt::Server(demand)) if self.consider(demand) => return Poll::Ready(Ok(())),
                    Ok(Halt::Server(_)) => {
                        // More of it must come before it can be read.
                        self.want_up = self.desk.as_ref().map_or(0, |desk| desk.up.undecided()) + 1;
                    }
                    Ok(Halt::Goodbye) => return Poll::Ready(Err(End::Left)),
                    Ok(Halt::More(_) | Halt::Full | Halt::Next) => {}
                    Err(broken) => return Poll::Ready(Err(End::Told(crate::answer::broken(&broken)))),
                }
            }
            if let Some(end) = self.poll_say(cx) {
                return Poll::Ready(Err(end));
            }
            let want = self.want_up;
            let worker = &self.worker;
            let desk = self.desk.get_or_insert_with(|| worker.desks.take());
            // Skipped bytes need no writing; carrying them out makes room. Without a server nothing goes up.
            debug_assert!(!desk.up.has_output());
            desk.up.carry_out();
            if desk.down.output() >= MAX_UNREAD {
                return Poll::Pending;
            }
            match desk.up.poll_fill(cx, &mut self.client, want) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(End::Left)),
                Poll::Ready(Ok(count)) => self.toll.received(count),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(End::Gone(error.kind()))),
                Poll::Pending => {
                    self.rest(cx);
                    return Poll::Pending;
                }
            }
        }
    }

    /// Writes what the client is to get, as far as it takes it.
    pub(crate) fn poll_say(&mut self, cx: &mut Context<'_>) -> Option<End> {
        let desk = self.desk.as_mut()?;
        if !desk.down.has_output() {
            // What is only dropped makes room all the same.
            desk.down.carry_out();
            return None;
        }
        match desk.down.poll_drain(cx, &mut self.client) {
            Poll::Ready(Err(error)) => Some(End::Gone(error.kind())),
            Poll::Ready(Ok(())) => {
                if self.client.is_tls() {
                    use tokio::io::AsyncWrite;
                    let _ = std::pin::Pin::new(&mut self.client).poll_flush(cx);
                }
                None
            }
            Poll::Pending => None,
        }
    }

    /// Nothing to do until the client moves. A session that has been idle for a while gives its lanes back.
    fn rest(&mut self, cx: &Context<'_>) {
        self.listen_for_bells(cx);
        let rests = self.entry.card.bells() & Bell::Rest as u32 != 0;
        if rests {
            self.entry.card.heed(Bell::Rest);
        }
        if (rests || self.worker.desks.are_scarce())
            && let Some(desk) = self.desk.take_if(|desk| desk.is_empty())
        {
            self.worker.desks.give(desk);
        }
        let doing =
            if self.machine.status() == Status::Idle { Doing::Idle } else { Doing::IdleInTransaction };
        if self.entry.card.doing().0 != doing {
            self.entry.card.does(doing, self.shared.now());
        }
    }
}

/// Answers of our own that may pile up unread before the client's next request is looked at.
pub(crate) const MAX_UNREAD: usize = 256 * 1024;
