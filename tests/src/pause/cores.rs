//! The cores and the priority of threads.

use std::io;
use std::mem::{size_of, zeroed};

/// The cores that a thread may run on.
#[derive(Clone, Copy)]
pub struct Cores(libc::cpu_set_t);

impl Cores {
    /// This core alone.
    pub fn one(core: usize) -> Self {
        // SAFETY: a set of bits, for which zero is a valid value.
        let mut set: libc::cpu_set_t = unsafe { zeroed() };
        // SAFETY: `core` comes from `list`, so it is within the set.
        unsafe { libc::CPU_SET(core, &mut set) };
        Self(set)
    }

    /// The cores of a thread; 0 is this thread.
    pub fn of(tid: i32) -> io::Result<Self> {
        // SAFETY: a set of bits, for which zero is a valid value.
        let mut set: libc::cpu_set_t = unsafe { zeroed() };
        // SAFETY: the set has the given length and outlives the call.
        match unsafe { libc::sched_getaffinity(tid, size_of::<libc::cpu_set_t>(), &raw mut set) } {
            0 => Ok(Self(set)),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Restricts a thread to these cores; 0 is this thread.
    pub fn give(&self, tid: i32) -> io::Result<()> {
        // SAFETY: the set has the given length and outlives the call.
        match unsafe { libc::sched_setaffinity(tid, size_of::<libc::cpu_set_t>(), &raw const self.0) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Their numbers.
    pub fn list(&self) -> Vec<usize> {
        // SAFETY: every number below the size of the set is within it.
        (0..libc::CPU_SETSIZE as usize).filter(|core| unsafe { libc::CPU_ISSET(*core, &self.0) }).collect()
    }

    /// All of them except one.
    #[must_use]
    pub fn without(mut self, core: usize) -> Self {
        // SAFETY: `core` comes from `list`, so it is within the set.
        unsafe { libc::CPU_CLR(core, &mut self.0) };
        self
    }
}

/// While it exists, this thread has precedence on its core over every ordinary thread.
pub struct Ahead(());

impl Ahead {
    /// Fails if the kernel does not permit SCHED_FIFO.
    pub fn of_all() -> io::Result<Self> {
        schedule(libc::SCHED_FIFO, 10).map(Self)
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        schedule(libc::SCHED_OTHER, 0).expect("ordinary scheduling is always permitted");
    }
}

fn schedule(policy: i32, priority: i32) -> io::Result<()> {
    let parameter = libc::sched_param { sched_priority: priority };
    // SAFETY: the parameter outlives the call.
    match unsafe { libc::sched_setscheduler(0, policy, &raw const parameter) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
