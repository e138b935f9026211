//! The settings a session carries from server to server.

use crate::datestyle;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// Whose rights a session uses: these two must be the last that are set, and the first that are taken back, because they decide what may be set.
pub(crate) const ROLE: &[u8] = b"role";
/// As which user it counts; setting it takes the role back (documentation, SET SESSION AUTHORIZATION).
pub(crate) const AUTHORIZATION: &[u8] = b"session_authorization";

/// A setting's value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// As given at startup: one string, read by the server as its configuration file would be.
    Text(Box<[u8]>),
    /// As given to SET: SQL text.
    Sql(Box<[u8]>),
}

impl Value {
    /// It is this value, as a server tells it.
    pub(crate) fn says(&self, told: &[u8]) -> bool {
        match self {
            Value::Text(text) => **text == *told,
            Value::Sql(sql) => match &**sql {
                [b'\'', inner @ .., b'\''] => inner == told && !inner.contains(&b'\''),
                bare => bare == told,
            },
        }
    }
}

#[derive(Debug, Default)]
struct Inner {
    values: BTreeMap<Box<[u8]>, Value>,
    digest: u64,
    meaning: u64,
}

/// Settings that change nothing of what a text means: two sessions that differ in them only can share a statement.
const MEANINGLESS: [&[u8]; 5] = [
    b"application_name",
    b"statement_timeout",
    b"lock_timeout",
    b"idle_in_transaction_session_timeout",
    b"client_min_messages",
];

/// Settings that differ from what the server starts with. Cheap to clone; equal settings have equal digests.
#[derive(Clone, Debug, Default)]
pub struct Settings(Option<Arc<Inner>>);

impl Settings {
    /// Settings given at startup; names are kept in lower case, later ones win.
    pub fn from_startup<'a>(given: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Settings {
        let entries = given
            .into_iter()
            .map(|(name, value)| (name.to_ascii_lowercase().into(), Value::Text(value.into())));
        Settings::from_values(entries.collect())
    }

    fn from_values(values: BTreeMap<Box<[u8]>, Value>) -> Settings {
        if values.is_empty() {
            return Settings(None);
        }
        let mut hasher = DefaultHasher::new();
        values.hash(&mut hasher);
        // 0 is the digest of no settings at all.
        let digest = hasher.finish().max(1);
        let mut meaning = 0;
        for entry in values.iter().filter(|(name, _)| !MEANINGLESS.contains(&&***name)) {
            let mut hasher = DefaultHasher::new();
            (meaning, entry).hash(&mut hasher);
            meaning = hasher.finish().max(1);
        }
        Settings(Some(Arc::new(Inner { values, digest, meaning })))
    }

    /// A number that is equal for equal settings.
    #[inline]
    pub fn digest(&self) -> u64 {
        self.0.as_ref().map_or(0, |inner| inner.digest)
    }

    /// A number that is equal for settings under which every text means the same.
    #[inline]
    pub fn meaning(&self) -> u64 {
        self.0.as_ref().map_or(0, |inner| inner.meaning)
    }

    /// The value of `name` (lower case).
    pub fn get(&self, name: &[u8]) -> Option<&Value> {
        self.0.as_ref()?.values.get(name)
    }

    /// The same with one setting changed, or taken away.
    pub fn with(&self, name: &[u8], value: Option<Value>) -> Settings {
        let mut values = self.0.as_ref().map(|inner| inner.values.clone()).unwrap_or_default();
        match value {
            Some(value) => values.insert(name.into(), value),
            None => values.remove(name),
        };
        Settings::from_values(values)
    }

    /// The same after `SET name TO sql`; `None` when what is in force then cannot be told.
    pub fn set(&self, name: &[u8], sql: &[u8]) -> Option<Settings> {
        let value = match name {
            datestyle::NAME => datestyle::over(self.get(name), sql)?,
            _ => Value::Sql(sql.into()),
        };
        let same = self.with(name, Some(value));
        Some(if name == AUTHORIZATION { same.with(ROLE, None) } else { same })
    }

    /// The same, with the role and authorization of `from`.
    pub(crate) fn acting_as(&self, from: &Settings) -> Settings {
        let mut all = self.clone();
        for name in [ROLE, AUTHORIZATION] {
            if all.get(name) != from.get(name) {
                all = all.with(name, from.get(name).cloned());
            }
        }
        all
    }

    /// Names and values, in order of names.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Value)> {
        self.0.iter().flat_map(|inner| inner.values.iter().map(|(name, value)| (&**name, value)))
    }

    /// The SQL that turns a server that has `self` applied into one that has `wanted`: one simple query. Empty when nothing differs.
    pub fn delta(&self, wanted: &Settings) -> Vec<u8> {
        let mut sql = Vec::new();
        if self.digest() == wanted.digest() {
            return sql;
        }
        let who = |name: &[u8]| name == ROLE || name == AUTHORIZATION;
        // Whatever the rights are that the server has now, they are not those under which the rest was set.
        for (name, _) in self.iter().filter(|(name, _)| who(name)) {
            reset(&mut sql, name);
        }
        // A value in two parts may say one of them only: the other must not be what was there before.
        let stale = |name: &[u8], value: &Value| match name {
            datestyle::NAME => wanted.get(name) != Some(value),
            // It has no value to go back to.
            b"seed" => false,
            _ => wanted.get(name).is_none(),
        };
        for (name, _) in self.iter().filter(|(name, value)| !who(name) && stale(name, value)) {
            reset(&mut sql, name);
        }
        for (name, value) in wanted.iter().filter(|(name, value)| !who(name) && self.get(name) != Some(value))
        {
            assign(&mut sql, name, value);
        }
        for name in [AUTHORIZATION, ROLE] {
            if let Some(value) = wanted.get(name) {
                assign(&mut sql, name, value);
            }
        }
        sql
    }
}

