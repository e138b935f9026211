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
