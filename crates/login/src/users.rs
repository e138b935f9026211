//! Who may come, and what judges them: names with stored secrets, from the settings or from a PgBouncer `userlist.txt`.

use crate::scram::Verifier;
use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// A stored secret. Never shows itself in logs.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// No password: such a user gets in only where it is trusted.
    None,
    /// The password itself.
    Plain(Box<str>),
    /// `md5` and 32 hexadecimal digits: md5 of password and user name.
    Md5(Box<str>),
    /// A SCRAM verifier.
    Scram(Verifier),
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Secret::None => "None",
            Secret::Plain(_) => "Plain(..)",
            Secret::Md5(_) => "Md5(..)",
            Secret::Scram(_) => "Scram(..)",
        })
    }
}

impl Secret {
    /// Tells the kinds apart as PostgreSQL does (`get_password_type`): what is neither a verifier nor an md5 hash is a password.
    pub fn parse(text: &str) -> Secret {
        if text.is_empty() {
            Secret::None
        } else if let Some(verifier) = Verifier::parse(text) {
            Secret::Scram(verifier)
        } else if is_md5(text) {
            Secret::Md5(text.into())
        } else {
            Secret::Plain(text.into())
        }
    }
}

fn is_md5(text: &str) -> bool {
    let digits = text.strip_prefix("md5").unwrap_or_default();
    digits.len() == 32 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// One user's secret.
#[derive(Debug)]
pub struct User {
    /// As stored.
    pub secret: Secret,
    /// The verifier made from a plain password at the first login by SCRAM.
    pub(crate) derived: OnceLock<Verifier>,
}

/// All users. A value: swapped whole on reload.
#[derive(Debug, Default)]
pub struct Users {
    by_name: HashMap<Box<str>, Arc<User>>,
}

/// A user list that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    /// The file cannot be read.
    #[error("could not read user list \"{0}\": {1}")]
    File(String, #[source] std::io::Error),
    /// A line is not `"user" "secret"`.
    #[error("{file}:{line}: {what}")]
    Line {
        /// Which file; "user list" for a text that is none.
        file: String,
        /// Line, from 1.
        line: usize,
        /// What is wrong.
        what: &'static str,
    },
}

impl Users {
    /// Reads a `userlist.txt` from a file.
    ///
    /// # Errors
    /// [`UsersError`] with the file or the line; a list with one bad line is not used at all.
    pub fn read(path: &Path) -> Result<Users, UsersError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| UsersError::File(path.display().to_string(), error))?;
        Users::parse_named(&text, &path.display().to_string())
    }

    /// Reads a `userlist.txt` (PgBouncer documentation, "Authentication file format"): a quoted name, a quoted secret, anything; two
    /// quotes are one; lines that begin with a semicolon are comments.
    ///
    /// # Errors
    /// [`UsersError::Line`].
    pub fn parse(text: &str) -> Result<Users, UsersError> {
        Users::parse_named(text, "user list")
    }

    fn parse_named(text: &str, file: &str) -> Result<Users, UsersError> {
        let mut users = Users::default();
        let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
        loop {
            rest = rest.trim_start();
            let line = 1 + text[..text.len() - rest.len()].bytes().filter(|&byte| byte == b'\n').count();
            let fault = |what| UsersError::Line { file: file.to_owned(), line, what };
            if rest.is_empty() {
                return Ok(users);
            }
            if !rest.starts_with(';') {
                let (name, after) = quoted(rest).ok_or_else(|| fault("expected a quoted user name"))?;
                let (secret, after) = quoted(after.trim_start_matches([' ', '\t']))
                    .ok_or_else(|| fault("expected a quoted secret after the user name"))?;
                if name.is_empty() {
                    return Err(fault("the user name is empty"));
                }
                if secret.starts_with("SCRAM-SHA-256$") && Verifier::parse(&secret).is_none() {
                    return Err(fault("malformed SCRAM verifier"));
                }
                users.insert(&name, Secret::parse(&secret));
                rest = after;
            }
            rest = rest.split_once('\n').map_or("", |(_, next)| next);
        }
    }

    /// Adds a user; of two with the same name the later counts.
    pub fn insert(&mut self, name: &str, secret: Secret) {
        self.by_name.insert(name.into(), Arc::new(User { secret, derived: OnceLock::new() }));
    }

    /// Adds all users of another list.
    pub fn extend(&mut self, other: Users) {
        self.by_name.extend(other.by_name);
    }

    /// The user of that name.
    pub fn lookup(&self, name: &str) -> Option<Arc<User>> {
        self.by_name.get(name).cloned()
    }

    /// All users, in no order.
    pub fn each(&self) -> impl Iterator<Item = (&str, &Secret)> {
        self.by_name.iter().map(|(name, user)| (&**name, &user.secret))
    }

    /// How this list differs from an older one, in words; `None` when it does not.
    pub fn changes(&self, old: &Users) -> Option<String> {
        let came = self.by_name.keys().filter(|name| !old.by_name.contains_key(*name)).count();
        let left = old.by_name.keys().filter(|name| !self.by_name.contains_key(*name)).count();
        let other = |name: &str, user: &User| old.lookup(name).is_some_and(|was| was.secret != user.secret);
        let changed = self.by_name.iter().filter(|(name, user)| other(name, user)).count();
        (came + left + changed > 0)
            .then(|| format!("{came} added, {left} removed, {changed} with another secret"))
    }

    /// Number of users.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// True when nobody may come.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// True when most secrets are of the kind; a stranger is then treated like the most.
    pub(crate) fn mostly(&self, kind: impl Fn(&Secret) -> bool) -> bool {
        2 * self.by_name.values().filter(|user| kind(&user.secret)).count() > self.by_name.len()
    }
}

