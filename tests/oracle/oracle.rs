//! PostgreSQL's own parser says what the statements of its regression tests are, and the classifier must not take a write for
//! a read. What it holds back although the parser would let it go is counted.

#[path = "parser.rs"]
mod parser;

use pgherd_route::classify::{Context, classify};
use pgherd_route::digest::Digest;
use pgherd_route::rule::Rule;
use pgherd_route::verdict::{Class, Verdict};
use std::collections::BTreeMap;

const STATEMENTS: &str = include_str!("statements.txt");

/// Of the texts that are reads to the parser, at most so many in a thousand may be held back without a policy.
const MAX_LOST_PERMILLE: usize = 5;

fn unescaped(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        let escaped = if c == '\\' { chars.next() } else { None };
        out.push(match escaped {
            Some('n') => '\n',
            Some(other) => other,
            None => c,
        });
    }
    out
}

/// Names that belong to the primary by policy, although the parser sees nothing in them.
fn by_policy(verdict: &Verdict) -> bool {
    matches!(
        verdict.rule,
        Rule::NodeName | Rule::NodeSetting | Rule::Temporary | Rule::Opaque | Rule::Setting
    )
}

#[test]
fn no_write_of_the_regression_tests_is_taken_for_a_read() {
    // No function of the database's own is known, so each call must be of one that is built in.
    let digest = Digest::new(1, []);
    let context = Context::new(&digest);
    let (mut parsed, mut refused, mut reads, mut found, mut policy) = (0, 0, 0, 0, 0);
    let (mut wrong, mut lost, mut miscounted) = (Vec::new(), Vec::new(), Vec::new());
    let mut rules: BTreeMap<&str, usize> = BTreeMap::new();
    for line in STATEMENTS.lines() {
        let text = unescaped(line);
        let verdict = classify(text.as_bytes(), &context);
        let Some(tree) = parser::look(&text) else {
            refused += 1;
            continue;
        };
        parsed += 1;
        let is_read = verdict.class == Class::Read;
        found += usize::from(is_read);
        if let Some(why) = &tree.objection {
            if is_read {
                wrong.push(format!("{why}: {text}"));
            }
            continue;
        }
        if tree.statements != verdict.statements {
            miscounted.push(format!("{} instead of {}: {text}", verdict.statements, tree.statements));
        }
        reads += 1;
        if by_policy(&verdict) {
            policy += 1;
        } else if !is_read {
            *rules.entry(verdict.rule.word()).or_default() += 1;
            lost.push(format!("{} at {}: {text}", verdict.rule.word(), verdict.at));
        }
    }
    println!(
        "{parsed} texts parsed, {refused} refused; {reads} reads to the parser, {found} found, {policy} held back by policy, {} lost: {rules:?}",
        lost.len()
    );
    for line in &lost {
        println!("  lost: {}", line.replace('\n', "\\n"));
    }
    assert!(wrong.is_empty(), "{} writes taken for reads:\n{}", wrong.len(), wrong.join("\n"));
    assert!(miscounted.is_empty(), "{}", miscounted.join("\n"));
    assert!(parsed > 14_000 && reads > 9_000, "too few statements");
    assert!(lost.len() * 1000 <= reads * MAX_LOST_PERMILLE, "{} reads are lost", lost.len());
}

/// The same with something that writes behind each statement.
#[test]
fn a_write_behind_a_read_is_seen() {
    let digest = Digest::new(1, []);
    let context = Context::new(&digest);
    for line in STATEMENTS.lines() {
        let text = unescaped(line);
        if classify(text.as_bytes(), &context).class == Class::Read && parser::look(&text).is_some() {
            let more = format!("{text}\n; DELETE FROM t");
            assert_eq!(classify(more.as_bytes(), &context).class, Class::Write, "{more}");
        }
    }
}

/// Nothing that the parser refuses was needed to call a text a read; and where the parser refuses, reads are harmless.
#[test]
fn words_put_into_reads_are_seen() {
    let digest = Digest::new(1, []);
    let context = Context::new(&digest);
    let mut seen = 0;
    for line in STATEMENTS.lines().step_by(7) {
        let text = unescaped(line);
        for (from, to) in [
            ("1", "nextval('s')"),
            ("1", "unheard_of(1)"),
            ("1", "(SELECT 1 FOR UPDATE)"),
            (" FROM ", " INTO x FROM "),
            ("(", "(WITH w AS (DELETE FROM t RETURNING 1) "),
            ("'", "'' || pg_notify('a', 'b') || '"),
            (",", ", \"unheard_of\"(1),"),
            ("SELECT", "SELECT DISTINCT ON (1) unheard_of(1), "),
        ] {
            let Some(at) = text.find(from) else { continue };
            let changed = format!("{}{to}{}", &text[..at], &text[at + from.len()..]);
            if let Some(tree) = parser::look(&changed)
                && let Some(why) = tree.objection
            {
                seen += 1;
                let verdict = classify(changed.as_bytes(), &context);
                assert_ne!(verdict.class, Class::Read, "{why}: {changed}");
            }
        }
    }
    println!("{seen} changed statements are seen");
    assert!(seen > 1000);
}
