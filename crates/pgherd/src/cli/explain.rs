//! `pgherd explain`: where a statement would go, and why. One statement gets an answer for people, a file one line for each.

use crate::app::explain::tell;
use crate::cli::output::{Talk, data, say};
use crate::cli::{ApiArgs, exit, http, target};
use crate::config::settings::front::HostPort;
use clap::{Args, ValueEnum};
use pgherd_admin::explain::{Catalog, Explanation, Question};
use pgherd_route::classify::{Context, classify};
use pgherd_route::digest::Digest;
use pgherd_route::explain::{place, token};
use pgherd_route::floor::Consistency;
use pgherd_route::intent::Preference;
use serde_json::Value;
use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

/// Most bytes of a question; the server takes a little more.
const MAX_QUESTION: usize = 60 * 1024;
/// Most statements of a question; the server takes more.
const MAX_BATCH: usize = 500;

/// `pgherd explain`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The statement
    #[arg(required_unless_present = "statements", conflicts_with = "statements")]
    pub sql: Option<String>,
    /// A file with one statement a line, escaped as \n \t \r \f \\; `-` is standard input
    #[arg(id = "statements", long = "file", value_name = "FILE")]
    pub statements: Option<PathBuf>,
    /// Database, as clients name it [default: the first of the settings]
    #[arg(short, long)]
    pub database: Option<String>,
    /// User [default: one that uses the database, then the first of the settings]
    #[arg(short = 'U', long)]
    pub user: Option<String>,
    /// In a read-write transaction that was begun before
    #[arg(long)]
    pub in_transaction: bool,
    /// pgherd.read_preference of the session
    #[arg(long, value_name = "WORD", value_parser = Preference::ALL.map(Preference::word))]
    pub read_preference: Option<String>,
    /// pgherd.consistency of the session
    #[arg(long, value_name = "WORD", value_parser = Consistency::ALL.map(Consistency::word))]
    pub consistency: Option<String>,
    /// Shape of the output
    #[arg(short = 'o', long = "format", alias = "output", value_enum, default_value_t = Form::Table)]
    pub format: Form,
    /// Look at the text alone: no pgherd is asked, and every function of your own is unknown
    #[arg(long)]
    pub offline: bool,
    /// Whom to ask
    #[command(flatten)]
    pub api: ApiArgs,
}

/// Shape of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// For people; for a file one line a statement: class, rule, position, target, with tabs between.
    Table,
    /// For programs.
    Json,
}

/// Asks, and prints.
pub fn run(args: &Arguments, talk: &Talk) -> ExitCode {
    let statements = match statements(args) {
        Ok(statements) => statements,
        Err(why) => {
            say(&format!("pgherd: {why}"));
            return ExitCode::from(exit::USAGE);
        }
    };
    if statements.is_empty() {
        return ExitCode::SUCCESS;
    }
    let found = if args.offline {
        say("pgherd: offline: by the text alone, as if the catalog held nothing of your own");
        Ok(offline(args, &statements))
    } else {
        match target::choose(&args.api, talk) {
            Ok(address) => ask(args, &statements, &address),
            Err(lost) => return lost.say(exit::UNAVAILABLE),
        }
    };
    let document = match found {
        Ok(document) => document,
        Err(why) => {
            say(&format!("pgherd: {why}"));
            return ExitCode::from(exit::UNAVAILABLE);
        }
    };
    match args.format {
        Form::Json => data(&format!("{document:#}\n")),
        Form::Table if args.statements.is_some() => data(&lines(&document)),
        Form::Table => data(&answer(&document, statements.first().map_or("", String::as_str))),
    }
    ExitCode::from(code(&document))
}

