//! The XDP program of xblade, and the types it shares with user space.
//!
//! ```text
//! frame ─► 0x88A2 behind 0, 1 or 2 tags? ─no─► XDP_PASS, untouched, uncounted
//!                │ yes
//!                ▼
//!          a request that a target may answer, for us, from a source on the
//!          access list?  ─no─► XDP_DROP + the counter of the reason
//!                │ yes
//!                ▼
//!          a socket of its queue: that of the export's owner, else the first
//!                │ socket                                 │ none ─► XDP_PASS
//!                ▼
//!          has its host a share of the ring left? ─no─► XDP_DROP + counter
//!                │ yes ─► XDP_REDIRECT
//! ```
//!
//! The program is `src/xblade.bpf.c`; `src/xblade.h` is the C side of the types below.
//! The crate that uses this one loads the program.

/// The compiled object: ELF with BTF, 8-byte aligned for loaders that cast pointers into
/// it.
pub static OBJECT: &[u8] = &ALIGNED.bytes;

/// Name of the program in [`OBJECT`] and in the kernel's program lists.
pub const PROGRAM: &str = "xblade";

/// XSKMAP, from an index (`u32`) to an AF_XDP socket. Each RX queue has its first socket
/// at [`first_lane`], followed by one per worker. Set the number of entries to [`lanes`]
/// before loading.
pub const LANES: &str = "lanes";
/// Hash, shelf × 256 + slot (`u32`) → worker that owns the export (`u32`). Only read if
/// [`Settings::workers`] is not 0.
pub const OWNERS: &str = "owners";
/// Per-CPU array, [`Counter`] as `u32` → `u64`.
pub const COUNTERS: &str = "counters";
/// Hash, source MAC (`[u8; 6]`) → `u8`. Only the presence of a key matters. Only read
/// while [`Settings::acl_on`] is set.
pub const ACL: &str = "acl";
/// Array with one entry: [`Settings::to_bytes`]. May change at run time.
pub const SETTINGS: &str = "settings";

/// Number of hosts that have a share of their own; all others share one.
pub const HOSTS: usize = HOST_BUCKETS * HOST_WAYS;
/// Number of buckets of the table of hosts, a power of two.
pub const HOST_BUCKETS: usize = 64;
/// Number of hosts in a bucket: as many keys as a cache line holds.
pub const HOST_WAYS: usize = 8;

/// Array that user space may map: [`HOST_BUCKETS`] buckets of [`HOST_WAYS`] keys (`u64`).
/// A key is a source MAC in its lower 48 bits, and the VLAN of the outer tag above; 0 is a
/// free entry. The bucket of a key is given by the upper bits of its product with
/// [`HOST_SEED`].
pub const HOSTS_MAP: &str = "hosts";
/// Array that user space may map: for each lane and host, at lane × [`HOST_INDICES`] + index
/// of the host, the count of what was redirected (`u64`): 1 + length / 4096 for each frame.
pub const ADMITTED: &str = "admitted";
/// Array that user space may map, as [`ADMITTED`]: the count up to which frames are
/// redirected; 0 for no limit.
pub const LIMITS: &str = "limits";
/// Global variable of the program (`u64`, odd).
pub const HOST_SEED: &str = "host_seed";
/// Number of indices of hosts: one for each entry of the table, and the last one for all
/// hosts that are not in it.
pub const HOST_INDICES: usize = HOSTS + 1;

/// Capacity of the map [`ACL`].
pub const ACL_MAX: usize = 4096;

/// Capacity of the map [`OWNERS`]: frames for other exports go to the first socket of
/// their queue.
pub const OWNERS_MAX: usize = 4096;

/// Number of entries in the map [`LANES`].
pub const fn lanes(queues: u32, workers: u8) -> u32 {
    first_lane(queues, workers)
}

/// The index in [`LANES`] of a queue's first socket; those of the workers follow.
pub const fn first_lane(queue: u32, workers: u8) -> u32 {
    queue * (1 + workers as u32)
}

/// Indices into the map [`COUNTERS`]. Each AoE frame increments exactly one: if several
/// apply, the first in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Counter {
    /// Redirected to a socket of its queue.
    Redirected,
    /// Passed to the stack: its queue has no socket.
    NoSocket,
    /// Dropped: shorter than the AoE header.
    Short,
    /// Dropped: AoE version other than 1.
    Version,
    /// Dropped: a reply, which a target never answers.
    Response,
    /// Dropped: the source is multicast or broadcast.
    SourceMulticast,
    /// Dropped: the source is 00:00:00:00:00:00.
    SourceZero,
    /// Dropped: the source is our own address.
    SourceOwn,
    /// Dropped: the destination is neither our address nor broadcast.
    Destination,
    /// Dropped: the source is not on the access list.
    Acl,
    /// Dropped: its host has used up its share of the ring.
    OverShare,
}

impl Counter {
    /// Number of counters.
    pub const COUNT: usize = Self::ALL.len();

    /// Every counter; `ALL[i] as usize == i`.
    pub const ALL: [Self; 11] = [
        Self::Redirected,
        Self::NoSocket,
        Self::Short,
        Self::Version,
        Self::Response,
        Self::SourceMulticast,
        Self::SourceZero,
        Self::SourceOwn,
        Self::Destination,
        Self::Acl,
        Self::OverShare,
    ];

