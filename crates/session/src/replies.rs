//! What a server sends, and to whom it belongs.

use crate::cached::is_outdated;
use crate::machine::{MAX_HELD, Machine, answer};
use crate::names::mark;
use crate::pending::{Fate, Kind, Undo};
use crate::pin::Pin;
use crate::prepared::{SERVER_PREFIX, Statement};
use crate::step::{Broken, Sink};
use crate::turns::defines;
use pgherd_wire::backend::{Fields, Status, command_tag, tag};
use pgherd_wire::frame::{HEADER_LEN, Header, header};
use pgherd_wire::sqlstate::code;
use pgherd_wire::write::{self, Report};

/// What becomes of one message of the server.
pub(crate) enum Delivery {
    Pass,
    Drop,
}

impl Machine {
    /// Looks at the server's bytes that were not decided yet; verdicts (towards the client) go to `down`. Returns how many undecided bytes must be there
    /// before it can go on.
    ///
    /// # Errors
    /// [`Broken`]: the server sent what it does not owe. Its connection must be closed, and the client told.
    pub fn server(&mut self, bytes: &[u8], down: &mut impl Sink) -> Result<usize, Broken> {
        let mut rest = bytes;
        loop {
            if self.down.left() > 0 {
                if rest.is_empty() {
                    return Ok(1);
                }
                rest = &rest[self.down.take(rest.len(), down)..];
                if self.down.left() == 0 {
                    self.answer_fakes(down);
                }
                continue;
            }
            let frame = match header(rest) {
                Ok(Some(frame)) => frame,
                Ok(None) => return Ok(HEADER_LEN),
                Err(bad) => return Err(Broken::Server("an impossible length", bad.tag)),
            };
            let want = match self.owed.head() {
                // A row of our own, which is read.
                Some(head) if head.kind == Kind::Probe => frame.total.min(MAX_HELD),
                _ => reply_appetite(frame),
            };
            if rest.len() < want {
                return Ok(want);
            }
            let body = &rest[HEADER_LEN..frame.total.min(rest.len()).min(MAX_HELD)];
            let delivery = self.reply(frame, body, down)?;
            let skip = matches!(delivery, Delivery::Drop);
            self.relayed |= !skip;
            self.down.start(frame.total, skip);
            rest = &rest[self.down.take(rest.len(), down)..];
            if self.down.left() == 0 {
                self.answer_fakes(down);
            }
        }
    }

    /// Answers whatever of our own stands at the head of the queue now.
    pub(crate) fn answer_fakes(&mut self, down: &mut impl Sink) {
        if self.down.left() > 0 {
            return;
        }
        let mut any = false;
        while self.owed.head().is_some_and(|owed| owed.fate == Fate::Fake && !owed.waits) {
            let Some(owed) = self.owed.pop() else { return };
            any = true;
            self.relayed = true;
            match owed.kind {
                Kind::Query => self.answer_deallocate(owed, down),
                Kind::Parse => answer(down, |out| out.extend_from_slice(&write::PARSE_COMPLETE)),
                _ => answer(down, |out| out.extend_from_slice(&write::CLOSE_COMPLETE)),
            }
        }
        if any {
            self.settle_endings();
        }
    }

    fn reply(&mut self, frame: Header, body: &[u8], down: &mut impl Sink) -> Result<Delivery, Broken> {
        let unexpected = Broken::Server("an unexpected reply", frame.tag);
        match frame.tag {
            tag::NOTICE | tag::PARAMETER_STATUS | tag::NOTIFICATION => {
                return Ok(self.unasked(frame.tag, body));
            }
            tag::ERROR => return self.error(frame, body, down),
            _ => self.answer_waiting(down),
        }
        self.unnamed.hoping = false;
        if frame.tag == tag::READY {
            return self.ready(body, down);
        }
        let Some(head) = self.owed.head() else { return Err(unexpected) };
        let delivery = if head.fate == Fate::Forward { Delivery::Pass } else { Delivery::Drop };
        let done = match (head.kind, frame.tag) {
            (Kind::Query | Kind::Execute, tag::DATA_ROW) => return Ok(delivery),
            (Kind::Probe, tag::DATA_ROW) => {
                self.note_probe_row(body);
                return Ok(delivery);
            }
            (Kind::Probe, tag::ROW_DESCRIPTION | tag::COMMAND_COMPLETE) => false,
            (Kind::Query, tag::ROW_DESCRIPTION | tag::EMPTY_QUERY) => false,
            (Kind::Query | Kind::Execute, tag::COPY_OUT | tag::COPY_DATA | tag::COPY_DONE) => false,
            (Kind::Query | Kind::Execute, tag::COPY_IN) => {
                self.begin_copy_in();
                false
            }
            (Kind::Query | Kind::Execute, tag::COMMAND_COMPLETE) => {
                let done = head.kind == Kind::Execute;
                if delivery_is_ours(&delivery) {
                    let tag = command_tag(body);
                    self.watch.defined |= defines(tag);
                    self.confirm(tag);
                    self.suspect_after(tag);
                }
                done
            }
            (Kind::Execute, tag::EMPTY_QUERY) => true,
            (Kind::Execute, tag::PORTAL_SUSPENDED) => {
                self.anchor();
                true
            }
            (Kind::Parse, tag::PARSE_COMPLETE)
            | (Kind::Bind, tag::BIND_COMPLETE)
            | (Kind::Close, tag::CLOSE_COMPLETE) => true,
            (Kind::DescribeStatement, tag::PARAMETER_DESCRIPTION)
            | (Kind::Function, tag::FUNCTION_RESULT) => false,
            (Kind::DescribeStatement | Kind::DescribePortal, tag::ROW_DESCRIPTION | tag::NO_DATA) => true,
            _ => return Err(unexpected),
        };
        if done {
            self.done();
        }
        Ok(delivery)
    }

