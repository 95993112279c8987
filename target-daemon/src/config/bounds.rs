//! Limits on numbers, shared by the command line and the file. Each function returns the
//! number, or the remedy as an error.

/// Minimum number of outstanding requests: with one, Linux never sends its first.
pub const BUFFER_COUNT_MIN: u16 = 2;

/// Minimum number of initiators to size the rings for.
pub const INITIATORS_MIN: u16 = 1;

/// Checks the number of entries of an rx ring.
pub fn ring(entries: u32) -> Result<u32, &'static str> {
    let fits = entries.is_power_of_two() && (64..=1 << 16).contains(&entries);
    fits.then_some(entries).ok_or("give a power of two from 64 to 65536")
}

/// The most exports of one process: the entries of the XDP program's map of their owners.
pub const EXPORTS_MAX: usize = 4096;

/// The most hosts that access lists may name together: the entries of the XDP program's map.
pub const HOSTS_MAX: usize = 4096;

/// The most requests per second that a limit may allow.
pub const IOPS_MAX: u32 = 100_000_000;

/// The longest burst, in milliseconds.
pub const BURST_MS_MAX: u32 = 60_000;

/// The most `[[host-limit]]`: each costs a look-up per request.
pub const HOST_LIMITS_MAX: usize = 64;
