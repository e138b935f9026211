//! System calls per transaction: a run of its own under `strace -c`, whose time means nothing.

use std::io;
use std::path::Path;

use pgherd_bench::syscalls::{Class, Counts, Tracer};

use crate::metric::{Metric, Sample};
use crate::pgbench::{Length, Pgbench};
use crate::target::Target;
use crate::workload::{Cell, Workload};

/// Transactions per client in the shorter of the two runs.
const SHORT: u32 = 20;

/// Counts two runs of different length and divides their difference: logins and attaching cancel out.
/// `None` for a target without a process of its own and for cells whose cost is counted in bytes.
pub(crate) fn run(
    cell: Cell,
    target: &Target,
    pgbench: &Pgbench,
    directory: &Path,
) -> io::Result<Option<Sample>> {
    let (Some(pid), Some(more)) = (target.pid(), additional_transactions(cell)) else {
        return Ok(None);
    };
    pgbench.warm_up(cell, target.port)?;
    let count = |transactions: u32| -> io::Result<Counts> {
        let tracer = Tracer::attach(pid, &directory.join("strace.summary"))?;
        let ran = pgbench.run(cell, target.port, Length::Transactions(transactions));
        let counts = tracer.detach();
        ran?;
        counts
    };
    let base = count(SHORT)?;
    let counts = count(SHORT + more)?.beyond(&base, f64::from(more * cell.clients));
    Ok(Some(Sample::from([
        (Metric::Syscalls, counts.total()),
        (Metric::SyscallsRead, counts.of(Class::Read)),
        (Metric::SyscallsWrite, counts.of(Class::Write)),
        (Metric::SyscallsEpoll, counts.of(Class::Epoll)),
        (Metric::SyscallsFutex, counts.of(Class::Futex)),
        (Metric::SyscallsOther, counts.of(Class::Other)),
        (Metric::SyscallsFailedRead, counts.failed_reads),
    ])))
}

/// How many transactions per client the longer run has beyond the shorter: some seconds under strace.
fn additional_transactions(cell: Cell) -> Option<u32> {
    let together = match cell.workload {
        Workload::SelectOnly => 8000,
        Workload::TpcbLike => 1500,
        Workload::Pipeline => 1000,
        Workload::ConnectScram => 400,
        Workload::WideRows | Workload::ManyRows | Workload::HugeRow | Workload::Idle => return None,
    };
    Some((together / cell.clients).max(20))
}
