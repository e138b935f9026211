//! What a client knows, and so what it may be told: the model every answer is held against.

use std::collections::BTreeMap;

pub(crate) type Values = BTreeMap<String, String>;

/// The unnamed statement as far as the client knows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Unnamed {
    Is(String),
    Nothing,
    /// Lost or kept, nobody can know; if there is one, it is the client's own.
    Unsure,
}

/// What one message of an answer must be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expect {
    /// A message of this type.
    Tag(u8),
    /// A message of this type, or the refusal of a failed transaction.
    DoneOrAborted(u8),
    /// DataRow with these columns.
    Row(Vec<String>),
    /// CopyData.
    Data(String),
    /// CommandComplete.
    Done(&'static str),
    /// ErrorResponse of one of these codes.
    Error(&'static [&'static str]),
}

#[derive(Clone, Debug)]
pub(crate) struct Soul {
    pub(crate) status: u8,
    pub(crate) settings: Values,
    pub(crate) before: Option<Values>,
    pub(crate) local: Values,
    pub(crate) names: BTreeMap<String, String>,
    pub(crate) unnamed: Unnamed,
}

pub(crate) const ABORTED: &[&str] = &["25P02"];

pub(crate) fn ends_block(text: &str) -> bool {
    text == "commit" || text == "rollback"
}

pub(crate) fn quoted(text: &str) -> String {
    text.split('\'').nth(1).unwrap_or_default().into()
}

impl Soul {
    pub(crate) fn new(startup: &[(&str, &str)]) -> Soul {
        Soul {
            status: b'I',
            settings: startup.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect(),
            before: None,
            local: Values::new(),
            names: BTreeMap::new(),
            unnamed: Unnamed::Nothing,
        }
    }

    /// What a statement must answer now; `simple` with its RowDescription.
    pub(crate) fn expect(&self, text: &str, parameter: &str, simple: bool) -> Vec<Expect> {
        if self.status == b'E' && !ends_block(text) {
            return vec![Expect::Error(ABORTED)];
        }
        let words: Vec<&str> = text.split_whitespace().collect();
        let n = words.get(1).and_then(|n| n.parse::<usize>().ok()).unwrap_or(0);
        let tag = quoted(text);
        let (rows, done): (Vec<Vec<String>>, _) = match words[0] {
            "fail" => return vec![Expect::Error(&["22012"])],
            "copyout" => {
                let data = (0..n).map(|_| Expect::Data(tag.clone()));
                let all = [Expect::Tag(b'H')].into_iter().chain(data);
                return all.chain([Expect::Tag(b'c'), Expect::Done("COPY 9")]).collect();
            }
            "select" if text.contains("$1") => (vec![vec![tag, parameter.into()]], "SELECT 1"),
            "select" | "sleep" => (vec![vec![tag]], "SELECT 1"),
            "big" => (vec![vec![tag.repeat(n)]], "SELECT 1"),
            "rows" => (vec![vec![tag]; n], "SELECT 9"),
            "show" => (vec![vec![self.settings.get(words[1]).cloned().unwrap_or_default()]], "SHOW"),
            "notice" => return vec![Expect::Done("NOTICE")],
            "set" => return vec![Expect::Done("SET")],
            "reset" => return vec![Expect::Done("RESET")],
            "begin" => return vec![Expect::Done("BEGIN")],
            "commit" if self.status != b'E' => return vec![Expect::Done("COMMIT")],
            "commit" | "rollback" => return vec![Expect::Done("ROLLBACK")],
            other => panic!("no model of {other}"),
        };
        let head = simple.then_some(Expect::Tag(b'T'));
        head.into_iter().chain(rows.into_iter().map(Expect::Row)).chain([Expect::Done(done)]).collect()
    }

    /// The statement succeeded.
    pub(crate) fn apply(&mut self, text: &str) {
        let words: Vec<&str> = text.split_whitespace().collect();
        match (words[0], words.get(1).copied().unwrap_or_default()) {
            ("set", "local") => self.assign(words[2], &quoted(text), true),
            ("set", name) => self.assign(name, &quoted(text), false),
            ("reset", name) => self.assign(name, "", false),
            ("begin", _) => self.status = b'T',
            ("commit", _) => {
                let commits = self.status != b'E';
                self.status = b'I';
                self.end(commits);
            }
            ("rollback", _) => {
                self.status = b'I';
                self.end(false);
            }
            _ => {}
        }
    }

    fn assign(&mut self, name: &str, value: &str, local: bool) {
        self.before.get_or_insert_with(|| self.settings.clone());
        let old = match value.is_empty() {
            true => self.settings.remove(name),
            false => self.settings.insert(name.into(), value.into()),
        };
        if local {
            self.local.entry(name.into()).or_insert(old.unwrap_or_default());
        } else {
            self.local.remove(name);
        }
    }

    /// A transaction ended.
    pub(crate) fn end(&mut self, commits: bool) {
        if let Some(before) = self.before.take()
            && !commits
        {
            self.settings = before;
        }
        for (name, value) in std::mem::take(&mut self.local) {
            if commits {
                match value.is_empty() {
                    true => self.settings.remove(&name),
                    false => self.settings.insert(name, value),
                };
            }
        }
    }

    /// The server was lost in a unit that began like `start`; what the client learned of names before that stays. A block stays open and failed, unless the lost
    /// unit was its end.
    pub(crate) fn lose(&mut self, began: u8, start: Soul, told: u8) {
        let names = std::mem::take(&mut self.names);
        *self = Soul { names, unnamed: Unnamed::Unsure, ..start };
        self.status = if began == b'I' || told == b'I' { b'I' } else { b'E' };
        if self.status == b'I' {
            self.end(false);
        }
    }

    /// A unit's ReadyForQuery is near; what was no block ends.
    pub(crate) fn finish(&mut self, failed: bool) {
        match self.status {
            b'I' => self.end(!failed),
            _ if failed => self.status = b'E',
            _ => {}
        }
    }

    /// A statement by its name; `None` when it is not known whether there is one.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>, ()> {
        match (name, &self.unnamed) {
            ("", Unnamed::Is(text)) => Ok(Some(text)),
            ("", Unnamed::Nothing) => Err(()),
            ("", Unnamed::Unsure) => Ok(None),
            _ => self.names.get(name).map(|text| Some(&**text)).ok_or(()),
        }
    }
}
