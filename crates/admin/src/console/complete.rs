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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Option<(Of, String)> {
        completion(query).map(|completion| (completion.of, completion.prefix))
    }

    #[test]
    fn what_psql_asks() {
        // psql 15 and 13, as they send it.
        let shows = [
            "SELECT pg_catalog.lower(name) FROM pg_catalog.pg_settings  WHERE pg_catalog.lower(name) LIKE pg_catalog.lower('Po%')\nLIMIT 1000",
            "SELECT name FROM  (SELECT pg_catalog.lower(name) AS name FROM pg_catalog.pg_settings   UNION ALL SELECT 'all') ss  WHERE substring(name,1,2)='po'\nLIMIT 1000",
        ];
        for query in shows {
            assert_eq!(read(query), Some((Of::Shows, "po".into())), "{query}");
        }
        let set = "SELECT pg_catalog.lower(name) FROM pg_catalog.pg_settings  WHERE context IN ('user', 'superuser')    AND pg_catalog.lower(name) LIKE pg_catalog.lower('pool.m%')\nLIMIT 1000";
        assert_eq!(read(set), Some((Of::Settings, "pool.m".into())));
        let databases =
            "SELECT datname FROM pg_catalog.pg_database  WHERE datname LIKE 'a\\\\_b%'\nLIMIT 1000";
        assert_eq!(read(databases), Some((Of::Databases, "a_b".into())));
        let roles = " SELECT rolname    FROM pg_catalog.pg_roles   WHERE rolname LIKE 'a%'\nLIMIT 1000";
        assert_eq!(read(roles), Some((Of::Nothing, "a".into())));
        assert_eq!(read("SELECT * FROM t WHERE x LIKE 'a%'"), None);
        assert_eq!(read("SELECT pg_catalog.now()"), None);
    }

    #[test]
    fn names_are_chosen_by_their_front() {
        let completion = Completion { of: Of::Shows, prefix: "po".into() };
        assert_eq!(completion.choose(["pools", "POINT", "state"].into_iter()), ["pools", "POINT"]);
    }
}
