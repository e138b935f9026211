//! From a parsed TOML document to [`Values`], reporting whatever the table of keys does not know.

use crate::config::environment::Environment;
use crate::config::expand::expand;
use crate::config::fault::{Code, Fault, Report};
use crate::config::key::{Key, Kind, Section};
use crate::config::keys::{self, SECTIONS};
use crate::config::nearest::nearest;
use crate::config::source::Place;
use crate::config::value::{self, Raw, Value};
use crate::config::values::{Instance, Origin, Values};
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

/// Sections of one kind, at most; a bound for machines that write settings.
const MAX_INSTANCES: usize = 1000;
/// Faults told of one file, at most: nobody reads more, and each costs a look through the text.
pub const MAX_FAULTS: usize = 1000;

/// One file while it is read.
#[derive(Debug)]
pub struct Walk<'a> {
    /// What was understood so far, over all files.
    pub values: &'a mut Values,
    /// What was not.
    pub report: &'a mut Report,
    /// For `${...}`.
    pub env: &'a Environment,
    /// Index of the file among the report's sources.
    pub file: usize,
    /// Directory relative paths start from.
    pub base: PathBuf,
}

/// Values in which every section that is not repeated exists, empty.
pub fn empty_values() -> Values {
    let mut values = Values::default();
    for section in SECTIONS.iter().filter(|section| section.repeated.is_none()) {
        values.push(Instance::new(section, Place::Nowhere));
    }
    values
}

/// The entries of a table in the order they were written.
fn in_order<'t, 'i>(table: &'t DeTable<'i>) -> Vec<(&'t str, Range<usize>, &'t Spanned<DeValue<'i>>)> {
    let mut entries: Vec<_> =
        table.iter().map(|(key, value)| (key.get_ref().as_ref(), key.span(), value)).collect();
    entries.sort_by_key(|(_, span, _)| span.start);
    entries
}

