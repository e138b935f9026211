//! The session state machine: who owes which reply; pure
