//! The conformance table: what each text is, against the catalog of a database with traps (`tests/routing`).

use pgherd_route::classify::{Context, classify, combine};
use pgherd_route::digest::{Digest, Row};
use pgherd_route::verdict::{Class, Verdict};

const CASES: &str = include_str!("../../../tests/routing/cases.tsv");
const MORE: &str = include_str!("../../../tests/routing/more_cases.tsv");
const DIGEST: &str = include_str!("../../../tests/routing/digest.tsv");

/// Of the rows that are reads, at most so many in a hundred may go to the primary.
const MAX_LOST_PERCENT: usize = 3;

struct Case<'a> {
    id: &'a str,
    texts: Vec<String>,
    class: &'a str,
    must: bool,
}

fn digest() -> Digest {
    Digest::new(
        1,
        DIGEST.lines().map(|line| {
            let mut fields = line.split('\t');
            let mut next = || fields.next().expect("three fields");
            Row { name: next(), kind: next(), reason: next() }
        }),
    )
}

fn unescaped(text: &str) -> String {
    let (mut out, mut chars) = (String::new(), text.chars());
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => out.push(match chars.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some('r') => '\r',
                Some('f') => '\x0c',
                Some(other) => other,
                None => panic!("an escape without a letter: {text}"),
            }),
            _ => out.push(c),
        }
    }
    out
}

/// The statements of Parse messages up to each Sync; the class is given for the last burst.
fn burst(notation: &str) -> Vec<String> {
    let last = notation.trim_end_matches("{S}").rsplit("{S}").next().unwrap_or_default();
    let parses = last.split("{P:").skip(1);
    parses
        .map(|part| {
            let end = part.find("}{").unwrap_or(part.len() - 1);
            part[part.find('=').expect("a statement") + 1..end].to_string()
        })
        .collect()
}

fn cases(table: &str) -> Vec<Case<'_>> {
    table
        .lines()
        .skip(1)
        .filter(|line| !line.is_empty())
        .map(|line| {
            let fields: Vec<_> = line.split('\t').collect();
            let [id, sql, class, why] = fields[..] else { panic!("four fields: {line}") };
            let texts = match &id[..2] {
                "xq" => burst(sql).iter().map(|text| unescaped(text)).collect(),
                "se" => sql.split(" |> ").map(unescaped).collect(),
                _ => vec![unescaped(sql)],
            };
            Case { id, texts, class, must: why.starts_with("[MUST]") }
        })
        .collect()
}

/// Classes that are right for a row although another is asked for.
fn is_careful(found: Class) -> bool {
    !found.may_leave_primary()
}

struct Score {
    lost: Vec<String>,
    other: Vec<String>,
    reads: usize,
    rows: usize,
}

fn judge(case: &Case<'_>, verdict: &Verdict, score: &mut Score) {
    let (found, asked) = (verdict.class, case.class);
    score.rows += 1;
    score.reads += usize::from(asked == "read");
    assert!(
        verdict.at <= case.texts.iter().map(String::len).max().unwrap_or(0),
        "{}: position outside",
        case.id
    );
    let line = format!(
        "{} {:?}: {} ({} at {}), asked for {asked}",
        case.id,
        case.texts,
        found.word(),
        verdict.rule.word(),
        verdict.at
    );
    let movable = matches!(asked, "read" | "txn-begin-ro");
    assert!(movable || is_careful(found), "a write taken for a read: {line}");
    assert!(
        found != Class::BeginReadOnly || asked == "txn-begin-ro",
        "a read-write transaction taken for READ ONLY: {line}"
    );
    assert!(asked != "pin" || verdict.pins, "the pin is not seen: {line}");
    if found.word() == asked {
        return;
    }
    if asked == "read" {
        score.lost.push(line);
    } else if case.must {
        score.other.push(line);
    }
}

fn report(name: &str, score: &Score) {
    println!(
        "{name}: {} rows, {} lost reads of {}, {} otherwise careful",
        score.rows,
        score.lost.len(),
        score.reads,
        score.other.len()
    );
    for line in score.lost.iter().chain(&score.other) {
        println!("  {line}");
    }
    assert!(score.lost.len() * 100 <= score.reads * MAX_LOST_PERCENT, "{} reads are lost", score.lost.len());
}

fn run(name: &str, table: &str) -> Score {
    let digest = digest();
    let mut score = Score { lost: vec![], other: vec![], reads: 0, rows: 0 };
    for case in cases(table).iter().filter(|case| case.id.starts_with("ac-")) {
        let verdict = classify(case.texts[0].as_bytes(), &Context::new(&digest));
        judge(case, &verdict, &mut score);
    }
    report(name, &score);
    score
}

#[test]
fn texts_in_autocommit_are_what_the_table_says() {
    let score = run("cases", CASES);
    assert!(score.rows > 200, "{} rows", score.rows);
    // The size of a relation is the primary's in a database with unlogged ones, which are empty on a standby.
    assert!(score.lost.iter().all(|line| line.starts_with("ac-sel-051 ")), "lost reads: {:#?}", score.lost);
    // PostgreSQL refuses a data-modifying WITH in a sub-select; here it is a write like any other.
    assert!(score.other.iter().all(|line| line.starts_with("ac-dml-020 ")), "{:#?}", score.other);
}

#[test]
fn so_are_those_of_our_own() {
    let score = run("more_cases", MORE);
    assert!(
        score.rows > 200 && score.lost.is_empty() && score.other.is_empty(),
        "{:#?} {:#?}",
        score.lost,
        score.other
    );
}

/// What follows from the session's state is the driver's; but no text that must be a write is ever a read.
#[test]
fn texts_that_need_the_session_are_never_reads_by_themselves() {
    let digest = digest();
    let state = |case: &Case<'_>| {
        matches!(
            case.id,
            "tx-rw-001"
                | "tx-rw-030"
                | "se-seq-003"
                | "se-seq-004"
                | "se-seq-016"
                | "se-seq-018"
                | "se-seq-023"
                | "se-seq-024"
                | "se-seq-028"
                | "se-seq-038"
                | "se-seq-017"
                | "se-seq-012"
                | "se-seq-015"
        )
    };
    for case in cases(CASES).iter().filter(|case| !case.id.starts_with("ac-") && !state(case)) {
        let context =
            Context { in_transaction: matches!(&case.id[..2], "tx" | "ro"), ..Context::new(&digest) };
        let verdicts: Vec<_> = case.texts.iter().map(|text| classify(text.as_bytes(), &context)).collect();
        let verdict = match &case.id[..2] {
            "xq" => combine(&verdicts, &context),
            _ => *verdicts.last().expect("a text"),
        };
        let may_move = matches!(case.class, "read" | "txn-begin-ro");
        assert!(
            may_move || case.texts.is_empty() || is_careful(verdict.class),
            "{} {:?}: {}",
            case.id,
            case.texts,
            verdict.class.word()
        );
    }
}
