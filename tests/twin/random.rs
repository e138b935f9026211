//! Scripts made by chance, each from a seed that stands in its title.
//!
//! `TWIN_SEEDS=a..b` plays those seeds and nothing else.
use crate::chance::Chance;
use std::fmt::Write as _;
use std::ops::Range;

/// Seeds that are always played.
const ALWAYS: Range<u64> = 0..160;

/// Statements with the number of their parameters.
const TEXTS: [(&str, u64); 26] = [
    ("SELECT id, name FROM item ORDER BY id", 0),
    ("SELECT id, name FROM item ORDER BY id", 0),
    ("SELECT $1::int + 1", 1),
    ("SELECT $1::int + 1", 1),
    ("SELECT 10 / $1::int", 1),
    ("SELECT $1::int, $2::text", 2),
    ("SELECT say('x')", 0),
    ("SELECT generate_series(1, $1::int)", 1),
    ("INSERT INTO item VALUES ($1::int, 'new')", 1),
    ("SELECT nothing", 0),
    ("SELEC", 0),
    ("SELECT 1/0", 0),
    ("SELECT 1; SELECT 2", 0),
    ("BEGIN", 0),
    ("BEGIN ISOLATION LEVEL REPEATABLE READ", 0),
    ("COMMIT", 0),
    ("ROLLBACK", 0),
    ("SAVEPOINT a", 0),
    ("ROLLBACK TO a", 0),
    ("RELEASE a", 0),
    ("SET application_name TO 'one'", 0),
    ("SET application_name TO 'two'", 0),
    ("SET LOCAL application_name TO 'three'", 0),
    ("RESET application_name", 0),
    ("SHOW application_name", 0),
    ("DECLARE c CURSOR FOR SELECT id FROM item ORDER BY id", 0),
];

/// Texts of simple queries besides.
const QUERIES: [&str; 14] = [
    "SELECT 1; SELECT 2",
    "SELECT 1; SELECT 1/0; SELECT 3",
    "BEGIN; SET application_name TO 'four'; COMMIT",
    "BEGIN; SET application_name TO 'five'; ROLLBACK",
    "SET application_name TO 'six'; SELECT 1/0",
    "COMMIT; SHOW application_name",
    "ROLLBACK; BEGIN",
    "BEGIN; SELECT 1; COMMIT; SELECT 2",
    "FETCH 1 FROM c",
    "CLOSE c",
    "COPY item TO STDOUT",
    "DISCARD PLANS",
    "COMMIT AND CHAIN",
    "SELECT set_config('application_name', 'seven', false)",
];

const NAMES: [&str; 3] = ["-", "s1", "s2"];
const PORTALS: [&str; 4] = ["-", "-", "p1", "p2"];

/// The seeds' scripts, in the notation of `script`.
pub(crate) fn scripts() -> String {
    let named = std::env::var("TWIN_SEEDS").ok();
    let range = named.as_deref().map_or(ALWAYS, |text| {
        let (from, to) = text.split_once("..").expect("TWIN_SEEDS=a..b");
        from.parse().expect("a seed")..to.parse().expect("a seed")
    });
    range.map(script).collect()
}

fn script(seed: u64) -> String {
    let mut chance = Chance::new(seed);
    // Only extended messages: then each Sync is answered, and the unnamed statement lives.
    let pure = chance.once_in(2);
    let mut out = format!("== seed {seed}\n");
    for _ in 0..chance.up_to(4) {
        let mut syncs = 0;
        for _ in 0..chance.up_to(9) {
            syncs += message(&mut chance, &mut out, pure);
        }
        if pure {
            out.push_str("s\n");
            out.push_str(&"<\n".repeat(syncs + 1));
        } else {
            out.push_str("f end\ns\nq \n< empty\n");
        }
    }
    if pure {
        out.push_str("Q ROLLBACK\nQ SHOW application_name\n");
    }
    out
}

/// Writes one; how many Syncs it holds.
fn message(chance: &mut Chance, out: &mut String, pure: bool) -> usize {
    let (name, portal) = (chance.pick(&NAMES), chance.pick(&PORTALS));
    let (text, parameters) = chance.pick(&TEXTS);
    let values = |chance: &mut Chance, count: u64| {
        let count = if chance.once_in(12) { count + 1 } else { count };
        (0..count).map(|_| chance.pick(&["1", "2", "77", "0", "NULL", "x"])).collect::<Vec<_>>().join(" ")
    };
    let written = match chance.up_to(if pure { 20 } else { 27 }) {
        1..=3 => writeln!(out, "P {name} | {text}"),
        4..=9 => {
            // What a driver does: all four.
            let values = values(chance, parameters);
            let rows = chance.pick(&[0, 0, 0, 1, 2]);
            writeln!(
                out,
                "P {name} | {text}\nB {portal} | {name} | {values}\nD p {portal}\nE {portal} {rows}"
            )
        }
        10..=12 => {
            let count = chance.pick(&[0, 0, 1, 1, 2]);
            let values = values(chance, count);
            writeln!(out, "B {portal} | {name} | {values}\nE {portal} 0")
        }
        13..=14 => writeln!(out, "E {portal} {}", chance.pick(&[0, 1])),
        15 => {
            writeln!(out, "D {} {}", chance.pick(&["s", "p"]), if chance.once_in(2) { name } else { portal })
        }
        16..=17 => {
            writeln!(out, "C {} {}", chance.pick(&["s", "p"]), if chance.once_in(2) { name } else { portal })
        }
        18 => writeln!(out, "h"),
        19..=20 => {
            out.push_str("s\n");
            return 1;
        }
        21..=22 if parameters == 0 => writeln!(out, "q {text}"),
        21..=24 => writeln!(out, "q {}", chance.pick(&QUERIES)),
        25 => writeln!(out, "F 1397 | {}", chance.pick(&["-3", "x"])),
        26 => writeln!(out, "q COPY item FROM STDIN\nd {}\\x09c\\n\nc", 100 + chance.up_to(2)),
        _ => writeln!(out, "P - | COPY item FROM STDIN\nB - | - | \nE - 0\nd 200\\x09c\\n\nc\ns"),
    };
    written.expect("a String takes all");
    0
}