impl Walk<'_> {
    /// Reads a whole document. Returns the patterns of `include` with where they stand.
    pub fn document(&mut self, table: &DeTable<'_>) -> Vec<(String, Place)> {
        let mut includes = Vec::new();
        for (name, span, value) in in_order(table) {
            match (keys::section(name), value.get_ref()) {
                (None, _) if name == "include" => includes = self.includes(value),
                (None, _) => self.unknown_section(name, span, value.get_ref()),
                (Some(section), DeValue::Array(items)) if section.repeated.is_some() => {
                    self.repeated(section, span, items);
                }
                (Some(section), DeValue::Table(inner)) if section.repeated.is_none() => {
                    self.single(section, span, inner);
                }
                (Some(_), DeValue::Table(_)) => {
                    let text = format!("[{name}] may stand more than once and needs two brackets");
                    self.fault(
                        Fault::new(Code::SectionForm, self.at(span), text).help(format!("write [[{name}]]")),
                    );
                }
                (Some(section), DeValue::Array(_)) => {
                    let text = format!("[[{name}]] stands only once and needs one bracket");
                    let help = format!("write {}", section.header());
                    self.fault(Fault::new(Code::SectionForm, self.at(span), text).help(help));
                }
                (Some(section), _) => {
                    let text = format!("{name} is a section, not a key");
                    let help = format!("write {} on a line of its own", section.header());
                    self.fault(Fault::new(Code::SectionForm, self.at(span), text).help(help));
                }
            }
        }
        includes
    }

    fn at(&self, span: Range<usize>) -> Place {
        Place::File(self.file, span)
    }

    fn fault(&mut self, fault: Fault) {
        if self.report.faults.len() < MAX_FAULTS {
            self.report.faults.push(fault);
        }
    }

    fn includes(&mut self, value: &Spanned<DeValue<'_>>) -> Vec<(String, Place)> {
        let place = self.at(value.span());
        if self.file != 0 {
            self.fault(Fault::new(Code::Contradiction, place, "an included file cannot include others"));
            return Vec::new();
        }
        let raw = self.raw(value);
        match value::read(Kind::List, &raw) {
            Ok(Value::List(patterns)) => patterns.into_iter().map(|p| (p, place.clone())).collect(),
            Ok(_) => Vec::new(),
            Err(why) => {
                self.fault(Fault::new(why.code, place, format!("include {}", why.text)));
                Vec::new()
            }
        }
    }

    fn unknown_section(&mut self, name: &str, span: Range<usize>, value: &DeValue<'_>) {
        let place = self.at(span);
        let is_section = matches!(value, DeValue::Table(_))
            || matches!(value, DeValue::Array(items) if items.iter().any(|i| i.get_ref().is_table()));
        if is_section {
            let mut fault =
                Fault::new(Code::UnknownSection, place, format!("unknown section [{}]", cut(name)));
            if let Some(close) = nearest(name, SECTIONS.iter().map(|section| section.name)) {
                let header = keys::section(close).map(Section::header).unwrap_or_default();
                fault = fault.help(format!("did you mean {header}?"));
            }
            self.fault(fault);
            return;
        }
        let mut fault =
            Fault::new(Code::UnknownKey, place, format!("key `{}` stands in no section", cut(name)));
        let found = keys::find(name);
        if let Some((section, key)) = found.iter().find(|(s, _)| s.repeated.is_none()).or(found.first()) {
            fault = fault.help(format!("it belongs into {}", section.header())).about(section.name, key.name);
        }
        self.fault(fault);
    }

    fn single(&mut self, section: &'static Section, span: Range<usize>, table: &DeTable<'_>) {
        // Taken out while it is filled, so that faults can be reported meanwhile.
        let place = self.at(span);
        let mut instance = self.values.single(section.name).clone();
        if instance.place == Place::Nowhere {
            instance.place = place;
        }
        self.keys(&mut instance, "", table);
        *self.values.single_mut(section.name) = instance;
    }

    fn repeated(&mut self, section: &'static Section, span: Range<usize>, items: &DeArray<'_>) {
        for item in items.iter() {
            let place = if item.span().is_empty() { self.at(span.clone()) } else { self.at(item.span()) };
            if self.values.each(section.name).count() >= MAX_INSTANCES {
                let text = format!("more than {MAX_INSTANCES} {}", section.header());
                return self.fault(Fault::new(Code::Range, place, text));
            }
            let DeValue::Table(table) = item.get_ref() else {
                let text = format!("{} holds keys, not values", section.header());
                self.fault(Fault::new(Code::SectionForm, place, text));
                continue;
            };
            let mut instance = Instance::new(section, place);
            self.keys(&mut instance, "", table);
            self.values.push(instance);
        }
    }

    /// Reads the keys of one table; `prefix` is the dotted path of an inner table.
    fn keys(&mut self, instance: &mut Instance, prefix: &str, table: &DeTable<'_>) {
        for (name, span, value) in in_order(table) {
            let full = format!("{prefix}{name}");
            let section = instance.section;
            let inner = format!("{full}.");
            if let DeValue::Table(deeper) = value.get_ref()
                && section.keys.iter().any(|key| key.name.starts_with(&inner))
            {
                self.keys(instance, &inner, deeper);
                continue;
            }
            match lookup(section, &full) {
                Some((key, old)) => {
                    if old {
                        let text = format!("{full} is an older spelling");
                        let help = format!("write {}", key.name);
                        let fault = Fault::new(Code::Deprecated, self.at(span), text).help(help);
                        self.fault(fault.about(section.name, key.name));
                    }
                    self.key(instance, key, value);
                }
                None => self.unknown_key(section, &full, span),
            }
        }
    }

    fn key(&mut self, instance: &mut Instance, key: &'static Key, value: &Spanned<DeValue<'_>>) {
        let place = self.at(value.span());
        if let (Place::File(file, _), true) = (instance.place_of(key.name), instance.said(key.name))
            && file == self.file
        {
            let text = format!("{} is given twice, once by an older spelling", key.name);
            return self
                .fault(Fault::new(Code::Duplicate, place, text).about(instance.section.name, key.name));
        }
        let raw = match value.get_ref() {
            DeValue::String(text) => match expand(text, self.env) {
                Ok(Some(filled)) => Raw::Plain(filled),
                Ok(None) => Raw::Text(text.to_string()),
                Err(why) => {
                    let fault = Fault::new(Code::Variable, place, why);
                    return self.fault(fault.about(instance.section.name, key.name));
                }
            },
            _ => self.raw(value),
        };
        set(instance, key, &raw, place, &self.base, self.report);
    }

    fn unknown_key(&mut self, section: &'static Section, full: &str, span: Range<usize>) {
        let text = format!("unknown key `{}` in {}", cut(full), section.header());
        let mut fault = Fault::new(Code::UnknownKey, self.at(span), text);
        if let Some(close) = nearest(full, section.keys.iter().map(|key| key.name)) {
            fault = fault.help(format!("did you mean `{close}`?")).about(section.name, close);
        } else if let Some((other, key)) = keys::find(full).first() {
            fault = fault.help(format!("it belongs into {}", other.header())).about(other.name, key.name);
        }
        self.fault(fault);
    }

    /// The value as written, with `${...}` in the items of lists filled in too.
    fn raw(&mut self, value: &Spanned<DeValue<'_>>) -> Raw {
        match value.get_ref() {
            DeValue::String(text) => match expand(text, self.env) {
                Ok(filled) => Raw::Text(filled.unwrap_or_else(|| text.to_string())),
                Err(why) => {
                    self.fault(Fault::new(Code::Variable, self.at(value.span()), why));
                    Raw::Text(text.to_string())
                }
            },
            DeValue::Integer(n) => {
                let digits = n.as_str().replace('_', "");
                let overflow = if digits.starts_with('-') { i128::MIN } else { i128::MAX };
                Raw::Int(i128::from_str_radix(&digits, n.radix()).unwrap_or(overflow))
            }
            DeValue::Float(x) => Raw::Float(x.as_str().replace('_', "").parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(b) => Raw::Bool(*b),
            DeValue::Datetime(_) => Raw::Other("a date"),
            DeValue::Array(items) => Raw::List(items.iter().map(|item| self.raw(item)).collect()),
            DeValue::Table(_) => Raw::Other("a table"),
        }
    }
}

