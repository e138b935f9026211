//! PostgreSQL session-phase messages as borrowed slices, and a resumable frame scanner; no I/O
