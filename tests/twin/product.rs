//! Scripts that are a product: each pipeline of a table with each step of it going wrong, in each surrounding.
//!
//! They are texts in the notation of `script`, so one that fails can be read, cut down and kept.

/// A pipeline: its steps, each with what takes its place when it is to fail.
type Pipeline = (&'static str, &'static [(&'static str, &'static [&'static str])]);

/// Parse that fails in the grammar, and in the catalog.
const BAD_PARSE: [&str; 2] = ["P s1 | SELEC", "P s1 | SELECT nothing"];

const PIPELINES: [Pipeline; 9] = [
    (
        "named",
        &[
            ("P s1 | SELECT 10 / $1::int", &BAD_PARSE),
            ("D s s1", &["D s nothing"]),
            ("B - | s1 | 5", &["B - | s1 | x", "B - | s1 | 1 2", "B - | nothing | 5"]),
            ("D p -", &["D p nothing"]),
            ("E - 0", &["E nothing 0"]),
            ("C s s1", &["raw 43 00 00 00 06 51 00"]),
        ],
    ),
    (
        "unnamed",
        &[
            ("P - | SELECT 10 / $1::int", &["P - | SELEC", "P - | SELECT nothing"]),
            ("B - | - | 5", &["B - | - | 0", "B - | - | x"]),
            ("D p -", &["D p nothing"]),
            ("E - 0", &["E nothing 0"]),
        ],
    ),
    (
        "two statements",
        &[
            ("P s1 | SELECT 1", &BAD_PARSE),
            ("P s2 | SELECT 2", &["P s1 | SELECT 2", "P s2 | SELEC"]),
            ("B - | s2 | ", &["B - | nothing | "]),
            ("E - 0", &["E nothing 0"]),
            ("C s s1", &[]),
            ("B - | s2 | ", &["B - | s1 | "]),
            ("E - 0", &[]),
        ],
    ),
    (
        "portals",
        &[
            ("P s1 | SELECT id FROM item ORDER BY id", &BAD_PARSE),
            ("B p1 | s1 | ", &["B p1 | nothing | "]),
            ("B p2 | s1 | ", &["B p1 | s1 | "]),
            ("E p1 1", &["E nothing 1"]),
            ("E p2 2", &[]),
            ("C p p1", &[]),
            ("E p2 0", &["E p1 0"]),
        ],
    ),
    (
        "writes",
        &[
            ("P s1 | INSERT INTO item VALUES ($1, $2) RETURNING id", &BAD_PARSE),
            ("B - | s1 | 7 seven", &["B - | s1 | seven 7"]),
            ("E - 0", &[]),
            ("B - | s1 | 8 eight", &["B - | s1 | 7 again"]),
            ("E - 0", &[]),
            ("P - | SELECT count(*) FROM item", &["P - | SELECT count(*) FROM items"]),
            ("B - | - | ", &["B - | - | 1"]),
            ("E - 0", &[]),
        ],
    ),
    (
        "settings",
        &[
            ("P - | SET application_name TO 'piped'", &["P - | SET nothing TO 1"]),
            ("B - | - | ", &["B - | - | 1"]),
            ("E - 0", &["E nothing 0"]),
            ("P s1 | SHOW application_name", &BAD_PARSE),
            ("B - | s1 | ", &["B - | s1 | 1"]),
            ("E - 0", &[]),
        ],
    ),
    (
        "flushed",
        &[
            ("P s1 | SELECT $1::text", &BAD_PARSE),
            ("h", &[]),
            ("B - | s1 | x", &["B - | s1 | "]),
            ("h", &[]),
            ("E - 0", &["E nothing 0"]),
            ("h", &[]),
        ],
    ),
    (
        "replaced",
        &[
            ("P - | SELECT 'first'", &["P - | SELEC"]),
            ("P s1 | SELECT 'named'", &BAD_PARSE),
            ("C s s1", &[]),
            ("P s1 | SELECT 'renamed'", &BAD_PARSE),
            ("P - | SELECT 'second'", &["P - | SELECT nothing"]),
            ("B - | - | ", &["B - | nothing | "]),
            ("E - 0", &[]),
            ("B p1 | s1 | ", &["B p1 | s1 | 1"]),
            ("E p1 0", &["E - 7"]),
        ],
    ),
    (
        "a block",
        &[
            ("P - | BEGIN", &["P - | BEGI"]),
            ("B - | - | ", &["B - | - | 1"]),
            ("E - 0", &[]),
            ("P s1 | SELECT 1", &BAD_PARSE),
            ("B - | s1 | ", &["B - | nothing | "]),
            ("E - 0", &["E nothing 0"]),
            ("P - | COMMIT", &["P - | COMMI"]),
            ("B - | - | ", &[]),
            ("E - 0", &[]),
        ],
    ),
];

/// What stands before a pipeline.
const SURROUNDINGS: [(&str, &str); 8] = [
    ("alone", ""),
    ("where the names are taken", "P s1 | SELECT 'old', $1::int\nP - | SELECT 'old unnamed'\nS\n"),
    ("in a block that begins", "Q BEGIN\n"),
    ("in a block", "Q BEGIN\nQ SELECT 1\n"),
    ("in a failed block", "P s1 | SELECT 'old', $1::int\nS\nQ BEGIN\nQ SELECT 1/0\n"),
    ("behind a savepoint", "Q BEGIN; SAVEPOINT a\n"),
    ("behind a pipelined block", "q BEGIN\nq SELECT 1\n<\n<\n"),
    ("behind a failed batch", "B - | nothing | \ns\n<\n"),
];

/// What is left of names, settings and the block afterwards.
const LOOK: &str = "D s s1\nS\nB - | s1 | \nE - 0\nS\nB - | s1 | 3\nE - 0\nS\nD s s2\nS\nB - | - | \nE - 0\nS\nE p1 0\nS\n\
    Q ROLLBACK TO a\nQ COMMIT\nB - | s1 | 4\nE - 0\nS\nQ SHOW application_name\nQ SELECT count(*) FROM item\n";

/// All of them: title and script.
pub(crate) fn products() -> String {
    let mut out = String::new();
    for (pipeline, steps) in PIPELINES {
        let wrong = |at: usize| steps[at].1.iter().map(move |bad| Some((at, *bad)));
        let cases = std::iter::once(None).chain((0..steps.len()).flat_map(wrong));
        for (number, case) in cases.enumerate() {
            // Every case in two surroundings, every surrounding with every pipeline.
            for turn in 0..2 {
                let (surrounding, before) = SURROUNDINGS[(number * 2 + turn) % SURROUNDINGS.len()];
                out.push_str(&script(pipeline, steps, case, surrounding, before));
            }
        }
    }
    out
}

fn script(
    pipeline: &str,
    steps: &[(&str, &[&str])],
    case: Option<(usize, &str)>,
    surrounding: &str,
    before: &str,
) -> String {
    let failing = case.map_or("all well".to_owned(), |(at, bad)| format!("step {at} is {bad}"));
    let mut out = format!("== {pipeline} {surrounding}, {failing}\n{before}");
    for (at, (step, _)) in steps.iter().enumerate() {
        let step = case.filter(|(wrong, _)| *wrong == at).map_or(*step, |(_, bad)| bad);
        out.push_str(step);
        out.push('\n');
    }
    out + "S\n" + LOOK
}