/// A quoted text at the very front, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut rest = text.strip_prefix('"')?;
    let mut value = String::new();
    loop {
        let (part, after) = rest.split_once('"')?;
        value.push_str(part);
        match after.strip_prefix('"') {
            Some(more) => {
                value.push('"');
                rest = more;
            }
            None => return Some((value, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const VERIFIER: &str = "SCRAM-SHA-256$4096:c2FsdHNhbHRzYWx0c2E=$\
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

    #[test]
    fn reads_what_pgbouncer_reads() {
        let text = format!(
            "; a comment\n\n\"alice\" \"secret\"\n  \"bob\"\t\"md5{}\" trailing words\n\
             \"say \"\"hi\"\"\" \"pass\"\"word\"\n\"nopassword\" \"\"\n\"carol\" \"{VERIFIER}\"\n;\"dave\" \"x\"\n\
             \"two\nlines\" \"a;b\"\n\"alice\" \"later\"",
            "0123456789abcdef".repeat(2)
        );
        let users = Users::parse(&text).unwrap();
        let secret = |name: &str| users.lookup(name).map(|user| user.secret.clone());
        assert_eq!(secret("alice"), Some(Secret::Plain("later".into())));
        assert!(matches!(secret("bob"), Some(Secret::Md5(_))));
        assert_eq!(secret("say \"hi\""), Some(Secret::Plain("pass\"word".into())));
        assert_eq!(secret("nopassword"), Some(Secret::None));
        assert!(matches!(secret("carol"), Some(Secret::Scram(_))));
        assert_eq!(secret("dave"), None);
        assert_eq!(secret("two\nlines"), Some(Secret::Plain("a;b".into())));
        assert_eq!(users.len(), 6);
    }

    #[test]
    fn names_the_bad_line() {
        for (text, line) in [
            ("alice secret", 1),
            ("\n\n\"alice", 3),
            ("\"a\" \"b\"\n\"alice\"", 2),
            ("\"a\" \"b\"\n\"alice\" secret", 2),
            ("\"a\" \"b", 1),
            ("\"\" \"b\"", 1),
            ("\"a\"\n\"b\"", 1),
            ("\"a\" \"SCRAM-SHA-256$nonsense\"", 1),
        ] {
            match Users::parse(text) {
                Err(UsersError::Line { line: told, .. }) => assert_eq!(told, line, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
        assert!(matches!(Users::read(Path::new("/nonexistent/userlist.txt")), Err(UsersError::File(..))));
    }

    #[test]
    fn what_is_no_hash_is_a_password() {
        for text in ["md5", "md5xyz", "SCRAM-SHA-256$", "md50123456789ABCDEF0123456789ABCDEF"] {
            assert_eq!(Secret::parse(text), Secret::Plain(text.into()));
        }
    }

    #[test]
    fn lists_are_compared() {
        let old = Users::parse("\"a\" \"1\"\n\"b\" \"2\"\n\"c\" \"3\"").unwrap();
        let new = Users::parse("\"a\" \"1\"\n\"b\" \"x\"\n\"d\" \"4\"\n\"e\" \"5\"").unwrap();
        assert_eq!(new.changes(&old).as_deref(), Some("2 added, 1 removed, 1 with another secret"));
        assert_eq!(old.changes(&old), None);
    }

    #[test]
    fn secrets_do_not_show() {
        let mut users = Users::default();
        users.insert("alice", Secret::parse("topsecret"));
        assert!(!format!("{users:?}").contains("topsecret"));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(text in any::<String>()) {
            let _ = Users::parse(&text);
        }

        #[test]
        fn quoting_is_undone(name in "[^\0]{1,9}", secret in "[^\0]{0,9}") {
            let double = |text: &str| text.replace('"', "\"\"");
            let users = Users::parse(&format!("\"{}\" \"{}\"", double(&name), double(&secret))).unwrap();
            prop_assert_eq!(&users.lookup(&name).unwrap().secret, &Secret::parse(&secret));
        }
    }
}