fn statements(args: &Arguments) -> Result<Vec<String>, String> {
    let Some(path) = &args.statements else { return Ok(args.sql.iter().cloned().collect()) };
    let mut text = String::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text))
    };
    read.map_err(|why| format!("{}: {why}", path.display()))?;
    if text.is_empty() {
        return Ok(Vec::new());
    }
    // lines() also takes a carriage return away, which may belong to the statement.
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let line =
        |(at, line)| unescaped(line).map_err(|why| format!("{} line {}: {why}", path.display(), at + 1));
    text.split('\n').enumerate().map(line).collect()
}

fn unescaped(line: &str) -> Result<String, String> {
    let (mut out, mut chars) = (String::new(), line.chars());
    while let Some(c) = chars.next() {
        out.push(match c {
            '\\' => match chars.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some('r') => '\r',
                Some('f') => '\x0c',
                Some('\\') => '\\',
                other => {
                    let what = other.map(String::from).unwrap_or_default();
                    return Err(format!("\\{what} is no escape (a backslash is written \\\\)"));
                }
            },
            other => other,
        });
    }
    Ok(out)
}

/// Asks the running pgherd, in several questions when they are many.
fn ask(args: &Arguments, statements: &[String], address: &HostPort) -> Result<Value, String> {
    let mut whole: Option<Value> = None;
    for batch in batches(statements) {
        let question = Question {
            statements: batch.to_vec(),
            database: args.database.clone(),
            user: args.user.clone(),
            in_transaction: args.in_transaction,
            read_preference: args.read_preference.clone(),
            consistency: args.consistency.clone(),
        };
        let body = question.document().to_string();
        let answer = http::post(address, "/explain", &body, args.api.timeout)?;
        if answer.status != 200 {
            let words = String::from_utf8_lossy(&answer.body).trim().to_string();
            return Err(format!("http://{address}/explain answered {}: {words}", answer.status));
        }
        let mut document: Value = serde_json::from_slice(&answer.body)
            .map_err(|_| format!("http://{address}/explain answered something that is not JSON"))?;
        let Some(verdicts) = document.get_mut("verdicts").and_then(Value::as_array_mut) else {
            return Err(format!("http://{address}/explain answered without `verdicts`: is this a pgherd?"));
        };
        match whole.as_mut().and_then(|whole| whole.get_mut("verdicts")).and_then(Value::as_array_mut) {
            Some(all) => all.append(verdicts),
            None => whole = Some(document),
        }
    }
    whole.ok_or_else(|| "there is nothing to explain".to_string())
}

fn batches(statements: &[String]) -> Vec<&[String]> {
    let (mut batches, mut from, mut size) = (Vec::new(), 0, 0);
    for (at, statement) in statements.iter().enumerate() {
        let length = Value::from(statement.as_str()).to_string().len() + 1;
        if at > from && (size + length > MAX_QUESTION || at - from == MAX_BATCH) {
            batches.push(&statements[from..at]);
            (from, size) = (at, 0);
        }
        size += length;
    }
    batches.push(&statements[from..]);
    batches
}

/// The same document without anybody to ask: no node is known, so the target is what the class allows.
fn offline(args: &Arguments, statements: &[String]) -> Value {
    let digest = Digest::new(0, []);
    let context = Context { in_transaction: args.in_transaction, ..Context::new(&digest) };
    let stays = args.in_transaction
        || args.read_preference.as_deref() == Some(Preference::Primary.word())
        || args.consistency.as_deref() == Some(Consistency::Strong.word());
    let one = |text: &String| {
        let verdict = classify(text.as_bytes(), &context);
        let (span, taint) = token(text.as_bytes(), verdict.at, true, &digest);
        let mut told = tell(text, &verdict, span, taint, &digest);
        let strong = stays || verdict.hint.consistency == Some(Consistency::Strong);
        let leaves = verdict.class.may_leave_primary() && !strong;
        (told.target, told.reason) = (if leaves { "replica" } else { "primary" }, "offline");
        told.reason_why = "by the text alone; no node was looked at".to_string();
        told
    };
    let explanation = Explanation {
        database: args.database.clone().unwrap_or_default(),
        user: args.user.clone().unwrap_or_default(),
        catalog: Catalog { loaded: true, ..Catalog::default() },
        verdicts: statements.iter().map(one).collect(),
    };
    let mut document = explanation.document();
    if let Some(object) = document.as_object_mut() {
        object.insert("offline".to_string(), true.into());
    }
    document
}

