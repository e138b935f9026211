//! A transaction whose server is gone while the client lives on: it is told once, then everything is refused until it ends the block, as in any failed
//! transaction (the "virtual abort" of the design).

use crate::begin::{Control, control};
use crate::extended::duplicate;
use crate::machine::{Machine, Verdict, answer};
use crate::pending::{Fate, Kind};
use crate::simple::{complete, whole_text};
use crate::step::Sink;
use pgherd_wire::backend::Status;
use pgherd_wire::frame::Header;
use pgherd_wire::frontend::{BindNames, Parse, Target, query_text, tag};
use pgherd_wire::sqlstate::code;
use pgherd_wire::write::{self, Report, Severity};

/// Where the client is in its doomed block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Doomed {
    /// Why, when the client could not be told yet.
    report: Option<Box<Report>>,
    /// The portal bound last in this batch would end the block.
    bound: bool,
    /// ROLLBACK was executed in this batch.
    ended: bool,
    /// The batch was refused: skip to Sync.
    refused: bool,
}

impl Machine {
    /// The server was lost. What was owed is answered with `report`; when a transaction block was open, it stays open and failed until the client ends it, unless
    /// what was owed would have ended it: a client that hears its COMMIT fail has no block to end.
    /// When nothing was owed, the first request of the failed block is answered with `report`.
    /// Returns false when that cannot be told in the protocol (a reply was half-way): then the connection must end.
    pub fn lose_server(&mut self, report: &Report, down: &mut impl Sink) -> bool {
        if self.is_mid_reply() {
            return false;
        }
        let mut block = self.status != Status::Idle;
        let mut owed = std::mem::take(&mut self.owed);
        let forwarded = || owed.iter().filter(|one| one.fate != Fate::Swallow);
        let units = forwarded().filter(|one| one.kind.ends_unit()).count();
        // Requests without their Sync: skip to it.
        let open = self.batch && units == 0 || forwarded().last().is_some_and(|one| !one.kind.ends_unit());
        // An error was told already in the first unit: it only lacks its end.
        let told = self.failed;
        let mut answered = 0;
        for one in forwarded() {
            block &= !one.closes && !one.settled;
            if !one.kind.ends_unit() {
                continue;
            }
            let status = if block { Status::Failed } else { Status::Idle };
            answered += 1;
            // What it asked for has happened: nothing of the block is left.
            if one.closes && one.kind == Kind::Query && !self.uncertain && !one.settled {
                complete(down, b"ROLLBACK", status);
                continue;
            }
            answer(down, |out| {
                if (answered > 1 || !told) && !one.settled {
                    report.write(out);
                }
                write::ready(out, status);
            });
        }
        if open && (units > 0 || !told) {
            answer(down, |out| report.write(out));
        }
        owed.clear(|one| self.undo(one));
        self.owed = owed;
        self.forget_server();
        self.status = if block { Status::Failed } else { Status::Idle };
        if block {
            let untold = (units == 0 && !open).then(|| Box::new(report.clone()));
            self.doomed = Some(Doomed { refused: open, report: untold, ..Doomed::default() });
        } else {
            self.discard = open;
        }
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

    /// The server was lost while nothing was asked of it: the session goes on without one. Returns false when a message of its own accord was half-way to the
    /// client: then the connection must end.
    #[must_use]
    pub fn lose_quietly(&mut self) -> bool {
        if self.is_mid_reply() {
            return false;
        }
        self.forget_server();
        self.status = Status::Idle;
        true
    }

    pub(crate) fn doomed_request(&mut self, frame: Header, body: &[u8], down: &mut impl Sink) -> Verdict {
        let refused = self.doomed.as_ref().is_some_and(|doomed| doomed.refused);
        match frame.tag {
            tag::QUERY if !refused => self.doomed_query(whole_text(frame, body), down),
            tag::FUNCTION_CALL if !refused => self.refuse_doomed(down, true),
            tag::SYNC => self.doomed_sync(down),
            tag::FLUSH | tag::COPY_DATA | tag::COPY_DONE | tag::COPY_FAIL => {}
            _ if refused => {}
            _ => self.doomed_extended(frame.tag, body, down),
        }
        Verdict::Skip
    }

    fn doomed_query(&mut self, text: &[u8], down: &mut impl Sink) {
        let Some(control @ (Control::Commit | Control::Rollback)) = control(text) else {
            return self.refuse_doomed(down, true);
        };
        self.status = Status::Idle;
        match self.doomed.take().and_then(|doomed| doomed.report) {
            // Who asks for COMMIT and does not know yet must not take ROLLBACK for an answer.
            Some(report) if control == Control::Commit => answer(down, |out| {
                report.write(out);
                write::ready(out, Status::Idle);
            }),
            _ => complete(down, b"ROLLBACK", Status::Idle),
        }
    }

    fn doomed_sync(&mut self, down: &mut impl Sink) {
        if let Some(report) = self.doomed.as_mut().and_then(|doomed| doomed.report.take()) {
            answer(down, |out| report.write(out));
        }
        match self.doomed.take_if(|doomed| doomed.ended) {
            Some(_) => self.status = Status::Idle,
            None => {
                if let Some(doomed) = self.doomed.as_mut() {
                    (doomed.refused, doomed.bound) = (false, false);
                }
            }
        }
        let status = self.status;
        answer(down, |out| write::ready(out, status));
    }

    /// PostgreSQL lets through what ends the block; so do we, without it.
    fn doomed_extended(&mut self, kind: u8, body: &[u8], down: &mut impl Sink) {
        let bound = self.doomed.as_ref().is_some_and(|doomed| doomed.bound);
        let allowed = match kind {
            tag::PARSE => return self.doomed_parse(body, down),
            tag::BIND => BindNames::view(body).is_some_and(|names| self.names_an_end(names.statement)),
            tag::DESCRIBE => match Target::view(body) {
                Some(Target::Statement(name)) => self.names_an_end(name),
                target => bound && target.is_some(),
            },
            tag::CLOSE => true,
            _ => bound,
        };
        if !allowed {
            return self.refuse_doomed(down, false);
        }
        if let Some(doomed) = self.doomed.as_mut() {
            doomed.bound |= kind == tag::BIND;
            if kind == tag::EXECUTE {
                doomed.ended = true;
                doomed.report = None;
            }
        }
        match (kind, Target::view(body)) {
            (tag::BIND, _) => answer(down, |out| write::frame(out, b'2', |_| {})),
            (tag::DESCRIBE, target) => answer(down, |out| {
                if let Some(Target::Statement(_)) = target {
                    // No parameters.
                    write::frame(out, b't', |out| out.extend_from_slice(&[0, 0]));
                }
                write::frame(out, b'n', |_| {});
            }),
            (tag::CLOSE, target) => {
                if let Some(Target::Statement(name)) = target {
                    self.names.remove(name);
                }
                answer(down, |out| out.extend_from_slice(&write::CLOSE_COMPLETE));
            }
            _ => answer(down, |out| write::command_complete(out, b"ROLLBACK")),
        }
    }

    fn doomed_parse(&mut self, body: &[u8], down: &mut impl Sink) {
        let Some(view) = Parse::view(body).filter(|view| self.may_end(view.query)) else {
            return self.refuse_doomed(down, false);
        };
        if self.names.get(view.name).is_some() {
            self.skip_doomed();
            return answer(down, |out| duplicate(view.name).write(out));
        }
        if view.name.is_empty() {
            self.unnamed.replace(view.rest, None);
            self.unnamed_effects = None;
        } else {
            self.names.insert(view.name.into(), self.texts.intern(view.rest));
        }
        answer(down, |out| out.extend_from_slice(&write::PARSE_COMPLETE));
    }

    /// The statement of this name ends a transaction block.
    fn names_an_end(&self, name: &[u8]) -> bool {
        match name {
            b"" => self.unnamed.serial != 0 && self.may_end(query_text(&self.unnamed.rest)),
            _ => self.names.get(name).is_some_and(|statement| self.may_end(statement.query())),
        }
    }

    /// This text ends a failed block. Who was not told that it failed must be refused COMMIT, not be answered ROLLBACK.
    fn may_end(&self, text: &[u8]) -> bool {
        match control(text) {
            Some(Control::Commit) => self.doomed.as_ref().is_some_and(|doomed| doomed.report.is_none()),
            Some(Control::Rollback) => true,
            _ => false,
        }
    }

    fn skip_doomed(&mut self) {
        if let Some(doomed) = self.doomed.as_mut() {
            doomed.refused = true;
        }
    }

    fn refuse_doomed(&mut self, down: &mut impl Sink, ready: bool) {
        if !ready {
            self.skip_doomed();
        }
        match self.doomed.as_mut().and_then(|doomed| doomed.report.take()) {
            None => refuse(down, ready),
            Some(report) => answer(down, |out| {
                report.write(out);
                if ready {
                    write::ready(out, Status::Failed);
                }
            }),
        }
    }
}

/// What PostgreSQL says in a failed block.
pub(crate) fn refuse(down: &mut impl Sink, ready: bool) {
    let message = "current transaction is aborted, commands ignored until end of transaction block";
    let report = Report::new(Severity::Error, code::IN_FAILED_SQL_TRANSACTION, message);
    answer(down, |out| {
        report.write(out);
        if ready {
            write::ready(out, Status::Failed);
        }
    });
}
