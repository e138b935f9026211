//! A transaction whose server is gone while the client lives on: it is told once, then everything is refused until it ends the block, as in any failed
//! transaction (the "virtual abort" of the design).

use crate::begin::{Control, control};
use crate::flow::Flow;
use crate::machine::{Machine, Verdict, answer};
use crate::pending::Kind;
use crate::simple::complete;
use crate::step::Sink;
use pgherd_wire::backend::Status;
use pgherd_wire::frame::Header;
use pgherd_wire::frontend::{BindNames, Parse, Target, query_text, tag};
use pgherd_wire::sqlstate::code;
use pgherd_wire::write::{self, Report, Severity};

/// Where the client is in its doomed block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Doomed {
    /// The present extended batch ends the block: its statement is COMMIT or ROLLBACK.
    ends: bool,
    /// ROLLBACK was executed in this batch.
    ended: bool,
    /// The batch was refused: skip to Sync.
    refused: bool,
}

impl Machine {
    /// The server was lost. What was owed is answered with `report`; when a transaction block was open, it stays open and failed until the client ends it.
    /// Returns false when that cannot be told in the protocol (a reply was half-way): then the connection must end.
    pub fn lose_server(&mut self, report: &Report, down: &mut impl Sink) -> bool {
        if self.is_mid_reply() {
            return false;
        }
        let mut owed = std::mem::take(&mut self.owed);
        // Only the first unanswered unit up to its Sync is answered here; what was pipelined behind it never ran and is answered likewise.
        let block = self.status != Status::Idle;
        let (mut units, mut open_unit) = (0usize, false);
        // Newest first, so that a Close and a Parse of the same name are undone in the order that leaves the name as it was.
        owed.clear(|one| {
            if one.fate != crate::pending::Fate::Swallow {
                match one.kind {
                    Kind::Query | Kind::Function | Kind::Sync => units += 1,
                    _ => open_unit |= units == 0,
                }
            }
            self.undo(one);
        });
        self.owed = owed;
        let status = if block { Status::Failed } else { Status::Idle };
        for _ in 0..units {
            answer(down, |out| {
                report.write(out);
                write::ready(out, status);
            });
        }
        // A batch that failed before has been told so.
        if (open_unit || self.batch && units == 0) && !self.discard {
            answer(down, |out| report.write(out));
        }
        // Extended requests without their Sync: skip to it.
        self.discard = open_unit || (self.batch && units == 0);
        self.forget_changes();
        self.up.drop_rest();
        // The rest of a message that was being dropped will never come.
        self.down = Flow::default();
        (self.server, self.begun, self.fatal) = (None, None, None);
        (self.batch, self.copy_in) = (false, false);
        (self.failed, self.rolled_back, self.committed) = (false, false, false);
        self.uncertain = false;
        self.status = status;
        // A client that is owed nothing hears of it when it asks for something.
        let told = units > 0 || self.discard;
        self.untold = (block && !told).then(|| Box::new(report.clone()));
        self.doomed = block.then_some(Doomed { refused: self.discard, ..Doomed::default() });
        self.discard = self.discard && !block;
        true
    }

    /// No server could be had for the message at the front: when it is shown again it is answered with `report`, and what belongs to it up to its Sync is
    /// dropped. A block whose BEGIN was only answered here is then a failed one.
    pub fn refuse_request(&mut self, report: Report) {
        self.refusal = Some(Box::new(report));
    }

    pub(crate) fn refused_request(&mut self, frame: Header, body: &[u8], down: &mut impl Sink) -> Verdict {
        let report = self.refusal.take();
        if self.begin.take().is_some() {
            self.status = Status::Failed;
            self.doomed = Some(Doomed::default());
        }
        let status = self.status;
        let ready = matches!(frame.tag, tag::QUERY | tag::FUNCTION_CALL);
        debug_assert!(body.len() <= frame.total);
        answer(down, |out| {
            if let Some(report) = &report {
                report.write(out);
            }
            if ready {
                write::ready(out, status);
            }
        });
        match &mut self.doomed {
            Some(doomed) => doomed.refused = !ready,
            None => self.discard = !ready,
        }
        Verdict::Skip
    }

    /// The server was lost while nothing was asked of it: the session goes on without one.
    pub fn lose_quietly(&mut self) {
        self.up.drop_rest();
        self.down = Flow::default();
        (self.server, self.begun, self.fatal) = (None, None, None);
        (self.batch, self.copy_in, self.uncertain) = (false, false, false);
        self.forget_changes();
        self.status = Status::Idle;
    }

