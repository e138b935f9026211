//! Which users somebody may be who is known by another name: of the operating system, or in a certificate. Read from a `pg_ident.conf`
//! (PostgreSQL documentation, "User Name Maps"), without its regular expressions, groups and include directives, which are refused.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// Most bytes of a file.
const MAX_FILE: u64 = 4 << 20;

/// A file of maps that cannot be read. The operator's fault.
#[derive(Debug, thiserror::Error)]
pub enum IdentError {
    /// The file cannot be read.
    #[error("could not read user name maps \"{0}\": {1}")]
    File(String, #[source] std::io::Error),
    /// A line is not map, system user name, database user name.
    #[error("{file}:{line}: {what}")]
    Line {
        /// Which file.
        file: String,
        /// Line, from 1.
        line: usize,
        /// What is wrong.
        what: &'static str,
    },
}

/// One map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Map {
    pairs: Vec<(Box<str>, Target)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    All,
    User(Box<str>),
}

impl Map {
    /// True when whoever is called `system` there may be `user` here. Capitals count.
    pub fn allows(&self, system: &str, user: &str) -> bool {
        self.pairs.iter().any(|(known, target)| {
            **known == *system
                && match target {
                    Target::All => true,
                    Target::User(name) => **name == *user,
                }
        })
    }

    /// True when it allows nobody anything.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }
}

/// True when whoever is called `system` may be `user`: by the map, or, without one, by being called the same.
pub(crate) fn may_be(map: Option<&Map>, system: &str, user: &str) -> bool {
    map.map_or(system == user, |map| map.allows(system, user))
}

/// All maps of a file.
#[derive(Clone, Debug, Default)]
pub struct Maps {
    by_name: HashMap<Box<str>, Map>,
}

impl Maps {
    /// Reads a `pg_ident.conf`.
    ///
    /// # Errors
    /// [`IdentError`] with the file or the line; a file with one bad line is not used at all.
    pub fn read(path: &Path) -> Result<Maps, IdentError> {
        use std::io::Read;
        let file = path.display().to_string();
        let mut text = String::new();
        std::fs::File::open(path)
            .and_then(|opened| opened.take(MAX_FILE).read_to_string(&mut text))
            .map_err(|error| IdentError::File(file.clone(), error))?;
        Maps::parse(&text, &file)
    }

    /// Reads the text of such a file; `file` is its name, for errors.
    ///
    /// # Errors
    /// [`IdentError::Line`].
    pub fn parse(text: &str, file: &str) -> Result<Maps, IdentError> {
        let mut maps = Maps::default();
        for (index, line) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate() {
            let fault = |what| IdentError::Line { file: file.to_owned(), line: index + 1, what };
            let words = words(line).map_err(fault)?;
            if let Some((name, system, target)) = entry(&words).map_err(fault)? {
                maps.by_name.entry(name.into()).or_default().pairs.push((system.into(), target));
            }
        }
        Ok(maps)
    }

    /// The map of that name; one that allows nobody anything when there is none, as in PostgreSQL.
    pub fn named(&self, name: &str) -> Arc<Map> {
        Arc::new(self.by_name.get(name).cloned().unwrap_or_default())
    }
}

/// A word of a line, and whether it was quoted: then it has no special meaning.
struct Word {
    text: String,
    quoted: bool,
}

fn entry(words: &[Word]) -> Result<Option<(&str, &str, Target)>, &'static str> {
    if words.first().is_some_and(|word| !word.quoted && word.text.starts_with("include")) {
        return Err("include directives are not supported");
    }
    let (name, system, user) = match words {
        [] => return Ok(None),
        [name, system, user] => (name, system, user),
        _ => return Err("expected map name, system user name and database user name"),
    };
    // PostgreSQL reads these two even in quotes.
    if system.text.starts_with('/') || user.text.starts_with('/') {
        return Err("regular expressions are not supported");
    }
    if !user.quoted && user.text.starts_with('+') {
        return Err("membership of roles is not supported");
    }
    let target = match (&*user.text, user.quoted) {
        ("all", false) => Target::All,
        (name, _) => Target::User(name.into()),
    };
    Ok(Some((&name.text, &system.text, target)))
}

/// Takes a line apart: blanks part words, `#` begins a comment, quotes keep both; two quotes in quotes are one.
fn words(line: &str) -> Result<Vec<Word>, &'static str> {
    let (mut words, mut chars) = (Vec::new(), line.chars().peekable());
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if matches!(chars.peek(), None | Some('#')) {
            return Ok(words);
        }
        let mut word = Word { text: String::new(), quoted: false };
        let mut inside = false;
        while let Some(c) = chars.next_if(|&c| inside || !(c.is_whitespace() || c == '#')) {
            match c {
                '"' if inside && chars.next_if_eq(&'"').is_some() => word.text.push('"'),
                '"' => (inside, word.quoted) = (!inside, true),
                c => word.text.push(c),
            }
        }
        if inside {
            return Err("a quote is not closed");
        }
        if word.text.is_empty() {
            return Err("a name is empty");
        }
        words.push(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_postgresql_reads() {
        let text = "# MAP SYSTEM USER\n\nstaff  alice  app\r\nstaff\tbob all # everything\nstaff bob2 \"all\"\n\
            \"my map\" \"CN of \"\"me\"\"\" \"+x\"\nother alice alice";
        let maps = Maps::parse(text, "f").unwrap();
        let staff = maps.named("staff");
        for (system, user, expected) in [
            ("alice", "app", true),
            ("alice", "alice", false),
            ("Alice", "app", false),
            ("bob", "anybody", true),
            ("bob2", "all", true),
            ("bob2", "anybody", false),
            ("", "app", false),
        ] {
            assert_eq!(staff.allows(system, user), expected, "{system} {user}");
        }
        assert!(maps.named("my map").allows("CN of \"me\"", "+x"));
        assert!(maps.named("nowhere").is_empty() && !maps.named("nowhere").allows("alice", "alice"));
        assert!(may_be(None, "a", "a") && !may_be(None, "a", "b"));
        assert!(!may_be(Some(&maps.named("nowhere")), "a", "a"), "with a map only the map decides");
    }

    #[test]
    fn names_the_bad_line() {
        for text in [
            "a b",
            "a b c d",
            "a \"b c",
            "a \"\" c",
            "a /^(.*)@x$ \\1",
            "a \"/x\" b",
            "a b +c",
            "a b /c",
            "include other.conf",
            "include_dir d",
        ] {
            match Maps::parse(&format!("m x y\n\n{text}\n"), "f") {
                Err(IdentError::Line { line: 3, .. }) => {}
                other => panic!("{text}: {other:?}"),
            }
        }
        assert!(matches!(Maps::read(Path::new("/nonexistent")), Err(IdentError::File(..))));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(text in any::<String>(), edit in "[a-c\"#/+ \t\n]{0,60}") {
            let _ = Maps::parse(&text, "f");
            let _ = Maps::parse(&edit, "f");
        }

        #[test]
        fn quoting_is_undone(system in "[^\r\n/\0][^\r\n\0]{0,9}", user in "[^\r\n/\0][^\r\n\0]{0,9}") {
            // Other characters that end a line for nobody but Unicode stay in theirs.
            let quote = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
            let maps = Maps::parse(&format!("m {} {}", quote(&system), quote(&user)), "f").unwrap();
            prop_assert!(maps.named("m").allows(&system, &user));
        }
    }
}
