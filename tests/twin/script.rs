//! Scripts: what a client sends and where it waits.
//!
//! One step a line. `name` stands for a statement's or portal's name, `-` for the unnamed one.
//!
//! | line | meaning |
//! |---|---|
//! | `== title` | a new script |
//! | `@name=value` | a startup parameter |
//! | `~ reason` | the two sides are known to differ, for this reason; the test fails when they do not |
//! | `? reason` | the two sides may differ, for this reason |
//! | `Q sql`, `q sql` | Query; the capital one waits for ReadyForQuery |
//! | `P name \| sql \| oid oid` | Parse |
//! | `B portal \| name \| value NULL \| format` | Bind: values as text, the format of results |
//! | `D s name`, `D p portal`, `C s name`, `C p portal` | Describe, Close |
//! | `E portal rows` | Execute, 0 for all rows |
//! | `S`, `s` | Sync; the capital one waits for ReadyForQuery |
//! | `H n`, `h` | Flush; the capital one then reads n messages |
//! | `d text`, `c`, `f text` | CopyData, CopyDone, CopyFail |
//! | `F oid \| value value` | FunctionCall with text values |
//! | `X` | Terminate |
//! | `raw 51 00` | bytes in hexadecimal |
//! | `<`, `< n`, `< eof` | read to ReadyForQuery, n messages, to the end |
//! | `< empty` | read to the ReadyForQuery right behind the answer to an empty query |
//! | `half` | the client closes its sending side |
//!
//! In texts `\n`, `\\`, `\xHH` and `{{text*count}}` are replaced. What is sent leaves in one write at the next place that waits.
use pgherd_tests::raw::frame;

/// One step.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Send(Vec<u8>),
    UntilReady,
    Read(usize),
    UntilEmpty,
    UntilEnd,
    HalfClose,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Script {
    pub(crate) title: String,
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) differs: Option<String>,
    pub(crate) may_differ: bool,
    pub(crate) steps: Vec<Step>,
    /// As it is written.
    pub(crate) text: String,
}

impl Script {
    /// It may change what the next one finds.
    pub(crate) fn writes(&self) -> bool {
        const WORDS: [&str; 12] = [
            "insert", "update", "delete", "create", "drop", "alter", "truncate", "copy", "nextval", "into",
            "lo_", "comment",
        ];
        let text = self.text.to_lowercase();
        WORDS.iter().any(|word| text.contains(word))
    }
}

/// All scripts of a file.
pub(crate) fn parse(text: &str) -> Vec<Script> {
    let mut scripts: Vec<Script> = Vec::new();
    for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(title) = line.strip_prefix("== ") {
            scripts.push(Script { title: title.to_owned(), ..Script::default() });
            continue;
        }
        let script = scripts.last_mut().expect("a title comes first");
        script.text.push_str(line);
        script.text.push('\n');
        if let Some(setting) = line.strip_prefix('@') {
            let (name, value) = setting.split_once('=').expect("name=value");
            script.settings.push((name.to_owned(), value.to_owned()));
        } else if let Some(reason) = line.strip_prefix("~ ") {
            script.differs = Some(reason.to_owned());
        } else if line.starts_with("? ") {
            script.may_differ = true;
        } else {
            script.steps.extend(step(line));
        }
    }
    scripts
}

