//! One value: as it stands in a file, and as it is understood.

use crate::config::fault::Code;
use crate::config::key::Kind;
use crate::config::nearest::nearest;
use crate::config::secret::Secret;
use crate::config::settings::front::HostPort;
use crate::config::unit::{self, UnitFault};
use std::path::PathBuf;
use std::time::Duration;

/// A value as it was written.
#[derive(Clone, Debug, PartialEq)]
pub enum Raw {
    /// A string of the file.
    Text(String),
    /// Text from the environment: read by the kind of the key, so numbers and lists are meant as such.
    Plain(String),
    /// A whole number.
    Int(i128),
    /// A number with decimals.
    Float(f64),
    /// `true` or `false`.
    Bool(bool),
    /// A list.
    List(Vec<Raw>),
    /// Anything else, in words.
    Other(&'static str),
}

/// A value as it is understood; the variant always fits the kind of its key.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `None` is "off".
    Duration(Option<Duration>),
    /// `None` is "off".
    Bytes(Option<u64>),
    /// `None` is the key's word for none.
    Int(Option<u32>),
    /// Yes or no.
    Bool(bool),
    /// A text.
    Text(String),
    /// One of the key's words.
    Word(&'static str),
    /// Texts.
    List(Vec<String>),
    /// Sizes.
    BytesList(Vec<u64>),
    /// `None` is "off".
    Address(Option<HostPort>),
    /// `None` is "off".
    Path(Option<PathBuf>),
    /// Never shown.
    Secret(Secret),
    /// Permission bits.
    Mode(u32),
}

/// Why a written value cannot be understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Misread {
    /// Its number in the reference.
    pub code: Code,
    /// Predicate of the sentence that begins with the key and what was written.
    pub text: String,
    /// What might have been meant.
    pub help: Option<String>,
}

fn misread(code: Code, text: impl Into<String>) -> Misread {
    Misread { code, text: text.into(), help: None }
}

/// Longest list a key may hold.
const MAX_LIST: usize = 1000;

/// Understands `raw` as a value of this kind.
pub fn read(kind: Kind, raw: &Raw) -> Result<Value, Misread> {
    match kind {
        Kind::Duration { min, max, off, bare } => read_duration(raw, (min, max), off, bare),
        Kind::Bytes { min, max, off, bare } => read_bytes(raw, (min, max), off, bare),
        Kind::Int { min, max, none } => read_int(raw, (min, max), none),
        Kind::Bool => read_bool(raw),
        Kind::Text { empty } => read_text(raw, empty).map(Value::Text),
        Kind::Word(words) => read_word(raw, words),
        Kind::List => read_list(raw),
        Kind::BytesList => read_bytes_list(raw),
        Kind::Address { off } => read_address(raw, off),
        Kind::Path { off, .. } => read_path(raw, off),
        Kind::Secret => read_text(raw, false).map(|text| Value::Secret(Secret::new(&text))),
        Kind::Mode => read_mode(raw),
    }
}

/// The text of a string, wherever it comes from.
fn string(raw: &Raw) -> Option<&str> {
    match raw {
        Raw::Text(text) | Raw::Plain(text) => Some(text),
        _ => None,
    }
}

fn is_off(raw: &Raw, off: bool) -> bool {
    off && string(raw).is_some_and(|text| text.trim().eq_ignore_ascii_case("off"))
}

