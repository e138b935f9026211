//! Messages of the console that `wire` has no use for elsewhere.

use crate::console::office::Row;
use crate::console::show::Column;
use bytes::{BufMut, BytesMut};
use pgherd_wire::backend::tag;
use pgherd_wire::sqlstate::code;
use pgherd_wire::write::{Report, Severity, frame};

/// In which format each column is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Formats(Vec<bool>);

impl Formats {
    /// From the codes of a Bind (0 text, 1 binary): none for all text, one for all columns, or one for each.
    pub fn new(codes: Vec<bool>) -> Formats {
        Formats(codes)
    }

    /// True when they fit this number of columns.
    pub fn fit(&self, columns: usize) -> bool {
        self.0.len() < 2 || self.0.len() == columns
    }

    /// True when this column is wanted binary.
    pub fn binary(&self, column: usize) -> bool {
        match self.0.as_slice() {
            [all] => *all,
            each => each.get(column).copied().unwrap_or(false),
        }
    }
}

/// RowDescription.
pub fn row_description(out: &mut BytesMut, columns: &[Column], formats: &Formats) {
    frame(out, tag::ROW_DESCRIPTION, |out| {
        out.put_u16(columns.len() as u16);
        for (at, column) in columns.iter().enumerate() {
            out.put_slice(column.name.as_bytes());
            out.put_u8(0);
            // No table, no column of a table.
            out.put_u32(0);
            out.put_u16(0);
            out.put_u32(column.kind.oid());
            out.put_i16(column.kind.size());
            out.put_i32(-1);
            out.put_i16(i16::from(formats.binary(at)));
        }
    });
}

/// DataRow.
pub fn data_row(out: &mut BytesMut, columns: &[Column], row: &Row, formats: &Formats) {
    frame(out, tag::DATA_ROW, |out| {
        out.put_u16(columns.len() as u16);
        for (at, column) in columns.iter().enumerate() {
            match row.get(at) {
                Some(cell) => cell.write(column.kind, formats.binary(at), out),
                None => out.put_i32(-1),
            }
        }
    });
}

/// A message without a body.
pub fn bare(out: &mut BytesMut, tag: u8) {
    frame(out, tag, |_| {});
}

/// ParameterDescription: no statement of the console has parameters.
pub fn no_parameters(out: &mut BytesMut) {
    frame(out, tag::PARAMETER_DESCRIPTION, |out| out.put_u16(0));
}

/// What PgBouncer says to what it does not know.
pub fn unknown(text: &str) -> Report {
    const MAX: usize = 200;
    let shown: String = text.chars().take(MAX).collect();
    Report::new(Severity::Error, code::SYNTAX_ERROR, format!("invalid command '{shown}', use SHOW HELP;"))
}

/// A user who may only look wants to do something.
pub fn not_admin() -> Report {
    Report::new(Severity::Error, code::INSUFFICIENT_PRIVILEGE, "admin access needed")
}

/// The notice that is SHOW HELP.
pub fn help() -> Report {
    Report::new(Severity::Notice, "00000", "Console usage").detail(HELP)
}

const HELP: &str = "
\tSHOW HELP|CONFIG|DATABASES|POOLS|CLIENTS|SERVERS|USERS|VERSION
\tSHOW PEERS|PEER_POOLS
\tSHOW FDS|SOCKETS|ACTIVE_SOCKETS|LISTS|MEM|STATE
\tSHOW DNS_HOSTS|DNS_ZONES
\tSHOW STATS|STATS_TOTALS|STATS_AVERAGES|TOTALS
\tSHOW NODES|LAG|PINS|ROUTING|PREPARED|EVENTS
\tSET key = arg
\tRELOAD
\tPAUSE [<db>]
\tRESUME [<db>]
\tDISABLE <db>
\tENABLE <db>
\tRECONNECT [<db>]
\tKILL [<db>]
\tKILL_CLIENT <client_id>
\tSHUTDOWN
\tSHUTDOWN WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS
\tWAIT_CLOSE [<db>]
\tSWITCHOVER [TO <node>]
\tFAILOVER [TO <node>] [ALLOW DATA LOSS]";