fn verdicts(document: &Value) -> impl Iterator<Item = &Value> {
    document.get("verdicts").and_then(Value::as_array).into_iter().flatten()
}

fn word<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn number(value: &Value, key: &str) -> usize {
    value.get(key).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok()).unwrap_or(0)
}

/// As `status`: 3 when what was said is not all that could be known, 4 when something has nowhere to go.
fn code(document: &Value) -> u8 {
    let loaded = document.get("catalog").and_then(|catalog| catalog.get("loaded")).and_then(Value::as_bool);
    match loaded == Some(true) {
        _ if verdicts(document).any(|verdict| word(verdict, "target") == "wait") => exit::NO_PRIMARY,
        true => 0,
        false => exit::DEGRADED,
    }
}

/// One line for each statement.
fn lines(document: &Value) -> String {
    verdicts(document)
        .map(|verdict| {
            let [class, rule, target] = ["class", "rule", "target"].map(|key| word(verdict, key));
            format!("{class}\t{rule}\t{}\t{target}\n", number(verdict, "at"))
        })
        .collect()
}

/// The answer for people.
fn answer(document: &Value, text: &str) -> String {
    let Some(verdict) = verdicts(document).next() else { return String::new() };
    let here = place(text, number(verdict, "at"), number(verdict, "end"));
    let mut out = format!("{}: {}\n\n", word(verdict, "class"), word(verdict, "means"));
    out.push_str(&format!("    {}\n    {}\n\n", here.shown, here.caret));
    let mut line = |name: &str, words: &str| out.push_str(&format!("{name:8}  {words}\n"));
    let (name, why) = (word(verdict, "rule"), word(verdict, "why"));
    line("rule", &format!("{why} ({name}, line {} column {})", here.line, here.column));
    let hint = verdict.get("hint").and_then(Value::as_object);
    let wishes: Vec<String> = hint
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    line("hint", if wishes.is_empty() { "none".into() } else { wishes.join(", ") }.as_str());
    line("catalog", &catalog(document));
    let node = verdict.get("node").and_then(Value::as_str).unwrap_or_else(|| word(verdict, "target"));
    line("goes to", &format!("{node} ({}): {}", word(verdict, "reason"), word(verdict, "reason_why")));
    let nodes = verdict.get("nodes").and_then(Value::as_array);
    for (at, node) in nodes.into_iter().flatten().enumerate() {
        let mark = if node.get("eligible").and_then(Value::as_bool) == Some(true) { "+" } else { "-" };
        let name = if at == 0 { "nodes" } else { "" };
        line(name, &format!("{mark} {}: {}", word(node, "name"), word(node, "why")));
    }
    out
}

fn catalog(document: &Value) -> String {
    let Some(catalog) = document.get("catalog") else { return "unknown".into() };
    let whose = format!("{} for {}", word(document, "database"), word(document, "user"));
    if document.get("offline").is_some() {
        return "not asked (--offline)".into();
    }
    if catalog.get("loaded").and_then(Value::as_bool) != Some(true) {
        let why = word(catalog, "trouble");
        let why = if why.is_empty() { "it is still being read" } else { why };
        return format!("{whose}: not read ({why}), so all goes to the primary");
    }
    let off = match word(catalog, "splitting_off") {
        "" => String::new(),
        why => format!("; splitting is off: {why}"),
    };
    format!("{whose}: read, number {}, {} names{off}", number(catalog, "epoch"), number(catalog, "names"))
}

#[cfg(test)]
#[path = "explain_tests.rs"]
mod tests;