fn reset(sql: &mut Vec<u8>, name: &[u8]) {
    sql.extend_from_slice(b"RESET ");
    quote_name(sql, name);
    sql.extend_from_slice(b";");
}

fn assign(sql: &mut Vec<u8>, name: &[u8], value: &Value) {
    match value {
        Value::Text(text) => {
            // set_config reads the string as the startup packet's reader does; SET would quote a whole list as one name.
            sql.extend_from_slice(b"SELECT pg_catalog.set_config(");
            quote_literal(sql, name);
            sql.extend_from_slice(b",");
            quote_literal(sql, text);
            sql.extend_from_slice(b",false);");
        }
        Value::Sql(text) => {
            sql.extend_from_slice(b"SET ");
            quote_name(sql, name);
            sql.extend_from_slice(b" TO ");
            sql.extend_from_slice(text);
            sql.extend_from_slice(b";");
        }
    }
}

/// A string literal that means the same whatever `standard_conforming_strings` is; a NUL cannot stand in one and is left out.
fn quote_literal(sql: &mut Vec<u8>, text: &[u8]) {
    sql.extend_from_slice(b"E'");
    for &b in text.iter().filter(|b| **b != 0) {
        if b == b'\'' || b == b'\\' {
            sql.push(b);
        }
        sql.push(b);
    }
    sql.push(b'\'');
}

/// A setting's name as quoted identifiers, one for each dotted part.
fn quote_name(sql: &mut Vec<u8>, name: &[u8]) {
    for (i, part) in name.split(|b| *b == b'.').enumerate() {
        if i > 0 {
            sql.push(b'.');
        }
        sql.push(b'"');
        sql.extend(part.iter().filter(|b| **b != b'"' && **b != 0));
        sql.push(b'"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn startup(given: &[(&str, &str)]) -> Settings {
        Settings::from_startup(given.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())))
    }

    #[test]
    fn equal_settings_have_equal_digests() {
        let a = startup(&[("DateStyle", "ISO"), ("a", "1")]);
        let b = startup(&[("a", "2"), ("datestyle", "ISO"), ("A", "1")]);
        assert_eq!(a.digest(), b.digest());
        assert_ne!(a.digest(), startup(&[]).digest());
        assert!(a.delta(&b).is_empty());
    }

    #[test]
    fn a_delta_resets_and_sets() {
        let from = startup(&[("gone", "x"), ("same", "1")]);
        let to = startup(&[("same", "1"), ("search_path", "a, 'b\\")])
            .with(b"my.x", Some(Value::Sql(b"on".as_slice().into())));
        let sql = String::from_utf8(from.delta(&to)).unwrap();
        assert_eq!(
            sql,
            "RESET \"gone\";SET \"my\".\"x\" TO on;SELECT pg_catalog.set_config(E'search_path',E'a, ''b\\\\',false);"
        );
    }

    #[test]
    fn rights_are_taken_back_first_and_taken_last() {
        let with = |settings: &Settings, name: &[u8], sql: &[u8]| settings.set(name, sql).unwrap();
        let bob = with(&with(&Settings::default(), ROLE, b"bob"), b"a.b", b"1");
        let amy = with(&with(&Settings::default(), b"zeta", b"1"), AUTHORIZATION, b"amy");
        let amy = with(&amy, ROLE, b"none");
        let text = |from: &Settings, to: &Settings| String::from_utf8(from.delta(to)).unwrap();
        assert_eq!(
            text(&bob, &amy),
            "RESET \"role\";RESET \"a\".\"b\";SET \"zeta\" TO 1;SET \"session_authorization\" TO amy;SET \"role\" TO none;"
        );
        assert_eq!(
            text(&bob, &with(&bob, b"a.b", b"2")),
            "RESET \"role\";SET \"a\".\"b\" TO 2;SET \"role\" TO bob;"
        );
        // The new authorization takes the role back.
        assert_eq!(with(&bob, AUTHORIZATION, b"amy").get(ROLE), None);
    }

    #[test]
    fn hostile_names_stay_names() {
        let sql = String::from_utf8(startup(&[("x\"; drop table t; --", "1")]).delta(&Settings::default()))
            .unwrap();
        assert_eq!(sql, "RESET \"x; drop table t; --\";");
    }
}
