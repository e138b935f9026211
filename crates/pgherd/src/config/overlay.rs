//! What the environment says: `PGHERD__SECTION__KEY=value`, and the two URLs of a deployment without a file.

use crate::config::environment::Environment;
use crate::config::fault::{Code, Fault, Report};
use crate::config::key::{Key, Section};
use crate::config::keys::{self, SECTIONS};
use crate::config::nearest::nearest;
use crate::config::source::Place;
use crate::config::url::{self, ServerUrl};
use crate::config::value::{Raw, Value};
use crate::config::values::{Instance, Origin, Values};
use crate::config::walk;
use std::path::Path;

/// Beginning of every variable that overrides a key.
pub const PREFIX: &str = "PGHERD__";
/// URL of the node that is probably the primary.
pub const PRIMARY_URL: &str = "PGHERD_PRIMARY_URL";
/// URLs of the others, separated by commas.
pub const REPLICA_URLS: &str = "PGHERD_REPLICA_URLS";

/// Puts the environment over what the files said.
pub fn apply(values: &mut Values, env: &Environment, report: &mut Report) {
    urls(values, env, report);
    // By section, then by number: `NODE__10__` comes behind `NODE__9__`.
    let mut variables: Vec<(&str, &str)> = env.with_prefix(PREFIX).collect();
    variables.sort_by_key(|(name, _)| {
        let mut parts = name[PREFIX.len()..].split("__");
        let section = parts.next().unwrap_or_default();
        (section.to_string(), parts.next().and_then(|part| part.parse::<usize>().ok()).unwrap_or(0))
    });
    for (name, text) in variables {
        variable(values, name, text, report);
    }
}

fn variable(values: &mut Values, name: &str, text: &str, report: &mut Report) {
    let place = Place::Env(name.to_string());
    let path = name[PREFIX.len()..].to_ascii_lowercase();
    let mut parts = path.split("__");
    let wanted = parts.next().unwrap_or_default();
    let Some(section) = keys::section(wanted) else {
        let mut fault =
            Fault::new(Code::UnknownSection, place, format!("there is no section [{}]", walk::cut(wanted)));
        if let Some(close) = nearest(wanted, SECTIONS.iter().map(|s| s.name)) {
            fault = fault.help(format!("did you mean {PREFIX}{}__...?", close.to_uppercase()));
        }
        return report.faults.push(fault);
    };
    let instance = match section.repeated {
        None => Some(values.single_mut(section.name)),
        Some(_) => pick(values, section, parts.next().unwrap_or_default(), &place),
    };
    let Some(instance) = instance else {
        let text = format!("there is no {} of this name or number", section.header());
        let help = format!("write {PREFIX}{}__0__KEY for the first one", section.name.to_uppercase());
        return report.faults.push(Fault::new(Code::Dangling, place, text).help(help));
    };
    let wanted = parts.collect::<Vec<_>>().join(".");
    let key = section.keys.iter().find(|key| key.name == wanted || key.deprecated.contains(&wanted.as_str()));
    match key {
        Some(key) => put(instance, key, text, place, report),
        None => {
            let text = format!("there is no key `{}` in {}", walk::cut(&wanted), section.header());
            let mut fault = Fault::new(Code::UnknownKey, place, text);
            if let Some(close) = nearest(&wanted, section.keys.iter().map(|key| key.name)) {
                fault = fault.help(format!("did you mean `{close}`?")).about(section.name, close);
            }
            report.faults.push(fault);
        }
    }
}

fn put(instance: &mut Instance, key: &'static Key, text: &str, place: Place, report: &mut Report) {
    walk::set(instance, key, &Raw::Plain(text.to_string()), place, Path::new(""), report);
}

/// The instance called so (letters and digits count, so `pg-1` is `PG_1`), or of this number; the number behind the last
/// makes a new one.
fn pick<'v>(
    values: &'v mut Values,
    section: &'static Section,
    wanted: &str,
    place: &Place,
) -> Option<&'v mut Instance> {
    let plain = |text: &str| -> String {
        text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect()
    };
    let named =
        values.each(section.name).position(|i| i.label().is_some_and(|label| plain(&label) == plain(wanted)));
    let index = named.or_else(|| wanted.parse::<usize>().ok())?;
    let count = values.each(section.name).count();
    if index == count {
        values.push(Instance::new(section, place.clone()));
    }
    values.each_mut(section.name).nth(index)
}

/// The nodes of the two URL variables replace those of the file.
fn urls(values: &mut Values, env: &Environment, report: &mut Report) {
    let replicas = env.get(REPLICA_URLS).unwrap_or_default();
    let primary = env.get(PRIMARY_URL).into_iter().map(|text| (PRIMARY_URL, text, "primary"));
    let replicas = replicas.split(',').filter(|text| !text.trim().is_empty());
    let all: Vec<_> = primary.chain(replicas.map(|text| (REPLICA_URLS, text, "replica"))).collect();
    if all.is_empty() {
        return;
    }
    values.clear("node");
    for (name, text, role) in all {
        let place = Place::Env(name.to_string());
        match url::parse(text.trim()) {
            Ok(url) => add_node(values, &url, role, &place, report),
            Err(why) => report.faults.push(Fault::new(Code::NotAValue, place, why)),
        }
    }
}

fn add_node(values: &mut Values, url: &ServerUrl, role: &str, place: &Place, report: &mut Report) {
    let mut said =
        vec![("host", url.host.clone()), ("port", url.port.to_string()), ("role_hint", role.to_string())];
    said.extend(url.database.clone().map(|text| ("database", text)));
    said.extend(url.user.clone().map(|text| ("user", text)));
    said.extend(url.password.clone().map(|text| ("password", text)));
    said.extend(url.sslmode.clone().map(|text| ("ssl", text)));
    let Some(section) = keys::section("node") else { return };
    let mut node = Instance::new(section, place.clone());
    for (name, text) in &said {
        if let Some(key) = section.key(name) {
            put(&mut node, key, text, place.clone(), report);
        }
    }
    // The first URL that has them also gives the cluster's own account, so that one variable is enough to start.
    let cluster = values.single_mut("cluster");
    for name in ["database", "user", "password"] {
        if let Some(setting) = node.get(name)
            && !cluster.said(name)
            && !(name == "password" && (cluster.said("password_file") || cluster.said("password_env")))
        {
            let value: Value = setting.value.clone();
            cluster.set(name, value, Origin::Said(place.clone()));
        }
    }
    values.push(node);
}
