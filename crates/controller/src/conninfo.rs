//! `primary_conninfo` (PostgreSQL documentation, chapter 34.1.1.1): the same words with another host.

use pgherd_topology::node::Address;

/// The words of a connection string, each with its value. `None`: it is no list of words (a URI, say), or it is damaged.
fn words(text: &str) -> Option<Vec<(String, String)>> {
    let mut list = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=')?;
        let key = key.trim();
        if key.is_empty() || key.contains(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
            return None;
        }
        let after = after.trim_start();
        let (value, left) = match after.strip_prefix('\'') {
            Some(quoted) => quoted_value(quoted)?,
            None => plain_value(after),
        };
        list.push((key.to_owned(), value));
        rest = left.trim_start();
    }
    Some(list)
}

fn quoted_value(text: &str) -> Option<(String, &str)> {
    let (mut value, mut chars) = (String::new(), text.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' => return Some((value, &text[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            c => value.push(c),
        }
    }
    None
}

fn plain_value(text: &str) -> (String, &str) {
    let (mut value, mut chars) = (String::new(), text.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            c if c.is_whitespace() => return (value, &text[at..]),
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, "")
}

fn quote(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// The same connection to another server. `None` when the text cannot be taken apart.
pub(crate) fn elsewhere(text: &str, to: &Address) -> Option<String> {
    let (host, port) = match to {
        Address::Tcp(host, port) => (host, port),
        Address::Unix(directory, port) => (directory, port),
    };
    let kept = words(text)?.into_iter().filter(|(key, _)| !matches!(&**key, "host" | "hostaddr" | "port"));
    let mut out = format!("host={} port={port}", quote(host));
    for (key, value) in kept {
        out.push_str(&format!(" {key}={}", quote(&value)));
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_place_changes() {
        let to = Address::Tcp("db2".into(), 5433);
        for (before, after) in [
            ("user=r password='it''s' host=db1 port=5432", None),
            (
                r"user=r password='it\'s \\' host=db1 hostaddr=10.0.0.1 port = 5432 application_name=pg2",
                Some(r"host='db2' port=5433 user='r' password='it\'s \\' application_name='pg2'"),
            ),
            ("", Some("host='db2' port=5433")),
            ("postgres://db1/x", None),
            ("user='open", None),
            (r"user=a\ b", Some("host='db2' port=5433 user='a b'")),
        ] {
            assert_eq!(elsewhere(before, &to).as_deref(), after, "{before}");
        }
        let socket = Address::Unix("/run/it's".into(), 5432);
        assert_eq!(elsewhere("", &socket).as_deref(), Some(r"host='/run/it\'s' port=5432"));
    }
}
