//! A transaction whose server is gone while the client lives on: it is told once, then everything is refused until it ends the block, as in any failed
//! transaction (the "virtual abort" of the design).

use crate::begin::{Control, control};
use crate::machine::{Machine, Verdict, answer};
use crate::simple::complete;
use crate::step::Sink;
use pgherd_wire::backend::Status;
use pgherd_wire::frame::{Header, c_string};
use pgherd_wire::frontend::{BindNames, Target, query_text, tag};
use pgherd_wire::sqlstate::code;
use pgherd_wire::write::{self, Report, Severity};

/// Where the client is in its doomed block.
#[derive(Clone, Debug, Default)]
pub struct Doomed {
    /// What happened, when nothing was asked at that moment: the next request is answered with it.
    untold: Option<Box<Report>>,
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
        let mut units = 0usize;
        let mut open_unit = false;
        while let Some(one) = owed.pop() {
            if one.fate == crate::pending::Fate::Swallow {
                self.undo(one);
                continue;
            }
            use crate::pending::Kind;
            match one.kind {
                Kind::Query | Kind::Function | Kind::Sync => {
                    units += 1;
                    open_unit = false;
                }
                _ => open_unit = true,
            }
            self.undo(one);
        }
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
        self.discard = open_unit || self.batch && units == 0;
        self.forget_changes();
        self.up.drop_rest();
        (self.server, self.begun, self.fatal) = (None, None, None);
        (self.batch, self.copy_in) = (false, false);
        (self.failed, self.rolled_back, self.committed) = (false, false, false);
        self.uncertain = false;
        self.status = status;
        let untold = (units == 0 && !open_unit && !self.discard).then(|| Box::new(report.clone()));
        self.doomed = block.then_some(Doomed { untold, refused: self.discard, ..Doomed::default() });
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
        (self.server, self.begun, self.fatal) = (None, None, None);
        (self.batch, self.copy_in, self.uncertain) = (false, false, false);
        self.forget_changes();
        self.status = Status::Idle;
    }

    pub(crate) fn doomed_request(&mut self, frame: Header, body: &[u8], down: &mut impl Sink) -> Verdict {
        let refused = self.doomed.as_ref().is_some_and(|doomed| doomed.refused);
        match frame.tag {
            tag::QUERY if !refused => self.doomed_query(query_text(body), down),
            tag::FUNCTION_CALL if !refused => self.refuse_doomed(down, true),
            tag::SYNC => self.doomed_sync(down),
            tag::FLUSH | tag::COPY_DATA | tag::COPY_DONE | tag::COPY_FAIL => {}
            _ if refused => {}
            _ => self.doomed_extended(frame.tag, body, down),
        }
        Verdict::Skip
    }

    fn doomed_query(&mut self, text: &[u8], down: &mut impl Sink) {
        let untold = self.doomed.as_mut().and_then(|doomed| doomed.untold.take());
        match (control(text), untold) {
            // COMMIT of a client that does not know yet: it must not take the answer for success.
            (Some(Control::Commit), Some(report)) => {
                self.doomed = None;
                self.status = Status::Idle;
                answer(down, |out| {
                    report.write(out);
                    write::ready(out, Status::Idle);
                });
            }
            (Some(Control::Commit | Control::Rollback), _) => {
                self.doomed = None;
                self.status = Status::Idle;
                complete(down, b"ROLLBACK", Status::Idle);
            }
            (_, untold) => {
                if let Some(doomed) = self.doomed.as_mut() {
                    doomed.untold = untold;
                }
                self.refuse_doomed(down, true);
            }
        }
    }

    fn doomed_sync(&mut self, down: &mut impl Sink) {
        if self.doomed.take_if(|doomed| doomed.ended).is_some() {
            self.status = Status::Idle;
        }
        if let Some(doomed) = self.doomed.as_mut() {
            *doomed = Doomed { untold: doomed.untold.take(), ..Doomed::default() };
        }
        let status = self.status;
        answer(down, |out| write::ready(out, status));
    }

    fn doomed_extended(&mut self, kind: u8, body: &[u8], down: &mut impl Sink) {
        let mut doomed = self.doomed.take().unwrap_or_default();
        // A client that does not know yet may roll back, but not commit.
        let unknowing = doomed.untold.is_some();
        let ends = |text: &[u8]| match control(text) {
            Some(Control::Commit) => !unknowing,
            Some(Control::Rollback) => true,
            _ => false,
        };
        let named = |name: &[u8]| self.names.get(name).is_some_and(|statement| ends(statement.query()));
        let allowed = match kind {
            tag::PARSE => c_string(body).is_some_and(|(_, rest)| ends(query_text(rest))),
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
            tag::PARSE => answer(down, |out| out.extend_from_slice(&write::PARSE_COMPLETE)),
            tag::BIND => answer(down, |out| out.extend_from_slice(b"2\0\0\0\x04")),
            tag::DESCRIBE => answer(down, |out| out.extend_from_slice(b"n\0\0\0\x04")),
            tag::CLOSE => {
                if let Some(Target::Statement(name)) = Target::view(body) {
                    self.names.remove(name);
                }
                answer(down, |out| out.extend_from_slice(&write::CLOSE_COMPLETE));
            }
            _ => {
                doomed.ended = true;
                answer(down, |out| write::command_complete(out, b"ROLLBACK"));
            }
        }
        doomed.ends |= kind != tag::CLOSE;
        self.doomed = Some(doomed);
    }

    fn refuse_doomed(&mut self, down: &mut impl Sink, ready: bool) {
        let message = "current transaction is aborted, commands ignored until end of transaction block";
        let untold = self.doomed.as_mut().and_then(|doomed| doomed.untold.take());
        let report = untold.map_or_else(
            || Report::new(Severity::Error, code::IN_FAILED_SQL_TRANSACTION, message),
            |untold| *untold,
        );
        answer(down, |out| {
            report.write(out);
            if ready {
                write::ready(out, Status::Failed);
            }
        });
    }
}
