//! The processor time that processes took, from proc_pid_stat(5).
//!
//! A rate falls with whatever else the machine does meanwhile; the time that was spent on the work itself depends less on
//! it, though caches and the size of batches still do.

use std::time::Duration;

use anyhow::Context as _;

/// The unit of `/proc`, which is the same on every machine that matters here.
const TICK: Duration = Duration::from_millis(10);

/// What this process and these others took so far, all threads, in user space and in the kernel; so did the programs
/// that one of them started and that have ended.
///
/// # Errors
/// If one of them is gone.
pub(super) fn taken(others: &[u32]) -> anyhow::Result<Duration> {
    of(others.iter().copied().chain([std::process::id()]))
}

/// The same of these processes alone.
///
/// # Errors
/// If one of them is gone.
pub(super) fn of(processes: impl IntoIterator<Item = u32>) -> anyhow::Result<Duration> {
    let ticks: Vec<u32> = processes
        .into_iter()
        .map(|pid| ticks(pid).with_context(|| format!("/proc tells nothing of the process {pid}")))
        .collect::<anyhow::Result<_>>()?;
    Ok(TICK * ticks.into_iter().sum())
}

/// `utime`, `stime`, `cutime` and `cstime`, from the 14th field on. The second is the program's name in parentheses, and
/// may have spaces.
fn ticks(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    let times = after_name.split_whitespace().skip(11).take(4);
    times.map(|ticks| ticks.parse::<u32>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_takes_time_and_a_process_that_is_gone_none() {
        let before = taken(&[]).expect("Linux tells");
        let mut sum = 0_u64;
        while taken(&[]).expect("Linux tells") < before + 3 * TICK {
            sum = std::hint::black_box(sum.wrapping_mul(31) + 7);
        }
        assert!(taken(&[0]).is_err(), "no process has the number 0");
    }
}
