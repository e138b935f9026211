//! What `config show` prints: the settings as they hold, as a file again, with the origin of every value.

use crate::config::key::Kind;
use crate::config::source::{Place, Source};
use crate::config::unit::{show_bytes, show_duration};
use crate::config::value::Value;
use crate::config::values::{Origin, Setting, Values};
use std::fmt::Write;

/// A value as it stands in a file. Secrets are hidden.
pub fn value(kind: Kind, value: &Value) -> String {
    let quote = |text: &str| toml::Value::String(text.to_string()).to_string();
    let list = |items: Vec<String>| format!("[{}]", items.join(", "));
    let off = || "\"off\"".to_string();
    match value {
        Value::Duration(time) => time.map_or_else(off, |time| quote(&show_duration(time))),
        Value::Bytes(size) => size.map_or_else(off, |size| quote(&show_bytes(size))),
        Value::Int(Some(number)) => number.to_string(),
        Value::Int(None) => match kind {
            Kind::Int { none: Some(word), .. } => quote(word),
            _ => off(),
        },
        Value::Bool(yes) => yes.to_string(),
        Value::Text(text) => quote(text),
        Value::Word(word) => quote(word),
        Value::List(items) => list(items.iter().map(|item| quote(item)).collect()),
        Value::BytesList(sizes) => list(sizes.iter().map(|size| quote(&show_bytes(*size))).collect()),
        Value::Address(address) => address.as_ref().map_or_else(off, |address| quote(&address.to_string())),
        Value::Path(path) => path.as_ref().map_or_else(off, |path| quote(&path.display().to_string())),
        Value::Secret(_) => quote("********"),
        Value::Mode(bits) => quote(&format!("{bits:04o}")),
    }
}

/// Where a value comes from: `default`, `pgherd.toml:14`, `$PGHERD__POOL__MODE`, `password_file`.
pub fn origin(setting: &Setting, sources: &[Source]) -> String {
    match &setting.origin {
        Origin::Default => "default".to_string(),
        Origin::From(key) => format!("from {key}"),
        Origin::Said(Place::Env(name)) => format!("${name}"),
        Origin::Said(Place::File(file, span)) => match sources.get(*file) {
            Some(source) => format!("{}:{}", source.name, source.position(span.start).0),
            None => "file".to_string(),
        },
        Origin::Said(Place::Nowhere) => "given".to_string(),
    }
}

/// All settings that hold. With `with_origin`, each line says where its value comes from.
pub fn text(values: &Values, sources: &[Source], with_origin: bool) -> String {
    let mut out = String::new();
    for section in crate::config::keys::SECTIONS {
        for instance in values.each(section.name) {
            if !out.is_empty() {
                out.push('\n');
            }
            let _ = writeln!(out, "{}", section.header());
            for (key, setting) in instance.each() {
                let Some(setting) = setting else { continue };
                let shown = value(key.kind, &setting.value);
                // A secret is shown as hidden, and as a comment so that the text never becomes a file that is wrong.
                let comment = if matches!(setting.value, Value::Secret(_)) { "# " } else { "" };
                let line = format!("{comment}{} = {shown}", key.name);
                if with_origin {
                    let _ = writeln!(out, "{line:<50} # {}", origin(setting, sources));
                } else {
                    let _ = writeln!(out, "{line}");
                }
            }
        }
    }
    out
}

/// The same as JSON: `{"section": {"key": {"value": ..., "origin": ...}}}`, repeated sections as lists.
pub fn json(values: &Values, sources: &[Source]) -> serde_json::Value {
    let mut all = serde_json::Map::new();
    for section in crate::config::keys::SECTIONS {
        let mut list = Vec::new();
        for instance in values.each(section.name) {
            let mut keys = serde_json::Map::new();
            for (key, setting) in instance.each() {
                let Some(setting) = setting else { continue };
                let text = value(key.kind, &setting.value);
                let plain = serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text));
                keys.insert(
                    key.name.to_string(),
                    serde_json::json!({ "value": plain, "origin": origin(setting, sources) }),
                );
            }
            list.push(serde_json::Value::Object(keys));
        }
        let value = match section.repeated {
            Some(_) => serde_json::Value::Array(list),
            None => list.pop().unwrap_or_default(),
        };
        all.insert(section.name.to_string(), value);
    }
    serde_json::Value::Object(all)
}

/// The same as lines of section, instance, key, value and origin, separated by tabs.
pub fn tsv(values: &Values, sources: &[Source]) -> String {
    let mut out = String::from("section\tname\tkey\tvalue\torigin\n");
    for section in crate::config::keys::SECTIONS {
        for instance in values.each(section.name) {
            let label = instance.label().unwrap_or_default();
            for (key, setting) in instance.each() {
                let Some(setting) = setting else { continue };
                let (value, origin) = (value(key.kind, &setting.value), origin(setting, sources));
                let _ = writeln!(out, "{}\t{label}\t{}\t{value}\t{origin}", section.name, key.name);
            }
        }
    }
    out
}
