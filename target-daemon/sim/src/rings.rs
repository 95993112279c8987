//! Rings in memory. A [`FakeWire`] plays the kernel.

use std::alloc::Layout;
use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use xblade_ebpf::Stamp;

use xblade_ring::{Descriptor, FillCompletion, Lane, RingStatistics, Rings, Umem, fill_target};

/// Headroom in front of every received frame, as in the kernel's rings.
const HEADROOM: u32 = 476;

/// Rings for tests: `receive` returns what the [`FakeWire`] delivered, and the wire gets
/// what is sent.
#[derive(Debug)]
pub struct FakeRings {
    state: Arc<Mutex<State>>,
    socket: usize,
}

/// The fill and completion ring of [`FakeRings`].
#[derive(Debug)]
pub struct FakeFillCompletion {
    state: Arc<Mutex<State>>,
}

/// The other end of [`FakeRings`]: the network and the kernel.
#[derive(Clone, Debug)]
pub struct FakeWire {
    state: Arc<Mutex<State>>,
    socket: usize,
    umem: Umem,
    area: Arc<Area>,
}

/// A queue and its sockets.
#[derive(Debug)]
struct State {
    ring_size: usize,
    fill: VecDeque<u64>,
    completion: VecDeque<u64>,
    sockets: Vec<Socket>,
    down: bool,
}

impl State {
    fn fill_target(&self) -> u32 {
        fill_target(self.ring_size as u32, self.sockets.len())
    }

    fn fill_size(&self) -> usize {
        self.fill_target().next_power_of_two() as usize
    }
}

#[derive(Debug, Default)]
struct Socket {
    rx: VecDeque<Descriptor>,
    tx: VecDeque<Descriptor>,
    sent: VecDeque<Vec<u8>>,
    statistics: RingStatistics,
}

impl FakeRings {
    /// A lane over new memory: `chunks` chunks of `chunk_bytes`, rx and tx rings with
    /// `ring_size` entries. `None` if [`Umem::new`] refuses
    /// these sizes.
    pub fn open(chunks: u32, chunk_bytes: u32, ring_size: u32) -> Option<(Lane<Self>, FakeWire)> {
        Self::open_several(1, chunks, chunk_bytes, ring_size)?.pop()
    }

    /// As [`Self::open`], but several lanes that share UMEM, fill ring and completion
    /// ring, as several sockets on one queue do. Each has its own wire.
    pub fn open_several(
        lanes: usize,
        chunks: u32,
        chunk_bytes: u32,
        ring_size: u32,
    ) -> Option<Vec<(Lane<Self>, FakeWire)>> {
        let area = Arc::new(Area::new(chunks.checked_mul(chunk_bytes)? as usize)?);
        // SAFETY: `area` has that size and lives in the `Arc`. `Umem` and the wire access
        // it, each only those chunks that the rings give it.
        let umem = unsafe { Umem::new(area.0, chunks, chunk_bytes, HEADROOM, Arc::clone(&area) as _) }?;
        let state = Arc::new(Mutex::new(State {
            ring_size: ring_size as usize,
            fill: VecDeque::new(),
            completion: VecDeque::new(),
            sockets: (0..lanes).map(|_| Socket::default()).collect(),
            down: false,
        }));
        let wire = |socket| {
            let (state, area) = (Arc::clone(&state), Arc::clone(&area));
            FakeWire { state, socket, umem: umem.clone(), area }
        };
        let wires: Vec<FakeWire> = (0..lanes).map(wire).collect();
        let rings = (0..lanes).map(|socket| Self { state: Arc::clone(&state), socket }).collect();
        let lanes = Lane::open(rings, FakeFillCompletion { state: Arc::clone(&state) }, &umem);
        Some(lanes.into_iter().zip(wires).collect())
    }
}

impl Rings for FakeRings {
    type FillCompletion = FakeFillCompletion;

    fn size(&self) -> u32 {
        with(&self.state, self.socket, |shared, _| shared.ring_size as u32)
    }

    fn receive(&mut self, out: &mut [Descriptor]) -> usize {
        with(&self.state, self.socket, |_, socket| {
            let n = out.len().min(socket.rx.len());
            for (to, from) in out.iter_mut().zip(socket.rx.drain(..n)) {
                *to = from;
            }
            n
        })
    }

    fn waiting(&mut self) -> usize {
        with(&self.state, self.socket, |_, socket| socket.rx.len())
    }

    fn transmit(&mut self, descriptors: &[Descriptor]) -> usize {
        with(&self.state, self.socket, |shared, socket| {
            if socket.tx.len() + descriptors.len() > shared.ring_size {
                return 0;
            }
            socket.tx.extend(descriptors);
            descriptors.len()
        })
    }

    fn kick(&mut self, _fill_asks: bool) -> io::Result<u32> {
        Ok(with(
            &self.state,
            self.socket,
            |shared, socket| if shared.down { socket.tx.len() as u32 } else { 0 },
        ))
    }

