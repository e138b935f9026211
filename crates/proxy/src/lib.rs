//! The hot path: one client from door to goodbye
