//! What a server answers, as bytes.

use bytes::BytesMut;
use pgherd_wire::backend::Status;
use pgherd_wire::write;

/// Answer to a simple query: RowDescription, rows of one integer, CommandComplete, ReadyForQuery.
pub(crate) fn simple(rows: usize) -> Vec<u8> {
    let mut out = BytesMut::new();
    result(&mut out, rows);
    write::ready(&mut out, Status::Idle);
    out.to_vec()
}

/// Answer to `executions` of Bind, Describe, Execute before one Sync; with a ParseComplete each when `parsed`.
pub(crate) fn extended(executions: usize, parsed: bool) -> Vec<u8> {
    let mut out = BytesMut::new();
    for _ in 0..executions {
        if parsed {
            write::frame(&mut out, b'1', |_| ());
        }
        write::frame(&mut out, b'2', |_| ());
        result(&mut out, 1);
    }
    write::ready(&mut out, Status::Idle);
    out.to_vec()
}

/// Answer to a command without rows.
pub(crate) fn command(tag: &[u8], status: Status) -> Vec<u8> {
    let mut out = BytesMut::new();
    write::command_complete(&mut out, tag);
    write::ready(&mut out, status);
    out.to_vec()
}

fn result(out: &mut BytesMut, rows: usize) {
    write::frame(out, b'T', |body| {
        body.extend_from_slice(b"\0\x01abalance\0\0\0\x40\0\0\x03\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0");
    });
    for _ in 0..rows {
        write::frame(out, b'D', |body| body.extend_from_slice(b"\0\x01\0\0\0\x0512345"));
    }
    write::command_complete(out, b"SELECT 1");
}
