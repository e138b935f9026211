//! The language of the fake servers.
//!
//! `select 'TAG'[, $1]`, `rows N 'TAG'`, `big N 'TAG'`, `sleep MS 'TAG'`, `notice 'TAG'`, `fail 'TAG'`, `broken ...`, `copyin 'TAG'`, `copyout N 'TAG'`, `show NAME`,
//! `set [local] NAME to 'VALUE'`, `reset NAME|all`, `set_config`, transaction control, `discard all`, `pid`, `node`, `statements` (simple queries and Syncs
//! so far), `die`, `fatal`, `garbage`. By node, of which `n0` is the primary: `select where_am_i` (a second later with `slowly`), `select unlogged 'TAG'`, `insert`,
//! `insert 'last'`, after which the server ends.

use super::backend::{Backend, Over, Ran};
use super::message::{c_str, columns as describe, frame, report, row};
use std::time::Duration;

/// Statements of a text.
pub fn split(sql: &str) -> Vec<String> {
    let (mut parts, mut part, mut quoted) = (Vec::new(), String::new(), false);
    for c in sql.chars() {
        quoted ^= c == '\'';
        if c == ';' && !quoted {
            parts.push(std::mem::take(&mut part));
        } else {
            part.push(c);
        }
    }
    parts.push(part);
    let without_comment =
        |part: &String| match part.trim().strip_prefix("/*").and_then(|rest| rest.split_once("*/")) {
            Some((_, rest)) => rest.trim().to_string(),
            None => part.trim().to_string(),
        };
    parts.iter().map(without_comment).filter(|part| !part.is_empty()).collect()
}

fn word(sql: &str) -> String {
    sql.split(|c: char| c.is_whitespace() || c == '(').next().unwrap_or_default().to_ascii_lowercase()
}

pub fn ends_block(sql: &str) -> bool {
    matches!(&*word(sql), "commit" | "rollback")
}

/// How many columns a statement returns.
pub fn columns(sql: &str) -> u16 {
    match &*word(sql) {
        "with" => 3,
        "select" if sql.contains("$1") => 2,
        "select" | "rows" | "big" | "sleep" | "show" | "pid" | "node" | "statements" => 1,
        _ => 0,
    }
}

fn quoted(sql: &str, nth: usize) -> String {
    sql.split('\'').nth(2 * nth + 1).unwrap_or_default().into()
}

fn number(sql: &str) -> u64 {
    sql.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0)
}

impl Backend {
    /// What fails before it says anything.
    fn refuses(&mut self, sql: &str) -> Option<Ran> {
        if self.status == b'E' && !ends_block(sql) {
            return Some(self.aborted());
        }
        if word(sql) == "insert" && self.node.name != "n0" {
            return Some(self.error("25006", "cannot execute INSERT in a read-only transaction"));
        }
        let unknown = sql.contains("pgherd_refused");
        unknown.then(|| self.error("42703", "column \"pgherd_refused\" does not exist"))
    }

    pub async fn run(&mut self, sql: &str, values: &[String], simple: bool) -> Result<Ran, Over> {
        if let Some(refused) = self.refuses(sql) {
            return Ok(refused);
        }
        if simple && columns(sql) > 0 && word(sql) != "sleep" {
            self.out.extend(describe(columns(sql)));
        }
        let tag = quoted(sql, 0);
        let done = match &*word(sql) {
            "select" if sql.contains("set_config(") => {
                self.assign(&tag, &quoted(sql, 1), false);
                self.out.extend(row(&[&quoted(sql, 1)]));
                "SELECT 1"
            }
            // What pgherd asks for itself: a catalog with one function in it, and the settings of the role.
            "select" if sql.contains("pg_settings") => self.defaults(),
            "with" => self.catalog(),
            "select" if sql.contains("slowly") => {
                tokio::time::sleep(Duration::from_secs(1)).await;
                self.one_row(self.node.name.clone())
            }
            "select" if sql.contains("where_am_i") => self.one_row(self.node.name.clone()),
            "select" if sql.contains("1/0") => return Ok(self.error("22012", "division by zero")),
            _ if sql.contains("unlogged") && self.node.name != "n0" => return Ok(self.error("0A000", "")),
            _ if sql.contains("writable") && self.node.name != "n0" => return Ok(self.error("25006", "")),
            "insert" if tag == "last" => return self.insert_and_die().await,
            "insert" => "INSERT 0 1",
            "select" => {
                let parameters = values.iter().filter(|_| sql.contains("$1")).map(|value| &**value);
                let all: Vec<&str> = [&*tag].into_iter().chain(parameters).collect();
                self.out.extend(row(&all));
                "SELECT 1"
            }
            "rows" => {
                for _ in 0..number(sql) {
                    self.out.extend(row(&[&tag]));
                }
                "SELECT 9"
            }
            "big" => {
                self.out.extend(row(&[&tag.repeat(number(sql) as usize)]));
                "SELECT 1"
            }
            "pid" => self.one_row(self.pid.to_string()),
            "statements" => self.one_row(self.queries.to_string()),
            "node" => self.one_row(self.node.name.clone()),
            "sleep" => return self.sleep(number(sql), &tag, simple).await,
            "notice" => {
                self.out.extend(report(b'N', "NOTICE", "00000", &tag));
                "NOTICE"
            }
            "fail" => return Ok(self.error("22012", &tag)),
            "copyin" => return self.copy_in(&tag).await,
            "copyout" => self.copy_out(number(sql), &tag),
            "die" => return Err(Over),
            "fatal" => {
                self.out.extend(report(b'E', "FATAL", "57P01", "terminating"));
                self.flush().await?;
                return Err(Over);
            }
            "garbage" => {
                self.out.extend(frame(b'Z', b"Q"));
                "GARBAGE"
            }
            _ => return Ok(self.control(sql)),
        };
        self.out.extend(frame(b'C', &c_str(done)));
        Ok(Ran::Done)
    }

