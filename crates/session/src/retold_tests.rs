//! Words and places of errors.

use super::*;

fn renaming(edits: &[(usize, &str, &str)]) -> Renaming {
    let edit = |(at, theirs, ours): &(usize, &str, &str)| Edit {
        span: *at..at + theirs.len(),
        ours: ours.as_bytes().into(),
        theirs: theirs.as_bytes().into(),
    };
    Renaming { edits: edits.iter().map(edit).collect(), ..Renaming::default() }
}

#[test]
fn places_are_the_clients() {
    // prepare p as select x; execute longer_name
    let one = renaming(&[(8, "p", "pgherd_7"), (31, "longer_name", "pgherd_12")]);
    let shifted = one.retold(b"SERROR\0C42703\0Mno x\0P28\0\0");
    assert_eq!(shifted, b"SERROR\0C42703\0Mno x\0P21\0\0");
    assert_eq!(one.retold(b"P5\0\0"), b"P5\0\0");
    assert_eq!(one.retold(b"P9\0\0"), b"P9\0\0");
    assert_eq!(one.retold(b"P60\0\0"), b"P55\0\0");
}

#[test]
fn words_are_the_clients() {
    let two = renaming(&[(8, "p", "pgherd_1"), (20, "q", "pgherd_12")]);
    assert_eq!(two.words(b"Mstatement \"pgherd_12\" is not"), b"Mstatement \"q\" is not");
    assert_eq!(two.words(b"Mstatement \"pgherd_1\" is not"), b"Mstatement \"p\" is not");
}
