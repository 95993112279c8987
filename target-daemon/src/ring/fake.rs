//! Rings in memory, with the kernel's part played by a [`FakeWire`].

use std::alloc::Layout;
use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use xblade_ebpf::Stamp;

use super::{Descriptor, FillCompletion, Lane, RingStatistics, Rings, Umem};

/// The room in front of every received frame, as with the kernel's rings.
const HEADROOM: u32 = 476;

/// Rings for tests: what is delivered to the wire's end comes out of
/// `receive`, what is sent arrives there.
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
}

/// A queue, and the sockets on it.
#[derive(Debug)]
struct State {
    ring_size: usize,
    fill: VecDeque<u64>,
    completion: VecDeque<u64>,
    sockets: Vec<Socket>,
    down: bool,
}

#[derive(Debug, Default)]
struct Socket {
    rx: VecDeque<Descriptor>,
    tx: VecDeque<Descriptor>,
    sent: VecDeque<Vec<u8>>,
    statistics: RingStatistics,
}

impl FakeRings {
    /// A lane over fresh memory: `chunks` chunks of `chunk_bytes`, fill and tx
    /// rings with `ring_size` entries. `None` for a shape that `Memory` refuses.
    pub fn open(chunks: u32, chunk_bytes: u32, ring_size: u32) -> Option<(Lane<Self>, FakeWire)> {
        Self::open_several(1, chunks, chunk_bytes, ring_size)?.pop()
    }

    /// As [`Self::open`]: lanes that share memory, fill and completion ring, as
    /// those of several sockets on one queue do, with a wire for each.
    pub fn open_several(
        lanes: usize,
        chunks: u32,
        chunk_bytes: u32,
        ring_size: u32,
    ) -> Option<Vec<(Lane<Self>, FakeWire)>> {
        let area = Area::new(chunks.checked_mul(chunk_bytes)? as usize)?;
        let base = area.0;
        // SAFETY: `area` is that large, lives in the `Arc`, and is reached
        // through this `Memory` only.
        let umem = unsafe { Umem::new(base, chunks, chunk_bytes, HEADROOM, Arc::new(area)) }?;
        let state = Arc::new(Mutex::new(State {
            ring_size: ring_size as usize,
            fill: VecDeque::new(),
            completion: VecDeque::new(),
            sockets: (0..lanes).map(|_| Socket::default()).collect(),
            down: false,
        }));
        let wire = |socket| FakeWire { state: Arc::clone(&state), socket, umem: umem.clone() };
        let wires: Vec<FakeWire> = (0..lanes).map(wire).collect();
        let rings = (0..lanes).map(|socket| Self { state: Arc::clone(&state), socket }).collect();
        let lanes = Lane::open(rings, FakeFillCompletion { state: Arc::clone(&state) }, &umem);
        Some(lanes.into_iter().zip(wires).collect())
    }
}

impl Rings for FakeRings {
    type FillCompletion = FakeFillCompletion;

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
        if state.fill.len() + addrs.len() > state.ring_size {
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

    fn fill_size(&self) -> u32 {
        lock(&self.state).ring_size as u32
    }

    fn fill_room(&mut self) -> u32 {
        let state = lock(&self.state);
        (state.ring_size - state.fill.len()) as u32
    }

    fn needs_wakeup(&self) -> bool {
        false
    }
}

impl FakeWire {
    /// A frame arrives. Spread over as many chunks as it takes; dropped and
    /// counted, like in the kernel, if the fill ring has too few, or the rx ring
    /// no room.
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
                self.umem.kernel_write(addr as u32, bytes);
                if let (0, Some(ns)) = (at, arrived_ns) {
                    self.umem.kernel_write(addr as u32 - Stamp::LEN as u32, &Stamp { ns }.to_bytes());
                }
                socket.rx.push_back(Descriptor { addr, len: bytes.len() as u32, more: at + 1 < pieces });
            }
            true
        })
    }

    /// A descriptor of the caller's making appears in the rx ring.
    pub fn deliver_descriptor(&self, descriptor: Descriptor) {
        with(&self.state, self.socket, |_, socket| socket.rx.push_back(descriptor));
    }

    /// An address of the caller's making appears in the completion ring.
    pub fn complete_address(&self, addr: u64) {
        lock(&self.state).completion.push_back(addr);
    }

    /// Descriptors that were delivered and not received yet.
    pub fn waiting(&self) -> usize {
        with(&self.state, self.socket, |_, socket| socket.rx.len())
    }

    /// The next address that the kernel would receive into.
    pub fn take_fill(&self) -> Option<u64> {
        lock(&self.state).fill.pop_front()
    }

    /// Whether the link is down: queued frames stay in the tx ring.
    pub fn set_down(&self, down: bool) {
        lock(&self.state).down = down;
    }

    /// The next frame that was sent; its chunks are completed.
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
            frame.extend(self.umem.kernel_read(descriptor.addr as u32, descriptor.len));
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

/// Does something with what is shared and with one socket.
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
struct Area(NonNull<u8>, Layout);

impl Area {
    fn new(bytes: usize) -> Option<Self> {
        let layout = Layout::from_size_align(bytes, 4096).ok().filter(|l| l.size() > 0)?;
        // SAFETY: the layout has a size above zero.
        let base = NonNull::new(unsafe { std::alloc::alloc_zeroed(layout) })?;
        Some(Self(base, layout))
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout, freed once.
        unsafe { std::alloc::dealloc(self.0.as_ptr(), self.1) };
    }
}

// SAFETY: plain memory; `Memory` settles who accesses what.
unsafe impl Send for Area {}
// SAFETY: as above.
unsafe impl Sync for Area {}
