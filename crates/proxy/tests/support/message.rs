//! Messages as bytes.

use bytes::{Buf, BytesMut};

/// One message.
pub fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[tag][..], &(4 + body.len() as u32).to_be_bytes(), body].concat()
}

pub fn c_str(text: &str) -> Vec<u8> {
    [text.as_bytes(), b"\0"].concat()
}

pub fn query(sql: &str) -> Vec<u8> {
    frame(b'Q', &c_str(sql))
}

pub fn parse(name: &str, sql: &str) -> Vec<u8> {
    frame(b'P', &[c_str(name), c_str(sql), vec![0, 0]].concat())
}

/// Bind with text parameters.
pub fn bind(portal: &str, name: &str, parameters: &[&str]) -> Vec<u8> {
    let mut body = [c_str(portal), c_str(name), vec![0, 0]].concat();
    body.extend((parameters.len() as u16).to_be_bytes());
    for parameter in parameters {
        body.extend((parameter.len() as u32).to_be_bytes());
        body.extend(parameter.as_bytes());
    }
    body.extend([0, 0]);
    frame(b'B', &body)
}

pub fn describe(kind: u8, name: &str) -> Vec<u8> {
    frame(b'D', &[vec![kind], c_str(name)].concat())
}

pub fn close(kind: u8, name: &str) -> Vec<u8> {
    frame(b'C', &[vec![kind], c_str(name)].concat())
}

pub fn execute(portal: &str) -> Vec<u8> {
    frame(b'E', &[c_str(portal), vec![0; 4]].concat())
}

pub fn sync() -> Vec<u8> {
    frame(b'S', b"")
}

pub fn flush() -> Vec<u8> {
    frame(b'H', b"")
}

pub fn terminate() -> Vec<u8> {
    frame(b'X', b"")
}

/// DataRow of text columns.
pub fn row(columns: &[&str]) -> Vec<u8> {
    let mut body = (columns.len() as u16).to_be_bytes().to_vec();
    for column in columns {
        body.extend((column.len() as u32).to_be_bytes());
        body.extend(column.as_bytes());
    }
    frame(b'D', &body)
}

/// RowDescription of `n` columns of text.
pub fn columns(n: u16) -> Vec<u8> {
    let mut body = n.to_be_bytes().to_vec();
    for _ in 0..n {
        body.extend(b"c\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0");
    }
    frame(b'T', &body)
}

/// ErrorResponse or NoticeResponse.
pub fn report(tag: u8, severity: &str, code: &str, message: &str) -> Vec<u8> {
    frame(tag, format!("S{severity}\0V{severity}\0C{code}\0M{message}\0\0").as_bytes())
}

/// Takes the first whole message off a buffer.
pub fn take(buffer: &mut BytesMut) -> Option<(u8, Vec<u8>)> {
    let (&tag, rest) = buffer.split_first()?;
    let total = 1 + u32::from_be_bytes(*rest.first_chunk::<4>()?) as usize;
    if buffer.len() < total {
        return None;
    }
    let mut message = buffer.split_to(total);
    message.advance(5);
    Some((tag, message.to_vec()))
}

/// The C string at the start, and the rest.
pub fn text(body: &[u8]) -> (String, &[u8]) {
    let end = body.iter().position(|b| *b == 0).expect("a NUL");
    (String::from_utf8(body[..end].to_vec()).expect("UTF-8"), &body[end + 1..])
}

/// A field of an ErrorResponse.
pub fn field(body: &[u8], kind: u8) -> String {
    let found = body.split(|b| *b == 0).find(|field| field.first() == Some(&kind));
    found.map(|field| String::from_utf8_lossy(&field[1..]).into_owned()).unwrap_or_default()
}

/// The columns of a DataRow.
pub fn values(body: &[u8]) -> Vec<String> {
    let mut rest = &body[2..];
    let mut values = Vec::new();
    while !rest.is_empty() {
        let length = u32::from_be_bytes(*rest.first_chunk().expect("a length")) as usize;
        values.push(String::from_utf8(rest[4..4 + length].to_vec()).expect("UTF-8"));
        rest = &rest[4 + length..];
    }
    values
}