    /// The request at the head was answered, and its ReadyForQuery is not its own.
    fn done(&mut self) {
        let Some(owed) = self.owed.pop() else { return };
        if let Some(sync) = self.owed.head().filter(|next| next.kind == Kind::Sync) {
            sync.settled = owed.settled;
        }
        if let Some(statement) = owed.learned
            && let Some(server) = self.server.as_mut()
        {
            server.confirm(statement.id);
            statement.prove(self.settings.digest());
        }
    }

    fn begin_copy_in(&mut self) {
        let mut owed = std::mem::take(&mut self.owed);
        self.copy_in = owed.copy_begins(|one| self.undo(one));
        let execute = owed.head().is_some_and(|head| head.kind == Kind::Execute);
        let synced = owed.iter().skip(1).any(|one| one.kind.ends_unit());
        // The Sync of this batch may have been ignored: then another one must come.
        self.batch |= execute && !synced;
        self.owed = owed;
    }

    /// An error that speaks of a statement by the name we gave it on the server speaks to the client by the client's name.
    fn in_the_clients_words(
        &mut self,
        frame: Header,
        body: &[u8],
        mark: u32,
        used: Option<&Statement>,
        down: &mut impl Sink,
    ) -> Delivery {
        let quoted = [b"\"", SERVER_PREFIX].concat();
        let spoken = memchr::memmem::find(body, &quoted).filter(|_| body.len() + HEADER_LEN == frame.total);
        let Some(from) = spoken.map(|at| at + 1) else { return Delivery::Pass };
        let end = memchr::memchr(b'"', &body[from..]).map_or(body.len(), |length| from + length);
        let ours = &body[from..end];
        // What stands for the unnamed statement has no other name.
        let unnamed = used.filter(|used| *used.name == *ours).map(|_| &b""[..]);
        let Some(name) = self.names.of_servers(ours, mark).or(unnamed) else { return Delivery::Pass };
        let words = [&body[..from], name, &body[end..]].concat();
        answer(down, |out| write::frame(out, tag::ERROR, |out| out.extend_from_slice(&words)));
        self.relayed = true;
        Delivery::Drop
    }

    fn error(&mut self, frame: Header, body: &[u8], down: &mut impl Sink) -> Result<Delivery, Broken> {
        if Fields::view(body).is_fatal() {
            // The connection ends with this. What the client hears of it is the driver's decision.
            self.fatal = Some(body.into());
            return Ok(Delivery::Drop);
        }
        if self.owed.is_apart() {
            self.failed |= self.status != Status::Idle;
            self.not_prepared(body);
            return Ok(Delivery::Drop);
        }
        self.copy_in = false;
        self.failed = true;
        self.unnamed.hoping = false;
        self.answer_waiting_with(body, down);
        let Some(head) = self.owed.head() else {
            return Err(Broken::Server("an error nobody asked for", tag::ERROR));
        };
        // In a failed transaction the server's own refusal comes first, as it would in a direct connection.
        let aborted = Fields::view(body).sqlstate() == Some(code::IN_FAILED_SQL_TRANSACTION.as_bytes());
        let instead = head.instead.take().filter(|_| !aborted);
        if let (Some(statement), Some(server)) = (&head.learned, self.server.as_mut())
            && server.refused(statement.id, body)
        {
            head.learned = None;
        }
        let used = head.uses.take();
        if let Some(statement) = used.as_ref().filter(|_| is_outdated(body)) {
            self.texts.retire(statement);
            self.texts.shun(statement);
        }
        let mark = head.undo.named().map_or(head.mark, mark);
        let (kind, fate, undo) = (head.kind, head.fate, std::mem::take(&mut head.undo));
        if kind == Kind::Probe {
            self.note_probe_error();
            return Ok(Delivery::Drop);
        }
        if kind.ends_unit() {
            head.effects = None;
            let renaming = head.renaming.take();
            return match fate {
                Fate::Swallow => Err(Broken::Preparation(body.into())),
                _ => Ok(match self.in_our_words(instead, down) {
                    Some(told) => told,
                    None => self.retell(frame, renaming, body, down),
                }),
            };
        }
        match undo {
            // This Parse ran: it dropped the old unnamed statement before it failed (documentation, chapter 55.2.3).
            Undo::Unnamed(serial) => {
                self.unnamed.failed(serial);
                self.unnamed_failed(serial);
            }
            Undo::Lent(serial) => self.unnamed_failed(serial),
            other => head.undo = other,
        }
        let mut owed = std::mem::take(&mut self.owed);
        let synced = owed.clear_to_sync(|one| self.undo(one));
        self.owed = owed;
        self.discard = !synced;
        // The server ignores everything up to a Sync that is still to come, also a Query that would otherwise have ended the batch: until then it is not free.
        self.batch |= !synced;
        match self.in_our_words(instead, down) {
            None => Ok(self.in_the_clients_words(frame, body, mark, used.as_deref(), down)),
            Some(told) => Ok(told),
        }
    }

