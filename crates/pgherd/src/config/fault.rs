//! What is wrong with the settings, and how it is told: all of it at once, in the order of the file.

use crate::config::key::Kind;
use crate::config::keys::SECTIONS;
use crate::config::nearest::nearest;
use crate::config::source::{Place, Source};
use std::fmt::Write;

/// Kinds of faults. Numbers beginning with `E` refuse the file, with `W` warn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// Not TOML.
    Syntax,
    /// The file cannot be read.
    Unreadable,
    /// No such section.
    UnknownSection,
    /// No such key in this section.
    UnknownKey,
    /// A key that must be there is not.
    Missing,
    /// Another type of value.
    Type,
    /// `[x]` where `[[x]]` is meant, or the reverse.
    SectionForm,
    /// A number that needs a unit.
    NoUnit,
    /// A text that does not mean a value of this kind.
    NotAValue,
    /// Outside its range.
    Range,
    /// Not one of the words.
    Word,
    /// Not an address.
    Address,
    /// Empty.
    Empty,
    /// A name that is taken.
    Duplicate,
    /// Two values that cannot both hold.
    Contradiction,
    /// A file or directory that is not there.
    NoFile,
    /// An environment variable that is not set, or a `${...}` that cannot be read.
    Variable,
    /// A file whose content cannot be used.
    BadFile,
    /// A name that refers to nothing.
    Dangling,
    /// Old spelling.
    Deprecated,
    /// A secret others can read.
    ExposedSecret,
    /// Nobody is asked for a password.
    OpenDoor,
    /// `ttl` is too short.
    ShortLease,
    /// Something will not work as expected.
    Doubtful,
}

impl Code {
    /// The number people search for.
    pub fn number(self) -> &'static str {
        match self {
            Code::Syntax => "E001",
            Code::Unreadable => "E002",
            Code::UnknownSection => "E010",
            Code::UnknownKey => "E011",
            Code::Missing => "E012",
            Code::Type => "E013",
            Code::SectionForm => "E014",
            Code::NoUnit => "E020",
            Code::NotAValue => "E021",
            Code::Range => "E022",
            Code::Word => "E023",
            Code::Address => "E024",
            Code::Empty => "E025",
            Code::Duplicate => "E030",
            Code::Contradiction => "E031",
            Code::NoFile => "E032",
            Code::Variable => "E033",
            Code::BadFile => "E034",
            Code::Dangling => "E041",
            Code::Deprecated => "W001",
            Code::ExposedSecret => "W002",
            Code::OpenDoor => "W004",
            Code::ShortLease => "W007",
            Code::Doubtful => "W008",
        }
    }

    /// True when the settings cannot be used.
    pub fn is_error(self) -> bool {
        self.number().starts_with('E')
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// What kind.
    pub code: Code,
    /// Where.
    pub place: Place,
    /// One sentence.
    pub message: String,
    /// What to do, shown under the caret.
    pub help: Option<String>,
    /// The key `config doc` explains, as `section.key`.
    pub key: Option<String>,
}

impl Fault {
    /// A fault without help.
    pub fn new(code: Code, place: Place, message: impl Into<String>) -> Fault {
        Fault { code, place, message: message.into(), help: None, key: None }
    }

    /// The same with help.
    pub fn help(mut self, help: impl Into<String>) -> Fault {
        self.help = Some(help.into());
        self
    }

    /// The same, about this key.
    pub fn about(mut self, section: &str, key: &str) -> Fault {
        self.key = Some(format!("{section}.{key}"));
        self
    }
}

/// All faults of one reading, with the texts they point into.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// The texts.
    pub sources: Vec<Source>,
    /// The faults, in the order of the file once sorted.
    pub faults: Vec<Fault>,
}

/// More faults than this are counted, not told.
const MAX_TOLD: usize = 100;
/// Longest source line shown.
const MAX_SHOWN: usize = 160;

impl Report {
    /// True when nothing forbids the use of the settings.
    pub fn usable(&self) -> bool {
        !self.faults.iter().any(|fault| fault.code.is_error())
    }

    /// Puts the faults into the order of the file.
    pub fn sort(&mut self) {
        self.faults.sort_by_key(|fault| fault.place.order());
    }

    /// The whole report as text; empty when there is nothing to say.
    pub fn render(&self) -> String {
        let mut out = String::new();
        let heads: Vec<String> = self.faults.iter().take(MAX_TOLD).map(|fault| self.head(fault)).collect();
        let width = heads.iter().map(|head| head.chars().count()).max().unwrap_or(0);
        for (fault, head) in self.faults.iter().zip(&heads) {
            let kind = if fault.code.is_error() { "error" } else { "warn " };
            let _ = writeln!(out, "{head:width$} {kind}[{}] {}", fault.code.number(), fault.message);
            self.excerpt(fault, &mut out);
        }
        if self.faults.len() > MAX_TOLD {
            let _ = writeln!(out, "... and {} more", self.faults.len() - MAX_TOLD);
        }
        out.push_str(&self.summary());
        // Names come from the file: they must not move the cursor.
        out.chars().map(|c| if c.is_control() && c != '\n' { '?' } else { c }).collect()
    }

    fn head(&self, fault: &Fault) -> String {
        match &fault.place {
            Place::File(file, span) => match self.sources.get(*file) {
                Some(source) => {
                    let (line, column) = source.position(span.start);
                    format!("{}:{line}:{column}", source.name)
                }
                None => "settings".to_string(),
            },
            Place::Env(name) => format!("${name}"),
            Place::Nowhere => {
                self.sources.first().map_or("settings".to_string(), |source| source.name.clone())
            }
        }
    }

