//! Why a text is what it is.

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident $word:literal)*) => {
        /// Why a text is what it is. Closed set: it is also a metric label.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Rule {
            $($(#[$doc])* $name,)*
        }

        impl Rule {
            /// Every rule, for registering one counter each.
            pub const ALL: &[Rule] = &[$(Rule::$name),*];

            /// The word used as metric label and in tables.
            pub fn word(self) -> &'static str {
                match self {
                    $(Rule::$name => $word,)*
                }
            }
        }
    };
}

rules! {
    /// Only reads, as far as can be seen; and all of it can be seen.
    Reads "reads"
    /// There is no statement in it.
    Empty "empty"
    /// The catalog of the database is not known yet.
    NoDigest "no_digest"
    /// The catalog holds something no text shows ([`crate::digest::Digest::splitting_off`]).
    SplittingOff "splitting_off"
    /// Bytes outside ASCII in an encoding in which they may hide a quote.
    Encoding "encoding"
    /// A hint in front of the statement asks for the primary.
    Hint "hint"
    /// PostgreSQL's lexer would refuse it.
    Unreadable "unreadable"
    /// A parenthesis too many or too few.
    Unbalanced "unbalanced"
    /// It begins with no statement known here.
    Unknown "unknown"
    /// Refused outside a transaction block.
    NeedsBlock "needs_block"
    /// INSERT, UPDATE, DELETE, MERGE, TRUNCATE, COPY FROM, as the statement or in a part of it.
    DataChange "data_change"
    /// FOR UPDATE and its like.
    RowLock "row_lock"
    /// SELECT INTO.
    Into "into"
    /// Definitions and maintenance: CREATE, ALTER, VACUUM and so on.
    Utility "utility"
    /// LOCK TABLE.
    TableLock "table_lock"
    /// DO, CALL, EXECUTE: what it runs cannot be seen.
    Opaque "opaque"
    /// COPY to a file or a program of the node.
    NodeFile "node_file"
    /// A cursor lives in the server it was opened in.
    Cursor "cursor"
    /// A temporary object, or the schema they live in.
    Temporary "temporary"
    /// An advisory lock that belongs to the session.
    AdvisoryLock "advisory_lock"
    /// LISTEN, UNLISTEN.
    Listen "listen"
    /// NOTIFY.
    Notify "notify"
    /// LOAD.
    Load "load"
    /// A call of a function nobody has vouched for.
    UnknownCall "unknown_call"
    /// A built-in function or view that writes, or answers for the node that runs it.
    NodeName "node_name"
    /// A function that the catalog shows to be volatile, or to reach something that is.
    TaintedFunction "tainted_function"
    /// A relation that a standby lacks, or that reaches something tainted.
    TaintedRelation "tainted_relation"
    /// A type whose use runs something tainted.
    TaintedType "tainted_type"
    /// An operator whose function is tainted.
    TaintedOperator "tainted_operator"
    /// A name that cannot be compared with the catalog: escaped, too long, or in another encoding.
    OddName "odd_name"
    /// A setting that has another value on each node.
    NodeSetting "node_setting"
    /// SET, RESET, DISCARD, SHOW, `set_config`, `setseed`.
    Setting "setting"
    /// PREPARE, DEALLOCATE.
    Prepare "prepare"
    /// BEGIN and its like.
    Begin "begin"
    /// A read-write transaction, begun and ended in one text.
    Block "block"
    /// COMMIT, ROLLBACK and their like.
    End "end"
    /// SAVEPOINT, RELEASE, ROLLBACK TO.
    Savepoint "savepoint"
    /// A replica refused the same text before.
    Learned "learned"
    /// Not all of the unit can be read: it is too long, stops at a Flush, or is no statement.
    Incomplete "incomplete"
}

impl Rule {
    /// True where the text itself says that it writes; the other rules also hold for reads nobody could prove.
    pub(crate) fn is_write_by_word(self) -> bool {
        matches!(self, Rule::DataChange | Rule::RowLock | Rule::Into | Rule::Utility | Rule::Notify)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_labels_and_differ() {
        let mut words: Vec<_> = Rule::ALL.iter().map(|rule| rule.word()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Rule::ALL.len());
        assert!(words.iter().all(|word| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
    }
}
