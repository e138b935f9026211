//! What was typed, understood. PgBouncer's grammar and a little more: comments, several statements in one text, and what
//! drivers say without being asked. Any text has an answer.

use crate::console::act::{Act, Shutdown};
use crate::console::cell::{Cell, Kind as Type};
use crate::console::complete::{Completion, completion};
use crate::console::show::{Column, Show};
use pgherd_sql::lexer::Lexer;
use pgherd_sql::token::{Kind, Token};

/// Statements in one text.
pub const MAX_STATEMENTS: usize = 64;

/// Tokens of a statement that are looked at; nothing the console knows is as long.
const MAX_TOKENS: usize = 64;

/// One statement, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Nothing but white space.
    Empty,
    /// A table.
    Show(Show),
    /// One value in one row: what drivers ask of a server.
    Value(Column, Cell),
    /// What psql asks when TAB is pressed.
    Complete(Completion),
    /// BEGIN and its like: the status afterwards, and the words of its completion.
    Block(Block),
    /// Said to no effect, because there is nothing it could change here; the words of its completion.
    Idle(&'static str),
    /// SET of something a session has on a server and not here; PgBouncer answers with a notice.
    Ignored,
    /// Something is to be done; only admin users may.
    Act(Act),
    /// Not a command of the console.
    Unknown,
}

/// What a transaction statement does to the block. Nothing is undone by ROLLBACK: commands hold at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// BEGIN, START TRANSACTION.
    Begin,
    /// COMMIT, END.
    Commit,
    /// ROLLBACK, ABORT.
    Rollback,
}

impl Block {
    /// The words of its completion.
    pub fn tag(self) -> &'static str {
        match self {
            Block::Begin => "BEGIN",
            Block::Commit => "COMMIT",
            Block::Rollback => "ROLLBACK",
        }
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    /// Authenticated user.
    pub user: &'a str,
    /// Database as the client asked for it.
    pub database: &'a str,
    /// What `SHOW VERSION` says to this client.
    pub version: &'a str,
}

/// Settings of a session that drivers set and show although they need not: name and value. PgBouncer's list and more.
const SESSION: &[(&str, &str)] = &[
    ("client_encoding", "UTF8"),
    ("default_transaction_isolation", "read committed"),
    ("standard_conforming_strings", "on"),
    ("datestyle", "ISO"),
    ("timezone", "GMT"),
    ("extra_float_digits", "2"),
    ("application_name", ""),
    ("bytea_output", "hex"),
    ("client_min_messages", "notice"),
    ("default_transaction_read_only", "off"),
    ("idle_in_transaction_session_timeout", "0"),
    ("intervalstyle", "postgres"),
    ("lock_timeout", "0"),
    ("search_path", "public"),
    ("server_version", "1.25.0/bouncer"),
    ("server_version_num", "0"),
    ("session_authorization", ""),
    ("statement_timeout", "0"),
    ("transaction_isolation", "read committed"),
    ("transaction_read_only", "off"),
];

/// Splits a text at its semicolons; white space alone between two of them is no statement. `None` when there are too many.
pub fn split(text: &str) -> Option<Vec<&str>> {
    let bytes = text.as_bytes();
    let (mut parts, mut from, mut filled) = (Vec::new(), 0, false);
    for token in Lexer::new(bytes, true) {
        match token.kind {
            Kind::Semicolon => {
                if filled {
                    parts.push(text.get(from..token.start)?);
                }
                (from, filled) = (token.end, false);
            }
            _ => filled = true,
        }
        if parts.len() > MAX_STATEMENTS {
            return None;
        }
    }
    if filled {
        parts.push(text.get(from..)?);
    }
    Some(parts)
}

/// Understands one statement.
pub fn parse(text: &str, asking: Asking<'_>) -> Command {
    let tokens: Vec<Token> = Lexer::new(text.as_bytes(), true)
        .filter(|token| token.kind != Kind::Semicolon)
        .take(MAX_TOKENS)
        .collect();
    let reader = Reader { text, tokens: &tokens };
    let Some(first) = reader.word(0) else {
        return if tokens.is_empty() { Command::Empty } else { Command::Unknown };
    };
    match first.to_ascii_lowercase().as_str() {
        "show" => reader.show(asking),
        "select" => reader.select(asking),
        "set" => reader.set(),
        word => reader.act(word).or_else(|| reader.usual(word)).unwrap_or(Command::Unknown),
    }
}

