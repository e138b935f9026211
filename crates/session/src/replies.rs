//! What a server sends, and to whom it belongs.

use crate::effect::Effect;
use crate::machine::{MAX_HELD, Machine, answer};
use crate::pending::{Fate, Kind, Undo};
use crate::pin::Pin;
use crate::prepared::SERVER_PREFIX;
use crate::step::{Broken, Sink};
use pgherd_wire::backend::{Fields, Status, command_tag, tag};
use pgherd_wire::frame::{HEADER_LEN, Header, header};
use pgherd_wire::sqlstate::code;
use pgherd_wire::write;

/// What becomes of one message of the server.
enum Delivery {
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
            let want = reply_appetite(frame);
            if rest.len() < want {
                return Ok(want);
            }
            let body = &rest[HEADER_LEN..frame.total.min(rest.len())];
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
        while let Some(owed) = self.owed.head().filter(|owed| owed.fate == Fate::Fake) {
            let message =
                if owed.kind == Kind::Parse { &write::PARSE_COMPLETE } else { &write::CLOSE_COMPLETE };
            answer(down, |out| out.extend_from_slice(message));
            self.relayed = true;
            self.owed.pop();
        }
    }

    fn reply(&mut self, frame: Header, body: &[u8], down: &mut impl Sink) -> Result<Delivery, Broken> {
        let unexpected = Broken::Server("an unexpected reply", frame.tag);
        match frame.tag {
            tag::NOTICE | tag::PARAMETER_STATUS | tag::NOTIFICATION => return Ok(self.unasked(frame.tag)),
            tag::ERROR => return self.error(frame, body, down),
            tag::READY => return self.ready(body),
            _ => {}
        }
        let Some(head) = self.owed.head() else { return Err(unexpected) };
        let delivery = if head.fate == Fate::Forward { Delivery::Pass } else { Delivery::Drop };
        let done = match (head.kind, frame.tag) {
            (Kind::Query | Kind::Execute, tag::DATA_ROW) => return Ok(delivery),
            (Kind::Query, tag::ROW_DESCRIPTION | tag::EMPTY_QUERY) => false,
            (Kind::Query | Kind::Execute, tag::COPY_OUT | tag::COPY_DATA | tag::COPY_DONE) => false,
            (Kind::Query | Kind::Execute, tag::COPY_IN) => {
                self.begin_copy_in();
                false
            }
            (Kind::Query | Kind::Execute, tag::COMMAND_COMPLETE) => {
                let done = head.kind == Kind::Execute;
                if delivery_is_ours(&delivery) {
                    self.confirm(command_tag(body));
                }
                done
            }
            (Kind::Execute, tag::EMPTY_QUERY | tag::PORTAL_SUSPENDED) => true,
            (Kind::Parse, tag::PARSE_COMPLETE)
            | (Kind::Bind, tag::BIND_COMPLETE)
            | (Kind::Close, tag::CLOSE_COMPLETE) => true,
            (Kind::DescribeStatement, tag::PARAMETER_DESCRIPTION)
            | (Kind::Function, tag::FUNCTION_RESULT) => false,
            (Kind::DescribeStatement | Kind::DescribePortal, tag::ROW_DESCRIPTION | tag::NO_DATA) => true,
            _ => return Err(unexpected),
        };
        if done
            && let Some(owed) = self.owed.pop()
            && let Some(statement) = owed.learned
            && let Some(server) = self.server.as_mut()
        {
            server.confirm(statement.id);
            statement.prove(self.settings.digest());
        }
        Ok(delivery)
    }

    /// Messages a server may send at any time.
    fn unasked(&mut self, kind: u8) -> Delivery {
        let ours = self.owed.head().is_some_and(|head| head.fate == Fate::Swallow);
        match kind {
            // A notification for somebody else who listened on this server is nobody's here.
            tag::NOTIFICATION if self.pin.is_none() => Delivery::Drop,
            _ if ours => Delivery::Drop,
            tag::PARAMETER_STATUS => {
                if !self.touched && !self.changes_settings() {
                    // A reported setting changed although no command we saw changes one: inside a function, perhaps.
                    self.pin_for(Pin::Settings);
                }
                Delivery::Pass
            }
            _ => Delivery::Pass,
        }
    }

    /// The request being answered, or one in this transaction, may change settings.
    fn changes_settings(&mut self) -> bool {
        let effects = self.owed.head().and_then(|head| head.effects.as_ref());
        effects.is_some_and(|effects| !effects.list.is_empty())
    }

    fn begin_copy_in(&mut self) {
        let mut owed = std::mem::take(&mut self.owed);
        self.copy_in = owed.eaten_by_copy(|one| self.undo(one));
        self.owed = owed;
    }

    /// An error that speaks of a statement by the name we gave it on the server speaks to the client by the client's name.
    fn in_the_clients_words(&mut self, frame: Header, body: &[u8], down: &mut impl Sink) -> Delivery {
        let quoted = [b"\"", SERVER_PREFIX].concat();
        let spoken = memchr::memmem::find(body, &quoted).filter(|_| body.len() + HEADER_LEN == frame.total);
        let Some(from) = spoken.map(|at| at + 1) else { return Delivery::Pass };
        let end = memchr::memchr(b'"', &body[from..]).map_or(body.len(), |length| from + length);
        let ours = &body[from..end];
        let Some(name) =
            self.names.iter().find(|(_, statement)| *statement.name == *ours).map(|(name, _)| name)
        else {
            return Delivery::Pass;
        };
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
        self.copy_in = false;
        self.failed = true;
        let Some(head) = self.owed.head() else {
            return Err(Broken::Server("an error nobody asked for", tag::ERROR));
        };
        // In a failed transaction the server's own refusal comes first, as it would in a direct connection.
        let aborted = Fields::view(body).sqlstate() == Some(code::IN_FAILED_SQL_TRANSACTION.as_bytes());
        let mut instead = head.instead.take().filter(|_| !aborted);
        if head.kind == Kind::Parse && self.status == Status::Failed && instead.is_some() {
            // PostgreSQL looks at the transaction before it looks for a statement of the same name.
            instead = Some(Box::new(crate::doomed::aborted()));
        }
        if let Undo::Unnamed(serial) = head.undo {
            // This Parse ran: it dropped the old unnamed statement before it failed (documentation, chapter 55.2.3). A later one may be on its way.
            head.undo = Undo::Nothing;
            self.unnamed.fail(serial);
            if let Some(server) = self.server.as_mut().filter(|s| s.unnamed == Some((self.id, serial))) {
                server.unnamed = None;
            }
        }
        if let (Some(statement), Some(server)) = (&head.learned, self.server.as_mut()) {
            server.failed(statement.id);
        }
        match (head.kind, head.fate) {
            (Kind::Query, Fate::Swallow) => return Err(Broken::Preparation(body.into())),
            (Kind::Query | Kind::Function | Kind::Sync, _) => {
                head.effects = None;
                return Ok(Delivery::Pass);
            }
            _ => {}
        }
        let mut owed = std::mem::take(&mut self.owed);
        let synced = owed.clear_to_sync(|one| self.undo(one));
        self.owed = owed;
        self.discard = !synced;
        match instead {
            None => Ok(self.in_the_clients_words(frame, body, down)),
            Some(report) => {
                answer(down, |out| report.write(out));
                self.relayed = true;
                Ok(Delivery::Drop)
            }
        }
    }

    fn ready(&mut self, body: &[u8]) -> Result<Delivery, Broken> {
        let unexpected = Broken::Server("ReadyForQuery out of turn", tag::READY);
        let status = Status::view(body).ok_or(unexpected.clone())?;
        let owed = self.owed.pop().ok_or(unexpected.clone())?;
        if !matches!(owed.kind, Kind::Query | Kind::Function | Kind::Sync) {
            return Err(unexpected);
        }
        self.status = status;
        self.copy_in = false;
        self.discard = false;
        if self.owed.is_empty() {
            self.uncertain = false;
            self.begun = None;
        }
        self.settle();
        Ok(if owed.fate == Fate::Swallow { Delivery::Drop } else { Delivery::Pass })
    }

    /// A transaction, or a part of one, ended: settings changed in it are kept or forgotten.
    fn settle(&mut self) {
        if self.before.is_some() {
            let undone = self.rolled_back || self.failed;
            match self.status {
                // A savepoint was rolled back to: which of the changes went with it is not known.
                Status::Open | Status::Failed if self.rolled_back => self.pin_for(Pin::Settings),
                Status::Open | Status::Failed => {}
                Status::Idle if undone && self.committed => self.pin_for(Pin::Settings),
                Status::Idle if undone => self.forget_changes(),
                Status::Idle => self.before = None,
            }
        }
        self.touched &= self.status != Status::Idle;
        (self.rolled_back, self.committed, self.failed) = (false, false, false);
    }

    /// A command completed: what it did to the session.
    fn confirm(&mut self, tag: &[u8]) {
        match tag {
            b"ROLLBACK" => self.rolled_back = true,
            b"COMMIT" => self.committed = true,
            b"SET" | b"RESET" | b"DISCARD ALL" | b"DEALLOCATE" | b"DEALLOCATE ALL" => {
                self.confirm_effect(tag)
            }
            b"LISTEN" | b"LOAD" | b"PREPARE" | b"DECLARE CURSOR" | b"DO" => self.confirm_effect(tag),
            _ => {}
        }
    }

    fn confirm_effect(&mut self, tag: &[u8]) {
        let effect = self.owed.head().and_then(|head| head.effects.as_mut()?.list.pop_front());
        self.touched = true;
        match (tag, effect) {
            (b"SET", Some(Effect::Set(name, value))) => {
                self.change(|settings| settings.with(&name, Some(crate::params::Value::Sql(value.clone()))))
            }
            (b"SET" | b"DECLARE CURSOR" | b"DO", Some(Effect::Scoped)) => {}
            (b"SET" | b"RESET", Some(Effect::Reset(Some(name)))) => self.reset(&name),
            (b"RESET", Some(Effect::Reset(None))) => self.reset_all(),
            (b"DISCARD ALL", _) => self.discard_all(),
            (b"DEALLOCATE ALL", _) => {
                self.names.clear();
                if let Some(server) = self.server.as_mut() {
                    server.forget_all();
                }
            }
            (b"DEALLOCATE", _) => {}
            (_, Some(Effect::Pins(pin))) => self.pin_for(pin),
            (b"LISTEN", _) => self.pin_for(Pin::Listen),
            (b"LOAD", _) => self.pin_for(Pin::Load),
            (b"PREPARE", _) => self.pin_for(Pin::SqlPrepare),
            (b"SET" | b"RESET", _) => self.pin_for(Pin::Settings),
            _ => self.pin_for(Pin::Unprovable),
        }
    }

    /// Changes the session's settings and what is applied on the server alike.
    fn change(&mut self, with: impl Fn(&crate::params::Settings) -> crate::params::Settings) {
        if self.rolled_back {
            // Behind a ROLLBACK in the same request: it stays, unlike what stood before it, and the two cannot be told apart at the end.
            self.pin_for(Pin::Settings);
        }
        let Some(server) = self.server.as_mut() else { return };
        if self.before.is_none() {
            self.before = Some((self.settings.clone(), server.applied.clone()));
        }
        if self.rolled_back {
            // ROLLBACK, then SET in one query: which of the changes are undone is not told apart.
            self.pin.get_or_insert(Pin::Settings);
        }
        self.settings = with(&self.settings);
        server.applied = with(&server.applied);
    }

    /// RESET goes back to what the session started with; the server went back to its own default, which the next prelude mends.
    fn reset(&mut self, name: &[u8]) {
        let started = self.startup.get(name).cloned();
        self.change(|settings| settings.with(name, None));
        self.settings = self.settings.with(name, started);
    }

    fn reset_all(&mut self) {
        self.change(|_| crate::params::Settings::default());
        self.settings = self.startup.clone();
    }

    fn discard_all(&mut self) {
        self.before = None;
        self.settings = self.startup.clone();
        self.names.clear();
        self.unnamed.clear();
        self.pin = self.limits.session_mode.then_some(Pin::SessionMode);
        if let Some(server) = self.server.as_mut() {
            server.was_reset();
        }
    }
}

fn delivery_is_ours(delivery: &Delivery) -> bool {
    matches!(delivery, Delivery::Pass)
}

/// How many bytes of a server's message must be there before it can be decided.
fn reply_appetite(frame: Header) -> usize {
    match frame.tag {
        tag::READY | tag::ERROR | tag::COMMAND_COMPLETE => frame.total.min(MAX_HELD),
        _ => HEADER_LEN,
    }
}
