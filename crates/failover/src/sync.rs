//! `synchronous_standby_names` (PostgreSQL documentation, chapter 20.6.2): whose confirmation a commit waits for.

use std::sync::Arc;

/// Standbys of which some confirm each commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quorum {
    /// How many of them.
    pub needed: usize,
    /// Their names, each an `application_name`.
    pub names: Vec<Arc<str>>,
}

impl Quorum {
    /// Reads the setting. `None`: no commit waits for anybody. A `*` stands for every standby and is no list that could be proven anything with; `FIRST` waits for the first that are
    /// there, so any of those named may be the ones. What cannot be read needs everybody: the careful side.
    pub fn read(text: &str) -> Option<Quorum> {
        let text = text.trim();
        if text.is_empty() {
            return None;
        }
        let (head, list) = match text.split_once('(') {
            Some((head, rest)) => (head.trim(), rest.trim_end().trim_end_matches(')')),
            None => ("1", text),
        };
        let number = head.rsplit(char::is_whitespace).next().unwrap_or("1");
        let names: Vec<Arc<str>> = list.split(',').map(name).filter(|name| !name.is_empty()).collect();
        let needed = number.parse::<usize>().unwrap_or(1).clamp(1, names.len().max(1));
        // Less than all of an unknown set proves nothing.
        let any = names.iter().any(|name| &**name == "*");
        Some(Quorum { needed: if any { 0 } else { needed }, names })
    }
}

/// The `application_name` in a `primary_conninfo`: what a standby is called in `synchronous_standby_names`.
pub fn application_name(conninfo: &str) -> Option<String> {
    let at = conninfo.match_indices("application_name").map(|(at, _)| at).find(|at| {
        // A word of its own, not the end of another, nor part of a value.
        conninfo[..*at].chars().next_back().is_none_or(char::is_whitespace)
    })?;
    let rest = conninfo[at..].strip_prefix("application_name")?.trim_start().strip_prefix('=')?.trim_start();
    let (quoted, rest) = match rest.strip_prefix('\'') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let (mut name, mut chars) = (String::new(), rest.chars());
    while let Some(c) = chars.next() {
        match c {
            '\\' => name.extend(chars.next()),
            '\'' if quoted => break,
            c if !quoted && c.is_whitespace() => break,
            c => name.push(c),
        }
    }
    Some(name).filter(|name| !name.is_empty())
}

fn name(text: &str) -> Arc<str> {
    let text = text.trim();
    match text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inside) => inside.replace("\"\"", "\"").into(),
        None => text.to_lowercase().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_a_standby_calls_itself() {
        for (conninfo, name) in [
            ("", None),
            ("host=a port=1", None),
            ("host=a application_name=pg2 port=1", Some("pg2")),
            ("application_name = 'Pg 3\\'s'", Some("Pg 3's")),
            ("fallback_application_name=x host=a", None),
            ("application_name=''", None),
        ] {
            assert_eq!(application_name(conninfo).as_deref(), name, "{conninfo}");
        }
    }

    #[test]
    fn reads_what_postgresql_reads() {
        let read = |text| Quorum::read(text).map(|q| (q.needed, q.names.join("|")));
        assert_eq!(read(""), None);
        assert_eq!(read("pg2"), Some((1, "pg2".into())));
        assert_eq!(read("ANY 1 (pg2, \"Pg 3\")"), Some((1, "pg2|Pg 3".into())));
        assert_eq!(read("FIRST 2 (a, b, c)"), Some((2, "a|b|c".into())));
        assert_eq!(read("2 (a,b)"), Some((2, "a|b".into())));
        assert_eq!(read("a, b"), Some((1, "a|b".into())));
        assert_eq!(read("*"), Some((0, "*".into())));
        assert_eq!(read("ANY 9 (a, b)"), Some((2, "a|b".into())));
    }
}
