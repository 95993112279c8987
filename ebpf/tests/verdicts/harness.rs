//! Runs the program in the kernel's test runner; builds frames for it.

use libbpf_rs::{MapCore, MapFlags, MapHandle, Object, ObjectBuilder, ProgramInput};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use xblade_ebpf::{
    ACL, COUNTERS, Counter, LANES, OBJECT, OWNERS, PROGRAM, SETTINGS, Settings, Stamp, first_lane, lanes,
};

pub const OWN: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];
pub const HOST: [u8; 6] = [0x02, 0, 0, 0, 0, 0x02];
pub const BROADCAST: [u8; 6] = [0xff; 6];

/// Size of the map of lanes. [`Xdp::load`] sets the number of workers to 0.
pub const QUEUES: u32 = 2;
pub const WORKERS: u8 = 3;

pub const CTAG: u16 = 0x8100;
pub const STAG: u16 = 0x88a8;
pub const AOE: u16 = 0x88a2;

pub const XDP_DROP: u32 = 1;
pub const XDP_PASS: u32 = 2;
pub const XDP_REDIRECT: u32 = 4;

/// Every way to put at most two tags before the EtherType.
pub const TAG_STACKS: [&[u16]; 7] =
    [&[], &[CTAG], &[STAG], &[STAG, CTAG], &[CTAG, CTAG], &[CTAG, STAG], &[STAG, STAG]];

/// The loaded program with its maps.
pub struct Xdp {
    object: Object,
}

/// What the program did with one frame.
#[derive(Debug, PartialEq)]
pub struct Verdict {
    pub action: u32,
    /// The counters that changed, and by how much.
    pub moved: Vec<(Counter, u64)>,
    /// The frame after the program ran.
    pub frame: Vec<u8>,
    /// Whether a stamp precedes it, with a time between start and end of the call.
    pub stamped: bool,
}

/// CLOCK_MONOTONIC in nanoseconds.
fn now_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is one timespec that lives for the whole call.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) }, 0);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

impl Xdp {
    /// Loads the program for [`OWN`], without an access list or sockets.
    pub fn load() -> Self {
        let mut open = ObjectBuilder::default().open_memory(OBJECT).unwrap();
        for mut map in open.maps_mut().filter(|map| map.name() == LANES) {
            map.set_max_entries(lanes(QUEUES, WORKERS)).unwrap();
        }
        let xdp = Self { object: open.load().unwrap() };
        xdp.set(Settings { own: OWN, acl_on: false, workers: 0 });
        xdp
    }

    pub fn map(&self, name: &str) -> MapHandle {
        let map = self.object.maps().find(|map| map.name() == name).unwrap();
        MapHandle::try_from(&map).unwrap()
    }

    pub fn set(&self, settings: Settings) {
        let value = settings.to_bytes();
        self.map(SETTINGS).update(&[0; 4], &value, MapFlags::ANY).unwrap();
    }

    pub fn allow(&self, source: [u8; 6]) {
        self.map(ACL).update(&source, &[1], MapFlags::ANY).unwrap();
    }

    /// Sets the owner of an export.
    pub fn own(&self, (shelf, slot): (u16, u8), worker: u32) {
        let key = u32::from(shelf) << 8 | u32::from(slot);
        self.map(OWNERS).update(&key.to_ne_bytes(), &worker.to_ne_bytes(), MapFlags::ANY).unwrap();
    }

    pub fn counters(&self) -> [u64; Counter::COUNT] {
        let map = self.map(COUNTERS);
        assert_eq!(map.max_entries() as usize, Counter::COUNT);
        Counter::ALL.map(|counter| {
            let key = (counter as u32).to_ne_bytes();
            let cpus = map.lookup_percpu(&key, MapFlags::ANY).unwrap().unwrap();
            let value = |cpu: &Vec<u8>| u64::from_ne_bytes(cpu.as_slice().try_into().unwrap());
            cpus.iter().map(value).sum()
        })
    }

