//! SET: one key of the settings in force gets another value.

use super::tables::ALIASES;
use crate::config::check;
use crate::config::fault::Report as Faults;
use crate::config::file::Loaded;
use crate::config::key::{Key, Kind, Reload};
use crate::config::keys;
use crate::config::resolve;
use crate::config::settings::Settings;
use crate::config::source::Place;
use crate::config::value::Raw;
use crate::config::walk;
use pgherd_wire::write::{Report, Severity};
use std::path::Path;

/// A change that was understood.
#[derive(Debug)]
pub struct Change {
    section: &'static str,
    key: &'static Key,
    text: String,
}

/// Finds the key of this name, ours or PgBouncer's, and sees whether it can be changed.
///
/// # Errors
/// What the client is told.
pub(super) fn find(name: &str, text: &str) -> Result<Change, Report> {
    let refuse = |code, what: String| Report::new(Severity::Error, code, what);
    let alias = ALIASES.iter().find(|(theirs, ..)| theirs.eq_ignore_ascii_case(name));
    let name = name.to_ascii_lowercase();
    let full = alias.map(|(_, section, key)| format!("{section}.{key}"));
    let found = keys::find(full.as_deref().unwrap_or(&name));
    let singles: Vec<_> = found.iter().filter(|(section, _)| section.repeated.is_none()).collect();
    let (section, key) = match singles.as_slice() {
        [one] => **one,
        [] if found.is_empty() => {
            let report = refuse("42704", format!("unrecognized configuration parameter \"{name}\""));
            return Err(report.hint("SHOW CONFIG lists what there is."));
        }
        [] => {
            let what = format!("\"{name}\" belongs to single nodes, users or databases");
            return Err(refuse("0A000", what).hint("Change it in the settings file, then RELOAD."));
        }
        several => {
            let names: Vec<String> =
                several.iter().map(|(section, key)| format!("{}.{}", section.name, key.name)).collect();
            return Err(refuse("42704", format!("\"{name}\" could be {}", names.join(" or "))));
        }
    };
    if key.reload == Reload::Restart {
        let what = format!("\"{}.{}\" cannot be changed without a restart", section.name, key.name);
        return Err(refuse("55P02", what));
    }
    if key.kind == Kind::Secret {
        let what = format!("\"{}.{}\" is a secret, and statements end up in logs", section.name, key.name);
        return Err(refuse("0A000", what).hint("Change it in the settings file, then RELOAD."));
    }
    if key.later {
        let what = format!("\"{}.{}\" is not heeded yet", section.name, key.name);
        return Err(refuse("0A000", what));
    }
    let text = if alias.is_some() { from_theirs(key.kind, text) } else { text.to_owned() };
    Ok(Change { section: section.name, key, text })
}

/// A value as PgBouncer writes it: seconds without a unit, 0 for no limit, 1 and 0 for yes and no.
fn from_theirs(kind: Kind, text: &str) -> String {
    let is_zero = text.parse::<f64>() == Ok(0.0);
    match kind {
        Kind::Duration { off: true, .. } | Kind::Bytes { off: true, .. } if is_zero => "off".to_owned(),
        Kind::Int { none: Some(word), .. } if is_zero => word.to_owned(),
        Kind::Duration { .. } if text.parse::<u64>().is_ok() => format!("{text}s"),
        Kind::Bool if text == "0" => "false".to_owned(),
        Kind::Bool if text == "1" => "true".to_owned(),
        _ => text.to_owned(),
    }
}

/// The settings with one change.
///
/// # Errors
/// All their faults.
pub fn apply(settings: &Settings, change: &Change) -> Result<Loaded, Faults> {
    let mut report = Faults::default();
    let mut values = settings.values.clone();
    let instance = values.single_mut(change.section);
    let raw = Raw::Plain(change.text.clone());
    walk::set(instance, change.key, &raw, Place::Nowhere, Path::new(""), &mut report);
    check::missing(&values, &mut report);
    check::all(&values, &mut report);
    if !report.usable() {
        return Err(report);
    }
    Ok(Loaded { settings: resolve::settings(values), report })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::environment::Environment;
    use crate::config::file::load_text;
    use std::time::Duration;

    fn settings() -> Settings {
        let text =
            "[cluster]\nuser = \"u\"\n[[node]]\nhost = \"h\"\n[[user]]\nname = \"a\"\nmax_pool_size = 3\n";
        load_text("test.toml", text, &Environment::default()).unwrap().settings
    }

    fn set(name: &str, text: &str) -> Settings {
        apply(&settings(), &find(name, text).unwrap()).unwrap().settings
    }

    #[test]
    fn both_names_and_both_ways_of_writing() {
        assert_eq!(set("pool.max_pool_size", "7").pool.max_pool_size, 7);
        assert_eq!(set("DEFAULT_POOL_SIZE", "8").pool.max_pool_size, 8);
        assert_eq!(set("query_wait_timeout", "9").pool.query_wait_timeout, Some(Duration::from_secs(9)));
        assert_eq!(
            set("pool.query_wait_timeout", "90ms").pool.query_wait_timeout,
            Some(Duration::from_millis(90))
        );
        assert_eq!(set("query_wait_timeout", "0").pool.query_wait_timeout, None);
        assert!(set("log_connections", "1").server.log_connections);
        assert_eq!(set("admin_users", "a, b").auth.admin_users, ["a", "b"]);
        // What the rest says stays.
        assert_eq!(set("pool.max_pool_size", "7").users[0].max_pool_size, Some(3));
    }

    #[test]
    fn what_cannot_be_changed_is_refused() {
        for (name, code) in [
            ("nonsense", "42704"),
            ("server.workers", "55P02"),
            ("node.weight", "0A000"),
            ("cluster.password", "0A000"),
        ] {
            assert_eq!(find(name, "1").map(|_| ()).map_err(|report| report.code), Err(code), "{name}");
        }
        // What nothing heeds yet, as long as there is such a key.
        for section in keys::SECTIONS.iter().filter(|section| section.repeated.is_none()) {
            for key in section.keys.iter().filter(|key| key.later && key.reload != Reload::Restart) {
                let name = format!("{}.{}", section.name, key.name);
                assert_eq!(
                    find(&name, "1").map(|_| ()).map_err(|report| report.code),
                    Err("0A000"),
                    "{name}"
                );
            }
        }
        assert!(apply(&settings(), &find("pool.max_pool_size", "many").unwrap()).is_err());
        assert!(apply(&settings(), &find("listen.certificate", "/nowhere").unwrap()).is_err());
    }
}
