//! What is measured, with names and units.

use std::collections::BTreeMap;

use serde::Serialize;

/// One quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Metric {
    /// Transactions in the run; not shown, but what costs are divided by.
    Transactions,
    /// Transactions per second; with a new connection each where the workload says so.
    Tps,
    /// Payload received, in MB (10^6 bytes) per second.
    MegabytesPerSecond,
    /// Milliseconds per transaction as the client sees it.
    LatencyAverage,
    LatencyP50,
    LatencyP95,
    LatencyP99,
    /// Median latency above that of the direct connection in the same round, in microseconds.
    AddedLatency,
    /// CPU time of the whole proxy process per transaction, in microseconds (milliseconds per 1 000 transactions).
    /// The logins of the run's clients are in it: some tens of microseconds each, under one percent of a run.
    CpuPerTransaction,
    /// CPU time of the whole proxy process per MB, in microseconds.
    CpuPerMegabyte,
    /// Rise of the proxy's peak memory above what was resident before, in KiB.
    PeakMemory,
    /// Resident memory per client that has logged in and done nothing, in KiB.
    IdleMemory,
    /// The same after each client ran one query.
    UsedMemory,
    /// Sequential logins per second without a password.
    Logins,
    /// System calls per transaction, all of them and by class.
    Syscalls,
    SyscallsRead,
    SyscallsWrite,
    SyscallsEpoll,
    SyscallsFutex,
    SyscallsOther,
    /// Reads that failed (EAGAIN) per transaction; contained in the reads.
    SyscallsFailedRead,
}

/// What one run of one cell through one target gave.
pub(crate) type Sample = BTreeMap<Metric, f64>;

impl Metric {
    /// Heading of a column.
    pub(crate) fn heading(self) -> &'static str {
        match self {
            Self::Transactions => "transactions",
            Self::Tps => "TPS",
            Self::MegabytesPerSecond => "MB/s",
            Self::LatencyAverage => "avg ms",
            Self::LatencyP50 => "p50 ms",
            Self::LatencyP95 => "p95 ms",
            Self::LatencyP99 => "p99 ms",
            Self::AddedLatency => "added us",
            Self::CpuPerTransaction => "CPU us/tx",
            Self::CpuPerMegabyte => "CPU us/MB",
            Self::PeakMemory => "peak +KiB",
            Self::IdleMemory => "KiB/idle client",
            Self::UsedMemory => "KiB after a query",
            Self::Logins => "logins/s",
            Self::Syscalls => "syscalls/tx",
            Self::SyscallsRead => "read",
            Self::SyscallsWrite => "write",
            Self::SyscallsEpoll => "epoll",
            Self::SyscallsFutex => "futex",
            Self::SyscallsOther => "other",
            Self::SyscallsFailedRead => "of which EAGAIN",
        }
    }

    /// Whether a column with the ratio to PgBouncer stands beside it.
    pub(crate) fn has_ratio(self) -> bool {
        matches!(
            self,
            Self::Tps
                | Self::MegabytesPerSecond
                | Self::LatencyP50
                | Self::CpuPerTransaction
                | Self::CpuPerMegabyte
                | Self::Syscalls
                | Self::IdleMemory
        )
    }
}
