//! Reading settings: files, environment, defaults, checks, in this order.

use crate::config::check;
use crate::config::environment::Environment;
use crate::config::fault::{Code, Fault, Report};
use crate::config::include;
use crate::config::key::Default;
use crate::config::overlay;
use crate::config::resolve;
use crate::config::secrets;
use crate::config::settings::Settings;
use crate::config::settings::front::HostPort;
use crate::config::source::{Place, Source};
use crate::config::value::{self, Raw, Value};
use crate::config::values::{Origin, Values};
use crate::config::walk::{self, Walk};
use std::io::Read;
use std::path::{Path, PathBuf};
use toml::de::DeTable;

/// Settings that may be used.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What they mean.
    pub settings: Settings,
    /// Warnings, and the texts.
    pub report: Report,
}

/// Larger files are not settings.
const MAX_FILE: u64 = 1 << 20;

/// Places a settings file is looked for when none is named.
pub const USUAL_PLACES: [&str; 2] = ["pgherd.toml", "/etc/pgherd/pgherd.toml"];

/// The file to read: the one named; else none when the environment names the nodes; else the first of
/// [`USUAL_PLACES`] that is there. `Err` when there is nothing to start from.
pub fn choose(named: Option<&Path>, env: &Environment) -> Result<Option<PathBuf>, Report> {
    if let Some(path) = named {
        return Ok(Some(path.to_path_buf()));
    }
    if let Some(path) = USUAL_PLACES.iter().map(PathBuf::from).find(|path| path.is_file()) {
        return Ok(Some(path));
    }
    let said = env.get(overlay::PRIMARY_URL).or(env.get(overlay::REPLICA_URLS)).is_some();
    if said || env.with_prefix(overlay::PREFIX).next().is_some() {
        return Ok(None);
    }
    let text = format!("no settings: neither {} nor {} is there", USUAL_PLACES[0], USUAL_PLACES[1]);
    let fault = Fault::new(Code::Unreadable, Place::Nowhere, text)
        .help("name a file with -c, or set PGHERD_PRIMARY_URL and PGHERD_REPLICA_URLS");
    Err(Report { sources: Vec::new(), faults: vec![fault] })
}

/// Reads the settings: `path` (nothing but the environment when `None`), what it includes, and the environment.
/// `Err` holds every fault found, warnings included, in the order of the files.
pub fn load(path: Option<&Path>, env: &Environment) -> Result<Loaded, Report> {
    let mut report = Report::default();
    let mut values = walk::empty_values();
    let mut exposed = Vec::new();
    if let Some(path) = path {
        let includes = one(path, &mut values, env, &mut report, &mut exposed, &Place::Nowhere);
        let base = path.parent().unwrap_or(Path::new(""));
        for (pattern, place) in includes {
            match include::files(base, &pattern) {
                Ok(files) => {
                    for file in files {
                        if report.sources.len() > include::MAX_FILES {
                            break;
                        }
                        one(&file, &mut values, env, &mut report, &mut exposed, &place);
                    }
                }
                Err(why) => {
                    let text = format!("include \"{}\": {why}", walk::cut(&pattern));
                    report.faults.push(Fault::new(Code::NotAValue, place, text));
                }
            }
        }
    }
    finish(values, env, &exposed, report)
}

/// Reads settings from a text instead of a file; relative paths start at the working directory. For tests and tools.
pub fn load_text(name: &str, text: &str, env: &Environment) -> Result<Loaded, Report> {
    let mut report = Report::default();
    let mut values = walk::empty_values();
    parse(name, text.to_string(), Path::new(""), &mut values, env, &mut report);
    finish(values, env, &[], report)
}

/// Reads one file into `values`; returns what it includes.
fn one(
    path: &Path,
    values: &mut Values,
    env: &Environment,
    report: &mut Report,
    exposed: &mut Vec<bool>,
    asked_at: &Place,
) -> Vec<(String, Place)> {
    match read(path) {
        Ok((text, open)) => {
            exposed.push(open);
            let base = path.parent().unwrap_or(Path::new(""));
            parse(&path.display().to_string(), text, base, values, env, report)
        }
        Err(why) => {
            let text = format!("\"{}\" {why}", path.display());
            report.faults.push(Fault::new(Code::Unreadable, asked_at.clone(), text));
            Vec::new()
        }
    }
}