    /// The source line with a caret under what is meant, and the help beside it.
    fn excerpt(&self, fault: &Fault, out: &mut String) {
        let located = match &fault.place {
            Place::File(file, span) => self.sources.get(*file).map(|source| (source, span)),
            _ => None,
        };
        let Some((source, span)) = located else {
            if let Some(help) = &fault.help {
                let _ = writeln!(out, "      = {help}");
            }
            return;
        };
        let (number, column) = source.position(span.start);
        let line = source.line(span.start);
        let inside = source.inside_long_string(span.start);
        let (shown, masked_from) = if inside { ("********".to_string(), 0) } else { masked(line) };
        let shown: String =
            shown.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_SHOWN).collect();
        let start = (column - 1).min(masked_from).min(shown.chars().count());
        let marked = source
            .text
            .get(span.clone())
            .map_or(1, |text| text.split('\n').next().unwrap_or("").trim_end().chars().count());
        let room = shown.chars().count().saturating_sub(start).max(1);
        let length = marked.clamp(1, room);
        let _ = writeln!(out, "{number:5} | {shown}");
        let mut under = format!("      | {}{}", " ".repeat(start), "^".repeat(length));
        if let Some(help) = &fault.help {
            under.push(' ');
            under.push_str(help);
        }
        let _ = writeln!(out, "{under}");
    }

    fn summary(&self) -> String {
        if self.faults.is_empty() {
            return String::new();
        }
        let errors = self.faults.iter().filter(|fault| fault.code.is_error()).count();
        let warnings = self.faults.len() - errors;
        let mut parts = Vec::new();
        for (count, name) in [(errors, "error"), (warnings, "warning")] {
            match count {
                0 => {}
                1 => parts.push(format!("1 {name}")),
                n => parts.push(format!("{n} {name}s")),
            }
        }
        let mut text = format!("{}.", parts.join(", "));
        if let Some(position) = self.faults.iter().position(|fault| fault.key.is_some()) {
            let key = self.faults[position].key.as_deref().unwrap_or_default();
            let which =
                if position == 0 { "the first".to_string() } else { format!("number {}", position + 1) };
            let _ = write!(text, " `pgherd config doc {key}` explains {which}.");
        }
        text.push('\n');
        text
    }
}

/// A line with its value hidden when its key or its text looks like a secret, and the column from which it is hidden.
/// Misspelled keys count too: they are what reports are about.
fn masked(line: &str) -> (String, usize) {
    const TEXTS: [&str; 7] = ["pass", "secret", "token", "://", "verifier", "scram-sha-256$", "pwd"];
    const KEYS: [&str; 4] = ["password", "passwd", "secret", "token"];
    if let Some((key, value)) = line.split_once('=')
        && is_harmless(key.trim())
        && !TEXTS.iter().any(|word| value.to_ascii_lowercase().contains(word))
    {
        return (line.to_string(), usize::MAX);
    }
    let lower = line.to_ascii_lowercase();
    let mut words = lower.split(|c: char| !c.is_ascii_alphanumeric());
    if !TEXTS.iter().any(|word| lower.contains(word)) && !words.any(|word| nearest(word, KEYS).is_some()) {
        return (line.to_string(), usize::MAX);
    }
    match line.split_once('=') {
        Some((key, value)) => {
            let harmless = ["_file", "_env", "_timeout"].iter().any(|end| key.trim_end().ends_with(end));
            // A path or the name of a variable is no secret; anything else, an inner table included, may be.
            if harmless && !value.contains('=') {
                return (line.to_string(), usize::MAX);
            }
            let from = key.chars().count() + 2;
            (format!("{key}= ********"), from)
        }
        None => ("********".to_string(), 0),
    }
}

/// True for a key of ours that holds no secret.
fn is_harmless(key: &str) -> bool {
    let mut named = SECTIONS.iter().filter_map(|section| section.key(key)).peekable();
    named.peek().is_some() && named.all(|key| key.kind != Kind::Secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked() {
        for (line, want) in [
            ("pasword = \"hunter2\"", "pasword = ********"),
            ("port = 5432", "port = 5432"),
            ("unix_socket_dir = \"/nowhere\"", "unix_socket_dir = \"/nowhere\""),
            ("unix_socket_dir = \"postgres://u:p@h\"", "unix_socket_dir = ********"),
            ("secret = \"x\"", "secret = ********"),
            ("password_file = \"/run/x\"", "password_file = \"/run/x\""),
            ("auth = { admin = { password = \"x\" } }", "auth = ********"),
            ("hunter2 secret", "********"),
            ("password_file = { password = \"x\" }", "password_file = ********"),
        ] {
            assert_eq!(masked(line).0, want);
        }
    }

    #[test]
    fn a_report_reads_well() {
        let text = "[health]\nhealthcheck_interval = \"10s\"\nmax_lag_threshold = \"10\"\n";
        let report = Report {
            sources: vec![Source { name: "p.toml".into(), text: text.into() }],
            faults: vec![
                Fault::new(
                    Code::UnknownKey,
                    Place::File(0, 9..29),
                    "unknown key `healthcheck_interval` in [health]",
                )
                .help("did you mean `health_check_interval`?")
                .about("health", "health_check_interval"),
                Fault::new(Code::ShortLease, Place::Env("PGHERD__FAILOVER__TTL".into()), "ttl is short"),
            ],
        };
        let want = "\
p.toml:2:1             error[E011] unknown key `healthcheck_interval` in [health]
    2 | healthcheck_interval = \"10s\"
      | ^^^^^^^^^^^^^^^^^^^^ did you mean `health_check_interval`?
$PGHERD__FAILOVER__TTL warn [W007] ttl is short
1 error, 1 warning. `pgherd config doc health.health_check_interval` explains the first.
";
        assert_eq!(report.render(), want);
    }
}
