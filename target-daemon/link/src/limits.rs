//! Limits and privileges of this process: locked memory and capabilities.

use std::sync::OnceLock;
use std::{fs, io};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, capabilities};

/// The limit of locked memory is too low and could not be raised.
#[derive(Debug, thiserror::Error)]
#[error(
    "RLIMIT_MEMLOCK is {bytes} bytes and cannot be raised: grant CAP_SYS_RESOURCE or set \
     LimitMEMLOCK=infinity for the service"
)]
pub struct MemlockError {
    /// The current limit.
    pub bytes: u64,
    /// The kernel's error.
    pub source: io::Error,
}

/// Makes locked memory unlimited, for UMEM and, on kernels before 5.11, for maps. Not
/// needed with CAP_IPC_LOCK.
pub fn raise_memlock() -> Result<(), MemlockError> {
    let (now, unlimited) = (getrlimit(Resource::Memlock), Rlimit { current: None, maximum: None });
    if now == unlimited {
        return Ok(());
    }
    let bytes = now.current.unwrap_or(u64::MAX);
    setrlimit(Resource::Memlock, unlimited).map_err(|error| MemlockError { bytes, source: error.into() })
}

/// The required capabilities: the name for the operator, and the capabilities of which any
/// one is sufficient.
const NEEDED: [(&str, CapabilitySet); 4] = [
    ("CAP_NET_ADMIN", CapabilitySet::NET_ADMIN),
    ("CAP_NET_RAW", CapabilitySet::NET_RAW),
    ("CAP_IPC_LOCK", CapabilitySet::IPC_LOCK),
    ("CAP_BPF", CapabilitySet::BPF.union(CapabilitySet::SYS_ADMIN)),
];

/// The names of the required capabilities that this thread lacks.
pub fn missing_capabilities() -> io::Result<Vec<&'static str>> {
    Ok(missing(capabilities(None)?.effective))
}

fn missing(effective: CapabilitySet) -> Vec<&'static str> {
    let lacking = NEEDED.iter().filter(|(_, any)| !effective.intersects(*any));
    lacking.map(|(name, _)| *name).collect()
}

/// The major and minor version of the running kernel; zeros if unknown. The first call reads
/// `/proc`, which the sandbox hides later.
pub fn kernel() -> (u32, u32) {
    static VERSION: OnceLock<(u32, u32)> = OnceLock::new();
    *VERSION.get_or_init(|| {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let bit = |number: u32| 1_u64 << number;
        let rows = [
            (u64::MAX, vec![]),
            (0, vec!["CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_BPF"]),
            (bit(12) | bit(13) | bit(14) | bit(39), vec![]),
            (bit(12) | bit(13) | bit(14) | bit(21), vec![]),
            (bit(12) | bit(14) | bit(39), vec!["CAP_NET_RAW"]),
            (!bit(39) & !bit(21), vec!["CAP_BPF"]),
        ];
        for (effective, names) in rows {
            assert_eq!(missing(CapabilitySet::from_bits_retain(effective)), names, "{effective:x}");
        }
    }

    #[test]
    fn those_of_this_thread_are_read() {
        assert!(missing_capabilities().is_ok());
    }
}