struct Reader<'a> {
    text: &'a str,
    tokens: &'a [Token],
}

impl<'a> Reader<'a> {
    fn slice(&self, token: Token) -> &'a str {
        self.text.get(token.start..token.end).unwrap_or_default()
    }

    /// The unquoted word at this place.
    fn word(&self, at: usize) -> Option<&'a str> {
        self.tokens.get(at).filter(|token| token.kind == Kind::Word).map(|token| self.slice(*token))
    }

    /// The name or number at this place, its quotes removed; PgBouncer folds no case.
    fn argument(&self, at: usize) -> Option<String> {
        let token = *self.tokens.get(at)?;
        let text = self.slice(token);
        match token.kind {
            Kind::Word | Kind::Number => Some(text.to_owned()),
            Kind::Quoted => text.get(1..text.len() - 1).map(|inside| inside.replace("\"\"", "\"")),
            _ => None,
        }
    }

    /// All words in lower case, one blank between two of them, brackets included; for short statements.
    fn plain(&self) -> String {
        let words: Vec<String> =
            self.tokens.iter().take(8).map(|token| self.slice(*token).to_ascii_lowercase()).collect();
        words.join(" ")
    }

    fn show(&self, asking: Asking<'_>) -> Command {
        let session = |name: &str| {
            let known = SESSION.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
            known.map(|(name, value)| one(name, Cell::text(*value)))
        };
        match (self.tokens.len(), self.argument(1)) {
            (2, Some(name)) => {
                Show::find(&name).map(Command::Show).or_else(|| session(&name)).unwrap_or(Command::Unknown)
            }
            _ => match self.plain().as_str() {
                "show time zone" => one("TimeZone", Cell::text("GMT")),
                "show transaction isolation level" => {
                    one("transaction_isolation", Cell::text("read committed"))
                }
                "show session authorization" => {
                    one("session_authorization", Cell::text(asking.user.to_owned()))
                }
                _ => Command::Unknown,
            },
        }
    }

    fn select(&self, asking: Asking<'_>) -> Command {
        // PgBouncer takes `SELECT pools` for `SHOW pools`.
        if let (2, Some(name)) = (self.tokens.len(), self.argument(1))
            && let Some(show) = Show::find(&name)
        {
            return Command::Show(show);
        }
        let text = |text: &str| Cell::text(text.to_owned());
        match self.plain().as_str() {
            "select 1" => Command::Value(Column { name: "?column?", kind: Type::Int4 }, Cell::Number(1)),
            "select version ( )" | "select pg_catalog . version ( )" => one("version", text(asking.version)),
            "select current_database ( )" | "select pg_catalog . current_database ( )" => {
                one("current_database", text(asking.database))
            }
            "select current_user" => one("current_user", text(asking.user)),
            "select session_user" => one("session_user", text(asking.user)),
            "select current_schema ( )" | "select current_schema" => one("current_schema", text("public")),
            "select pg_is_in_recovery ( )" => one("pg_is_in_recovery", text("f")),
            "select pg_advisory_unlock_all ( )" => one("pg_advisory_unlock_all", text("")),
            _ => completion(self.text).map_or(Command::Unknown, Command::Complete),
        }
    }

    /// `SET [SESSION | LOCAL] key {= | TO} value`, `SET TIME ZONE`, `SET NAMES`, `SET SESSION CHARACTERISTICS`,
    /// `SET TRANSACTION`.
    fn set(&self) -> Command {
        let lower = |at| self.word(at).map(str::to_ascii_lowercase).unwrap_or_default();
        let mut at = 1;
        match (lower(1).as_str(), lower(2).as_str()) {
            ("time", "zone") | ("session", "characteristics") => return Command::Ignored,
            ("names" | "transaction", _) if self.tokens.len() > 2 => return Command::Ignored,
            ("session" | "local", _) if self.argument(2).is_some() => at = 2,
            _ => {}
        }
        let Some(mut key) = self.argument(at) else { return Command::Unknown };
        at += 1;
        while let (Some(Kind::Dot), Some(part)) =
            (self.tokens.get(at).map(|token| token.kind), self.argument(at + 1))
        {
            key = format!("{key}.{part}");
            at += 2;
        }
        let is_sign = lower(at) == "to" || self.tokens.get(at).is_some_and(|token| self.slice(*token) == "=");
        let Some(value) = self.value(at + 1).filter(|_| is_sign) else { return Command::Unknown };
        if SESSION.iter().any(|(known, _)| known.eq_ignore_ascii_case(&key)) {
            return Command::Ignored;
        }
        Command::Act(Act::Set(key, value))
    }

    /// All that stands from this place to the end: a string without its quotes, or the text as it is.
    fn value(&self, at: usize) -> Option<String> {
        let first = *self.tokens.get(at)?;
        let text = self.text.get(first.start..)?.trim().trim_end_matches(';').trim_end();
        if self.tokens.len() == at + 1 && matches!(first.kind, Kind::String | Kind::Quoted) {
            let quote = text.get(..1)?;
            return text.get(1..text.len() - 1).map(|inside| inside.replace(&quote.repeat(2), quote));
        }
        Some(text.to_owned())
    }

    /// `SWITCHOVER [TO node]`, `FAILOVER [TO node] [ALLOW DATA LOSS]`.
    fn change(&self, word: &str) -> Option<Command> {
        let is =
            |at: usize, wanted: &str| self.word(at).is_some_and(|word| word.eq_ignore_ascii_case(wanted));
        let (to, at) = match is(1, "to") {
            true => (Some(self.argument(2)?), 3),
            false => (None, 1),
        };
        let allow_loss = is(at, "allow") && is(at + 1, "data") && is(at + 2, "loss");
        let end = if allow_loss { at + 3 } else { at };
        let act = match word {
            "switchover" if !allow_loss => Act::Switchover(to),
            "failover" => Act::Failover { to, allow_loss },
            _ => return None,
        };
        (self.tokens.len() == end).then_some(Command::Act(act))
    }

    fn act(&self, word: &str) -> Option<Command> {
        if matches!(word, "switchover" | "failover") {
            return self.change(word);
        }
        let argument = match self.tokens.len() {
            1 => None,
            2 => Some(self.argument(1)?),
            _ => return None,
        };
        let act = match (word, argument) {
            ("pause", database) => Act::Pause(database),
            ("resume", database) => Act::Resume(database),
            ("disable", Some(database)) => Act::Disable(database),
            ("enable", Some(database)) => Act::Enable(database),
            ("reconnect", database) => Act::Reconnect(database),
            ("kill", database) => Act::Kill(database),
            ("kill_client", Some(id)) => Act::KillClient(id.parse().ok()?),
            ("wait_close", database) => Act::WaitClose(database),
            ("suspend", None) => Act::Suspend,
            ("reload", None) => Act::Reload,
            ("shutdown", None) => Act::Shutdown(Shutdown::Immediate),
            ("shutdown", Some(how)) if how.eq_ignore_ascii_case("wait_for_servers") => {
                Act::Shutdown(Shutdown::WaitForServers)
            }
            ("shutdown", Some(how)) if how.eq_ignore_ascii_case("wait_for_clients") => {
                Act::Shutdown(Shutdown::WaitForClients)
            }
            _ => return None,
        };
        Some(Command::Act(act))
    }

    /// What drivers and pools of connections say to any server.
    fn usual(&self, word: &str) -> Option<Command> {
        Some(match word {
            "begin" => Command::Block(Block::Begin),
            "start" if self.word(1)?.eq_ignore_ascii_case("transaction") => Command::Block(Block::Begin),
            "commit" | "end" => Command::Block(Block::Commit),
            "rollback" | "abort" if self.tokens.len() < 3 => Command::Block(Block::Rollback),
            "reset" => Command::Idle("RESET"),
            "discard" if self.tokens.len() == 2 => Command::Idle("DISCARD ALL"),
            "deallocate" => Command::Idle("DEALLOCATE"),
            "unlisten" => Command::Idle("UNLISTEN"),
            "close" => Command::Idle("CLOSE CURSOR"),
            _ => return None,
        })
    }
}

fn one(name: &'static str, cell: Cell) -> Command {
    Command::Value(Column { name, kind: Type::Text }, cell)
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
