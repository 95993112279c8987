//! What a target on this host costs: its CPU time, and how busy its core is.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

/// A process and a core to look at.
#[derive(Clone, Debug)]
pub struct Watch {
    /// The process, with all of its threads.
    pub pid: u32,
    /// The core; work for the process that the kernel charges to nobody is
    /// seen here alone.
    pub core: Option<usize>,
}

/// Readings of one moment; differences mean something.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Reading {
    /// CPU time of the process, user and system, in nanoseconds.
    process_ns: u64,
    /// Ticks that the core was busy.
    busy: u64,
    /// Ticks that passed.
    total: u64,
}

impl Watch {
    /// Reads both.
    pub fn read(&self) -> Result<Reading> {
        let process_ns = self.process_ns().with_context(|| format!("cannot watch process {}", self.pid))?;
        let Some(core) = self.core else { return Ok(Reading { process_ns, ..Reading::default() }) };
        let text = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
        let (busy, total) = ticks(&text, core).with_context(|| format!("there is no core {core}"))?;
        Ok(Reading { process_ns, busy, total })
    }

    /// The sum over its threads: `/proc/PID/schedstat` has the first alone.
    fn process_ns(&self) -> Result<u64> {
        let mut sum = 0;
        for thread in fs::read_dir(PathBuf::from(format!("/proc/{}/task", self.pid)))? {
            // A thread may end between being listed and being read.
            let text = fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
            let first = text.split_whitespace().next().and_then(|word| word.parse::<u64>().ok());
            sum += first.unwrap_or(0);
        }
        Ok(sum)
    }
}

impl Reading {
    /// CPU time of the process since `before`, in nanoseconds.
    pub fn process_ns_since(&self, before: &Self) -> u64 {
        self.process_ns.saturating_sub(before.process_ns)
    }

    /// Share of the time since `before` that the core was busy, 0 to 1.
    pub fn busy_since(&self, before: &Self) -> f64 {
        let total = self.total.saturating_sub(before.total);
        self.busy.saturating_sub(before.busy) as f64 / total.max(1) as f64
    }
}

/// Busy and all ticks of a core, from /proc/stat.
fn ticks(stat: &str, core: usize) -> Option<(u64, u64)> {
    let name = format!("cpu{core}");
    let mut words = stat.lines().map(str::split_whitespace).find_map(|mut words| {
        // user nice system idle iowait irq softirq steal; guests are in user.
        (words.next() == Some(&name)).then_some(words)
    })?;
    let mut next = || words.next().and_then(|word| word.parse::<u64>().ok());
    let ticks: [Option<u64>; 8] = std::array::from_fn(|_| next());
    let [user, nice, system, idle, iowait, irq, softirq, steal] = ticks.map(Option::unwrap_or_default);
    let busy = user + nice + system + irq + softirq + steal;
    Some((busy, busy + idle + iowait))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_core_is_found_by_its_whole_name() {
        let stat = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu1 1 2 3 40 5 6 7 8 0 0\ncpu10 0 0 0 1 0 0 0 0 0 0\nintr 5\n";
        assert_eq!(ticks(stat, 1), Some((27, 72)));
        assert_eq!(ticks(stat, 10), Some((0, 1)));
        assert_eq!(ticks(stat, 2), None);
    }

    #[test]
    fn our_own_work_is_seen() {
        let watch = Watch { pid: std::process::id(), core: None };
        let before = watch.read().unwrap();
        // The kernel brings the count of a running thread up to date at its ticks.
        let deadline = Instant::now() + Duration::from_secs(10);
        while watch.read().unwrap().process_ns_since(&before) == 0 {
            assert!(Instant::now() < deadline);
        }
        assert_eq!(watch.read().unwrap().busy_since(&before), 0.0, "no core was named");
    }
}
