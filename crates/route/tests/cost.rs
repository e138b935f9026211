//! Classifying allocates nothing, whatever the text.

use pgherd_route::classify::{Context, classify, combine};
use pgherd_route::digest::{Digest, Row};

const TEXTS: [&str; 4] = [
    include_str!("../../../tests/routing/cases.tsv"),
    include_str!("../../../tests/routing/more_cases.tsv"),
    include_str!("../../../tests/routing/fixture.sql"),
    include_str!("../src/digest/query.sql"),
];

#[test]
fn nothing_is_allocated() {
    let rows = include_str!("../../../tests/routing/digest.tsv").lines().map(|line| {
        let mut fields = line.split('\t');
        let mut next = || fields.next().expect("three fields");
        Row { name: next(), kind: next(), reason: next() }
    });
    let digest = Digest::new(1, rows);
    let context = Context::new(&digest);
    let plain = Context { standard_conforming_strings: false, ..context };
    let mut seen = 0;
    let info = allocation_counter::measure(|| {
        for text in
            TEXTS.into_iter().flat_map(|all| all.lines().flat_map(|line| line.split('\t')).chain([all]))
        {
            let verdicts = [classify(text.as_bytes(), &context), classify(text.as_bytes(), &plain)];
            seen += combine(&verdicts, &context).statements;
        }
    });
    assert!(seen > 1000);
    assert_eq!(info.count_total, 0);
}
