//! Parse, Bind, Describe, Execute, Close (documentation, chapter 55.2.3).

use super::*;
use pgherd_wire::frontend::Parse;

impl Talk {
    /// Answers one request; `Some` when something is to be run for it.
    pub(super) fn extended(
        &mut self,
        tag: u8,
        body: &[u8],
        out: &mut BytesMut,
    ) -> Result<Option<Command>, Report> {
        match tag {
            tag::PARSE => self.parse(body, out).map(|()| None),
            tag::BIND => self.bind(body, out).map(|()| None),
            tag::DESCRIBE => self.describe(body, out).map(|()| None),
            tag::EXECUTE => self.execute(body, out),
            _ => {
                match Target::view(body).ok_or_else(malformed)? {
                    Target::Statement(name) => drop(self.statements.remove(name)),
                    Target::Portal(name) => drop(self.portals.remove(name)),
                }
                out.extend_from_slice(&write::CLOSE_COMPLETE);
                Ok(None)
            }
        }
    }

    pub(super) fn fail_extended(&mut self, report: &Report, out: &mut BytesMut) {
        self.skipping = true;
        self.fail(report, out);
    }

    fn parse(&mut self, body: &[u8], out: &mut BytesMut) -> Result<(), Report> {
        let view = Parse::view(body).ok_or_else(malformed)?;
        let text = String::from_utf8_lossy(view.query);
        let command = match split(&text) {
            Some(parts) if parts.len() > 1 => {
                let what = "cannot insert multiple commands into a prepared statement";
                return Err(Report::new(Severity::Error, code::SYNTAX_ERROR, what));
            }
            _ => self.understand(&text),
        };
        if let Some(report) = self.objection(&command, text.trim()) {
            return Err(report);
        }
        if !view.name.is_empty() && self.statements.contains_key(view.name) {
            let name = String::from_utf8_lossy(view.name);
            let what = format!("prepared statement \"{name}\" already exists");
            return Err(Report::new(Severity::Error, code::DUPLICATE_PREPARED_STATEMENT, what));
        }
        if self.statements.len() >= MAX_NAMES {
            return Err(too_many("prepared statements"));
        }
        let prepared = Prepared { text: text.as_ref().into(), command };
        self.statements.insert(view.name.into(), prepared);
        out.extend_from_slice(&write::PARSE_COMPLETE);
        Ok(())
    }

    fn bind(&mut self, body: &[u8], out: &mut BytesMut) -> Result<(), Report> {
        let bound = Bound::view(body).ok_or_else(malformed)?;
        let prepared = self.prepared(bound.statement)?.clone();
        let wrong = |what: String| Report::new(Severity::Error, code::PROTOCOL_VIOLATION, what);
        if bound.parameters > 0 {
            let name = String::from_utf8_lossy(bound.statement);
            return Err(wrong(format!(
                "bind message supplies {} parameters, but prepared statement \"{name}\" requires 0",
                bound.parameters
            )));
        }
        let count = columns(&prepared.command).len();
        if !bound.formats.fit(count) {
            return Err(wrong(format!(
                "bind message has result formats for another query than one of {count} columns"
            )));
        }
        if self.portals.len() >= MAX_NAMES {
            return Err(too_many("portals"));
        }
        let portal = Portal { prepared, formats: bound.formats, rows: None };
        self.portals.insert(bound.portal.into(), portal);
        reply::bare(out, sent::BIND_COMPLETE);
        Ok(())
    }

    fn describe(&mut self, body: &[u8], out: &mut BytesMut) -> Result<(), Report> {
        let (command, formats) = match Target::view(body).ok_or_else(malformed)? {
            Target::Statement(name) => {
                let command = &self.prepared(name)?.command;
                reply::no_parameters(out);
                (command, &Formats::default())
            }
            Target::Portal(name) => {
                let portal = self.portals.get(name).ok_or_else(|| no_portal(name))?;
                (&portal.prepared.command, &portal.formats)
            }
        };
        match &*columns(command) {
            [] => reply::bare(out, sent::NO_DATA),
            columns => reply::row_description(out, columns, formats),
        }
        Ok(())
    }

