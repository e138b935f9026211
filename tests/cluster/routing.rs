//! The table of `tests/routing` against real servers: what pgherd says of each text, and what it does with it.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[path = "routing/ground.rs"]
mod ground;
#[path = "routing/sessions.rs"]
mod sessions;
#[path = "routing/story.rs"]
mod story;
#[path = "routing/table.rs"]
mod table;

use ground::{Ground, TWIN, statements};
use pgherd_tests::raw::{Event, column, sqlstate, tags};
use pgherd_tests::stand::USER;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use table::{Case, is_contained, single_texts};

/// Of the rows that are reads, at most so many in a hundred may go to the primary.
const MAX_LOST_PERCENT: usize = 3;

/// Rows whose answer tells that the server connection was used before: a setting with a prefix is known in it, and empty, once
/// somebody has set it and it was reset.
const POOLED: [&str; 1] = ["ac-set-909"];

/// Rows that may leave the primary and do not: a snapshot's name and a lock are a node's own, an EXECUTE of SQL is not looked into, and a
/// Flush asks for an answer before all is known.
const KEPT: [&str; 4] = ["ro-ro-016", "ro-ro-017", "se-seq-005", "xq-ext-009"];

/// Rows in one question.
const BATCH: usize = 50;

#[tokio::test]
async fn statements_go_where_the_table_says() {
    let ground = Ground::start().await;
    let cases = single_texts();
    let verdicts = explained(&ground, &cases).await;
    judge(&cases, &verdicts);
    execute(&ground, &cases, &verdicts).await;
    ground.front.shutdown().await.unwrap();
    ground.lab.shutdown().await.unwrap();
}

/// The rows that need a session, each in one of its own.
#[tokio::test]
async fn sessions_go_where_the_table_says() {
    let ground = Ground::start().await;
    let score = sessions::run(&ground, &table::sessions()).await;
    println!("played {:?}: {} of {} that may leave are lost", score.rows, score.lost.len(), score.movable);
    score.lost.iter().for_each(|(_, line)| println!("  lost: {line}"));
    score.careful.iter().for_each(|line| println!("  careful: {line}"));
    score.stayed.iter().for_each(|line| println!("  refused where its READ ONLY transaction is: {line}"));
    assert!(score.faults.is_empty(), "{:#?}", score.faults);
    let lost: Vec<_> = score.lost.iter().filter(|(id, _)| !KEPT.contains(id)).collect();
    assert!(lost.is_empty(), "{lost:#?}");
    let least = [("ro", 15), ("se", 23), ("tx", 19), ("xq", 19)];
    assert!(least.iter().all(|(kind, count)| score.rows[kind] >= *count), "{:?}", score.rows);
    ground.front.shutdown().await.unwrap();
    ground.lab.shutdown().await.unwrap();
}

/// What `POST /explain` says of each row.
async fn explained(ground: &Ground, cases: &[Case]) -> BTreeMap<&'static str, Value> {
    let mut verdicts = BTreeMap::new();
    for in_transaction in [false, true] {
        let rows: Vec<_> = cases.iter().filter(|case| case.in_transaction() == in_transaction).collect();
        for batch in rows.chunks(BATCH) {
            let texts: Vec<_> = batch.iter().map(|case| case.text.as_str()).collect();
            let question = json!({ "statements": texts, "database": USER, "user": USER, "in_transaction": in_transaction });
            let (status, body) = ground.front.post("/explain", &question.to_string()).await.unwrap();
            assert_eq!(status, 200, "{body}");
            let answer: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(answer["catalog"]["loaded"], true, "{}", answer["catalog"]);
            assert_eq!(answer["catalog"]["splitting_off"], Value::Null, "{}", answer["catalog"]);
            let found = answer["verdicts"].as_array().unwrap();
            assert_eq!(found.len(), batch.len());
            verdicts.extend(batch.iter().map(|case| case.id).zip(found.iter().cloned()));
        }
    }
    verdicts
}

fn judge(cases: &[Case], verdicts: &BTreeMap<&'static str, Value>) {
    let (mut reads, mut lost, mut careful) = (0, Vec::new(), Vec::new());
    for case in cases {
        let verdict = &verdicts[case.id];
        let [class, rule, target] = ["class", "rule", "target"].map(|key| verdict[key].as_str().unwrap());
        let line =
            format!("{} {:?}: {class} ({rule}) to {target}, asked for {}", case.id, case.text, case.class);
        let moved = target != "primary";
        assert!(case.may_leave() || !moved, "a write that leaves the primary: {line}");
        assert!(case.class != "txn-begin-rw" || class != "txn-begin-ro", "a read-write transaction: {line}");
        // In a transaction that may write, a text that only reads follows it.
        let movable = matches!(class, "read" | "txn-begin-ro");
        assert!(case.may_leave() || case.in_transaction() || !movable, "a write taken for a read: {line}");
        let is_read = case.class == "read" && !case.in_transaction();
        reads += usize::from(is_read);
        match class == case.class && (moved || !is_read) {
            true => {}
            false if is_read => lost.push(line),
            false if case.must && !(case.in_transaction() && class == "read") => careful.push(line),
            false => {}
        }
    }
    println!(
        "explained {} rows: {} of {reads} reads are lost, {} careful",
        cases.len(),
        lost.len(),
        careful.len()
    );
    lost.iter().chain(&careful).for_each(|line| println!("  {line}"));
    assert!(lost.len() * 100 <= reads * MAX_LOST_PERCENT, "{} of {reads} reads are lost", lost.len());
}