    fn statistics(&self) -> io::Result<RingStatistics> {
        Ok(with(&self.state, self.socket, |_, socket| socket.statistics))
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

impl FillCompletion for FakeFillCompletion {
    fn fill(&mut self, addrs: &[u64]) -> usize {
        let mut state = lock(&self.state);
        if state.fill.len() + addrs.len() > state.fill_size() {
            return 0;
        }
        state.fill.extend(addrs);
        addrs.len()
    }

    fn complete(&mut self, out: &mut [u64]) -> usize {
        let mut state = lock(&self.state);
        let n = out.len().min(state.completion.len());
        for (to, from) in out.iter_mut().zip(state.completion.drain(..n)) {
            *to = from;
        }
        n
    }

    fn fill_target(&self) -> u32 {
        lock(&self.state).fill_target()
    }

    fn fill_room(&mut self) -> u32 {
        let state = lock(&self.state);
        (state.fill_size() - state.fill.len()) as u32
    }

    fn needs_wakeup(&self) -> bool {
        false
    }
}

impl FakeWire {
    /// Delivers a frame, spread over as many chunks as it needs. As in the kernel, it is
    /// dropped and counted if the fill ring has too few chunks or the rx ring has no
    /// room.
    pub fn deliver(&self, frame: &[u8]) -> bool {
        self.deliver_at(frame, None)
    }

    /// As [`Self::deliver`], with the XDP program's stamp.
    pub fn deliver_at(&self, frame: &[u8], arrived_ns: Option<u64>) -> bool {
        with(&self.state, self.socket, |shared, socket| {
            let capacity = self.umem.chunk_capacity();
            let pieces = frame.chunks(capacity).count().max(1);
            if shared.fill.len() < pieces {
                socket.statistics.fill_ring_empty += 1;
                return false;
            }
            if socket.rx.len() + pieces > shared.ring_size {
                socket.statistics.rx_ring_full += 1;
                return false;
            }
            for (at, bytes) in frame.chunks(capacity).enumerate() {
                let Some(addr) = shared.fill.pop_front() else {
                    return false;
                };
                self.area.write(addr as u32, bytes);
                if let (0, Some(ns)) = (at, arrived_ns) {
                    self.area.write(addr as u32 - Stamp::LEN as u32, &Stamp { ns }.to_bytes());
                }
                socket.rx.push_back(Descriptor { addr, len: bytes.len() as u32, more: at + 1 < pieces });
            }
            true
        })
    }

    /// Puts a descriptor of the caller's choice into the rx ring.
    pub fn deliver_descriptor(&self, descriptor: Descriptor) {
        with(&self.state, self.socket, |_, socket| socket.rx.push_back(descriptor));
    }

    /// Puts an address of the caller's choice into the completion ring.
    pub fn complete_address(&self, addr: u64) {
        lock(&self.state).completion.push_back(addr);
    }

    /// Number of descriptors delivered but not yet received.
    pub fn waiting(&self) -> usize {
        with(&self.state, self.socket, |_, socket| socket.rx.len())
    }

    /// Takes the next address that the kernel would receive into.
    pub fn take_fill(&self) -> Option<u64> {
        lock(&self.state).fill.pop_front()
    }

    /// Sets whether the link is down. While it is, queued frames stay in the tx ring.
    pub fn set_down(&self, down: bool) {
        lock(&self.state).down = down;
    }

    /// Takes the next frame that was sent; its chunks are completed.
    pub fn sent(&self) -> Option<Vec<u8>> {
        with(&self.state, self.socket, |shared, socket| {
            if !shared.down {
                self.send_all(shared, socket);
            }
            socket.sent.pop_front()
        })
    }

    fn send_all(&self, shared: &mut Shared<'_>, socket: &mut Socket) {
        let mut frame = Vec::new();
        while let Some(descriptor) = socket.tx.pop_front() {
            frame.extend(self.area.read(descriptor.addr as u32, descriptor.len));
            shared.completion.push_back(descriptor.addr);
            if !descriptor.more {
                socket.sent.push_back(std::mem::take(&mut frame));
            }
        }
    }
}

/// What the sockets of a queue share.
struct Shared<'a> {
    ring_size: usize,
    fill: &'a mut VecDeque<u64>,
    completion: &'a mut VecDeque<u64>,
    down: bool,
}

/// Runs `act` on the shared state and one socket.
fn with<T>(state: &Mutex<State>, socket: usize, act: impl FnOnce(&mut Shared<'_>, &mut Socket) -> T) -> T {
    let mut state = lock(state);
    let State { ring_size, fill, completion, sockets, down } = &mut *state;
    let mut shared = Shared { ring_size: *ring_size, fill, completion, down: *down };
    match sockets.get_mut(socket) {
        Some(socket) => act(&mut shared, socket),
        None => act(&mut shared, &mut Socket::default()),
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Zeroed, page-aligned memory.
#[derive(Debug)]
struct Area(NonNull<u8>, Layout);

impl Area {
    fn new(bytes: usize) -> Option<Self> {
        let layout = Layout::from_size_align(bytes, 4096).ok().filter(|l| l.size() > 0)?;
        // SAFETY: the layout has a size above zero.
        let base = NonNull::new(unsafe { std::alloc::alloc_zeroed(layout) })?;
        Some(Self(base, layout))
    }

    /// Writes bytes at a UMEM address, as the kernel does when it receives. The address
    /// comes from the fill ring, so the chunk is the kernel's.
    fn write(&self, addr: u32, bytes: &[u8]) {
        assert!(addr as usize + bytes.len() <= self.1.size(), "{addr} is not in the UMEM");
        // SAFETY: the bytes lie in the area, and the chunk is in no frame: the lane put it
        // into the fill ring.
        unsafe {
            self.0.add(addr as usize).copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len())
        };
    }

    /// Reads bytes at a UMEM address, as the kernel does when it sends.
    fn read(&self, addr: u32, len: u32) -> Vec<u8> {
        assert!(addr as usize + len as usize <= self.1.size(), "{addr} is not in the UMEM");
        // SAFETY: the bytes lie in the area, are initialised, and no one writes to them: the
        // lane put the chunk into the tx ring.
        unsafe { NonNull::slice_from_raw_parts(self.0.add(addr as usize), len as usize).as_ref() }.to_vec()
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout, freed once.
        unsafe { std::alloc::dealloc(self.0.as_ptr(), self.1) };
    }
}

// SAFETY: plain memory; `Umem` decides which thread accesses what.
unsafe impl Send for Area {}
// SAFETY: as above.
unsafe impl Sync for Area {}
