//! Observes the machine and the target during a measurement.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::outcome::{Footprint, Machine};
use crate::watch::CoreTime;

use super::pair::Pair;
use super::plan::Plan;

/// Number of footprints in a long measurement.
const FOOTPRINTS: f64 = 200.0;
/// Minimum interval between two.
const FOOTPRINT_EVERY_S: f64 = 0.5;

/// Counters at one moment; only differences are meaningful.
#[derive(Debug)]
pub struct Reading {
    at: Instant,
    target_core: CoreTime,
    generator_core: CoreTime,
    dropped: u64,
}

impl Reading {
    /// Reads the counters.
    pub fn take(plan: &Plan, pair: &Pair) -> Result<Self> {
        Ok(Self {
            at: Instant::now(),
            dropped: pair.drops()?,
            target_core: CoreTime::read(plan.target_core)?,
            generator_core: CoreTime::read(plan.generator_core)?,
        })
    }

    /// What happened since an earlier reading, with a load of this many seconds in between. Its
    /// program takes a moment before and after, in which the target's core is idle.
    pub fn since(&self, before: &Self, load_s: f64) -> Machine {
        let stretch = (self.at - before.at).as_secs_f64() / load_s.max(1e-9);
        let [busy, _, target_steal] = self.target_core.shares_since(&before.target_core);
        let [generator_core_busy, generator_core_kernel, steal] =
            self.generator_core.shares_since(&before.generator_core);
        Machine {
            target_core_busy: (busy * stretch).min(1.0),
            generator_core_busy,
            generator_core_kernel,
            steal: f64::midpoint(target_steal, steal),
            dropped: self.dropped.saturating_sub(before.dropped),
        }
    }
}

/// Samples a target's footprint at intervals.
#[derive(Debug)]
pub struct Footprints {
    pid: u32,
    started: Instant,
    every: Duration,
    next: Duration,
    /// All that were taken.
    pub all: Vec<Footprint>,
}

impl Footprints {
    /// For a process, over a measurement of about this many seconds.
    pub fn of(pid: u32, seconds: f64) -> Self {
        let every = Duration::try_from_secs_f64((seconds / FOOTPRINTS).max(FOOTPRINT_EVERY_S));
        let every = every.unwrap_or(Duration::MAX);
        Self { pid, started: Instant::now(), every, next: Duration::ZERO, all: Vec::new() }
    }

    /// Takes a footprint, if it is time to.
    pub fn look(&mut self) {
        let now = self.started.elapsed();
        if now < self.next {
            return;
        }
        self.next = now + self.every;
        let found = footprint(Path::new(&format!("/proc/{}", self.pid)), now.as_secs_f64());
        self.all.extend(found);
    }
}

/// Reads a footprint from /proc/PID; `None` once the process has exited.
fn footprint(process: &Path, at_s: f64) -> Option<Footprint> {
    let status = fs::read_to_string(process.join("status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    let memory_kib = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    let descriptors = fs::read_dir(process.join("fd")).ok()?.count() as u64;
    Some(Footprint { at_s, memory_kib, descriptors })
}

#[cfg(test)]
mod tests {
    use crate::conditions::tests::Tree;

    use super::*;

    #[test]
    fn a_footprint_has_the_memory_and_the_descriptors() {
        let tree = Tree::new(&[
            ("status", "Name:\tx\nVmRSS:\t 900 kB\nRssAnon:\t     123 kB\nRssFile:\t 777 kB\n"),
            ("fd/0", ""),
            ("fd/7", ""),
        ]);
        let expected = Footprint { at_s: 2.5, memory_kib: 123, descriptors: 2 };
        assert_eq!(footprint(tree.path(), 2.5), Some(expected));
        assert_eq!(footprint(Path::new("/proc/4194305"), 0.0), None);
    }

    #[test]
    fn looking_often_sees_little() {
        let mut footprints = Footprints::of(std::process::id(), 1.0);
        for _ in 0..3 {
            footprints.look();
        }
        let all = footprints.all;
        assert_eq!(all.len(), 1);
        assert!(all[0].memory_kib > 0 && all[0].descriptors >= 3);
    }
}
