//! A real local cluster in a temp dir: demo, drill, tests and bench use it