    fn execute(&mut self, body: &[u8], out: &mut BytesMut) -> Result<Option<Command>, Report> {
        let (name, rest) = pgherd_wire::frame::c_string(body).ok_or_else(malformed)?;
        let max: [u8; 4] = rest.try_into().map_err(|_| malformed())?;
        // A negative number asks for all, as 0 does.
        let max = usize::try_from(i32::from_be_bytes(max)).unwrap_or(0);
        let portal = self.portals.get(name).ok_or_else(|| no_portal(name))?;
        if portal.rows.is_some() {
            self.send_rows(name, max, out);
            return Ok(None);
        }
        let prepared = portal.prepared.clone();
        if let Some(report) = self.objection(&prepared.command, &prepared.text) {
            return Err(report);
        }
        match needs_nothing(&prepared.command) {
            Some(outcome) => {
                self.answer_portal(name, max, outcome, out);
                Ok(None)
            }
            None => {
                self.running = Some(Running::Portal { name: name.into(), max });
                Ok(Some(prepared.command))
            }
        }
    }

    pub(super) fn answer_portal(&mut self, name: &[u8], max: usize, outcome: Outcome, out: &mut BytesMut) {
        match outcome {
            Outcome::Failed(report) => self.fail_extended(&report, out),
            Outcome::Rows(rows) => {
                if let Some(portal) = self.portals.get_mut(name) {
                    portal.rows = Some(rows.into());
                }
                self.send_rows(name, max, out);
            }
            Outcome::Done => {
                let Some(portal) = self.portals.get(name) else { return };
                let command = portal.prepared.command.clone();
                self.complete(&command, out);
            }
        }
    }

    fn send_rows(&mut self, name: &[u8], max: usize, out: &mut BytesMut) {
        let Some(Portal { prepared, formats, rows: Some(rows) }) = self.portals.get_mut(name) else { return };
        let columns = columns(&prepared.command);
        let count = if max == 0 { rows.len() } else { max.min(rows.len()) };
        rows.drain(..count).for_each(|row| reply::data_row(out, &columns, &row, formats));
        if max > 0 && count == max {
            // PostgreSQL, too, does not look whether there is one more.
            return reply::bare(out, sent::PORTAL_SUSPENDED);
        }
        write::command_complete(out, complete_tag(&prepared.command, count).as_bytes());
    }

    fn prepared(&self, name: &[u8]) -> Result<&Prepared, Report> {
        self.statements.get(name).ok_or_else(|| {
            let what = format!("prepared statement \"{}\" does not exist", String::from_utf8_lossy(name));
            Report::new(Severity::Error, code::INVALID_STATEMENT_NAME, what)
        })
    }
}

/// The parts of Bind that matter here.
struct Bound<'a> {
    portal: &'a [u8],
    statement: &'a [u8],
    parameters: u16,
    formats: Formats,
}

impl<'a> Bound<'a> {
    /// Views a whole body; `None` when it is malformed.
    fn view(body: &'a [u8]) -> Option<Bound<'a>> {
        let (portal, rest) = pgherd_wire::frame::c_string(body)?;
        let (statement, mut rest) = pgherd_wire::frame::c_string(rest)?;
        codes(&mut rest)?;
        let parameters = rest.try_get_u16().ok()?;
        for _ in 0..parameters {
            // A negative length is NULL.
            let length = usize::try_from(rest.try_get_i32().ok()?).unwrap_or(0);
            rest = rest.get(length..)?;
        }
        let formats = Formats::new(codes(&mut rest)?);
        rest.is_empty().then_some(Bound { portal, statement, parameters, formats })
    }
}

/// A number of format codes, and these; true is binary.
fn codes(rest: &mut &[u8]) -> Option<Vec<bool>> {
    let count = rest.try_get_u16().ok()?;
    (0..count)
        .map(|_| match rest.try_get_u16().ok()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        })
        .collect()
}

fn malformed() -> Report {
    Report::new(Severity::Error, code::PROTOCOL_VIOLATION, "invalid message format")
}

fn no_portal(name: &[u8]) -> Report {
    let what = format!("portal \"{}\" does not exist", String::from_utf8_lossy(name));
    Report::new(Severity::Error, code::INVALID_CURSOR_NAME, what)
}

fn too_many(what: &str) -> Report {
    Report::new(Severity::Error, code::PROGRAM_LIMIT_EXCEEDED, format!("more than {MAX_NAMES} {what}"))
}
