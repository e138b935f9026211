//! What PostgreSQL itself brings along: functions that are harmless wherever they run, and names that are not.
//!
//! `harmless.txt` is what `harmless.sql` beside it says on a new database, over PostgreSQL 15 to 18: a name stands there only
//! if all functions of that name are harmless in each of them. What stands nowhere is not harmless.

use pgherd_sql::name::Name;
use pgherd_sql::wordlist::WordList;

static HARMLESS: WordList<1703, 8192> = WordList::new(include_str!("builtin/harmless.txt"));
static DENIED: WordList<230, 1024> = WordList::new(include_str!("builtin/denied.txt"));
static UNPROVEN: WordList<238, 2048> = WordList::new(include_str!("builtin/unproven.txt"));
static SETTINGS: WordList<208, 1024> = WordList::new(include_str!("builtin/settings.txt"));

/// Session-level advisory locks: they stay with the server connection.
const SESSION_LOCKS: [&str; 7] = [
    "pg_advisory_lock",
    "pg_advisory_lock_shared",
    "pg_try_advisory_lock",
    "pg_try_advisory_lock_shared",
    "pg_advisory_unlock",
    "pg_advisory_unlock_shared",
    "pg_advisory_unlock_all",
];

/// Settings a session may change which nevertheless say what kind of node it is.
const ROLE_SETTINGS: [&str; 2] = ["default_transaction_read_only", "transaction_read_only"];

/// The names of all built-in functions that are harmless: the argument of [`crate::digest::QUERY`].
pub fn harmless_names() -> impl Iterator<Item = &'static str> {
    HARMLESS.words()
}

/// May every function with this name run on a replica without a difference? `fold` is the name's [`Name::fold`].
pub fn is_harmless(name: Name<'_>, fold: u32) -> bool {
    HARMLESS.find(name, fold).is_some()
}

/// A name that belongs to the primary wherever it stands: nobody uses it for anything else.
pub fn is_denied(name: Name<'_>, fold: u32) -> bool {
    // All of them begin with one of these; most names end here.
    let first = name.first();
    first.is_some_and(|first| b"bcdgilnpqst".contains(&first))
        && (DENIED.find(name, fold).is_some()
            || (first == Some(b'p') && (name.starts_with("pg_stat_") || name.starts_with("pg_statio_")))
            || (first == Some(b'd') && name.starts_with("dblink")))
}

/// A built-in function that is not harmless, under a name that may stand for other things as well. A harmless function of the
/// database's own with the same name vouches for itself only.
pub fn is_unproven(name: Name<'_>, fold: u32) -> bool {
    UNPROVEN.find(name, fold).is_some()
}

/// The schema of temporary objects.
pub fn is_temporary_schema(name: Name<'_>) -> bool {
    name.first() == Some(b'p')
        && (name.is(b"pg_temp") || name.starts_with("pg_temp_") || name.starts_with("pg_toast_temp_"))
}

/// A function that takes or gives back an advisory lock of the session.
pub fn is_session_lock(name: Name<'_>) -> bool {
    SESSION_LOCKS.iter().any(|lock| name.is(lock.as_bytes()))
}

/// A setting whose value belongs to the session, so that every server of the session has the same.
pub fn is_session_setting(name: Name<'_>) -> bool {
    SETTINGS.has(name)
}

/// A setting that every server of the session answers alike, and that a transaction may change without harm.
pub fn is_plain_setting(name: Name<'_>) -> bool {
    is_session_setting(name)
        && !ROLE_SETTINGS.iter().any(|setting| name.is(setting.as_bytes()))
        && !name.starts_with("transaction_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(test: fn(Name<'_>, u32) -> bool, word: &str) -> bool {
        let name = Name::word(word.as_bytes());
        test(name, name.fold())
    }

    #[test]
    fn what_writes_or_answers_for_the_node_is_not_harmless() {
        for word in [
            "nextval",
            "setval",
            "currval",
            "lastval",
            "pg_notify",
            "txid_current",
            "pg_current_xact_id",
            "pg_is_in_recovery",
            "pg_backend_pid",
            "current_setting",
            "set_config",
            "setseed",
            "version",
            "ts_stat",
            "ts_rewrite",
            "query_to_xml",
            "lo_unlink",
            "lo_create",
            "lo_open",
            "pg_advisory_xact_lock",
            "pg_sequence_last_value",
            "inet_server_addr",
            "pg_export_snapshot",
            "pg_read_file",
            "domain_in",
            "pg_input_is_valid",
            "textin",
            "pg_promote",
            "foo",
        ] {
            assert!(!check(is_harmless, word), "{word}");
        }
        for word in [
            "count",
            "now",
            "random",
            "gen_random_uuid",
            "lo_get",
            "generate_series",
            "lower",
            "pg_sleep",
            "ABS",
        ] {
            assert!(check(is_harmless, word), "{word}");
        }
    }

    #[test]
    fn no_name_is_both() {
        for word in DENIED.words() {
            assert!(!check(is_harmless, word) && check(is_denied, word), "{word}");
        }
        for word in HARMLESS.words() {
            assert!(!check(is_denied, word) && !check(is_unproven, word), "{word}");
        }
        for word in ["version", "current_setting", "ts_rewrite", "domain_in", "textin"] {
            assert!(check(is_unproven, word), "{word}");
        }
        for lock in SESSION_LOCKS {
            assert!(check(is_denied, lock), "{lock}");
        }
        for word in ["pg_stat_activity", "PG_STATIO_all_tables", "dblink_exec"] {
            assert!(check(is_denied, word), "{word}");
        }
        for word in ["pg_stats", "pg_statistic", "pg_class", "pg_tables", "users", "version"] {
            assert!(!check(is_denied, word), "{word}");
        }
    }

    #[test]
    fn settings_of_the_session_are_told_from_those_of_the_node() {
        let session = |word: &str| is_session_setting(Name::word(word.as_bytes()));
        for word in ["work_mem", "search_path", "timezone", "TimeZone", "default_transaction_read_only"] {
            assert!(session(word), "{word}");
        }
        for word in
            ["transaction_read_only", "server_version", "port", "in_hot_standby", "primary_conninfo", "foo"]
        {
            assert!(!session(word), "{word}");
        }
        let plain = |word: &str| is_plain_setting(Name::word(word.as_bytes()));
        assert!(
            plain("work_mem") && !plain("default_transaction_read_only") && !plain("transaction_isolation")
        );
    }
}
