//! JSON schema (draft-07) of the settings file, for editors.

use crate::config::doc::{kind, written};
use crate::config::key::{Default, Key, Kind, Section};
use crate::config::keys::SECTIONS;
use serde_json::{Map, Value, json};

/// The schema, one object without references.
pub fn document() -> Value {
    let mut properties = Map::new();
    properties.insert(
        "include".to_string(),
        json!({ "type": "array", "items": { "type": "string" }, "description": "Further files, read behind this one." }),
    );
    for section in SECTIONS {
        properties.insert(section.name.to_string(), of_section(section));
    }
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$id": "https://pgherd.example/schema/v1.json",
        "title": "pgherd settings",
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    })
}

fn of_section(section: &Section) -> Value {
    let mut table = empty_table();
    for key in section.keys {
        for name in std::iter::once(&key.name).chain(key.deprecated) {
            place(&mut table, name, of_key(key));
        }
    }
    if let Some(object) = table.as_object_mut() {
        let required: Vec<&str> = section
            .keys
            .iter()
            .filter(|k| matches!(k.default, Default::Required(_)))
            .map(|k| k.name)
            .collect();
        if !required.is_empty() {
            object.insert("required".to_string(), json!(required));
        }
    }
    if section.repeated.is_some() {
        return json!({ "type": "array", "items": table, "description": section.doc });
    }
    if let Some(object) = table.as_object_mut() {
        object.insert("description".to_string(), json!(section.doc));
    }
    table
}

fn empty_table() -> Value {
    json!({ "type": "object", "additionalProperties": false, "properties": {} })
}

/// Puts a key where its dots say. A key that is both a value and a table (`api.auth`) may be either.
fn place(table: &mut Value, name: &str, schema: Value) {
    let Some(properties) = table["properties"].as_object_mut() else { return };
    match name.split_once('.') {
        None => {
            properties.insert(name.to_string(), schema);
        }
        Some((first, rest)) => {
            let inner = properties.entry(first.to_string()).or_insert_with(empty_table);
            if inner.get("properties").is_none() && inner.get("anyOf").is_none() {
                let value = inner.take();
                *inner = json!({ "anyOf": [value, empty_table()] });
            }
            let inner = if inner.get("anyOf").is_some() { &mut inner["anyOf"][1] } else { inner };
            place(inner, rest, schema);
        }
    }
}

fn of_key(key: &Key) -> Value {
    let mut schema = match key.kind {
        Kind::Duration { bare: true, .. } | Kind::Bytes { bare: true, .. } => {
            json!({ "type": ["string", "number"] })
        }
        Kind::Int { min, max, none: None } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::Int { min, max, none: Some(word) } => {
            json!({ "anyOf": [{ "type": "integer", "minimum": min, "maximum": max }, { "enum": [word] }] })
        }
        Kind::Bool => json!({ "enum": [true, false, "on", "off"] }),
        Kind::Word(words) => json!({ "enum": words }),
        Kind::List => json!({ "type": "array", "items": { "type": "string" } }),
        Kind::BytesList => json!({ "type": "array", "items": { "type": ["string", "integer"] } }),
        Kind::Duration { .. }
        | Kind::Bytes { .. }
        | Kind::Text { .. }
        | Kind::Address { .. }
        | Kind::Path { .. }
        | Kind::Secret
        | Kind::Mode => json!({ "type": "string" }),
    };
    if let Some(object) = schema.as_object_mut() {
        let reload = key.reload.sentence();
        let text = format!("{} ({}; a reload takes it {reload}; since {})", key.doc, kind(key), key.since);
        object.insert("description".to_string(), json!(text));
        if let Default::Is(text) = key.default
            && let Ok(value) = default_value(key.kind, text)
        {
            object.insert("default".to_string(), value);
        }
    }
    schema
}

/// What [`written`] gives is JSON too, for every kind there is.
fn default_value(kind: Kind, text: &str) -> serde_json::Result<Value> {
    serde_json::from_str(&written(kind, text))
}
