//! The scanner, the views, and the messages pgherd writes itself.

use std::hint::black_box;

use bytes::BytesMut;
use pgherd_wire::backend::Fields;
use pgherd_wire::frame::header;
use pgherd_wire::frontend::{BindNames, Parse};
use pgherd_wire::write::{self, Report, Severity};

use crate::answer;
use crate::case::Case;

/// Rows in the scanned result.
const ROWS: usize = 100;

/// Cases of the ground floor.
pub(crate) fn cases() -> Vec<Case> {
    let one_row = answer::simple(1);
    let many_rows = answer::simple(ROWS);
    let error = b"SERROR\0VERROR\0C42P01\0Mrelation \"t\" does not exist\0P15\0Fparse_relation.c\0L1392\0\0";
    let parse = b"statement_1\0SELECT abalance FROM pgbench_accounts WHERE aid = $1\0\0\x01\0\0\0\x17";
    let bind = b"\0statement_1\0\0\0\0\x01\0\0\0\x0512345\0\0";
    let mut out = BytesMut::with_capacity(4096);
    let mut error_out = BytesMut::with_capacity(4096);
    vec![
        Case::hot("wire: headers of a one-row answer (4 messages)", move || {
            black_box(scan(black_box(&one_row)));
        }),
        Case::hot("wire: headers of a 100-row answer (103 messages)", move || {
            black_box(scan(black_box(&many_rows)));
        }),
        Case::hot("wire: SQLSTATE of an ErrorResponse", move || {
            black_box(Fields::view(black_box(error)).sqlstate());
        }),
        Case::hot("wire: Parse", move || {
            black_box(Parse::view(black_box(parse)));
        }),
        Case::hot("wire: names of Bind", move || {
            black_box(BindNames::view(black_box(bind)));
        }),
        Case::hot("wire: write a Query", move || {
            out.clear();
            write::query(&mut out, black_box(b"SET application_name = 'pgbench'"));
            black_box(&out);
        }),
        Case::cold("wire: write an ErrorResponse", move || {
            error_out.clear();
            let report =
                Report::new(Severity::Fatal, "57P03", black_box("the database system is starting up"));
            report.hint("Try again in a moment.").write(&mut error_out);
            black_box(&error_out);
        }),
    ]
}

/// Bytes up to and with ReadyForQuery.
fn scan(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Ok(Some(header)) = header(&bytes[at..]) {
        at += header.total;
        if header.tag == b'Z' {
            break;
        }
    }
    at
}
