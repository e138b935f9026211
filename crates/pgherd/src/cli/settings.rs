//! `pgherd config ...`.

use crate::app::rehearsal;
use crate::cli::output::{data, say};
use crate::cli::run::{load, tell};
use crate::cli::{ConfigCommand, FileArg, Format, exit};
use crate::config::key::Default;
use crate::config::source::Place;
use crate::config::value::{self, Raw};
use crate::config::values::Values;
use crate::config::{doc, sample, schema, show};
use std::process::ExitCode;
use std::sync::Arc;

/// Does what one of the verbs says.
pub fn run(command: &ConfigCommand) -> ExitCode {
    match command {
        ConfigCommand::Check(file) => check(file),
        ConfigCommand::Show { file, origin, output } => print(file, *origin, *output),
        ConfigCommand::Doc { markdown: true, .. } => give(&doc::page()),
        ConfigCommand::Doc { key, .. } => explain(key.as_deref()),
        ConfigCommand::Schema => give(&format!("{:#}\n", schema::document())),
        ConfigCommand::Sample => give(&sample::text()),
    }
}

fn give(text: &str) -> ExitCode {
    data(text);
    ExitCode::SUCCESS
}

fn check(file: &FileArg) -> ExitCode {
    match load(file) {
        Ok((mut loaded, path)) => {
            let name = path.map_or("the environment".to_string(), |path| path.display().to_string());
            let settings = Arc::new(loaded.settings);
            loaded.report.faults.extend(rehearsal::faults(&settings));
            loaded.report.sort();
            tell(&loaded.report);
            if !loaded.report.usable() {
                return ExitCode::from(exit::CONFIG);
            }
            if let Some(note) = later(&settings.values) {
                say(&format!("{name}: note: {note}"));
            }
            say(&format!("{name}: settings are valid"));
            ExitCode::SUCCESS
        }
        Err(report) => {
            tell(&report);
            ExitCode::from(exit::CONFIG)
        }
    }
}

/// What was set to something else than its default although nothing heeds it yet.
fn later(values: &Values) -> Option<String> {
    let mut keys: Vec<String> = Vec::new();
    for instance in values.all() {
        for (key, setting) in instance.each().filter(|(key, _)| key.later && instance.said(key.name)) {
            let usual = match key.default {
                Default::Is(text) => value::read(key.kind, &Raw::Plain(text.to_string())).ok(),
                Default::Unset { .. } | Default::Required(_) => None,
            };
            // A URL in the environment says some keys by itself.
            if matches!(instance.place_of(key.name), Place::Env(variable) if !variable.starts_with("PGHERD__"))
            {
                continue;
            }
            let name = format!("{}.{}", instance.section.name, key.name);
            if usual.as_ref() != setting.map(|setting| &setting.value) && !keys.contains(&name) {
                keys.push(name);
            }
        }
    }
    match keys.as_slice() {
        [] => None,
        [one] => Some(format!("{one} is understood, but takes effect in a later version only")),
        many => Some(format!("understood, but taking effect in a later version only: {}", many.join(", "))),
    }
}

fn print(file: &FileArg, origin: bool, format: Format) -> ExitCode {
    let (loaded, _) = match load(file) {
        Ok(loaded) => loaded,
        Err(report) => {
            tell(&report);
            return ExitCode::from(exit::CONFIG);
        }
    };
    let (values, sources) = (&loaded.settings.values, &loaded.report.sources);
    match format {
        Format::Table => give(&show::text(values, sources, origin)),
        Format::Json => give(&format!("{:#}\n", show::json(values, sources))),
        Format::Tsv => give(&show::tsv(values, sources)),
    }
}

fn explain(key: Option<&str>) -> ExitCode {
    match doc::text(key) {
        Ok(text) => give(&text),
        Err(close) => {
            let hint = close.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
            say(&format!("pgherd: there is no key or section `{}`{hint}", key.unwrap_or_default()));
            ExitCode::from(exit::USAGE)
        }
    }
}
