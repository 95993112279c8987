//! Counts a target's system calls, and measures its time in user mode. That slows the target a
//! little with each call, so it is done only in a measurement of its own.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use aya::maps::Array;
use aya::programs::RawTracePoint;
use aya::{Ebpf, EbpfLoader};

use crate::outcome::Traced;

/// Entries of the map, as in tracer.bpf.c.
const PROCESS: u32 = 0;
const CALLS: u32 = 1;
const USER_NS: u32 = 2;
/// The programs, each named after its tracepoint.
const PROGRAMS: [&str; 5] = ["sys_enter", "sys_exit", "sched_switch", "softirq_entry", "softirq_exit"];
/// The length of the calibration.
const CALIBRATED_FOR: Duration = Duration::from_millis(5);
/// More than a call can take in user mode.
const CALL_NS_MAX: f64 = 5000.0;

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tracer.bpf.o"));

/// Attached programs; dropping it detaches them.
pub struct Tracer(Ebpf);

/// What was counted until a moment, or between two.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// System calls of the process.
    calls: u64,
    /// Nanoseconds in user mode.
    user_ns: u64,
}

impl Tracer {
    /// Traces a process. The time of a thread is counted from its first call.
    pub fn attach(pid: u32) -> Result<Self> {
        let mut ebpf = EbpfLoader::new().load(OBJECT).context("cannot load the programs that count")?;
        let counts = ebpf.map_mut("counts").context("there is no map `counts`")?;
        Array::<_, u64>::try_from(counts)?.set(PROCESS, u64::from(pid), 0)?;
        for name in PROGRAMS {
            let program: &mut RawTracePoint = ebpf.program_mut(name).context(name)?.try_into()?;
            program.load().with_context(|| format!("the kernel refused the program {name}"))?;
            program.attach(name).with_context(|| format!("the kernel has no tracepoint {name}"))?;
        }
        Ok(Self(ebpf))
    }

    /// Measures how much time of a call is taken for user mode: the way into the kernel and out of
    /// it. Fails where calls are not counted: a kernel may lack a tracepoint or lock it down, and in
    /// a PID namespace a process has another ID.
    pub fn calibrate() -> Result<f64> {
        let tracer = Self::attach(std::process::id())?;
        let (mut calls, before, started) = (0, tracer.read()?, Instant::now());
        while started.elapsed() < CALIBRATED_FOR {
            let _ = rustix::process::getppid();
            calls += 1;
        }
        let counted = tracer.read()?.since(&before);
        ensure!(counted.calls >= calls, "{} of {calls} system calls were counted", counted.calls);
        let call_ns = counted.user_ns as f64 / counted.calls as f64;
        ensure!((1.0..CALL_NS_MAX).contains(&call_ns), "{call_ns:.0} ns of each call were in user mode");
        Ok(call_ns)
    }

    /// The counts until now.
    pub fn read(&self) -> Result<Counts> {
        let counts = Array::<_, u64>::try_from(self.0.map("counts").context("there is no map `counts`")?)?;
        Ok(Counts { calls: counts.get(&CALLS, 0)?, user_ns: counts.get(&USER_NS, 0)? })
    }
}

impl Counts {
    /// Those since an earlier moment.
    pub fn since(&self, before: &Self) -> Self {
        Self { calls: self.calls - before.calls, user_ns: self.user_ns - before.user_ns }
    }

    /// Of a target that answered this many requests meanwhile; `None` if it answered none.
    /// `call_ns` of each call were not in user mode.
    pub fn of(&self, requests: f64, call_ns: f64) -> Option<Traced> {
        let calls = self.calls as f64 / requests;
        let user_ns = (self.user_ns as f64 / requests - calls * call_ns).max(0.0);
        (requests > 0.0).then_some(Traced { calls, user_ns })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Child, Command, Stdio};

    use xblade_kit::{apply, needs_root, until};

    use super::*;
    use crate::watch;

    /// A shell on the first core.
    fn shell(script: &str) -> Child {
        let mut command = Command::new("taskset");
        command.args(["-c", "0", "sh", "-c", script]).stdin(Stdio::piped()).spawn().unwrap()
    }

    #[apply(needs_root!)]
    fn time_in_user_mode_is_that_of_the_process_while_it_runs() {
        let mut other = shell("while :; do :; done");
        let mut traced = shell("read a; i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; read a; read a");
        let pid = traced.id();
        let cpu_ns = || watch::threads_ns(pid, "").unwrap();
        let waits = || std::fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap().contains("pipe_read");
        until("it waits", waits);
        let tracer = Tracer::attach(pid).unwrap();
        let (before, then) = (tracer.read().unwrap(), cpu_ns());
        traced.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        until("it runs", || cpu_ns() > then + 20_000_000);
        until("it waits again", waits);
        let (found, cpu_ns) = (tracer.read().unwrap().since(&before), cpu_ns() - then);
        for child in [&mut traced, &mut other] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        // It runs half of the time, and calls the kernel only to wait.
        let part = found.user_ns as f64 / cpu_ns as f64;
        assert!((0.8..1.02).contains(&part), "{found:?} of {cpu_ns} ns");
        assert!((1..10).contains(&found.calls), "{found:?}");
    }

    #[test]
    fn counts_are_divided_by_the_requests_of_the_same_time() {
        let (before, after) = (Counts { calls: 5, user_ns: 100 }, Counts { calls: 2005, user_ns: 2_000_100 });
        let counted = after.since(&before);
        assert_eq!(counted.of(4000.0, 0.0), Some(Traced { calls: 0.5, user_ns: 500.0 }));
        assert_eq!(counted.of(4000.0, 100.0), Some(Traced { calls: 0.5, user_ns: 450.0 }));
        assert_eq!(counted.of(4000.0, 2000.0), Some(Traced { calls: 0.5, user_ns: 0.0 }));
        assert_eq!(counted.of(0.0, 100.0), None);
    }
}
