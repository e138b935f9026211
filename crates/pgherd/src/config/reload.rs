//! What a reload changes: old and new settings compared key by key.

use crate::config::key::Reload;
use crate::config::keys::SECTIONS;
use crate::config::settings::Settings;
use crate::config::show;
use crate::config::value::Value;
use crate::config::values::{Instance, Values};
use std::fmt;

/// One key whose value is another now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// `pool.max_pool_size`, `node.pg2.weight`, or `node.pg4` for a whole section that came or went.
    pub key: String,
    /// When it holds.
    pub class: Reload,
    /// What it was; `None` for what was not there. Secrets are hidden.
    pub old: Option<String>,
    /// What it is.
    pub new: Option<String>,
}

impl Change {
    /// True when it takes effect only after a restart.
    pub fn needs_restart(&self) -> bool {
        self.class == Reload::Restart
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |value: &Option<String>| value.clone().unwrap_or_else(|| "not given".to_string());
        write!(f, "{}: {} -> {} ({})", self.key, show(&self.old), show(&self.new), self.class.sentence())
    }
}

/// Every change, in the order of the table; empty when the reload is none. Files that settings name (certificates,
/// `users_file`) are not looked into: whoever read them reads them again.
pub fn compare(old: &Settings, new: &Settings) -> Vec<Change> {
    let (old, new) = (&old.values, &new.values);
    let mut changes = Vec::new();
    for section in SECTIONS {
        if section.repeated.is_none() {
            keys(section.name, old.single(section.name), new.single(section.name), &mut changes);
            continue;
        }
        let (before, after) = (labelled(old, section.name), labelled(new, section.name));
        for (label, instance) in &before {
            match after.iter().find(|(other, _)| other == label) {
                Some((_, now)) => keys(&format!("{}.{label}", section.name), instance, now, &mut changes),
                None => changes.push(whole(section.name, label, true)),
            }
        }
        for (label, _) in &after {
            if !before.iter().any(|(other, _)| other == label) {
                changes.push(whole(section.name, label, false));
            }
        }
    }
    changes
}

/// The changes that need a restart, as one sentence; `None` when there are none.
pub fn restart_notice(changes: &[Change]) -> Option<String> {
    let keys: Vec<&str> =
        changes.iter().filter(|change| change.needs_restart()).map(|change| change.key.as_str()).collect();
    match keys.len() {
        0 => None,
        1 => Some(format!("{} changed and needs a restart to take effect", keys[0])),
        _ => Some(format!("{} changed and need a restart to take effect", keys.join(", "))),
    }
}

/// Instances with a name that tells them apart: their own, numbered where it is not unique (`notify` by kind).
fn labelled<'v>(values: &'v Values, section: &str) -> Vec<(String, &'v Instance)> {
    let mut all: Vec<(String, &Instance)> = Vec::new();
    for instance in values.each(section) {
        let name = instance.label().unwrap_or_default();
        let same = all.iter().filter(|(_, other)| other.label().unwrap_or_default() == name).count();
        let label = if same == 0 { name } else { format!("{name}#{}", same + 1) };
        all.push((label, instance));
    }
    all
}

/// A section that came or went. A listener opens or drains; everything else is there or gone for new connections.
fn whole(section: &str, label: &str, gone: bool) -> Change {
    let there = Some("there".to_string());
    let (old, new) = if gone { (there, None) } else { (None, there) };
    let class = match section {
        "listener" => Reload::Drain,
        "node" | "notify" => Reload::AtOnce,
        _ => Reload::NewConnections,
    };
    Change { key: format!("{section}.{label}"), class, old, new }
}

fn keys(prefix: &str, old: &Instance, new: &Instance, changes: &mut Vec<Change>) {
    for ((key, before), (_, after)) in old.each().zip(new.each()) {
        let (before, after) = (before.map(|s| &s.value), after.map(|s| &s.value));
        if before != after {
            let text = |value: Option<&Value>| value.map(|value| show::value(key.kind, value));
            let key_name = format!("{prefix}.{}", key.name);
            changes.push(Change { key: key_name, class: key.reload, old: text(before), new: text(after) });
        }
    }
}
