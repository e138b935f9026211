//! A look ahead into a replica's answer, while nothing of it was decided: will it be an error that the primary might not give?

use crate::machine::{MAX_HELD, Machine};
use crate::pending::Fate;
use pgherd_wire::backend::{Fields, tag};
use pgherd_wire::frame::{HEADER_LEN, header};

/// What the answer will be, as far as it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// Nothing but preliminaries yet: not known.
    Open,
    /// An answer, or an error that the primary would give as well: to be shown to the machine.
    Answer,
    /// An error with this SQLSTATE that says something about the replica: the request can be run again on the primary.
    Refusal([u8; 5]),
}

/// Errors of a replica that a primary need not give (PostgreSQL documentation, chapter 27.4.1 and appendix A): it may not write, lacks unlogged tables, has not
/// replayed a definition or a grant yet, cancelled the query because of a conflict with recovery, or goes away.
const REPLICAS_OWN: [&[u8; 5]; 13] = [
    b"25006", b"0A000", b"42P01", b"42703", b"42883", b"42704", b"3F000", b"42501", b"40001", b"40P01",
    b"53300", b"57P01", b"57P03",
];

impl Machine {
    /// Looks at the undecided bytes of the server's answer to everything that is owed.
    pub fn outlook(&self, bytes: &[u8]) -> Outlook {
        let mut units = self.owed.iter().filter(|owed| owed.kind.ends_unit()).count();
        // Before the client's own unit comes what we asked for.
        let mut ours =
            self.owed.iter().take_while(|o| o.fate == Fate::Swallow).filter(|o| o.kind.ends_unit()).count();
        let mut rows = false;
        let mut rest = bytes;
        while let Ok(Some(frame)) = header(rest) {
            let complete = frame.total <= rest.len();
            match frame.tag {
                tag::ERROR if complete => {
                    let fields = Fields::view(&rest[HEADER_LEN..frame.total]);
                    let state = fields.sqlstate().and_then(|state| <[u8; 5]>::try_from(state).ok());
                    // Last words are the ordinary path's business: the server is lost.
                    return match state.filter(|state| !fields.is_fatal() && REPLICAS_OWN.contains(&state)) {
                        Some(state) => Outlook::Refusal(state),
                        None => Outlook::Answer,
                    };
                }
                tag::ERROR if frame.total > MAX_HELD => return Outlook::Answer,
                tag::READY => {
                    units = units.saturating_sub(1);
                    ours = ours.saturating_sub(1);
                    if units == 0 {
                        return Outlook::Answer;
                    }
                }
                tag::DATA_ROW | tag::COPY_DATA | tag::PORTAL_SUSPENDED => rows |= ours == 0,
                // Nobody waits for the end of a copy that the client itself must end.
                tag::COPY_IN => return Outlook::Answer,
                _ => {}
            }
            if !complete {
                break;
            }
            rest = &rest[frame.total..];
        }
        // Rows do not wait for what may come behind them.
        if rows { Outlook::Answer } else { Outlook::Open }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Limits;
    use crate::params::Settings;
    use crate::pending::{Kind, Owed};
    use bytes::BytesMut;
    use pgherd_wire::backend::Status;
    use pgherd_wire::write::{self, Report, Severity};
    use std::sync::Arc;

    /// Settings are carried to a server by `set_config`, whose rows are ours: the client's answer is still open then.
    #[test]
    fn our_own_rows_are_no_answer() {
        let mut machine = machine(&[]);
        machine.owed.push(Owed::new(Kind::Query, Fate::Swallow));
        machine.owed.push(Owed::new(Kind::Query, Fate::Forward));
        let row = |out: &mut BytesMut| write::frame(out, b'D', |out| out.extend_from_slice(b"\0\0"));
        let ours = bytes(&[&row, &|out| write::command_complete(out, b"SELECT 1"), &|out| {
            write::ready(out, Status::Idle);
        }]);
        for end in 0..=ours.len() {
            assert_eq!(machine.outlook(&ours[..end]), Outlook::Open, "after {end} bytes");
        }
        let refused = [&ours[..], &error(Severity::Error, "42703")].concat();
        assert_eq!(machine.outlook(&refused), Outlook::Refusal(*b"42703"));
        assert_eq!(machine.outlook(&[&ours[..], &bytes(&[&row])].concat()), Outlook::Answer);
    }

    fn machine(owed: &[Kind]) -> Machine {
        let limits = Limits {
            max_prepared_statements: 10,
            max_client_statements: 10,
            session_mode: false,
            probing: Default::default(),
            unnamed: Default::default(),
        };
        let mut machine = Machine::new(1, Arc::default(), Settings::default(), limits);
        for kind in owed {
            machine.owed.push(Owed::new(*kind, Fate::Forward));
        }
        machine
    }

    fn error(severity: Severity, code: &'static str) -> BytesMut {
        let mut out = BytesMut::new();
        Report::new(severity, code, "no").write(&mut out);
        out
    }

    fn bytes(parts: &[&dyn Fn(&mut BytesMut)]) -> BytesMut {
        let mut out = BytesMut::new();
        parts.iter().for_each(|part| part(&mut out));
        out
    }

    #[test]
    fn an_error_behind_preliminaries_is_seen() {
        let batch = machine(&[Kind::Query, Kind::Parse, Kind::Bind, Kind::Execute, Kind::Sync]);
        let begun = bytes(&[
            &|out| write::command_complete(out, b"BEGIN"),
            &|out| write::ready(out, Status::Open),
            &|out| out.extend_from_slice(&write::PARSE_COMPLETE),
        ]);
        assert_eq!(batch.outlook(&begun), Outlook::Open);
        let refused = [&begun[..], &error(Severity::Error, "0A000")].concat();
        assert_eq!(batch.outlook(&refused), Outlook::Refusal(*b"0A000"));
        assert_eq!(batch.outlook(&refused[..refused.len() - 1]), Outlook::Open);
    }

    #[test]
    fn what_the_primary_would_say_too_is_an_answer() {
        let query = machine(&[Kind::Query]);
        assert_eq!(query.outlook(&error(Severity::Error, "22012")), Outlook::Answer);
        assert_eq!(query.outlook(&error(Severity::Fatal, "57P01")), Outlook::Answer);
        let empty = bytes(&[&|out| write::command_complete(out, b"SELECT 0"), &|out| {
            write::ready(out, Status::Idle);
        }]);
        assert_eq!(query.outlook(&empty), Outlook::Answer);
        assert_eq!(query.outlook(b""), Outlook::Open);
    }

    #[test]
    fn rows_do_not_wait_but_an_error_that_is_there_already_counts() {
        let query = machine(&[Kind::Query]);
        let row = bytes(&[&|out| write::frame(out, b'D', |out| out.extend_from_slice(b"\0\0"))]);
        assert_eq!(query.outlook(&row), Outlook::Answer);
        let both = [&row[..], &error(Severity::Error, "40001")].concat();
        assert_eq!(query.outlook(&both), Outlook::Refusal(*b"40001"));
    }
}
