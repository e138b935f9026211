//! The table of keys against everything that is made from it.

use pgherd::config::environment::Environment;
use pgherd::config::file::{self, load_text};
use pgherd::config::key::{Default, Key, Kind, Section};
use pgherd::config::keys::{SECTIONS, find};
use pgherd::config::source::Place;
use pgherd::config::value::{Raw, read};
use pgherd::config::values::{Instance, Values};
use pgherd::config::{doc, schema};
use std::collections::HashSet;

fn each() -> impl Iterator<Item = (&'static Section, &'static Key)> {
    SECTIONS.iter().flat_map(|section| section.keys.iter().map(move |key| (section, key)))
}

#[test]
fn names_are_unique_and_plain() {
    let mut seen = HashSet::new();
    for (section, key) in each() {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '.';
        assert!(key.name.chars().all(plain), "{}", key.name);
        for name in std::iter::once(&key.name).chain(key.deprecated) {
            assert!(seen.insert((section.name, *name)), "{}.{name} twice", section.name);
        }
        if let Some(name) = section.repeated {
            assert!(section.key(name).is_some(), "{} has no {name}", section.name);
        }
    }
}

#[test]
fn every_key_is_documented_in_a_sentence() {
    for (section, key) in each() {
        assert!(key.doc.ends_with('.') && key.doc.len() > 10, "{}.{}: {}", section.name, key.name, key.doc);
        assert!(!key.doc.to_lowercase().contains("slave"), "{}", key.name);
        assert!(key.since.split('.').count() >= 2, "{}", key.name);
    }
}

#[test]
fn every_default_is_valid() {
    for (section, key) in each() {
        let text = match key.default {
            Default::Is(text) => text,
            Default::Unset { example, .. } | Default::Required(example) => example,
        };
        let read = read(key.kind, &Raw::Plain(text.to_string()));
        assert!(read.is_ok(), "{}.{} = {text}: {read:?}", section.name, key.name);
    }
}

#[test]
fn ranges_are_not_empty() {
    for (section, key) in each() {
        let fine = match key.kind {
            Kind::Duration { min, max, .. } => min < max,
            Kind::Bytes { min, max, .. } => min < max,
            Kind::Int { min, max, .. } => min < max,
            Kind::Word(words) => words.len() > 1 && words.iter().collect::<HashSet<_>>().len() == words.len(),
            _ => true,
        };
        assert!(fine, "{}.{}", section.name, key.name);
    }
}

/// Settings in which every section stands once and every key has a value: a key that no field takes up, or whose kind is
/// not the field's, fails here.
#[test]
fn every_key_reaches_the_settings() {
    let mut text = String::new();
    for section in SECTIONS {
        text.push_str(&format!("{}\n", section.header()));
        for key in section.keys {
            let value = match key.default {
                Default::Is(value) => value,
                Default::Unset { example, .. } | Default::Required(example) => example,
            };
            let secret_way = key.name.ends_with("_env");
            let refers = matches!(key.name, "dbname" | "auth") || key.name.ends_with("replicatefrom");
            let listens = section.name == "node" && key.name == "api_listen";
            if !secret_way && !refers && !listens {
                text.push_str(&format!("{} = {}\n", key.name, doc::written(key.kind, value)));
            }
        }
    }
    let env: Environment = ["PGHERD_PASSWORD", "APP"].into_iter().map(|name| (name, "x")).collect();
    let loaded = load_text("all.toml", &text, &env).unwrap_or_else(|report| panic!("{}", report.render()));
    // A field's name or a section's struct that reads a key shows in Debug of the settings without the raw values.
    let debug = format!("{:?}", loaded.settings);
    let typed = debug.split("values: Values").next().unwrap_or_default().to_string();
    for (section, key) in each() {
        let name = key.name.rsplit('.').next().unwrap_or(key.name);
        let elsewhere = name.ends_with("_file") && name != "users_file"
            || name.ends_with("_env")
            || section.name == "api" && key.name.starts_with("auth.admin")
            || section.name == "listen" && matches!(name, "primary" | "replicas" | "any");
        assert!(
            elsewhere || typed.contains(&format!("{name}: ")),
            "{}.{} is read by nobody",
            section.name,
            key.name
        );
    }
}

#[test]
fn doc_schema_and_page_know_every_key() {
    let (whole, page, schema) = (doc::text(None).expect("everything"), doc::page(), schema::document());
    for (section, key) in each() {
        let name = key.name;
        assert!(whole.contains(&format!("{name} in {}", section.header())), "{name}");
        assert!(page.contains(&format!("| `{name}` |")), "{name}");
        assert!(doc::text(Some(&format!("{}.{name}", section.name))).is_ok(), "{name}");
        let pointer = name.split('.').fold(
            format!("/properties/{}{}", section.name, if section.repeated.is_some() { "/items" } else { "" }),
            |path, part| {
                let table = if schema.pointer(&format!("{path}/anyOf")).is_some() { "/anyOf/1" } else { "" };
                format!("{path}{table}/properties/{part}")
            },
        );
        let entry = schema.pointer(&pointer).unwrap_or_else(|| panic!("{pointer} is not in the schema"));
        assert!(entry.get("description").is_some() || entry.get("anyOf").is_some(), "{pointer}");
    }
    let sections = schema["properties"].as_object().map_or(0, |sections| sections.len());
    assert_eq!(sections, SECTIONS.len() + 1, "and `include`");
}

#[test]
fn keys_are_found_by_any_name() {
    for (name, count) in [
        ("pool.mode", 1),
        ("max_pool_size", 4),
        ("master_start_timeout", 1),
        ("tags.nofailover", 1),
        ("x", 0),
    ] {
        assert_eq!(find(name).len(), count, "{name}");
    }
    let text = doc::text(Some("health_check_interval")).expect("a key");
    for want in
        ["10s", "a plain number means seconds", "PGHERD__HEALTH__HEALTH_CHECK_INTERVAL", "H (at once)"]
    {
        assert!(text.contains(want), "{text}");
    }
    assert_eq!(doc::text(Some("helth_check_interval")), Err(Some("health_check_interval".to_string())));
    assert_eq!(doc::text(Some("qqqq")), Err(None));
}

#[test]
fn defaults_fill_an_empty_instance() {
    let mut values = Values::default();
    for section in SECTIONS {
        values.push(Instance::new(section, Place::Nowhere));
    }
    file::fill_defaults(&mut values);
    for instance in values.all() {
        for (key, setting) in instance.each() {
            assert_eq!(setting.is_some(), matches!(key.default, Default::Is(_)), "{}", key.name);
        }
    }
}