fn step(line: &str) -> Vec<Step> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let send = |tag: u8, body: &[u8]| Step::Send(frame(tag, body));
    let count = || rest.parse().expect("a number");
    match word {
        "Q" => vec![send(b'Q', &string(rest)), Step::UntilReady],
        "q" => vec![send(b'Q', &string(rest))],
        "P" => vec![send(b'P', &parse_body(rest))],
        "B" => vec![send(b'B', &bind_body(rest))],
        "D" | "C" => {
            let (kind, name) = rest.split_once(' ').expect("s or p, and a name");
            let kind = kind.to_uppercase().into_bytes();
            vec![send(word.as_bytes()[0], &[kind, string(named(name))].concat())]
        }
        "E" => {
            let (portal, rows) = rest.split_once(' ').expect("a portal and a number");
            let rows: i32 = rows.parse().expect("a number of rows");
            vec![send(b'E', &[string(named(portal)), rows.to_be_bytes().to_vec()].concat())]
        }
        "S" => vec![send(b'S', b""), Step::UntilReady],
        "s" => vec![send(b'S', b"")],
        "H" => vec![send(b'H', b""), Step::Read(count())],
        "h" => vec![send(b'H', b"")],
        "d" => vec![send(b'd', &unescaped(rest))],
        "c" => vec![send(b'c', b"")],
        "f" => vec![send(b'f', &string(rest))],
        "F" => vec![send(b'F', &function_body(rest))],
        "X" => vec![send(b'X', b"")],
        "raw" => {
            let hex = rest.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).expect("two digits"));
            vec![Step::Send(hex.collect())]
        }
        "<" if rest.is_empty() => vec![Step::UntilReady],
        "<" if rest == "eof" => vec![Step::UntilEnd],
        "<" if rest == "empty" => vec![Step::UntilEmpty],
        "<" => vec![Step::Read(count())],
        "half" => vec![Step::HalfClose],
        _ => panic!("no such step: {line}"),
    }
}

fn named(name: &str) -> &str {
    if name == "-" { "" } else { name }
}

fn string(text: &str) -> Vec<u8> {
    let mut bytes = unescaped(text);
    bytes.push(0);
    bytes
}

/// The parts between bars, without the blanks around them. A bar at the end of a line stands before an empty part.
fn parts(rest: &str) -> Vec<&str> {
    let (whole, last) = rest.strip_suffix(" |").map_or((rest, None), |whole| (whole, Some("")));
    whole.split(" | ").chain(last).map(str::trim).collect()
}

fn parse_body(rest: &str) -> Vec<u8> {
    let parts = parts(rest);
    let types: Vec<u32> = parts
        .get(2)
        .map(|types| types.split_whitespace().map(|oid| oid.parse().expect("an OID")).collect())
        .unwrap_or_default();
    let mut body = [string(named(parts[0])), string(parts.get(1).expect("a text"))].concat();
    body.extend(u16::try_from(types.len()).expect("few types").to_be_bytes());
    types.iter().for_each(|oid| body.extend(oid.to_be_bytes()));
    body
}

fn values(text: &str) -> Vec<u8> {
    let values: Vec<&str> = text.split_whitespace().collect();
    let mut body = u16::try_from(values.len()).expect("few values").to_be_bytes().to_vec();
    for value in values {
        if value == "NULL" {
            body.extend((-1_i32).to_be_bytes());
        } else {
            let bytes = unescaped(value);
            body.extend(u32::try_from(bytes.len()).expect("a small value").to_be_bytes());
            body.extend(bytes);
        }
    }
    body
}

fn bind_body(rest: &str) -> Vec<u8> {
    let parts = parts(rest);
    let mut body = [string(named(parts[0])), string(named(parts.get(1).expect("a statement")))].concat();
    body.extend([0, 0]);
    body.extend(values(parts.get(2).unwrap_or(&"")));
    match parts.get(3) {
        None => body.extend([0, 0]),
        Some(format) => {
            body.extend([0, 1]);
            body.extend(format.parse::<u16>().expect("0 or 1").to_be_bytes());
        }
    }
    body
}

fn function_body(rest: &str) -> Vec<u8> {
    let parts = parts(rest);
    let mut body = parts[0].parse::<u32>().expect("an OID").to_be_bytes().to_vec();
    body.extend([0, 0]);
    body.extend(values(parts.get(1).unwrap_or(&"")));
    body.extend([0, 0]);
    body
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some(repeat) = rest.strip_prefix("{{") {
            let (inner, after) = repeat.split_once("}}").expect("the end of a repetition");
            let (what, count) = inner.rsplit_once('*').expect("text*count");
            out.extend(unescaped(what).repeat(count.parse().expect("a count")));
            rest = after;
            continue;
        }
        rest = &rest[first.len_utf8()..];
        if first != '\\' {
            out.extend(first.to_string().bytes());
            continue;
        }
        match rest.as_bytes()[0] {
            b'n' => out.push(b'\n'),
            b'x' => {
                out.push(u8::from_str_radix(&rest[1..3], 16).expect("two digits"));
                rest = &rest[2..];
            }
            other => out.push(other),
        }
        rest = &rest[1..];
    }
    out
}