    /// Runs the program once; returns the test runner's error if it refuses.
    pub fn try_run(&self, frame: &[u8]) -> libbpf_rs::Result<Verdict> {
        let before = self.counters();
        let mut out = vec![0; frame.len() + 64];
        let input = ProgramInput { data_in: Some(frame), data_out: Some(&mut out), ..Default::default() };
        let began_ns = now_ns();
        let program = self.object.progs_mut().find(|one| one.name() == PROGRAM).unwrap();
        let output = program.test_run(input)?;
        let ended_ns = now_ns();
        let mut left = output.data.map(|data| data.to_vec()).unwrap_or_default();
        let first = left.get(..Stamp::LEN).and_then(|bytes| bytes.try_into().ok());
        let stamp = first.filter(|_| left.len() == frame.len() + Stamp::LEN).and_then(Stamp::parse);
        let stamped = stamp.is_some_and(|stamp| (began_ns..=ended_ns).contains(&stamp.ns));
        if stamped {
            left.drain(..Stamp::LEN);
        }
        let after = self.counters();
        let moved = Counter::ALL
            .into_iter()
            .map(|counter| (counter, after[counter as usize] - before[counter as usize]))
            .filter(|(_, by)| *by > 0)
            .collect();
        Ok(Verdict { action: output.return_value, moved, frame: left, stamped })
    }

    pub fn run(&self, frame: &[u8]) -> Verdict {
        self.try_run(frame).unwrap()
    }
}

/// Asserts the action, that exactly `counter` increased by one (or none did), that no
/// byte of the frame changed, and that it has a stamp if and only if it goes to a socket.
pub fn expect(xdp: &Xdp, what: &str, frame: &[u8], action: u32, counter: Option<Counter>) {
    let moved = counter.map(|counter| (counter, 1)).into_iter().collect();
    let want = Verdict { action, moved, frame: frame.to_vec(), stamped: action == XDP_REDIRECT };
    let got = xdp.run(frame);
    assert!(got == want, "{what}: got {got:?}\nwant {want:?}");
}

/// A frame of `len` bytes: addresses, tags, EtherType, `body`, zeros.
pub fn frame(to: [u8; 6], from: [u8; 6], tags: &[u16], ty: u16, body: &[u8], len: usize) -> Vec<u8> {
    let mut bytes = [to, from].concat();
    for (number, tag) in tags.iter().enumerate() {
        bytes.extend(tag.to_be_bytes());
        bytes.extend((100 + number as u16).to_be_bytes());
    }
    bytes.extend(ty.to_be_bytes());
    bytes.extend(body);
    bytes.resize(len, 0);
    bytes
}

/// A Query Config request: version 1, shelf 7, slot 3, command 1, an arbitrary tag.
pub const QUERY: [u8; 10] = [0x10, 0, 0, 7, 3, 1, 0xde, 0xad, 0xbe, 0xef];

/// A 60-byte request after `tags`.
pub fn request(to: [u8; 6], from: [u8; 6], tags: &[u16]) -> Vec<u8> {
    frame(to, from, tags, AOE, &QUERY, 60)
}

/// [`request`] with a different first byte in its AoE header.
pub fn with_flags(tags: &[u16], version_flags: u8) -> Vec<u8> {
    let mut bytes = request(OWN, HOST, tags);
    bytes[14 + 4 * tags.len()] = version_flags;
    bytes
}

/// Gives queue 0 an AF_XDP socket for as long as the returned fd lives.
pub fn socket_on_queue_0(xdp: &Xdp) -> OwnedFd {
    socket_at(xdp, first_lane(0, 0))
}

/// Puts an AF_XDP socket at this index of the map of lanes for as long as the returned fd
/// lives.
pub fn socket_at(xdp: &Xdp, lane: u32) -> OwnedFd {
    // SAFETY: no pointers; the result is checked before it is used.
    let raw = unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    assert!(raw >= 0, "AF_XDP socket: {}", std::io::Error::last_os_error());
    // SAFETY: a new descriptor that nothing else owns.
    let socket = unsafe { OwnedFd::from_raw_fd(raw) };
    let value = socket.as_raw_fd().to_ne_bytes();
    xdp.map(LANES).update(&lane.to_ne_bytes(), &value, MapFlags::ANY).unwrap();
    socket
}