/// A number without quotes (or the same from the environment).
fn bare_number(raw: &Raw) -> Option<f64> {
    match raw {
        Raw::Int(n) => Some(*n as f64),
        Raw::Float(x) => Some(*x),
        Raw::Plain(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn read_duration(
    raw: &Raw,
    (min, max): (Duration, Duration),
    off: bool,
    bare: bool,
) -> Result<Value, Misread> {
    if is_off(raw, off) {
        return Ok(Value::Duration(None));
    }
    let value = match (bare_number(raw), string(raw)) {
        (Some(seconds), _) if bare => Duration::try_from_secs_f64(seconds)
            .map_err(|_| misread(Code::Range, format!("is out of range; {}", span_of_time(min, max))))?,
        (Some(number), None) => {
            let text = format!("has no unit; write \"{number}s\"");
            return Err(misread(Code::NoUnit, text));
        }
        (_, Some(text)) => match unit::duration(text) {
            Ok(value) => value,
            Err(UnitFault::NoUnit) => {
                return Err(misread(Code::NoUnit, format!("has no unit; write \"{}s\"", text.trim())));
            }
            Err(UnitFault::NotOne) => {
                let also = if off { ", or \"off\"" } else { "" };
                return Err(misread(
                    Code::NotAValue,
                    format!("is not a duration; write it like \"10s\", \"1h30m\" or \"250ms\"{also}"),
                ));
            }
            Err(UnitFault::TooLarge) => Duration::MAX,
        },
        _ => return Err(wrong_type("a duration like \"10s\"")),
    };
    if value < min || value > max {
        return Err(misread(Code::Range, format!("is out of range; {}", span_of_time(min, max))));
    }
    Ok(Value::Duration(Some(value)))
}

fn span_of_time(min: Duration, max: Duration) -> String {
    format!("it goes from {} to {}", unit::show_duration(min), unit::show_duration(max))
}

fn read_bytes(raw: &Raw, (min, max): (u64, u64), off: bool, bare: bool) -> Result<Value, Misread> {
    // Patroni writes -1 for "no limit".
    if is_off(raw, off) || (off && bare && bare_number(raw) == Some(-1.0)) {
        return Ok(Value::Bytes(None));
    }
    let range = || {
        let text = format!("it goes from {} to {}", unit::show_bytes(min), unit::show_bytes(max));
        misread(Code::Range, format!("is out of range; {text}"))
    };
    let value = match (raw, string(raw)) {
        (Raw::Int(n), _) if bare => u64::try_from(*n).map_err(|_| range())?,
        (Raw::Plain(text), _) if bare && text.trim().parse::<u64>().is_ok() => {
            text.trim().parse().map_err(|_| range())?
        }
        (Raw::Int(n), _) => return Err(misread(Code::NoUnit, format!("has no unit; write \"{n}B\""))),
        (_, Some(text)) => match unit::bytes(text) {
            Ok(value) => value,
            Err(UnitFault::NoUnit) => {
                return Err(misread(
                    Code::NoUnit,
                    format!("has no unit; write \"{0}B\" or \"{0}MB\"", text.trim()),
                ));
            }
            Err(UnitFault::NotOne) => {
                let also = if off { ", or \"off\"" } else { "" };
                return Err(misread(
                    Code::NotAValue,
                    format!("is not a size; write it like \"16MB\" or \"256kB\"{also}"),
                ));
            }
            Err(UnitFault::TooLarge) => u64::MAX,
        },
        _ => return Err(wrong_type("a size like \"16MB\"")),
    };
    if value < min || value > max { Err(range()) } else { Ok(Value::Bytes(Some(value))) }
}

fn read_int(raw: &Raw, (min, max): (u32, u32), none: Option<&'static str>) -> Result<Value, Misread> {
    if let (Some(word), Some(text)) = (none, string(raw))
        && text.trim().eq_ignore_ascii_case(word)
    {
        return Ok(Value::Int(None));
    }
    let number = match raw {
        Raw::Int(n) => Some(*n),
        Raw::Plain(text) => text.trim().replace('_', "").parse().ok(),
        _ => None,
    };
    let Some(number) = number else {
        let also = none.map(|word| format!(" or \"{word}\"")).unwrap_or_default();
        let quoted = matches!(raw, Raw::Text(text) if text.trim().parse::<i128>().is_ok());
        let quotes = if quoted { "; leave out the quotes" } else { "" };
        return Err(misread(Code::Type, format!("is not a whole number{also}{quotes}")));
    };
    match u32::try_from(number) {
        Ok(value) if value >= min && value <= max => Ok(Value::Int(Some(value))),
        _ => {
            let off = none.map(|word| format!(", or \"{word}\"")).unwrap_or_default();
            Err(misread(Code::Range, format!("is out of range; it goes from {min} to {max}{off}")))
        }
    }
}

fn read_bool(raw: &Raw) -> Result<Value, Misread> {
    match (raw, string(raw).map(|text| text.trim().to_ascii_lowercase()).as_deref()) {
        (Raw::Bool(value), _) => Ok(Value::Bool(*value)),
        (_, Some("on")) => Ok(Value::Bool(true)),
        (_, Some("off")) => Ok(Value::Bool(false)),
        (Raw::Plain(_), Some("true" | "1" | "yes")) => Ok(Value::Bool(true)),
        (Raw::Plain(_), Some("false" | "0" | "no")) => Ok(Value::Bool(false)),
        _ => Err(wrong_type("true or false")),
    }
}

fn read_text(raw: &Raw, empty: bool) -> Result<String, Misread> {
    let text = string(raw).ok_or_else(|| wrong_type("a text in quotes"))?;
    if text.is_empty() && !empty {
        return Err(misread(Code::Empty, "must not be empty"));
    }
    // PostgreSQL's strings end at a zero byte; so would ours on their way there.
    if text.contains('\0') {
        return Err(misread(Code::NotAValue, "must not contain a zero byte"));
    }
    Ok(text.to_string())
}

fn read_word(raw: &Raw, words: &'static [&'static str]) -> Result<Value, Misread> {
    let known = format!("must be one of {}", words.join(", "));
    let text = match raw {
        Raw::Bool(_) if words.contains(&"verify-full") => {
            let text = format!("must be one of libpq's words: {}", words.join(", "));
            return Err(Misread {
                help: Some(
                    "for true write \"require\" or better \"verify-full\", for false \"disable\"".into(),
                ),
                ..misread(Code::Word, text)
            });
        }
        _ => string(raw).ok_or_else(|| misread(Code::Type, known.clone()))?,
    };
    match words.iter().find(|word| word.eq_ignore_ascii_case(text.trim())) {
        Some(word) => Ok(Value::Word(word)),
        None => Err(Misread {
            help: nearest(text, words.iter().copied()).map(|word| format!("did you mean \"{word}\"?")),
            ..misread(Code::Word, known)
        }),
    }
}

/// The items of a list; text from the environment is a list in brackets or is cut at commas.
fn items(raw: &Raw) -> Result<Vec<Raw>, Misread> {
    let items = match raw {
        Raw::List(items) => items.clone(),
        Raw::Plain(text) if text.trim_start().starts_with('[') => {
            match serde_json::from_str::<Vec<String>>(text) {
                Ok(items) => items.into_iter().map(Raw::Text).collect(),
                Err(_) => return Err(wrong_type("a list like [\"a\", \"b\"]")),
            }
        }
        Raw::Plain(text) => text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(|item| Raw::Text(item.to_string()))
            .collect(),
        _ => return Err(wrong_type("a list in square brackets")),
    };
    if items.len() > MAX_LIST {
        return Err(misread(Code::Range, format!("has more than {MAX_LIST} items")));
    }
    Ok(items)
}

fn read_list(raw: &Raw) -> Result<Value, Misread> {
    items(raw)?.iter().map(|item| read_text(item, false)).collect::<Result<_, _>>().map(Value::List)
}

fn read_bytes_list(raw: &Raw) -> Result<Value, Misread> {
    let mut sizes = Vec::new();
    for item in items(raw)? {
        if let Value::Bytes(Some(size)) = read_bytes(&item, (0, u64::MAX), false, true)? {
            sizes.push(size);
        }
    }
    Ok(Value::BytesList(sizes))
}

fn read_address(raw: &Raw, off: bool) -> Result<Value, Misread> {
    if is_off(raw, off) {
        return Ok(Value::Address(None));
    }
    let text = string(raw).ok_or_else(|| wrong_type("an address like \"0.0.0.0:5000\""))?.trim();
    match host_port(text) {
        Some(address) => Ok(Value::Address(Some(address))),
        None => {
            let also = if off { ", or \"off\"" } else { "" };
            let text = format!("is not an address; write it like \"0.0.0.0:5000\" or \"[::]:5000\"{also}");
            Err(misread(Code::Address, text))
        }
    }
}

/// `host:port`, with brackets around an IPv6 address; `*` is every address.
pub fn host_port(text: &str) -> Option<HostPort> {
    let (host, port) = text.rsplit_once(':')?;
    if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let port: u16 = port.parse().ok()?;
    let host = match host.strip_prefix('[') {
        Some(inner) => {
            let inner = inner.strip_suffix(']')?;
            inner.parse::<std::net::Ipv6Addr>().ok()?;
            inner
        }
        None => host,
    };
    let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let numeric = !host.is_empty() && host.chars().all(|c| c.is_ascii_digit() || c == '.');
    let fits = match host {
        "*" => return Some(HostPort { host: "0.0.0.0".to_string(), port }),
        "" => false,
        _ if text.starts_with('[') => true,
        _ if numeric => host.parse::<std::net::Ipv4Addr>().is_ok(),
        _ => host.len() <= 253 && host.chars().all(name),
    };
    fits.then(|| HostPort { host: host.to_string(), port })
}

fn read_path(raw: &Raw, off: bool) -> Result<Value, Misread> {
    if is_off(raw, off) {
        return Ok(Value::Path(None));
    }
    let text = read_text(raw, false)?;
    Ok(Value::Path(Some(PathBuf::from(text))))
}

fn read_mode(raw: &Raw) -> Result<Value, Misread> {
    let text = string(raw).ok_or_else(|| wrong_type("octal digits in quotes, like \"0770\""))?;
    let digits = text.trim().trim_start_matches("0o");
    match u32::from_str_radix(digits, 8) {
        Ok(bits) if bits <= 0o777 && !digits.starts_with('+') => Ok(Value::Mode(bits)),
        _ => Err(misread(Code::NotAValue, "is not a set of permission bits; write it like \"0770\"")),
    }
}

fn wrong_type(wanted: &str) -> Misread {
    misread(Code::Type, format!("must be {wanted}"))
}
