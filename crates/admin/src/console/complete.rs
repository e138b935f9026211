//! What psql asks when TAB is pressed: queries over PostgreSQL's catalogs. They are answered with our own names.

use crate::console::cell::Kind;
use crate::console::show::Column;

/// Every such query has one column; psql reads no name of it.
pub const COLUMNS: &[Column] = &[Column { name: "name", kind: Kind::Text }];

/// What is to be completed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// Which names.
    pub of: Of,
    /// What they begin with, in lower case.
    pub prefix: String,
}

/// Names that can be completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// What SHOW shows.
    Shows,
    /// Settings that SET changes.
    Settings,
    /// Databases.
    Databases,
    /// Nothing of ours: psql gets no names, and no error on its screen.
    Nothing,
}

/// Reads one of psql's queries; `None` for any other text.
///
/// They all compare names with what was typed so far: `... FROM pg_catalog.pg_settings WHERE ... LIKE ...('pre%')`.
pub fn completion(query: &str) -> Option<Completion> {
    let from = query.find(" LIKE ").or_else(|| query.find("substring("))?;
    let of = if query.contains("pg_catalog.pg_settings") {
        // Those that SET may name are told apart from those that SHOW may.
        if query.contains("context") { Of::Settings } else { Of::Shows }
    } else if query.contains("pg_catalog.pg_database") {
        Of::Databases
    } else if query.contains("pg_catalog.") {
        Of::Nothing
    } else {
        return None;
    };
    Some(Completion { of, prefix: pattern(&query[from..]).unwrap_or_default() })
}

/// The first string of the text without its quotes, without the wildcard at its end and the backslashes that protect
/// characters from being one.
fn pattern(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('\'')?;
    let (inside, _) = rest.split_once('\'')?;
    let inside = inside.strip_suffix('%').unwrap_or(inside);
    Some(inside.replace('\\', "").to_lowercase())
}

impl Completion {
    /// Those of `names` that begin with what was typed.
    pub fn choose<'a>(&self, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
        names.filter(|name| name.to_lowercase().starts_with(&self.prefix)).collect()
    }
}
