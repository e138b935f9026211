//! `pgherd status`: one sentence, one table, the reasons below it, and an exit code that says the same.

use crate::cli::cluster::{HEAD, Member, READS, RIGHT, sentence, text, warnings};
use crate::cli::output::{Paint, Talk, data, say};
use crate::cli::{Format, StatusArgs, exit, http, table, target};
use crate::config::settings::front::HostPort;
use serde_json::Value;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Version of the JSON shape printed with `-o json`.
const SHAPE: &str = "pgherd.status/1";
/// Width below which all notes stand on one line.
const NOTES_WIDTH: usize = 140;

/// Asks once, or again and again with `--watch`.
pub fn run(args: &StatusArgs, talk: &Talk) -> ExitCode {
    let Some(pause) = args.watch else { return once(args, talk) };
    let clears = std::io::stdout().is_terminal() && args.output == Format::Table;
    loop {
        if clears {
            data("\x1b[H\x1b[2J");
        }
        // While watching, a server that is away is waited for: that is when people watch.
        let _ = once(args, talk);
        std::thread::sleep(Duration::from_secs(pause));
    }
}

fn once(args: &StatusArgs, talk: &Talk) -> ExitCode {
    let address = match target::choose(&args.api, talk) {
        Ok(address) => address,
        Err(lost) => return lost.say(exit::UNAVAILABLE),
    };
    let cluster = match fetch(args, &address) {
        Ok(cluster) => cluster,
        Err(why) => {
            say(&format!("pgherd: {why}"));
            return ExitCode::from(exit::UNAVAILABLE);
        }
    };
    let members = members(&cluster);
    let health = Health::of(&cluster, &members);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    match args.output {
        Format::Table => {
            let first = talk.paint(health.paint(), &sentence(&cluster, &members, now));
            data(&format!("{first}\n{}{}", body(&members), warnings(&members)));
        }
        Format::Json => data(&format!("{:#}\n", json(cluster, health))),
        Format::Tsv => data(&tsv(&members)),
    }
    ExitCode::from(health.code())
}

fn fetch(args: &StatusArgs, address: &HostPort) -> Result<Value, String> {
    let answer = http::get(address, "/cluster", args.api.timeout)?;
    if answer.status != 200 {
        return Err(format!("http://{address}/cluster answered {}", answer.status));
    }
    let cluster: Value = serde_json::from_slice(&answer.body)
        .map_err(|_| format!("http://{address}/cluster answered something that is not JSON"))?;
    if cluster.get("members").is_none_or(|members| !members.is_array()) {
        return Err(format!("http://{address}/cluster answered without `members`: is this a pgherd?"));
    }
    Ok(cluster)
}

fn members(cluster: &Value) -> Vec<Member> {
    let members = cluster.get("members").and_then(Value::as_array).into_iter().flatten();
    members.map(|member| Member::read(member, cluster)).collect()
}

/// How the cluster is, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    NoPrimary,
    Degraded,
    Healthy,
}

impl Health {
    fn of(cluster: &Value, members: &[Member]) -> Health {
        let facts = cluster.get("sentence_facts");
        // Facts that are there decide: a leader in the list may be one whose route is closed.
        let primary = match facts.and_then(|facts| facts.get("primary")) {
            Some(_) => facts.and_then(|facts| text(facts, "primary")).is_some(),
            None => members.iter().any(|member| member.leader && member.runs),
        };
        if !primary {
            return Health::NoPrimary;
        }
        match members.iter().all(|member| member.runs && (member.leader || member.reads)) {
            true => Health::Healthy,
            false => Health::Degraded,
        }
    }

    fn code(self) -> u8 {
        match self {
            Health::Healthy => 0,
            Health::Degraded => exit::DEGRADED,
            Health::NoPrimary => exit::NO_PRIMARY,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Health::Healthy => "healthy",
            Health::Degraded => "degraded",
            Health::NoPrimary => "no primary",
        }
    }

    fn paint(self) -> Paint {
        match self {
            Health::Healthy => Paint::Green,
            Health::Degraded => Paint::Yellow,
            Health::NoPrimary => Paint::Red,
        }
    }
}

/// The table, with numbered notes behind every "no".
fn body(members: &[Member]) -> String {
    let mut notes: Vec<String> = Vec::new();
    let mut rows = Vec::new();
    for member in members {
        let mut cells = member.cells.clone();
        for (column, note) in [(READS, &member.read_note), (READS + 1, &member.failover_note)] {
            let Some(note) = note else { continue };
            let number = match notes.iter().position(|other| other == note) {
                Some(at) => at + 1,
                None => {
                    notes.push(note.clone());
                    notes.len()
                }
            };
            cells[column].push_str(&format!(" ({number})"));
        }
        rows.push(cells);
    }
    let mut out = table::render(&HEAD, &RIGHT, &rows);
    let notes: Vec<String> =
        notes.iter().enumerate().map(|(at, note)| format!("({}) {note}", at + 1)).collect();
    let line = notes.join("   ");
    if line.chars().count() > NOTES_WIDTH {
        out.push_str(&notes.join("\n"));
    } else {
        out.push_str(&line);
    }
    if !notes.is_empty() {
        out.push('\n');
    }
    out
}

fn json(mut cluster: Value, health: Health) -> Value {
    if let Some(object) = cluster.as_object_mut() {
        object.insert("shape".to_string(), Value::from(SHAPE));
        object.insert("health".to_string(), Value::from(health.word()));
    }
    cluster
}

fn tsv(members: &[Member]) -> String {
    // Both columns "Lag" need names of their own here.
    let mut out = String::from(
        "member\thost\trole\tstate\ttimeline\treceive_lsn\treceive_lag\treplay_lsn\treplay_lag\tread\tfailover\t\
         connections\tcheck\tread_reason\tfailover_reason\n",
    );
    for member in members {
        let notes = [&member.read_note, &member.failover_note].map(|note| note.clone().unwrap_or_default());
        let cells: Vec<&str> = member.cells.iter().chain(&notes).map(String::as_str).collect();
        out.push_str(&cells.join("\t"));
        out.push('\n');
    }
    out
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
