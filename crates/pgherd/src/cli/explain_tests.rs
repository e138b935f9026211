use super::*;
use crate::cli::{Cli, Command};
use clap::Parser;

fn arguments(line: &[&str]) -> Arguments {
    let all = ["pgherd", "explain"].iter().chain(line);
    match Cli::try_parse_from(all).expect("a proper command line").command {
        Command::Explain(arguments) => arguments,
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_line_a_statement() {
    let args = arguments(&["--file", "-", "--offline"]);
    let texts = ["SELECT 1", "", "INSERT INTO t VALUES (1)", "SELECT stranger(1)", "BEGIN READ ONLY"];
    let document = offline(&args, &texts.map(String::from));
    let want = "read\treads\t0\treplica\n\
                read\tempty\t0\treplica\n\
                write\tdata_change\t0\tprimary\n\
                write\tunknown_call\t7\tprimary\n\
                txn-begin-ro\tbegin\t0\treplica\n";
    assert_eq!((lines(&document).as_str(), code(&document)), (want, 0));
}

#[test]
fn what_keeps_a_read_on_the_primary() {
    for line in [
        &["/* pgherd: strong */ SELECT 1"][..],
        &["SELECT 1", "--consistency", "strong"],
        &["SELECT 1", "--read-preference", "primary"],
        &["SELECT 1", "--in-transaction"],
    ] {
        let args = arguments(line);
        let document = offline(&args, &args.sql.iter().cloned().collect::<Vec<_>>());
        assert!(lines(&document).ends_with("\tprimary\n"), "{line:?}");
    }
}

#[test]
fn an_answer_for_people() {
    let text = "/* pgherd: nearest, global */\nSELECT vol(1)";
    let document = serde_json::json!({
        "database": "app", "user": "alice",
        "catalog": { "loaded": true, "epoch": 3, "names": 53 },
        "verdicts": [{
            "class": "write", "means": "it must run on the primary", "rule": "tainted_function",
            "why": "a function that the catalog speaks against: vol is declared VOLATILE", "at": 37, "end": 40,
            "hint": { "read_preference": "nearest", "consistency": "global" },
            "target": "primary", "node": "pg1", "reason": "primary", "reason_why": "only the primary will do",
            "nodes": [
                { "name": "pg1", "eligible": true, "why": "routed primary" },
                { "name": "pg2", "eligible": false, "why": "lag 14.2s > max_lag_seconds 10.0s" },
            ],
        }],
    });
    let want = "\
write: it must run on the primary

    SELECT vol(1)
           ^^^

rule      a function that the catalog speaks against: vol is declared VOLATILE (tainted_function, line 2 column 8)
hint      consistency=global, read_preference=nearest
catalog   app for alice: read, number 3, 53 names
goes to   pg1 (primary): only the primary will do
nodes     + pg1: routed primary
          - pg2: lag 14.2s > max_lag_seconds 10.0s
";
    assert_eq!(answer(&document, text), want);
}

#[test]
fn codes_say_what_is_missing() {
    let document = |loaded: bool, target: &str| serde_json::json!({ "catalog": { "loaded": loaded }, "verdicts": [{ "target": target }] });
    assert_eq!(code(&document(true, "replica")), 0);
    assert_eq!(code(&document(false, "primary")), exit::DEGRADED);
    assert_eq!(code(&document(false, "wait")), exit::NO_PRIMARY);
    assert!(catalog(&document(false, "primary")).contains("still being read"));
}

#[test]
fn escapes_are_those_of_the_table() {
    assert_eq!(unescaped(r"a\n\t\f\r\\n"), Ok("a\n\t\x0c\r\\n".to_string()));
    assert!(unescaped(r"a\x").is_err() && unescaped("a\\").is_err());
}

#[test]
fn many_statements_are_several_questions() {
    let long = vec!["x".repeat(40_000); 3];
    assert_eq!(batches(&long).len(), 3);
    let many = vec![String::new(); MAX_BATCH + 1];
    let sizes: Vec<usize> = batches(&many).iter().map(|batch| batch.len()).collect();
    assert_eq!(sizes, [MAX_BATCH, 1]);
}
