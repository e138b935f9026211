//! Rows that need a session, played through pgherd and directly on the primary, and where their last unit ran.

use crate::ground::{Ground, TWIN, statements};
use crate::story::{Burst, Story};
use crate::table::Case;
use pgherd_tests::raw::{Event, Raw, column, frame, sqlstate, tags};
use pgherd_tests::stand::{PASSWORD, USER};
use std::collections::BTreeMap;
use std::time::Duration;

/// Ends a transaction that a row left open.
const END: &str = "COMMIT";
/// Shows where the session's transaction is, or its next one.
const PROBE: &str = "SELECT id FROM t2 WHERE id = 7";
/// Shows settings that a row may have changed, on whatever server the session gets.
const STATE: &str = "SELECT current_setting('work_mem'), current_setting('search_path')";

/// Rows that change a transaction's modes, which nobody can once it has its snapshot.
const MODES: [&str; 2] = ["ro-ro-018", "ro-ro-019"];

/// Rows whose answer no two servers give alike: the name of a snapshot, times.
const VARYING: [&str; 2] = ["ro-ro-016", "se-seq-011"];

/// What came of a row.
struct Played {
    /// The answers to each burst, to the probe if there was one, and to what ended the transaction.
    answers: Vec<Vec<Event>>,
    /// What `SHOW pgherd.why` said afterwards, or the SQLSTATE of its refusal.
    why: String,
}

/// Where the last unit was seen to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Primary,
    Replica,
    Both,
    Nowhere,
}

/// What the primary and the replica were sent, by session.
type Logs = [BTreeMap<String, Vec<String>>; 2];