    /// The name for metrics and logs, in snake case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Redirected => "redirected",
            Self::NoSocket => "no_socket",
            Self::Short => "short",
            Self::Version => "version",
            Self::Response => "response",
            Self::SourceMulticast => "source_multicast",
            Self::SourceZero => "source_zero",
            Self::SourceOwn => "source_own",
            Self::Destination => "destination",
            Self::Acl => "acl",
            Self::OverShare => "over_share",
        }
    }

    /// Whether this counts frames dropped in the kernel.
    pub const fn is_drop(self) -> bool {
        !matches!(self, Self::Redirected | Self::NoSocket)
    }
}

/// Settings that user space may change while the program runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Our MAC address. If all zero, only broadcasts reach us.
    pub own: [u8; 6],
    /// Whether sources must be in the map [`ACL`].
    pub acl_on: bool,
    /// Number of sockets that a queue may have besides its first: one per worker. Must
    /// not change, because the indices in [`LANES`] depend on it.
    pub workers: u8,
}

impl Settings {
    /// The value of entry 0 of the map [`SETTINGS`].
    pub const fn to_bytes(self) -> [u8; 8] {
        let [a, b, c, d, e, f] = self.own;
        [a, b, c, d, e, f, self.acl_on as u8, self.workers]
    }
}

/// The arrival time of a frame. The program stores it as XDP metadata directly before the
/// first byte of each frame that it redirects to a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Nanoseconds of CLOCK_MONOTONIC, read when the driver was polled. The frame arrived
    /// on the wire earlier.
    pub ns: u64,
}

impl Stamp {
    /// Length in bytes.
    pub const LEN: usize = 16;

    /// Parses a stamp; `None` if the bytes are something else.
    #[inline]
    pub fn parse(bytes: [u8; Self::LEN]) -> Option<Self> {
        let both = u128::from_ne_bytes(bytes);
        let (first, second) = (both as u64, (both >> 64) as u64);
        let (ns, check) = if cfg!(target_endian = "little") { (first, second) } else { (second, first) };
        (check == !ns).then_some(Self { ns })
    }

    /// The bytes of a stamp.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let (a, b) = (self.ns.to_ne_bytes(), (!self.ns).to_ne_bytes());
        let mut bytes = [0; Self::LEN];
        let (first, second) = bytes.split_at_mut(8);
        first.copy_from_slice(&a);
        second.copy_from_slice(&b);
        bytes
    }
}

#[repr(C, align(8))]
struct Aligned<T: ?Sized> {
    bytes: T,
}

static ALIGNED: &Aligned<[u8]> =
    &Aligned { bytes: *include_bytes!(concat!(env!("OUT_DIR"), "/xblade.bpf.o")) };

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    const HEADER: &str = include_str!("xblade.h");

    fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
        let rest = text.split_once(start).expect(start).1;
        rest.split_once(end).expect(end).0
    }

    #[test]
    fn counters_mirror_the_header() {
        let in_c: Vec<String> = between(HEADER, "enum xblade_counter {", "};")
            .lines()
            .filter_map(|line| line.trim().strip_prefix("XBLADE_"))
            .map(|line| line.split([',', ' ', '\t']).next().unwrap().to_lowercase())
            .collect();
        let mut here: Vec<&str> = Counter::ALL.iter().map(|counter| counter.name()).collect();
        here.push("counters");
        assert_eq!(in_c, here);
        for (index, counter) in Counter::ALL.iter().enumerate() {
            assert_eq!(*counter as usize, index);
        }
    }

    #[test]
    fn settings_mirror_the_header() {
        let fields: Vec<&str> = between(HEADER, "struct xblade_settings {", "};")
            .lines()
            .filter_map(|line| line.trim().strip_prefix("__u8 "))
            .map(|line| line.split_once(';').unwrap().0)
            .collect();
        assert_eq!(fields, ["own[6]", "acl_on", "workers"]);
        let settings = Settings { own: [1, 2, 3, 4, 5, 6], acl_on: true, workers: 7 };
        assert_eq!(settings.to_bytes(), [1, 2, 3, 4, 5, 6, 1, 7]);
    }

    #[test]
    fn stamps_mirror_the_header() {
        let fields: Vec<&str> = between(HEADER, "struct xblade_stamp {", "};")
            .lines()
            .filter_map(|line| line.trim().strip_prefix("__u64 "))
            .map(|line| line.split_once(';').unwrap().0)
            .collect();
        assert_eq!(fields, ["ns", "check"]);
        let stamp = Stamp { ns: 0x0102_0304_0506_0708 };
        let bytes = stamp.to_bytes();
        assert_eq!(bytes[..8], stamp.ns.to_ne_bytes());
        assert_eq!(Stamp::parse(bytes), Some(stamp));
        assert_eq!(Stamp::parse([0; Stamp::LEN]), None, "a chunk that was cleared");
        for byte in 0..Stamp::LEN {
            let mut other = bytes;
            other[byte] ^= 1;
            assert_eq!(Stamp::parse(other), None);
        }
    }

    #[test]
    fn sizes_mirror_the_header() {
        assert_eq!(between(HEADER, "#define XBLADE_ACL_MAX ", "\n"), ACL_MAX.to_string());
        assert_eq!(between(HEADER, "#define XBLADE_HOST_BUCKETS ", "\n"), HOST_BUCKETS.to_string());
        assert_eq!(between(HEADER, "#define XBLADE_HOST_WAYS ", "\n"), HOST_WAYS.to_string());
        assert_eq!(between(HEADER, "#define XBLADE_OWNERS_MAX ", "\n"), OWNERS_MAX.to_string());
    }

    #[test]
    fn object_is_aligned_elf() {
        assert!(OBJECT.starts_with(b"\x7fELF"));
        assert_eq!(OBJECT.as_ptr() as usize % 8, 0);
    }
}
