//! Messages in a readable notation; lengths and counts are filled in here.
//!
//! A client's: `Q "text"`, `P name "text" [oid ...]`, `B portal statement`, `D S|P name`, `E[:portal[:rows]]`, `C S|P name`, `H` (Flush), `S` (Sync),
//! `d "bytes"`, `c`, `f "why"`, `F` (FunctionCall), `X`, `raw HEX|"bytes"`. The unnamed is `""`.
//!
//! A server's: `1 2 3` (ParseComplete, BindComplete, CloseComplete), `t` `T` `n`, `D ["bytes"]` (DataRow), `C "TAG"`, `I`, `s`, `V`, `G` `H` `W` (copy in, out,
//! both), `d "bytes"`, `c`, `Z status`, `E CODE "text"`, `E! CODE "text"` (FATAL), `N "text"`, `A`, `S name value`, `raw ...`. What pgherd itself reports:
//! `e CODE "text" ["detail" ["hint"]]`.

use crate::words::Word;
use bytes::BytesMut;
use pgherd_wire::frame::header;
use pgherd_wire::write::{Report, Severity, frame};
use std::iter::Peekable;
use std::slice::Iter;

/// Who wrote the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The client, or pgherd to a server.
    Client,
    /// A server, or pgherd to the client.
    Server,
}

type Words<'a> = Peekable<Iter<'a, Word>>;

/// The bytes of a line of messages.
pub(crate) fn bytes(side: Side, words: &[Word]) -> Result<Vec<u8>, String> {
    let mut out = BytesMut::new();
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        let Word::Bare(tag) = word else { return Err(format!("a message cannot begin with {word:?}")) };
        if tag == "raw" {
            match words.next() {
                Some(Word::Bare(digits)) => out.extend_from_slice(&hex(digits.as_bytes())?),
                Some(Word::Text(text)) => out.extend_from_slice(text),
                None => return Err("raw lacks an argument".into()),
            }
            continue;
        }
        match side {
            Side::Client => client(&mut out, tag, &mut words)?,
            Side::Server => server(&mut out, tag, &mut words)?,
        }
    }
    Ok(out.to_vec())
}

fn text(words: &mut Words<'_>, of: &str) -> Result<Vec<u8>, String> {
    words.next().map(Word::bytes).ok_or_else(|| format!("{of} lacks an argument"))
}

fn string(words: &mut Words<'_>, of: &str) -> Result<Vec<u8>, String> {
    let mut text = text(words, of)?;
    text.push(0);
    Ok(text)
}

fn hex(digits: &[u8]) -> Result<Vec<u8>, String> {
    let pair = |pair: &[u8]| u8::from_str_radix(&String::from_utf8_lossy(pair), 16);
    digits.chunks(2).map(pair).collect::<Result<_, _>>().map_err(|error| format!("raw: {error}"))
}

fn client(out: &mut BytesMut, tag: &str, words: &mut Words<'_>) -> Result<(), String> {
    let body = match tag {
        "Q" | "f" => string(words, tag)?,
        "P" => {
            let mut body = string(words, tag)?;
            body.extend(string(words, tag)?);
            let mut types: Vec<u32> = Vec::new();
            while let Some(oid) = words.peek().and_then(|word| match word {
                Word::Bare(word) => word.parse().ok(),
                Word::Text(_) => None,
            }) {
                types.push(oid);
                words.next();
            }
            body.extend((types.len() as u16).to_be_bytes());
            types.iter().for_each(|oid| body.extend(oid.to_be_bytes()));
            body
        }
        "B" => {
            let mut body = string(words, tag)?;
            body.extend(string(words, tag)?);
            // No formats, no parameters, no result formats.
            body.extend([0; 6]);
            body
        }
        "D" | "C" => {
            let mut body = text(words, tag)?;
            body.extend(string(words, tag)?);
            body
        }
        "H" | "S" | "c" | "X" => Vec::new(),
        "d" => text(words, tag)?,
        // Function 1, no formats, no arguments, text result.
        "F" => vec![0, 0, 0, 1, 0, 0, 0, 0, 0, 0],
        _ if tag == "E" || tag.starts_with("E:") => {
            let mut parts = tag.split(':').skip(1);
            let mut body = parts.next().unwrap_or_default().as_bytes().to_vec();
            body.push(0);
            let rows: u32 = parts.next().unwrap_or("0").parse().map_err(|_| format!("rows of {tag}"))?;
            body.extend(rows.to_be_bytes());
            body
        }
        _ => return Err(format!("no client sends {tag}")),
    };
    frame(out, tag.as_bytes()[0], |out| out.extend_from_slice(&body));
    Ok(())
}