/// What a row was found to be.
#[derive(Default)]
pub(crate) struct Score {
    pub(crate) rows: BTreeMap<&'static str, usize>,
    /// Ways to play rows that may leave the primary.
    pub(crate) movable: usize,
    /// Those of them that stayed on it.
    pub(crate) lost: Vec<(&'static str, String)>,
    /// Sessions that keep a server for which the table sees no reason.
    pub(crate) careful: Vec<String>,
    /// What changes a transaction's modes when it has its snapshot already: the replica refuses it as the primary would.
    pub(crate) stayed: Vec<String>,
    /// What must not be.
    pub(crate) faults: Vec<String>,
}

/// Plays all rows, then reads in the servers' logs what ran where.
pub(crate) async fn run(ground: &Ground, cases: &[Case]) -> Score {
    let mut score = Score::default();
    let mut played = Vec::new();
    for case in cases {
        *score.rows.entry(&case.id[..2]).or_default() += 1;
        for story in Story::all(case) {
            // Rows that change the catalog keep those after them on the primary until it was read again.
            ground.read_catalog().await;
            let found = play(ground.front.ports().any, USER, &story.name, &story);
            let wanted = play(ground.lab.primary().port(), TWIN, "direct", &story);
            let may_differ = VARYING.contains(&case.id) || (story.is_on_replica() && is_primarys(case));
            let fault = difference(&found, &wanted).filter(|_| !may_differ);
            score.faults.extend(fault.map(|fault| format!("{} {:?}: {fault}", story.name, case.text)));
            played.push((story, found));
        }
    }
    let logs = [ground.lab.primary(), &ground.lab.replicas()[0]].map(statements);
    for (story, found) in &played {
        judge(story, found, &logs, &mut score);
    }
    score
}

fn play(port: u16, database: &str, name: &str, story: &Story<'_>) -> Played {
    let settings = [("user", USER), ("database", database), ("application_name", name)];
    let mut raw = Raw::connect(port, &settings, PASSWORD).expect("a connection");
    assert!(raw.is_in(), "{}: {:?}", story.name, raw.login);
    raw.patience = Duration::from_secs(20);
    let mut answers: Vec<_> = story.before.iter().map(|burst| send(&mut raw, burst)).collect();
    answers.push(send(&mut raw, &story.last));
    if needs_probe(story.case) {
        answers.push(raw.query(PROBE));
    }
    if !is_idle(answers.last().expect("an answer")) {
        answers.push(raw.query(END));
    }
    let why = match database {
        TWIN => String::new(),
        _ => {
            let answer = raw.query("SHOW pgherd.why");
            column(&answer).pop().unwrap_or_else(|| sqlstate(&answer))
        }
    };
    answers.push(raw.query(STATE));
    let _ = raw.send(&frame(b'X', b""));
    Played { answers, why }
}

fn is_primarys(case: &Case) -> bool {
    matches!(case.class, "write" | "pin")
}

/// The row itself runs nothing that shows where it is.
fn needs_probe(case: &Case) -> bool {
    case.class.starts_with("txn-")
}

fn send(raw: &mut Raw, burst: &Burst) -> Vec<Event> {
    let mut events = Vec::new();
    for piece in &burst.pieces {
        raw.send(&piece.bytes).expect("a request");
        let mut open = piece.flushed;
        while open > 0 {
            let event = raw.receive();
            match &event {
                Event::Message(message) => match message.tag {
                    b'C' | b's' | b'I' => open -= 1,
                    b'E' => open = 0,
                    _ => {}
                },
                Event::Closed | Event::Silent => open = 0,
            }
            events.push(event);
        }
    }
    for _ in 0..burst.ready {
        events.extend(raw.until_ready());
    }
    events
}

fn is_idle(events: &[Event]) -> bool {
    matches!(events.last(), Some(Event::Message(message)) if message.tag == b'Z' && message.body == b"I")
}

/// The first difference between the answers.
fn difference(found: &Played, wanted: &Played) -> Option<String> {
    let pairs = found.answers.iter().zip(&wanted.answers).enumerate();
    let different = pairs.filter(|(_, (a, b))| essence(a) != essence(b));
    let told = different
        .map(|(at, (a, b))| format!("answer {at} is {:?}, the primary's own {:?}", essence(a), essence(b)));
    let count = (found.answers.len() != wanted.answers.len()).then(|| "another end".to_owned());
    told.chain(count).next()
}

/// The types of the messages, the SQLSTATE, the rows' first column, the tags of what was done and how the transaction stands; without
/// notices and reports, which may come at other times.
fn essence(events: &[Event]) -> (String, String, Vec<String>, Vec<String>) {
    let shape = tags(events).chars().filter(|tag| !matches!(tag, 'N' | 'S')).collect();
    let done = events.iter().filter_map(|event| match event {
        Event::Message(message) if matches!(message.tag, b'C' | b'Z') => {
            Some(String::from_utf8_lossy(&message.body).into_owned())
        }
        _ => None,
    });
    (shape, sqlstate(events), column(events), done.collect())
}

fn judge(story: &Story<'_>, found: &Played, logs: &Logs, score: &mut Score) {
    let (case, why) = (story.case, &found.why);
    let place = place(story, why, logs);
    let line = format!("{} {:?}: {place:?} ({why}), asked for {}", story.name, case.text, case.class);
    let told = [(Place::Primary, "node=pg1"), (Place::Replica, "node=pg2")];
    let is_told = told.iter().any(|(there, node)| *there == place && why.contains(node));
    // How a transaction was routed is told of it as a whole, and nothing is told where the server is kept.
    if why.starts_with("node=") && !is_told && place != Place::Nowhere {
        score.faults.push(format!("pgherd names another node: {line}"));
    }
    let texts: Vec<_> = story.before.iter().chain([&story.last]).flat_map(|burst| &burst.texts).collect();
    let left = logs[1].get(&story.name).is_some_and(|log| has_any(log, &texts));
    let held = why == "55000";
    let fault = match (&case.id[..2], case.class) {
        // The transaction goes to the primary, and keeps a server there if it must.
        _ if story.is_on_replica() && is_primarys(case) && !MODES.contains(&case.id) => {
            place != Place::Primary
        }
        _ if story.is_on_replica() && is_primarys(case) => {
            score.stayed.push(line);
            return;
        }
        // Wherever it may run afterwards.
        ("tx", _) if left => true,
        (_, "write") => place != Place::Primary,
        (_, "pin") => place != Place::Primary || !held,
        (_, "txn-begin-rw") => place != Place::Primary,
        _ => false,
    };
    if fault {
        score.faults.push(line);
    } else if matches!(case.class, "read" | "txn-begin-ro" | "txn-end") {
        score.movable += 1;
        score.lost.extend((place != Place::Replica).then_some((case.id, line)));
    } else if held && case.class != "pin" && !case.id.starts_with("se") {
        score.careful.push(line);
    }
}

/// By the servers' logs; for what was only prepared, which they do not show, by pgherd's own word.
fn place(story: &Story<'_>, why: &str, logs: &Logs) -> Place {
    let probe = PROBE.to_owned();
    let texts: Vec<_> = match needs_probe(story.case) {
        true => vec![&probe],
        false => story.last.texts.iter().collect(),
    };
    let seen = logs.each_ref().map(|log| log.get(&story.name).is_some_and(|log| has_any(log, &texts)));
    match seen {
        [true, false] => Place::Primary,
        [false, true] => Place::Replica,
        [true, true] => Place::Both,
        [false, false] if why.contains("node=pg1") => Place::Primary,
        [false, false] if why.contains("node=pg2") => Place::Replica,
        [false, false] => Place::Nowhere,
    }
}

/// One of the texts is in the log.
fn has_any(log: &[String], texts: &[&String]) -> bool {
    log.iter().any(|line| texts.iter().any(|text| as_sent(line).trim_end().ends_with(text.trim_end())))
}

/// With the name that the table gives to every statement of SQL's PREPARE, of which servers know another.
fn as_sent(line: &str) -> String {
    let mut pieces = line.split("pgherd_");
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |line, piece| line + "p" + piece.trim_start_matches(|c: char| c.is_ascii_digit()))
}
