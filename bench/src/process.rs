//! What /proc says about one process (proc(5)).

use std::io;
use std::time::Duration;

/// CPU time that the living threads of a process have used, to the nanosecond.
///
/// Read from `/proc/PID/task/*/schedstat`; `utime` and `stime` of `/proc/PID/stat` count in ticks of ten
/// milliseconds, too coarse for a run of a second. A thread that ends takes its time with it, which neither proxy
/// does under load. Falls back to the ticks on a kernel without schedstat.
pub fn cpu_time(pid: u32) -> io::Result<Duration> {
    let mut nanoseconds = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let Ok(text) = std::fs::read_to_string(task?.path().join("schedstat")) else {
            return cpu_ticks(pid);
        };
        nanoseconds += text.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// User plus system time of a process, in ticks of 10 ms (`sysconf(_SC_CLK_TCK)` is 100 on Linux).
fn cpu_ticks(pid: u32) -> io::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the name in parentheses and may hold anything; count from behind it.
    let behind_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields: Vec<&str> = behind_name.split_whitespace().collect();
    let ticks = |n: usize| fields.get(n).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
    Ok(Duration::from_millis(10 * (ticks(11) + ticks(12))))
}

/// Resident memory in KiB.
pub fn resident_kib(pid: u32) -> io::Result<u64> {
    status_kib(pid, "VmRSS:")
}

/// The highest resident memory since the start or since [`forget_peak`], in KiB.
pub fn peak_kib(pid: u32) -> io::Result<u64> {
    status_kib(pid, "VmHWM:")
}

/// Sets the peak back to what is resident now.
pub fn forget_peak(pid: u32) -> io::Result<()> {
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5")
}

fn status_kib(pid: u32, key: &str) -> io::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    status
        .lines()
        .find_map(|line| line.strip_prefix(key))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .ok_or_else(|| io::Error::other(format!("no {key} in the status of process {pid}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_works_uses_time_and_memory() {
        let pid = std::process::id();
        let before = cpu_time(pid).expect("own CPU time is readable");
        let started = std::time::Instant::now();
        let mut sum = 0_u64;
        while started.elapsed() < Duration::from_millis(50) {
            sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(7));
        }
        // Another process may hold the CPU; some of the fifty milliseconds were ours all the same.
        assert!(cpu_time(pid).expect("own CPU time is readable") > before);
        assert!(cpu_ticks(pid).is_ok());
        assert!(peak_kib(pid).expect("own peak") >= resident_kib(pid).expect("own memory") / 2);
    }
}