    pub(crate) fn doomed_request(&mut self, frame: Header, body: &[u8], down: &mut impl Sink) -> Verdict {
        let doomed = self.doomed.unwrap_or_default();
        match frame.tag {
            tag::QUERY if !doomed.refused => self.doomed_query(query_text(body), down),
            tag::FUNCTION_CALL if !doomed.refused => self.refuse_doomed(down, true),
            tag::SYNC => self.doomed_sync(down),
            tag::FLUSH | tag::COPY_DATA | tag::COPY_DONE | tag::COPY_FAIL => {}
            _ if doomed.refused => {}
            _ => self.doomed_extended(frame.tag, body, down),
        }
        Verdict::Skip
    }

    fn doomed_query(&mut self, text: &[u8], down: &mut impl Sink) {
        let Some(control @ (Control::Commit | Control::Rollback)) = control(text) else {
            return self.refuse_doomed(down, true);
        };
        self.doomed = None;
        self.status = Status::Idle;
        match self.untold.take() {
            // Who asks for COMMIT and does not know yet must not take ROLLBACK for an answer.
            Some(report) if control == Control::Commit => answer(down, |out| {
                report.write(out);
                write::ready(out, Status::Idle);
            }),
            _ => complete(down, b"ROLLBACK", Status::Idle),
        }
    }

    fn doomed_sync(&mut self, down: &mut impl Sink) {
        if let Some(report) = self.untold.take() {
            answer(down, |out| report.write(out));
        }
        if self.doomed.take_if(|doomed| doomed.ended).is_some() {
            self.status = Status::Idle;
        }
        if let Some(doomed) = self.doomed.as_mut() {
            *doomed = Doomed::default();
        }
        let status = self.status;
        answer(down, |out| write::ready(out, status));
    }

    fn doomed_extended(&mut self, kind: u8, body: &[u8], down: &mut impl Sink) {
        let untold = self.untold.is_some();
        let ends = |text: &[u8]| match control(text) {
            Some(Control::Commit) => !untold,
            Some(Control::Rollback) => true,
            _ => false,
        };
        let named = |name: &[u8]| self.names.get(name).is_some_and(|statement| ends(statement.query()));
        let mut doomed = self.doomed.unwrap_or_default();
        let allowed = match kind {
            tag::PARSE => Parse::view(body)
                .is_some_and(|parse| ends(parse.query) && !self.names.contains_key(parse.name)),
            tag::BIND => BindNames::view(body).is_some_and(|names| doomed.ends || named(names.statement)),
            tag::DESCRIBE => doomed.ends && matches!(Target::view(body), Some(Target::Portal(_))),
            tag::CLOSE => true,
            _ => doomed.ends,
        };
        if !allowed {
            doomed.refused = true;
            self.doomed = Some(doomed);
            return self.refuse_doomed(down, false);
        }
        match kind {
            tag::PARSE => {
                match Parse::view(body) {
                    Some(parse) if parse.name.is_empty() => drop(self.unnamed.replace(parse.rest)),
                    Some(parse) => {
                        drop(self.names.insert(parse.name.into(), self.texts.intern(parse.rest)));
                    }
                    None => {}
                }
                answer(down, |out| out.extend_from_slice(&write::PARSE_COMPLETE));
            }
            tag::BIND => answer(down, |out| out.extend_from_slice(b"2\0\0\0\x04")),
            tag::DESCRIBE => answer(down, |out| out.extend_from_slice(b"n\0\0\0\x04")),
            tag::CLOSE => {
                match Target::view(body) {
                    Some(Target::Statement(b"")) => self.unnamed.clear(),
                    Some(Target::Statement(name)) => drop(self.names.remove(name)),
                    Some(Target::Portal(_)) | None => {}
                }
                answer(down, |out| out.extend_from_slice(&write::CLOSE_COMPLETE));
            }
            _ => {
                doomed.ended = true;
                self.untold = None;
                answer(down, |out| write::command_complete(out, b"ROLLBACK"));
            }
        }
        doomed.ends |= kind != tag::CLOSE;
        self.doomed = Some(doomed);
    }

    fn refuse_doomed(&mut self, down: &mut impl Sink, ready: bool) {
        let report = self.untold.take().map_or_else(aborted, |report| *report);
        answer(down, |out| {
            report.write(out);
            if ready {
                write::ready(out, Status::Failed);
            }
        });
    }
}

/// PostgreSQL's refusal in a failed transaction.
pub(crate) fn aborted() -> Report {
    let message = "current transaction is aborted, commands ignored until end of transaction block";
    Report::new(Severity::Error, code::IN_FAILED_SQL_TRANSACTION, message)
}
