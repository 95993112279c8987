//! The cost of a target on this host: its CPU time, and how busy its core is.

use std::fs;

use anyhow::{Context, Result};

use crate::outcome::Cost;

/// Nanoseconds per tick in /proc: USER_HZ is 100 on all platforms that we support.
const TICK_NS: u64 = 10_000_000;

/// The CPU time of a process with all its threads, including those that io_uring starts for it
/// (`iou-wrk`, `iou-sqp`). Only differences are meaningful.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CpuTime {
    /// That of the live threads, in nanoseconds.
    threads_ns: u64,
    /// Ticks in user mode and in the kernel: coarse, but with those of ended threads.
    ticks: [u64; 2],
}

/// CPU ticks of a core.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CoreTime {
    /// All ticks.
    total: u64,
    /// Those that were busy, busy in the kernel, including interrupts, and given to others by a
    /// hypervisor.
    parts: [u64; 3],
}

/// CPU time in nanoseconds of the threads of a process whose names begin with `prefix`.
/// (`/proc/PID/schedstat` covers only the first thread.)
pub fn threads_ns(pid: u32, prefix: &str) -> Result<u64> {
    let mut sum = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let thread = thread?.path();
        // It may end between listing and reading.
        let read = |name: &str| fs::read_to_string(thread.join(name)).unwrap_or_default();
        if read("comm").starts_with(prefix) {
            let text = read("schedstat");
            sum += text.split_whitespace().next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    Ok(sum)
}

impl CpuTime {
    /// Reads the counters of a process.
    pub fn read(pid: u32) -> Result<Self> {
        let failed = || format!("cannot watch process {pid}");
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(failed)?;
        let ticks = process_ticks(&stat).with_context(failed)?;
        Ok(Self { threads_ns: threads_ns(pid, "").with_context(failed)?, ticks })
    }

    /// The cost since `before`: the CPU time of the threads, divided in proportion to the
    /// ticks.
    pub fn cost_since(&self, before: &Self) -> Cost {
        let [user, system] = [0, 1].map(|at| self.ticks[at].saturating_sub(before.ticks[at]));
        let ticks_ns = (user + system) * TICK_NS;
        let threads_ns = self.threads_ns.saturating_sub(before.threads_ns);
        // If the ticks are clearly more, threads have ended meanwhile.
        let all_ns = if ticks_ns > threads_ns + 3 * TICK_NS { ticks_ns } else { threads_ns };
        let user_ns = (all_ns as f64 * user as f64 / (user + system).max(1) as f64) as u64;
        Cost { user_ns, system_ns: all_ns - user_ns }
    }
}

impl CoreTime {
    /// Reads the counters of a core.
    pub fn read(core: usize) -> Result<Self> {
        let text = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
        ticks(&text, core).with_context(|| format!("there is no core {core}"))
    }

    /// The fractions of the time since `before` that the core was busy, in the kernel, and stolen
    /// by a hypervisor, each 0 to 1.
    pub fn shares_since(&self, before: &Self) -> [f64; 3] {
        let total = self.total.saturating_sub(before.total).max(1) as f64;
        [0, 1, 2].map(|at| self.parts[at].saturating_sub(before.parts[at]) as f64 / total)
    }
}

/// User and system ticks, from /proc/PID/stat.
fn process_ticks(stat: &str) -> Option<[u64; 2]> {
    // The name may contain spaces and parentheses; the fields begin after the last
    // parenthesis.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11).map(|word| word.parse::<u64>().ok());
    Some([times.next()??, times.next()??])
}

/// Ticks of a core, from /proc/stat.
fn ticks(stat: &str, core: usize) -> Option<CoreTime> {
    let name = format!("cpu{core}");
    let mut words = stat.lines().map(str::split_whitespace).find_map(|mut words| {
        // user nice system idle iowait irq softirq steal; guest time is included in user.
        (words.next() == Some(&name)).then_some(words)
    })?;
    let mut next = || words.next().and_then(|word| word.parse::<u64>().ok());
    let ticks: [Option<u64>; 8] = std::array::from_fn(|_| next());
    let [user, nice, system, idle, iowait, irq, softirq, steal] = ticks.map(Option::unwrap_or_default);
    let kernel = system + irq + softirq;
    let busy = user + nice + kernel + steal;
    Some(CoreTime { total: busy + idle + iowait, parts: [busy, kernel, steal] })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_core_is_found_by_its_whole_name() {
        let stat = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu1 1 2 3 40 5 6 7 8 0 0\ncpu10 0 0 0 1 0 0 0 0 0 0\nintr 5\n";
        assert_eq!(ticks(stat, 1), Some(CoreTime { total: 72, parts: [27, 16, 8] }));
        assert_eq!(ticks(stat, 10), Some(CoreTime { total: 1, ..CoreTime::default() }));
        assert_eq!(ticks(stat, 2), None);
    }

    #[test]
    fn shares_are_of_the_time_that_passed() {
        let before = CoreTime { total: 100, parts: [10, 5, 1] };
        let after = CoreTime { total: 200, parts: [60, 30, 11] };
        assert_eq!(after.shares_since(&before), [0.5, 0.25, 0.1]);
        assert_eq!(before.shares_since(&before), [0.0; 3]);
    }

    #[test]
    fn times_of_a_process_are_found_behind_its_name() {
        let stat = "42 (a) b) R 1 42 42 0 -1 4194304 500 0 1 0 77 33 5 6 20 0 3 0 100\n";
        assert_eq!(process_ticks(stat), Some([77, 33]));
        assert_eq!(process_ticks("42 (a) R 1"), None);
    }

    fn reading(threads_ns: u64, user: u64, system: u64) -> CpuTime {
        CpuTime { threads_ns, ticks: [user, system] }
    }

    #[test]
    fn threads_say_how_much_and_ticks_say_where() {
        let (before, after) = (reading(1_000, 10, 10), reading(400_001_000, 20, 40));
        let cost = after.cost_since(&before);
        assert_eq!(cost, Cost { user_ns: 100_000_000, system_ns: 300_000_000 });
        assert_eq!(before.cost_since(&before), Cost::default());
    }

    #[test]
    fn threads_that_ended_are_not_forgotten() {
        let (before, after) = (reading(900_000_000, 10, 80), reading(100_000_000, 20, 110));
        assert_eq!(after.cost_since(&before), Cost { user_ns: 100_000_000, system_ns: 300_000_000 });
    }

    #[test]
    fn our_own_work_is_seen() {
        let pid = std::process::id();
        let before = CpuTime::read(pid).unwrap();
        // The kernel updates the count of a running thread at its ticks.
        let deadline = Instant::now() + Duration::from_secs(10);
        while CpuTime::read(pid).unwrap().cost_since(&before) == Cost::default() {
            assert!(Instant::now() < deadline);
        }
        assert_eq!(threads_ns(pid, "no such thread").unwrap(), 0);
    }
}
