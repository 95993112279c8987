//! Observes the machine and the target during a measurement.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

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
    target_core: CoreTime,
    generator_core: CoreTime,
    clocks: Clocks,
    dropped: u64,
}

/// The wall clock and the monotonic clock at one moment.
#[derive(Clone, Copy, Debug)]
struct Clocks {
    wall: SystemTime,
    steady: Instant,
}

impl Reading {
    /// Reads the counters.
    pub fn take(plan: &Plan, pair: &Pair) -> Result<Self> {
        Ok(Self {
            dropped: pair.target.drops()? + pair.initiator.drops()?,
            target_core: CoreTime::read(plan.target_core)?,
            generator_core: CoreTime::read(plan.generator_core)?,
            clocks: Clocks::read(),
        })
    }

    /// What happened since an earlier reading.
    pub fn since(&self, before: &Self) -> Machine {
        let [target, generator] =
            [(&self.target_core, &before.target_core), (&self.generator_core, &before.generator_core)];
        Machine {
            target_core_busy: target.0.busy_since(target.1),
            generator_core_busy: generator.0.busy_since(generator.1),
            generator_core_kernel: generator.0.kernel_since(generator.1),
            steal: (target.0.steal_since(target.1) + generator.0.steal_since(generator.1)) / 2.0,
            clock_step_us: self.clocks.step_since(&before.clocks),
            dropped: self.dropped.saturating_sub(before.dropped),
        }
    }
}

impl Clocks {
    /// Reads both clocks, the best of several times: the time that it takes bounds the
    /// error of their difference.
    fn read() -> Self {
        let once = |_| {
            let (before, wall) = (Instant::now(), SystemTime::now());
            let took = before.elapsed();
            (took, Self { wall, steady: before + took / 2 })
        };
        let best = (1..20).map(once).fold(once(0), |best, next| if next.0 < best.0 { next } else { best });
        best.1
    }

    /// The step of the wall clock against the monotonic clock since then, in
    /// microseconds.
    fn step_since(&self, before: &Self) -> f64 {
        let steady = self.steady.duration_since(before.steady).as_secs_f64();
        let wall = match self.wall.duration_since(before.wall) {
            Ok(forward) => forward.as_secs_f64(),
            Err(backward) => -backward.duration().as_secs_f64(),
        };
        (wall - steady) * 1e6
    }
}

/// Samples a target's footprint at intervals.
#[derive(Debug)]
pub struct Footprints {
    pid: u32,
    started: Instant,
    every: Duration,
    next: Duration,
    all: Vec<Footprint>,
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

    /// All footprints taken.
    pub fn take(self) -> Vec<Footprint> {
        self.all
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
        let all = footprints.take();
        assert_eq!(all.len(), 1);
        assert!(all[0].memory_kib > 0 && all[0].descriptors >= 3);
    }

    #[test]
    fn a_clock_that_is_set_is_seen_either_way() {
        let before = Clocks::read();
        assert!(Clocks::read().step_since(&before).abs() < 10_000.0, "nobody has set it");
        let second = Duration::from_secs(1);
        let ahead = Clocks { wall: before.wall + second, ..before };
        let behind = Clocks { wall: before.wall - second, ..before };
        assert_eq!((ahead.step_since(&before), behind.step_since(&before)), (1e6, -1e6));
    }
}