/// Runs rows of all classes, reads first because they leave everything as it is, each in a session of its own: through
/// pgherd, and directly on the primary in a database of the same content.
async fn execute(ground: &Ground, cases: &[Case], verdicts: &BTreeMap<&'static str, Value>) {
    let fit = |case: &&Case| case.id.starts_with("ac-") && is_contained(case) && !case.text.trim().is_empty();
    let (reads, others): (Vec<_>, Vec<_>) = cases.iter().filter(fit).partition(|case| case.class == "read");
    let others: Vec<_> = others.into_iter().filter(|case| !case.class.starts_with("txn-")).collect();
    assert!(reads.len() >= 60 && others.len() >= 60, "{} and {}", reads.len(), others.len());
    let before = ground.metric("pgherd_transactions_total").await;
    let (mut faults, mut refused) = (Vec::new(), BTreeMap::new());
    compare(ground, &reads, &mut faults, &mut refused);
    let after = ground.metric("pgherd_transactions_total").await;
    for (series, count) in after.iter().filter(|(series, count)| before.get(*series) != Some(*count)) {
        println!("  reads: {series} +{}", count - before.get(series).unwrap_or(&0.0));
    }
    let wrong = refused.clone();
    println!("  reads that any server of this version refuses: {wrong:?}");
    compare(ground, &others, &mut faults, &mut refused);
    let (primary, replica) = (statements(ground.lab.primary()), statements(&ground.lab.replicas()[0]));
    // Something is not there: a replica could only be late. A syntax error is one everywhere.
    let missing = |id: &str| wrong.get(id).is_some_and(|code| code.starts_with("42") && code != "42601");
    let mut stayed = Vec::new();
    for case in &reads {
        match (ran(&primary, case), ran(&replica, case)) {
            (false, true) if !missing(case.id) => {}
            (true, false) => stayed.push(case.id),
            // Asked again there, in case the replica only did not have it yet.
            (true, true) if missing(case.id) => {}
            (there, here) => faults.push(format!("{}: primary {there}, replica {here}", case.id)),
        }
        if verdicts[case.id]["target"] == "replica" && stayed.last() == Some(&case.id) {
            faults.push(format!("{}: explained as the replica's, but run on the primary", case.id));
        }
    }
    let mut unseen = 0;
    for case in &others {
        unseen += usize::from(!ran(&primary, case));
        if ran(&replica, case) {
            faults.push(format!("{} {:?}: {} ran on the replica", case.id, case.text, case.class));
        }
    }
    println!("executed {} reads, {} of them on the primary: {stayed:?}", reads.len(), stayed.len());
    println!(
        "executed {} others, none on the replica; {unseen} answered or refused without a server",
        others.len()
    );
    assert!(faults.is_empty(), "{faults:#?}");
    assert!(stayed.len() * 100 <= reads.len() * MAX_LOST_PERCENT, "{stayed:?}");
}

/// Differences between an answer through pgherd and the primary's own.
fn compare(
    ground: &Ground,
    cases: &[&Case],
    faults: &mut Vec<String>,
    refused: &mut BTreeMap<&'static str, String>,
) {
    let (any, direct) = (ground.front.ports().any, ground.lab.primary().port());
    for case in cases {
        let found = Ground::run(any, USER, case.id, &case.text);
        let wanted = Ground::run(direct, TWIN, "direct", &case.text);
        let (code, own) = (sqlstate(&found), sqlstate(&wanted));
        if !own.is_empty() {
            refused.insert(case.id, own.clone());
        }
        if POOLED.contains(&case.id) && code.is_empty() {
            assert_eq!(column(&found), [""], "{}: nobody's value", case.id);
            continue;
        }
        if (&code, shape(&found)) != (&own, shape(&wanted)) {
            let (found, wanted) = (shape(&found), shape(&wanted));
            faults.push(format!(
                "{} {:?}: {code} {found}, the primary alone: {own} {wanted}",
                case.id, case.text
            ));
        }
    }
}

/// The messages without rows, notices and reports, which may come at other times.
fn shape(events: &[Event]) -> String {
    tags(events).chars().filter(|tag| !matches!(tag, 'D' | 'd' | 'N' | 'S')).collect()
}

/// A node's log shows that it got the row's text.
fn ran(log: &BTreeMap<String, Vec<String>>, case: &Case) -> bool {
    let texts = log.get(case.id).map(Vec::as_slice).unwrap_or_default();
    texts.iter().any(|text| text.trim_end() == case.text.trim_end())
}
