//! Why a session must keep its server.

/// A reason to keep the server after a transaction. Closed set: it is also a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Pin {
    /// Temporary tables, views or sequences.
    Temporary,
    /// Session-level advisory locks.
    AdvisoryLock,
    /// A cursor declared WITH HOLD.
    HoldCursor,
    /// LISTEN.
    Listen,
    /// A statement prepared with SQL's PREPARE.
    SqlPrepare,
    /// LOAD of a library.
    Load,
    /// Settings changed in a way the machine could not follow.
    Settings,
    /// A prepared statement too large to be remembered.
    LargeStatement,
    /// The state cannot be proven.
    Unprovable,
    /// The pool mode is `session`.
    SessionMode,
}

impl Pin {
    /// Every reason.
    pub const ALL: [Pin; 10] = [
        Pin::Temporary,
        Pin::AdvisoryLock,
        Pin::HoldCursor,
        Pin::Listen,
        Pin::SqlPrepare,
        Pin::Load,
        Pin::Settings,
        Pin::LargeStatement,
        Pin::Unprovable,
        Pin::SessionMode,
    ];

    /// The word used in tables and as metric label.
    pub fn word(self) -> &'static str {
        match self {
            Pin::Temporary => "temporary_table",
            Pin::AdvisoryLock => "advisory_lock",
            Pin::HoldCursor => "hold_cursor",
            Pin::Listen => "listen",
            Pin::SqlPrepare => "sql_prepare",
            Pin::Load => "load",
            Pin::Settings => "settings",
            Pin::LargeStatement => "large_statement",
            Pin::Unprovable => "unprovable",
            Pin::SessionMode => "session_mode",
        }
    }
}
