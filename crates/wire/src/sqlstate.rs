//! SQLSTATE codes pgherd itself says or recognises (documentation, appendix A).

/// The codes, by PostgreSQL's condition names.
pub mod code {
    /// connection_failure.
    pub const CONNECTION_FAILURE: &str = "08006";
    /// transaction_resolution_unknown.
    pub const TRANSACTION_RESOLUTION_UNKNOWN: &str = "08007";
    /// protocol_violation.
    pub const PROTOCOL_VIOLATION: &str = "08P01";
    /// feature_not_supported.
    pub const FEATURE_NOT_SUPPORTED: &str = "0A000";
    /// read_only_sql_transaction.
    pub const READ_ONLY_SQL_TRANSACTION: &str = "25006";
    /// in_failed_sql_transaction.
    pub const IN_FAILED_SQL_TRANSACTION: &str = "25P02";
    /// idle_in_transaction_session_timeout.
    pub const IDLE_IN_TRANSACTION_TIMEOUT: &str = "25P03";
    /// invalid_authorization_specification.
    pub const INVALID_AUTHORIZATION: &str = "28000";
    /// invalid_catalog_name.
    pub const INVALID_CATALOG_NAME: &str = "3D000";
    /// invalid_sql_statement_name.
    pub const INVALID_STATEMENT_NAME: &str = "26000";
    /// invalid_cursor_name.
    pub const INVALID_CURSOR_NAME: &str = "34000";
    /// serialization_failure.
    pub const SERIALIZATION_FAILURE: &str = "40001";
    /// duplicate_prepared_statement.
    pub const DUPLICATE_PREPARED_STATEMENT: &str = "42P05";
    /// insufficient_privilege.
    pub const INSUFFICIENT_PRIVILEGE: &str = "42501";
    /// syntax_error.
    pub const SYNTAX_ERROR: &str = "42601";
    /// too_many_connections.
    pub const TOO_MANY_CONNECTIONS: &str = "53300";
    /// program_limit_exceeded.
    pub const PROGRAM_LIMIT_EXCEEDED: &str = "54000";
    /// query_canceled.
    pub const QUERY_CANCELED: &str = "57014";
    /// object_not_in_prerequisite_state.
    pub const NOT_IN_PREREQUISITE_STATE: &str = "55000";
    /// invalid_parameter_value.
    pub const INVALID_PARAMETER_VALUE: &str = "22023";
    /// admin_shutdown.
    pub const ADMIN_SHUTDOWN: &str = "57P01";
    /// cannot_connect_now.
    pub const CANNOT_CONNECT_NOW: &str = "57P03";
    /// idle_session_timeout.
    pub const IDLE_SESSION_TIMEOUT: &str = "57P05";
    /// internal_error.
    pub const INTERNAL_ERROR: &str = "XX000";
}
