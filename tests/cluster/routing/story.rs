//! A row that needs a session: the messages before, the burst that is judged, and how both are written.

use crate::table::Case;
use pgherd_tests::raw::{frame, query};

/// Marks the way in which the transaction's first statement was a read.
const LATER: &str = " later";

/// What a client sends in one go, and how many answers end it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Burst {
    /// Pieces; between them the client waits for what a Flush promised.
    pub(crate) pieces: Vec<Piece>,
    /// ReadyForQuery that come at the end.
    pub(crate) ready: usize,
    /// The statements of the last unit, as a server's log shows them.
    pub(crate) texts: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Piece {
    pub(crate) bytes: Vec<u8>,
    /// Executions whose answer a Flush at the end brings; 0 without one.
    pub(crate) flushed: usize,
}

/// One way to play a row.
#[derive(Debug)]
pub(crate) struct Story<'a> {
    pub(crate) case: &'a Case,
    /// The name its session goes by in the servers' logs.
    pub(crate) name: String,
    pub(crate) before: Vec<Burst>,
    pub(crate) last: Burst,
}

impl<'a> Story<'a> {
    /// All ways to play it.
    pub(crate) fn all(case: &'a Case) -> Vec<Story<'a>> {
        let story = |way: &str, before: &[&str], last: Burst| Story {
            case,
            name: format!("{}{way}", case.id),
            before: before.iter().map(|text| Burst::query(text)).collect(),
            last,
        };
        let last = Burst::query(&case.text);
        match &case.id[..2] {
            // A BEGIN that was only promised to the client, and one that a server has seen.
            "tx" => {
                vec![
                    story("", &["BEGIN"], last.clone()),
                    story(" later", &["BEGIN", "SELECT id FROM t2"], last),
                ]
            }
            "ro" => {
                let begin = "BEGIN READ ONLY";
                vec![story("", &[begin], last.clone()), story(LATER, &[begin, "SELECT id FROM t2"], last)]
            }
            "se" => {
                let mut texts: Vec<_> = case.text.split(" |> ").collect();
                let last = Burst::query(texts.pop().expect("a last message"));
                vec![story("", &texts, last)]
            }
            _ => {
                let (whole, cut) = (extended(&case.text, false), extended(&case.text, true));
                let waits = cut.pieces.len() > 1;
                let mut ways = vec![story("", &[], whole)];
                ways.extend(waits.then(|| story(" waits", &[], cut)));
                ways
            }
        }
    }

    /// A replica has the transaction already when the row's text comes.
    pub(crate) fn is_on_replica(&self) -> bool {
        self.case.id.starts_with("ro") && self.name.ends_with(LATER)
    }
}

impl Burst {
    pub(crate) fn query(text: &str) -> Burst {
        let bytes = query(text);
        Burst { pieces: vec![Piece { bytes, flushed: 0 }], ready: 1, texts: vec![text.to_owned()] }
    }
}

/// Reads the notation of the `xq` rows: `{P:name=sql}{B:portal=statement}{D:S=name}{E:portal/rows}{H}{S}{F:oid}`. With
/// `waits` the client waits after each Flush.
fn extended(notation: &str, waits: bool) -> Burst {
    let (mut pieces, mut piece, mut executions) = (Vec::new(), Piece::default(), 0);
    let (mut ready, mut texts, mut is_done) = (0, Vec::new(), false);
    for message in notation.trim_start_matches('{').trim_end_matches('}').split("}{") {
        let (tag, rest) = message.split_once(':').unwrap_or((message, ""));
        if std::mem::take(&mut is_done) {
            texts.clear();
        }
        match tag {
            "P" => texts.push(rest.split_once('=').expect("a name and a text").1.to_owned()),
            "F" => texts.push(format!("(OID {rest})")),
            "E" => executions += 1,
            _ => {}
        }
        piece.bytes.extend(message_bytes(tag, rest));
        if tag == "H" && waits {
            pieces.push(Piece { flushed: std::mem::take(&mut executions), ..std::mem::take(&mut piece) });
        }
        if matches!(tag, "S" | "F") {
            (ready, is_done) = (ready + 1, true);
        }
    }
    pieces.push(piece);
    Burst { pieces, ready, texts }
}

fn message_bytes(tag: &str, rest: &str) -> Vec<u8> {
    let words = |mark: char| rest.split_once(mark).unwrap_or((rest, ""));
    let body = match tag {
        "P" => format!("{}\0{}\0\0\0", words('=').0, words('=').1),
        "B" => format!("{}\0{}\0\0\0\0\0\0\0", words('=').0, words('=').1),
        // A portal unless it says that it is a statement.
        "D" if rest.is_empty() => "P\0".to_owned(),
        "D" => format!("{}{}\0", words('=').0, words('=').1),
        "E" => {
            let rows: u32 = words('/').1.parse().unwrap_or(0);
            return frame(b'E', &[words('/').0.as_bytes(), b"\0", &rows.to_be_bytes()].concat());
        }
        "F" => {
            let oid: u32 = rest.parse().expect("a number");
            return frame(b'F', &[&oid.to_be_bytes()[..], &[0; 6]].concat());
        }
        "H" | "S" => String::new(),
        other => panic!("no message {other}"),
    };
    frame(tag.as_bytes()[0], body.as_bytes())
}