    /// The answer and the last words come together.
    async fn insert_and_die(&mut self) -> Result<Ran, Over> {
        self.out.extend(frame(b'C', &c_str("INSERT 0 1")));
        self.out.extend(frame(b'Z', b"I"));
        self.out.extend(report(b'E', "FATAL", "57P01", "terminating"));
        self.flush().await?;
        Err(Over)
    }

    fn defaults(&mut self) -> &'static str {
        self.out.extend(row(&["default_transaction_isolation", "read committed"]));
        "SELECT 1"
    }

    fn catalog(&mut self) -> &'static str {
        self.out.extend(row(&["vol", "function", "volatile"]));
        "SELECT 1"
    }

    fn one_row(&mut self, value: String) -> &'static str {
        self.out.extend(row(&[&value]));
        "SELECT 1"
    }

    fn assign(&mut self, name: &str, value: &str, local: bool) {
        if self.before.is_none() {
            self.before = Some(self.settings.clone());
        }
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

    /// What changes the session or its transaction.
    fn control(&mut self, sql: &str) -> Ran {
        let words: Vec<String> = sql
            .split(|c: char| c.is_whitespace() || c == '=')
            .filter(|word| !word.is_empty())
            .map(|word| word.replace('"', "").to_ascii_lowercase())
            .collect();
        let second = words.get(1).map(String::as_str).unwrap_or_default();
        let done = match (&*words[0], second) {
            ("begin", _) => {
                self.status = b'T';
                "BEGIN"
            }
            ("commit", _) if self.status != b'E' => {
                self.status = b'I';
                self.end_transaction(true);
                "COMMIT"
            }
            ("commit" | "rollback", _) => {
                self.status = b'I';
                self.end_transaction(false);
                "ROLLBACK"
            }
            ("set", "local") => {
                self.assign(&words[2], &quoted(sql, 0), true);
                "SET"
            }
            ("set", name) => {
                self.assign(name, &quoted(sql, 0), false);
                "SET"
            }
            ("reset", "all") => {
                let names: Vec<String> = self.settings.keys().cloned().collect();
                names.iter().for_each(|name| self.assign(name, "", false));
                "RESET"
            }
            ("reset", name) => {
                self.assign(name, "", false);
                "RESET"
            }
            ("show", name) => {
                let value = self.settings.get(name).cloned().unwrap_or_default();
                self.out.extend(row(&[&value]));
                "SHOW"
            }
            ("savepoint", _) => "SAVEPOINT",
            ("prepare", _) => "PREPARE",
            ("declare", _) => "DECLARE CURSOR",
            ("release", _) => "RELEASE",
            ("discard", "all") => {
                self.settings.clear();
                self.statements.clear();
                "DISCARD ALL"
            }
            _ => return self.error("42601", &format!("syntax error: {sql}")),
        };
        self.out.extend(frame(b'C', &c_str(done)));
        Ran::Done
    }

    async fn sleep(&mut self, ms: u64, tag: &str, simple: bool) -> Result<Ran, Over> {
        self.flush().await?;
        let line = self.line.clone();
        let cancelled = tokio::select! {
            biased;
            () = line.cancel.notified() => true,
            () = tokio::time::sleep(Duration::from_millis(ms)) => false,
        };
        if cancelled {
            return Ok(self.error("57014", tag));
        }
        if simple {
            self.out.extend(describe(1));
        }
        self.out.extend(row(&[tag]));
        self.out.extend(frame(b'C', &c_str("SELECT 1")));
        Ok(Ran::Done)
    }

    fn copy_out(&mut self, n: u64, tag: &str) -> &'static str {
        self.out.extend(frame(b'H', &[0, 0, 0]));
        for _ in 0..n {
            self.out.extend(frame(b'd', tag.as_bytes()));
        }
        self.out.extend(frame(b'c', b""));
        "COPY 9"
    }

    /// Every line must be the tag: foreign data would be told.
    async fn copy_in(&mut self, tag: &str) -> Result<Ran, Over> {
        self.out.extend(frame(b'G', &[0, 0, 0]));
        self.flush().await?;
        loop {
            match self.next().await? {
                (b'd', data) if data == tag.as_bytes() => {}
                (b'd', data) => panic!("foreign copy data {data:?} for {tag}"),
                (b'c', _) => {
                    self.out.extend(frame(b'C', &c_str("COPY 9")));
                    return Ok(Ran::Done);
                }
                (b'H' | b'S', _) => {}
                _ => return Ok(self.error("57014", tag)),
            }
        }
    }
}