/// The text of a file, and whether others can read it than who may: its owner, and the group of a file of root's. That is
/// PostgreSQL's rule for private keys.
fn read(path: &Path) -> Result<(String, bool), String> {
    use std::os::unix::fs::MetadataExt;
    let failed = |why: std::io::Error| format!("cannot be read: {}", secrets::plain(&why));
    let file = std::fs::File::open(path).map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    if about.is_dir() {
        return Err("is a directory".to_string());
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err("is larger than 1MB, too large for settings".to_string());
    }
    let open = about.is_file() && is_open(about.mode(), about.uid());
    match String::from_utf8(bytes) {
        Ok(text) => Ok((text, open)),
        Err(why) => {
            let line =
                why.as_bytes()[..why.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count() + 1;
            Err(format!("is not UTF-8 in line {line}"))
        }
    }
}

fn is_open(mode: u32, owner: u32) -> bool {
    mode & 0o004 != 0 || (mode & 0o040 != 0 && owner != 0)
}

fn parse(
    name: &str,
    text: String,
    base: &Path,
    values: &mut Values,
    env: &Environment,
    report: &mut Report,
) -> Vec<(String, Place)> {
    let file = report.sources.len();
    let source = Source { name: name.to_string(), text: text.clone() };
    report.sources.push(source.clone());
    let (table, errors) = DeTable::parse_recoverable(&text);
    let before = report.faults.len();
    let includes = Walk { values, report, env, file, base: base.to_path_buf() }.document(table.get_ref());
    if errors.is_empty() {
        return includes;
    }
    // What the parser guessed behind a slip is no fault of its own: one line is told once.
    let mut told: Vec<usize> = Vec::new();
    let mut faults = Vec::new();
    for error in errors.into_iter().take(walk::MAX_FAULTS) {
        let span = error.span().unwrap_or(0..0);
        let line = source.position(span.start).0;
        if !told.contains(&line) {
            told.push(line);
            faults.push(Fault::new(Code::Syntax, Place::File(file, span), walk::cut_long(error.message())));
        }
    }
    let guessed = report.faults.split_off(before);
    report.faults.extend(faults);
    report.faults.extend(guessed.into_iter().filter(|fault| match &fault.place {
        Place::File(_, span) => {
            let line = source.position(span.start).0;
            !span.is_empty() && !told.contains(&line) && !told.contains(&(line - 1))
        }
        Place::Env(_) | Place::Nowhere => true,
    }));
    includes
}

/// Environment, secrets, defaults, checks, meaning.
fn finish(
    mut values: Values,
    env: &Environment,
    exposed: &[bool],
    mut report: Report,
) -> Result<Loaded, Report> {
    overlay::apply(&mut values, env, &mut report);
    secrets::fill(&mut values, env, exposed, &mut report);
    let understood = report.usable();
    fill_defaults(&mut values);
    name_nodes(&mut values);
    // What is missing from a file that could not be read whole is perhaps only not understood.
    let unreadable = report.faults.iter().any(|fault| matches!(fault.code, Code::Syntax | Code::Unreadable));
    if !unreadable {
        check::missing(&values, &mut report);
        check::all(&values, &mut report);
    }
    report.sort();
    if !understood || !report.usable() {
        return Err(report);
    }
    let settings = resolve::settings(values);
    Ok(Loaded { settings, report })
}

/// A node without a name is called by its address.
fn name_nodes(values: &mut Values) {
    for node in values.each_mut("node") {
        if let (None, Some(host)) = (node.get("name"), node.find::<String>("host")) {
            let port = node.find::<u32>("port").and_then(|port| u16::try_from(port).ok()).unwrap_or_default();
            let name = HostPort { host, port }.to_string();
            node.set("name", Value::Text(name), Origin::From("host".to_string()));
        }
    }
}

/// Gives every key its default that nobody spoke of.
pub fn fill_defaults(values: &mut Values) {
    for instance in values.all_mut() {
        for key in instance.section.keys {
            if let (None, Default::Is(text)) = (instance.get(key.name), key.default) {
                let value = value::read(key.kind, &Raw::Plain(text.to_string()));
                // The test `every_default_is_valid` reads each of them.
                let value = value.expect("a default is a value of its key's kind");
                instance.set(key.name, value, Origin::Default);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_of_roots_file_may_read_it() {
        for (mode, owner, open) in [
            (0o600, 0, false),
            (0o640, 0, false),
            (0o644, 0, true),
            (0o604, 0, true),
            (0o640, 7, true),
            (0o600, 7, false),
        ] {
            assert_eq!(is_open(mode, owner), open, "{mode:o} of {owner}");
        }
    }
}
