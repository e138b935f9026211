//! What the benchmarks share: a throw-away PostgreSQL, daemons that never outlive the run, and readers for what
//! the kernel knows about a process (CPU time, memory, system calls).
//!
//! The programs are `compare` (pgherd beside PgBouncer and beside no proxy at all), `threads` (which arrangement
//! of threads costs the fewest system calls) and `micro` (the pure cores, in nanoseconds and allocations). Each
//! prints the command it was started with, the machine and the commit, because a number without them is a rumour.

pub mod cluster;
pub mod daemon;
pub mod machine;
pub mod median;
pub mod process;
pub mod scratch;
pub mod syscalls;
pub mod table;
pub mod visitor;
