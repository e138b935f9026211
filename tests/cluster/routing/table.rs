//! The rows of `tests/routing`.

/// One row.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) id: &'static str,
    pub(crate) text: String,
    pub(crate) class: &'static str,
    pub(crate) must: bool,
}

impl Case {
    /// Its text runs inside a read-write transaction.
    pub(crate) fn in_transaction(&self) -> bool {
        self.id.starts_with("tx-")
    }

    /// It may leave the primary.
    pub(crate) fn may_leave(&self) -> bool {
        matches!(self.class, "read" | "txn-begin-ro")
    }
}

/// The rows whose class follows from one text and the transaction around it.
pub(crate) fn single_texts() -> Vec<Case> {
    rows().filter(|case| matches!(&case.id[..3], "ac-" | "tx-")).collect()
}

/// The rows that speak of a session: a transaction around a text, messages before it, or a burst of the extended protocol.
pub(crate) fn sessions() -> Vec<Case> {
    rows().filter(|case| !case.id.starts_with("ac-")).collect()
}

fn rows() -> impl Iterator<Item = Case> {
    let tables = [include_str!("../../routing/cases.tsv"), include_str!("../../routing/more_cases.tsv")];
    let lines = tables.into_iter().flat_map(|table| table.lines().skip(1)).filter(|line| !line.is_empty());
    let read = |line: &'static str| {
        let fields: Vec<_> = line.split('\t').collect();
        let [id, sql, class, why] = fields[..] else { panic!("four fields: {line}") };
        Case { id, text: unescaped(sql), class, must: why.starts_with("[MUST]") }
    };
    lines.map(read)
}

fn unescaped(text: &str) -> String {
    let (mut out, mut chars) = (String::new(), text.chars());
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        out.push(match chars.next().expect("an escape has a letter") {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'f' => '\x0c',
            other => other,
        });
    }
    out
}

/// Whatever acts on the whole server, outside of it, or on what both databases share: not to be executed.
const SHARED: [&str; 30] = [
    "pg_promote",
    "pg_terminate",
    "pg_cancel",
    "pg_reload",
    "pg_rotate",
    "pg_wal_replay",
    "pg_backup",
    "slot",
    "pg_stat_reset",
    "pg_log_",
    "pg_replication_origin",
    "alter system",
    "role",
    "create database",
    "alter database",
    "drop database",
    "tablespace",
    "grant app_user",
    "prepare transaction",
    "program",
    "to '",
    "from '",
    "dblink",
    "publication",
    "subscription",
    "reassign",
    "drop owned",
    "import",
    "checkpoint",
    "session authorization",
];

/// May this row be run on a server that others need too?
pub(crate) fn is_contained(case: &Case) -> bool {
    let lower = case.text.to_ascii_lowercase();
    !SHARED.iter().any(|word| lower.contains(word))
}