/// The key of this name, and whether it is an old spelling of it.
fn lookup(section: &'static Section, name: &str) -> Option<(&'static Key, bool)> {
    let old = || section.keys.iter().find(|key| key.deprecated.contains(&name)).map(|key| (key, true));
    section.key(name).map(|key| (key, false)).or_else(old)
}

/// Understands `raw` and stores it, or reports why not. Relative paths start at `base`.
pub fn set(
    instance: &mut Instance,
    key: &'static Key,
    raw: &Raw,
    place: Place,
    base: &Path,
    report: &mut Report,
) {
    match value::read(key.kind, raw) {
        Ok(Value::Path(Some(path))) => {
            instance.set(key.name, Value::Path(Some(base.join(path))), Origin::Said(place));
        }
        Ok(value) => instance.set(key.name, value, Origin::Said(place)),
        Err(why) => {
            let said = if key.kind == Kind::Secret { String::new() } else { shown(raw) };
            let text = format!("{}{said} {}", key.name, why.text);
            let mut fault = Fault::new(why.code, place, text).about(instance.section.name, key.name);
            fault.help = why.help;
            if report.faults.len() < MAX_FAULTS {
                report.faults.push(fault);
            }
        }
    }
}

/// ` = "10"`: what was written, shortened.
fn shown(raw: &Raw) -> String {
    match raw {
        Raw::Text(text) | Raw::Plain(text) => format!(" = \"{}\"", cut(text)),
        Raw::Int(n) => format!(" = {n}"),
        Raw::Float(x) => format!(" = {x}"),
        Raw::Bool(b) => format!(" = {b}"),
        Raw::List(_) => " = [...]".to_string(),
        Raw::Other(what) => format!(" is {what}, but"),
    }
}

/// A foreign text, made fit for a message: no control characters, not long.
pub fn cut(text: &str) -> String {
    const MAX: usize = 60;
    let mut out: String = text.chars().take(MAX).map(|c| if c.is_control() { '?' } else { c }).collect();
    if text.chars().nth(MAX).is_some() {
        out.push_str("...");
    }
    out
}

/// A longer foreign text, made fit for a message.
pub fn cut_long(text: &str) -> String {
    const MAX: usize = 300;
    text.chars().take(MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
