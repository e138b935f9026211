//! `POST /explain`: the question and the answer as documents. What they say comes through [`crate::source::Source`].

use serde_json::{Map, Value, json};

/// Version of the answer's shape.
pub const SHAPE: &str = "pgherd.explain/1";

/// Most statements in one question.
const MAX_STATEMENTS: usize = 1024;

/// What somebody wants to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// The statements, each by itself.
    pub statements: Vec<String>,
    /// Database, as clients name it.
    pub database: Option<String>,
    /// User.
    pub user: Option<String>,
    /// A read-write transaction was begun in front of each.
    pub in_transaction: bool,
    /// The session's read preference, as a word.
    pub read_preference: Option<String>,
    /// The session's consistency, as a word.
    pub consistency: Option<String>,
}

impl Question {
    /// Reads a request's body. The error is a sentence.
    pub fn read(body: &[u8]) -> Result<Question, String> {
        let value: Value = serde_json::from_slice(body).map_err(|why| format!("this is not JSON: {why}"))?;
        let Value::Object(object) = value else { return Err("the question must be an object".into()) };
        let mut question = Question::default();
        for (key, value) in object {
            let wrong = |form: &str| format!("`{key}` must be {form}");
            let word = |value: Value| match value {
                Value::String(text) => Ok(Some(text)),
                Value::Null => Ok(None),
                _ => Err(wrong("a string")),
            };
            match key.as_str() {
                "statements" => {
                    question.statements = texts(value).ok_or_else(|| wrong("a list of strings"))?
                }
                "database" => question.database = word(value)?,
                "user" => question.user = word(value)?,
                "in_transaction" => {
                    question.in_transaction = value.as_bool().ok_or_else(|| wrong("true or false"))?;
                }
                "read_preference" => question.read_preference = word(value)?,
                "consistency" => question.consistency = word(value)?,
                _ => return Err(format!("`{key}` is not known")),
            }
        }
        match question.statements.len() {
            0 => Err("`statements` is missing or empty".into()),
            1..=MAX_STATEMENTS => Ok(question),
            _ => Err(format!("more than {MAX_STATEMENTS} statements")),
        }
    }

    /// The body that [`Question::read`] reads.
    pub fn document(&self) -> Value {
        let mut document = Map::new();
        document.insert("statements".into(), json!(self.statements));
        document.insert("in_transaction".into(), self.in_transaction.into());
        for (key, word) in [
            ("database", &self.database),
            ("user", &self.user),
            ("read_preference", &self.read_preference),
            ("consistency", &self.consistency),
        ] {
            put(&mut document, key, word.as_deref());
        }
        document.into()
    }
}

fn texts(value: Value) -> Option<Vec<String>> {
    let Value::Array(values) = value else { return None };
    let text = |value| if let Value::String(text) = value { Some(text) } else { None };
    values.into_iter().map(text).collect()
}

fn put(document: &mut Map<String, Value>, key: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        document.insert(key.into(), value.into());
    }
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explanation {
    /// Database on the servers, and user.
    pub database: String,
    /// User.
    pub user: String,
    /// What is known of the database.
    pub catalog: Catalog,
    /// One for each statement.
    pub verdicts: Vec<Verdict>,
}

/// What is known of a database's catalog.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalog {
    /// It was read.
    pub loaded: bool,
    /// Its number; rises with each reading.
    pub epoch: u64,
    /// Names that are known in it.
    pub names: usize,
    /// Why nothing in this database is proven to read, if so.
    pub splitting_off: Option<String>,
    /// Why it could not be read, if so.
    pub trouble: Option<String>,
}

/// What one statement is, and where it goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Its class, as a word.
    pub class: &'static str,
    /// The class in a sentence.
    pub means: &'static str,
    /// The rule that decided, as a word.
    pub rule: &'static str,
    /// The rule in a sentence.
    pub why: String,
    /// First byte of the token that decided.
    pub at: usize,
    /// The byte after its last.
    pub end: usize,
    /// Number of statements in the text.
    pub statements: usize,
    /// Wishes in the comment in front of it.
    pub hint: Vec<(&'static str, String)>,
    /// `primary`, `replica`, `wait` or `refuse`.
    pub target: &'static str,
    /// The node, when there is one.
    pub node: Option<String>,
    /// Why this one, or what is waited for, as a word.
    pub reason: &'static str,
    /// The same in a sentence.
    pub reason_why: String,
    /// All nodes.
    pub nodes: Vec<Standing>,
}

/// What one node is to a statement that reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The node's name.
    pub name: String,
    /// It may be read from.
    pub eligible: bool,
    /// Why (not).
    pub why: String,
}

impl Explanation {
    /// The document. Optional keys are absent, never null.
    pub fn document(&self) -> Value {
        let Catalog { loaded, epoch, names, .. } = &self.catalog;
        let mut catalog = Map::new();
        catalog.insert("loaded".into(), (*loaded).into());
        if *loaded {
            catalog.insert("epoch".into(), (*epoch).into());
            catalog.insert("names".into(), (*names).into());
        }
        put(&mut catalog, "splitting_off", self.catalog.splitting_off.as_deref());
        put(&mut catalog, "trouble", self.catalog.trouble.as_deref());
        let verdicts: Vec<Value> = self.verdicts.iter().map(Verdict::document).collect();
        json!({
            "shape": SHAPE,
            "database": self.database,
            "user": self.user,
            "catalog": catalog,
            "verdicts": verdicts,
        })
    }
}

impl Verdict {
    fn document(&self) -> Value {
        let hint: Map<String, Value> =
            self.hint.iter().map(|(key, word)| ((*key).to_string(), word.as_str().into())).collect();
        let node = |node: &Standing| json!({ "name": node.name, "eligible": node.eligible, "why": node.why });
        let mut document = Map::new();
        for (key, value) in [
            ("class", Value::from(self.class)),
            ("means", self.means.into()),
            ("rule", self.rule.into()),
            ("why", self.why.as_str().into()),
            ("at", self.at.into()),
            ("end", self.end.into()),
            ("statements", self.statements.into()),
            ("hint", hint.into()),
            ("target", self.target.into()),
            ("reason", self.reason.into()),
            ("reason_why", self.reason_why.as_str().into()),
            ("nodes", self.nodes.iter().map(node).collect()),
        ] {
            document.insert(key.into(), value);
        }
        put(&mut document, "node", self.node.as_deref());
        document.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_comes_back_as_it_was_asked() {
        let question = Question {
            statements: vec!["SELECT 1".into(), String::new()],
            database: Some("app".into()),
            in_transaction: true,
            consistency: Some("global".into()),
            ..Question::default()
        };
        assert_eq!(Question::read(question.document().to_string().as_bytes()), Ok(question));
    }

    #[test]
    fn what_is_no_question_is_told() {
        let many = json!({ "statements": vec![""; MAX_STATEMENTS + 1] }).to_string();
        for (body, want) in [
            ("", "not JSON"),
            ("[]", "must be an object"),
            ("{}", "missing or empty"),
            (r#"{"statements": "SELECT 1"}"#, "`statements` must be a list"),
            (r#"{"statements": [1]}"#, "`statements` must be a list"),
            (r#"{"statements": [""], "user": 1}"#, "`user` must be a string"),
            (r#"{"statements": [""], "in_transaction": "yes"}"#, "true or false"),
            (r#"{"statement": [""]}"#, "`statement` is not known"),
            (many.as_str(), "more than"),
        ] {
            let why = Question::read(body.as_bytes()).expect_err(body);
            assert!(why.contains(want), "{body}: {why}");
        }
    }
}
