//! What a statement is. The lexer that proves reads has its place here; until it exists nothing is proven.

use crate::intent::Class;

/// The class of a statement's text. What cannot be classified is a write, and without a lexer that is every text:
/// the answer is always [`Class::Unknown`], which [`crate::intent::Intent::may_leave_primary`] treats as a write
/// unless the transaction itself was begun READ ONLY.
pub fn classify(_statement: &[u8]) -> Class {
    Class::Unknown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intent::Intent;

    #[test]
    fn nothing_unproven_leaves_the_primary() {
        for text in ["SELECT 1", "SELECT nextval('s')", "", "\0\u{ff}", "WITH x AS (DELETE FROM t) SELECT 1"]
        {
            let intent = Intent { class: classify(text.as_bytes()), ..Intent::default() };
            assert!(!intent.may_leave_primary(), "{text}");
        }
    }
}
