//! What `config doc` prints: one key, or the whole reference page.

use crate::config::key::{Default, Key, Kind, Section};
use crate::config::keys::{self, SECTIONS};
use crate::config::nearest::nearest;
use crate::config::unit::{show_bytes, show_duration};
use std::fmt::Write;

/// Width texts are wrapped to.
const WIDTH: usize = 100;

/// The type of a key with its range, in words.
pub fn kind(key: &Key) -> String {
    let or = |off: bool| if off { ", or \"off\"" } else { "" };
    match key.kind {
        Kind::Duration { min, max, off, bare } => {
            let bare = if bare { "; a plain number means seconds" } else { "" };
            format!("duration, {} to {}{}{bare}", show_duration(min), show_duration(max), or(off))
        }
        Kind::Bytes { min, max, off, bare } => {
            let bare = if bare { "; a plain number means bytes" } else { "" };
            format!("size, {} to {}{}{bare}", show_bytes(min), show_bytes(max), or(off))
        }
        Kind::Int { min, max, none } => {
            let none = none.map(|word| format!(", or \"{word}\"")).unwrap_or_default();
            format!("number, {min} to {max}{none}")
        }
        Kind::Bool => "true or false".to_string(),
        Kind::Text { .. } => "text".to_string(),
        Kind::Word(words) => words.join(" | "),
        Kind::List => "list of texts".to_string(),
        Kind::BytesList => "list of sizes".to_string(),
        Kind::Address { off } => format!("host:port{}", or(off)),
        Kind::Path { off, .. } => format!("path{}", or(off)),
        Kind::Secret => "text, never shown".to_string(),
        Kind::Mode => "permission bits, octal".to_string(),
    }
}

/// A value of this kind as it stands in a file: with quotes where TOML needs them.
pub fn written(kind: Kind, text: &str) -> String {
    let list = |items: &str| -> String {
        let items = items.split(", ").filter(|item| !item.is_empty());
        format!("[{}]", items.map(|item| format!("\"{item}\"")).collect::<Vec<_>>().join(", "))
    };
    match kind {
        Kind::Int { .. } if text.bytes().all(|b| b.is_ascii_digit()) => text.to_string(),
        Kind::Bool => (if matches!(text, "on" | "true") { "true" } else { "false" }).to_string(),
        Kind::List | Kind::BytesList => list(text),
        _ => format!("\"{text}\""),
    }
}

/// What holds otherwise, in words.
fn default(key: &Key) -> String {
    match key.default {
        Default::Is(text) => written(key.kind, text),
        Default::Unset { means, .. } => means.to_string(),
        Default::Required(_) => "none, it must be given".to_string(),
    }
}

/// Words broken into lines of at most `width` characters.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last().map_or(0, |line| line.chars().count());
        if line > 0 && line + 1 + word.chars().count() > width {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

fn entry(section: &Section, key: &Key, out: &mut String) {
    let _ = writeln!(out, "{} in {}", key.name, section.header());
    for line in wrap(key.doc, WIDTH - 4) {
        let _ = writeln!(out, "    {line}");
    }
    let _ = writeln!(out, "    type     {}", kind(key));
    let _ = writeln!(out, "    default  {}", default(key));
    let _ = writeln!(out, "    reload   {} ({})", key.reload.letter(), key.reload.sentence());
    let _ = writeln!(out, "    since    {}", key.since);
    let _ = writeln!(out, "    override {}", variable(section, key));
    if !key.deprecated.is_empty() {
        let _ = writeln!(out, "    formerly {}", key.deprecated.join(", "));
    }
    if key.later {
        let _ = writeln!(out, "    note     accepted and checked now; takes effect in a later version");
    }
}

/// The environment variable that overrides a key.
pub fn variable(section: &Section, key: &Key) -> String {
    let number = if section.repeated.is_some() { "0__" } else { "" };
    let key = key.name.replace('.', "__").to_uppercase();
    format!("PGHERD__{}__{number}{key}", section.name.to_uppercase())
}

/// What there is to say about a key, a section (`pool`, `[pool]`), or everything when `name` is `None`. `Err` is the
/// nearest name, if there is one.
pub fn text(name: Option<&str>) -> Result<String, Option<String>> {
    let mut out = String::new();
    let Some(name) = name else {
        for section in SECTIONS {
            whole(section, &mut out);
        }
        return Ok(out);
    };
    let bare = name.trim_matches(['[', ']']);
    if let Some(section) = keys::section(bare) {
        whole(section, &mut out);
        return Ok(out);
    }
    let found = keys::find(bare);
    if found.is_empty() {
        let last = bare.rsplit('.').next().unwrap_or(bare);
        let names = SECTIONS.iter().flat_map(|s| s.keys.iter().map(|k| k.name).chain([s.name]));
        return Err(nearest(last, names).map(str::to_string));
    }
    for (index, (section, key)) in found.into_iter().enumerate() {
        if index > 0 {
            out.push('\n');
        }
        entry(section, key, &mut out);
    }
    Ok(out)
}

fn whole(section: &Section, out: &mut String) {
    let _ = writeln!(out, "{}", section.header());
    for line in wrap(section.doc, WIDTH) {
        let _ = writeln!(out, "{line}");
    }
    out.push('\n');
    for key in section.keys {
        entry(section, key, out);
        out.push('\n');
    }
}

/// The reference page in Markdown.
pub fn page() -> String {
    let mut out = String::from(
        "# Settings\n\nGenerated by `pgherd config doc --markdown`; do not edit. [config/pgherd.toml](../config/pgherd.toml) is the \
         same as a file to begin with, `pgherd config doc KEY` one key on the terminal.\n\nA key of a section is overridden \
         by the environment variable `PGHERD__SECTION__KEY`, one of a repeated section by `PGHERD__SECTION__0__KEY` and so \
         on. What a changed key needs (*reload*): H nothing, it holds at once; N new connections have it; D the old \
         listener drains; R a restart.\n",
    );
    for section in SECTIONS {
        let _ = writeln!(out, "\n## `{}`\n\n{}\n", section.header(), section.doc);
        let _ =
            writeln!(out, "| key | type | default | reload | since | meaning |\n|---|---|---|---|---|---|");
        for key in section.keys {
            let later = if key.later { " *Takes effect in a later version.*" } else { "" };
            let cell = |text: String| text.replace('|', "\\|");
            let _ = writeln!(
                out,
                "| `{}` | {} | {} | {} | {} | {}{later} |",
                key.name,
                cell(kind(key)),
                cell(default(key)),
                key.reload.letter(),
                key.since,
                cell(key.doc.to_string())
            );
        }
    }
    out
}
