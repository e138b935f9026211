//! What no single key can tell: values that do not go together, names that refer to nothing, files that are not there.

mod doors;
mod limits;

use crate::config::fault::{Code, Fault, Report};
use crate::config::key::{Default, Kind, PathRule};
use crate::config::source::Place;
use crate::config::values::{Instance, Values};
use crate::config::walk::cut;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// Keys that must be given and are not.
pub fn missing(values: &Values, report: &mut Report) {
    // A value that was refused is not missing too.
    let errors = report.faults.iter().filter(|fault| fault.code.is_error());
    let refused: HashSet<String> = errors.filter_map(|fault| fault.key.clone()).collect();
    for instance in values.all() {
        for (key, setting) in instance.each() {
            let (Default::Required(example), None) = (key.default, setting) else { continue };
            if !refused.contains(&format!("{}.{}", instance.section.name, key.name)) {
                let text = format!("{} needs `{}`", instance.section.header(), key.name);
                let fault = Fault::new(Code::Missing, instance.place.clone(), text);
                let help = format!("for example {} = \"{example}\"", key.name);
                report.faults.push(fault.help(help).about(instance.section.name, key.name));
            }
        }
    }
    if values.each("node").next().is_none() && report.usable() {
        let fault =
            Fault::new(Code::Missing, Place::Nowhere, "no [[node]]: there is nothing to stand in front of");
        report
            .faults
            .push(fault.help("add [[node]] with host = \"...\" for the primary and for each replica"));
    }
}

/// Everything else.
pub fn all(values: &Values, report: &mut Report) {
    for section in ["node", "user", "database", "listener"] {
        unique(values, section, report);
    }
    for instance in values.all() {
        paths(instance, report);
    }
    references(values, report);
    limits::pools(values, report);
    limits::times(values, report);
    doors::addresses(values, report);
    doors::balancers(values, report);
    doors::tls(values, report);
    doors::users(values, report);
    doors::query(values, report);
    doors::api(values, report);
    notify(values, report);
}

/// A fault about a key of an instance, where the key was said or else where its section begins.
fn about(instance: &Instance, key: &str, code: Code, text: impl Into<String>) -> Fault {
    Fault::new(code, instance.place_of(key), text).about(instance.section.name, key)
}

fn unique(values: &Values, section: &str, report: &mut Report) {
    let mut seen = HashSet::new();
    let reserved: &[&str] = if section == "listener" { &["primary", "replicas", "any"] } else { &[] };
    for instance in values.each(section) {
        let Some(name) = instance.label() else { continue };
        if reserved.contains(&name.as_str()) {
            let text = format!("the listener named \"{name}\" is the one of [listen]");
            report.faults.push(about(instance, "name", Code::Duplicate, text));
        } else if !seen.insert(name.clone()) {
            let text = format!("two {} are named \"{}\"", instance.section.header(), cut(&name));
            report.faults.push(about(instance, "name", Code::Duplicate, text));
        }
    }
}

fn paths(instance: &Instance, report: &mut Report) {
    for key in instance.section.keys {
        let Kind::Path { rule, .. } = key.kind else { continue };
        let Some(path) = instance.find::<Option<PathBuf>>(key.name).flatten() else { continue };
        // Files of secrets are read, and complained of, where secrets are filled in.
        let secret = key.name.strip_suffix("_file").and_then(|name| instance.section.key(name));
        if secret.is_some_and(|key| key.kind == Kind::Secret) {
            continue;
        }
        if let Err(why) = fits(&path, rule) {
            let text = format!("{} \"{}\" {why}", key.name, cut(&path.display().to_string()));
            report.faults.push(about(instance, key.name, Code::NoFile, text));
        }
    }
}

fn fits(path: &Path, rule: PathRule) -> Result<(), String> {
    match rule {
        PathRule::Made => Ok(()),
        PathRule::Directory if path.is_dir() => Ok(()),
        PathRule::Directory => Err("is not a directory".to_string()),
        PathRule::File if path.is_dir() => Err("is a directory".to_string()),
        PathRule::File => match std::fs::File::open(path) {
            Ok(_) => Ok(()),
            Err(why) => Err(format!("cannot be read: {}", crate::config::secrets::plain(&why))),
        },
    }
}

/// Names of nodes in other keys.
fn references(values: &Values, report: &mut Report) {
    let names: Vec<String> = values.each("node").filter_map(Instance::label).collect();
    let mut faults = Vec::new();
    let mut check = |instance: &Instance, key: &str, wanted: &str| {
        if !names.iter().any(|name| name == wanted) {
            let text = format!("{key} = \"{}\" names no node", cut(wanted));
            let mut fault = about(instance, key, Code::Dangling, text);
            if let Some(close) = crate::config::nearest::nearest(wanted, names.iter().map(String::as_str)) {
                fault = fault.help(format!("did you mean \"{close}\"?"));
            }
            faults.push(fault);
        }
    };
    for node in values.each("node") {
        if let Some(upstream) = node.find::<String>("tags.replicatefrom") {
            check(node, "tags.replicatefrom", &upstream);
        }
    }
    let api = values.single("api");
    if let Some(face) = api.find::<String>("face").filter(|face| face != "cluster") {
        check(api, "face", &face);
    }
    report.faults.extend(faults);
}

fn notify(values: &Values, report: &mut Report) {
    for target in values.each("notify") {
        let exec = target.find::<&'static str>("kind") == Some("exec");
        let command = target.find::<Vec<String>>("command").is_some_and(|command| !command.is_empty());
        let wanted = match exec {
            true if !command => "command",
            false if !target.said("url") && target.get("url").is_none() && !target.said("url_env") => "url",
            _ => continue,
        };
        let text = format!("{} needs `{wanted}`", target.title());
        report.faults.push(about(target, wanted, Code::Missing, text));
    }
}