    /// A request that was made to fail is answered with the reason.
    fn in_our_words(&mut self, instead: Option<Box<Report>>, down: &mut impl Sink) -> Option<Delivery> {
        let report = instead?;
        answer(down, |out| report.write(out));
        self.relayed = true;
        Some(Delivery::Drop)
    }

    /// A Parse of the unnamed statement with this serial failed, so the server has none; unless a later one made another.
    fn unnamed_failed(&mut self, serial: u64) {
        let ours = Some((self.id, serial));
        if let Some(server) = self.server.as_mut().filter(|server| server.unnamed == ours) {
            server.unnamed = None;
        }
    }

    fn ready(&mut self, body: &[u8], down: &mut impl Sink) -> Result<Delivery, Broken> {
        let unexpected = Broken::Server("ReadyForQuery out of turn", tag::READY);
        let status = Status::view(body).ok_or(unexpected.clone())?;
        let owed = self.owed.pop().filter(|owed| owed.kind.ends_unit()).ok_or(unexpected.clone())?;
        if owed.kind == Kind::Probe {
            self.failed = false;
            self.conclude_probe();
            return if status == self.status { Ok(Delivery::Drop) } else { Err(unexpected) };
        }
        if owed.fate == Fate::Swallow {
            // First the settings, outside of any block; then the BEGIN, after which the server is where the client believes it to be; then what the request
            // needs, which may fail.
            let more = self.owed.head().is_some_and(|next| {
                next.kind == Kind::Query && next.fate == Fate::Swallow && !next.prepares()
            });
            if let (Some(statement), Some(server)) = (&owed.learned, self.server.as_mut()) {
                server.confirm(statement.id);
            }
            if status == Status::Failed && self.failed {
                self.status = status;
                return Ok(Delivery::Drop);
            }
            let wanted = self.prepared_status(more);
            return if status == wanted { Ok(Delivery::Drop) } else { Err(unexpected) };
        }
        self.status = status;
        self.naming = false;
        self.counts.answered(status);
        self.copy_in = false;
        self.settle_block();
        self.settle_endings();
        self.tell_resets(down);
        self.settle();
        Ok(Delivery::Pass)
    }

    /// The status after what we sent before the client's request; `more` of it is still to come.
    fn prepared_status(&self, more: bool) -> Status {
        match self.begun.is_some() {
            true if more => Status::Idle,
            true => Status::Open,
            false => self.status,
        }
    }

    /// A transaction, or a part of one, ended: settings changed in it are kept or forgotten.
    fn settle(&mut self) {
        let undone = self.rolled_back || self.failed;
        match self.status {
            _ if self.mixed => self.pin_for(Pin::Settings),
            // A savepoint was rolled back to: which of the changes went with it is not known.
            Status::Open | Status::Failed if self.rolled_back && self.before.is_some() => {
                self.pin_for(Pin::Settings)
            }
            Status::Open | Status::Failed => {}
            Status::Idle if undone => self.forget_changes(),
            Status::Idle => self.before = None,
        }
        if self.status == Status::Idle {
            (self.before, self.touched) = (None, false);
            if std::mem::take(&mut self.redefined) {
                // What others prepared before they could see the change, and what was prepared here if it was rolled back.
                self.texts.retire_all();
            }
        }
        (self.rolled_back, self.mixed, self.failed) = (false, false, false);
    }
}

fn delivery_is_ours(delivery: &Delivery) -> bool {
    matches!(delivery, Delivery::Pass)
}

/// How many bytes of a server's message must be there before it can be decided.
fn reply_appetite(frame: Header) -> usize {
    match frame.tag {
        tag::READY | tag::ERROR | tag::COMMAND_COMPLETE | tag::PARAMETER_STATUS => frame.total.min(MAX_HELD),
        _ => HEADER_LEN,
    }
}