fn server(out: &mut BytesMut, tag: &str, words: &mut Words<'_>) -> Result<(), String> {
    let body = match tag {
        "1" | "2" | "3" | "n" | "I" | "s" | "c" => Vec::new(),
        "t" | "T" => vec![0, 0],
        "G" | "H" | "W" => vec![0, 0, 0],
        "V" => vec![0, 0, 0, 1, b'7'],
        "D" => {
            let value = match words.peek() {
                Some(Word::Text(_)) => text(words, tag)?,
                _ => b"7".to_vec(),
            };
            let mut body = vec![0, 1];
            body.extend((value.len() as u32).to_be_bytes());
            body.extend(value);
            body
        }
        "d" | "Z" => text(words, tag)?,
        "C" => string(words, tag)?,
        "S" => {
            let mut body = string(words, tag)?;
            body.extend(string(words, tag)?);
            body
        }
        "A" => b"\0\0\0\x05channel\0payload\0".to_vec(),
        "E" | "E!" | "N" => {
            let (severity, code) = match tag {
                "E" => ("ERROR", text(words, tag)?),
                "E!" => ("FATAL", text(words, tag)?),
                _ => ("NOTICE", b"00000".to_vec()),
            };
            let message = text(words, tag)?;
            let mut body = Vec::new();
            for (field, value) in
                [(b'S', severity.as_bytes()), (b'V', severity.as_bytes()), (b'C', &code), (b'M', &message)]
            {
                body.push(field);
                body.extend(value);
                body.push(0);
            }
            body.push(0);
            body
        }
        "e" => {
            report(words)?.write(out);
            return Ok(());
        }
        _ => return Err(format!("no server sends {tag}")),
    };
    frame(out, tag.as_bytes()[0], |out| out.extend_from_slice(&body));
    Ok(())
}

/// A report of pgherd's own: `CODE "text" ["detail" ["hint"]]`.
pub(crate) fn report(words: &mut Words<'_>) -> Result<Report, String> {
    let code = String::from_utf8_lossy(&text(words, "e")?).into_owned();
    let message = String::from_utf8_lossy(&text(words, "e")?).into_owned();
    // Reports hold their codes for the whole life of the process, as constants do.
    let mut report = Report::new(Severity::Error, Box::leak(code.into_boxed_str()), message);
    for field in [&mut report.detail, &mut report.hint] {
        if let Some(Word::Text(text)) = words.peek() {
            *field = String::from_utf8_lossy(text).into_owned();
            words.next();
        }
    }
    Ok(report)
}

/// Messages for human eyes: each tag with its body, long ones shortened.
pub(crate) fn describe(mut bytes: &[u8]) -> String {
    let mut out = String::new();
    while let Ok(Some(head)) = header(bytes) {
        let end = head.total.min(bytes.len());
        let body = &bytes[5..end];
        let front = &body[..body.len().min(200)];
        out.push_str(&format!("\n      {} {}", head.tag as char, front.escape_ascii()));
        if body.len() > front.len() {
            out.push_str(&format!(" ... ({} bytes)", body.len()));
        }
        if bytes.len() < head.total {
            out.push_str(" (cut)");
        }
        bytes = &bytes[end..];
    }
    if !bytes.is_empty() {
        out.push_str(&format!("\n      and {}", bytes.escape_ascii()));
    }
    if out.is_empty() { "\n      nothing".into() } else { out }
}
