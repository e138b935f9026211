//! Secrets by file and by environment: `password_file` and `password_env` become `password`.

use crate::config::environment::Environment;
use crate::config::fault::{Code, Fault, Report};
use crate::config::key::Kind;
use crate::config::secret::Secret;
use crate::config::source::Place;
use crate::config::value::Value;
use crate::config::values::{Instance, Origin, Values};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Larger files hold something else than a secret.
const MAX_SECRET: u64 = 64 * 1024;

/// Fills every secret that is given by file or environment, and warns of those that others can read. `exposed` tells which
/// sources are.
pub fn fill(values: &mut Values, env: &Environment, exposed: &[bool], report: &mut Report) {
    for instance in values.all_mut() {
        let keys = instance.section.keys.iter().filter(|key| key.kind == Kind::Secret);
        for name in keys.map(|key| key.name) {
            one(instance, name, env, exposed, report);
        }
    }
}

fn one(instance: &mut Instance, name: &str, env: &Environment, exposed: &[bool], report: &mut Report) {
    let (by_file, by_env) = (format!("{name}_file"), format!("{name}_env"));
    let file = instance.find::<Option<PathBuf>>(&by_file).flatten();
    let variable = instance.find::<String>(&by_env);
    let given: Vec<&str> = [
        (instance.said(name), name),
        (file.is_some(), by_file.as_str()),
        (variable.is_some(), by_env.as_str()),
    ]
    .into_iter()
    .filter_map(|(given, name)| given.then_some(name))
    .collect();
    // The environment overrides whatever way the file chose.
    let from_env = given.iter().position(|name| matches!(instance.place_of(name), Place::Env(_)));
    if given.len() > 1 && from_env.is_none() {
        let text = format!("{} say the same thing; keep one", given.join(" and "));
        let fault = Fault::new(Code::Contradiction, instance.place_of(given[1]), text);
        return report.faults.push(fault.about(instance.section.name, name));
    }
    let chosen = from_env.or(if given.is_empty() { None } else { Some(0) }).map(|index| given[index]);
    match (chosen, file, variable) {
        (Some(way), Some(path), _) if way == by_file => match read(&path) {
            Ok(secret) => instance.set(name, Value::Secret(secret), Origin::From(by_file)),
            Err(why) => {
                let text = format!("{by_file} \"{}\" {why}", path.display());
                let fault = Fault::new(Code::NoFile, instance.place_of(&by_file), text);
                report.faults.push(fault.about(instance.section.name, &by_file));
            }
        },
        (Some(way), _, Some(variable)) if way == by_env => {
            match env.get(&variable).filter(|text| !text.is_empty()) {
                Some(text) => instance.set(name, Value::Secret(Secret::new(text)), Origin::From(by_env)),
                None => {
                    let text = format!("{by_env}: environment variable {variable} is not set");
                    let fault = Fault::new(Code::Variable, instance.place_of(&by_env), text);
                    report.faults.push(fault.about(instance.section.name, &by_env));
                }
            }
        }
        _ => warn_if_exposed(instance, name, exposed, report),
    }
}

/// A literal password in a file that others can read. A verifier tells nobody how to log in, a `${...}` is not in the
/// file.
fn warn_if_exposed(instance: &Instance, name: &str, exposed: &[bool], report: &mut Report) {
    let Place::File(file, span) = instance.place_of(name) else { return };
    let literal = report.sources.get(file).and_then(|source| source.text.get(span.clone()));
    let in_file = literal.is_some_and(|text| !text.contains("${"));
    let verifier = instance.find::<Secret>(name).is_some_and(|secret| is_verifier(secret.expose()));
    if instance.said(name) && in_file && !verifier && exposed.get(file).copied().unwrap_or(false) {
        let text = format!("{name} stands in a file that others can read");
        let fault = Fault::new(Code::ExposedSecret, Place::File(file, span), text);
        let fault = fault.help(format!(
            "chmod 640 and chown root:pgherd (or chmod 600 and the owner who runs pgherd), or use {name}_file"
        ));
        report.faults.push(fault.about(instance.section.name, name));
    }
}

/// True for what PostgreSQL stores in pg_authid for SCRAM: it proves a password without being one.
pub fn is_verifier(text: &str) -> bool {
    text.starts_with("SCRAM-SHA-256$")
}

/// True for PostgreSQL's md5 hash: `md5` and 32 hexadecimal digits.
pub fn is_md5(text: &str) -> bool {
    text.strip_prefix("md5").is_some_and(|hex| hex.len() == 32 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn read(path: &Path) -> Result<Secret, String> {
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|why| format!("cannot be read: {}", plain(&why)))?;
    let mut limited = file.take(MAX_SECRET + 1);
    limited.read_to_string(&mut text).map_err(|why| format!("cannot be read: {}", plain(&why)))?;
    if text.len() as u64 > MAX_SECRET {
        return Err("is too large for a secret".to_string());
    }
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    match text {
        "" => Err("is empty".to_string()),
        text if text.contains('\0') => Err("holds a zero byte".to_string()),
        text => Ok(Secret::new(text)),
    }
}

/// An error of the system without its number.
pub fn plain(why: &std::io::Error) -> String {
    let text = why.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}
