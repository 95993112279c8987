//! Rings in memory, with the kernel's part played by a [`FakeWire`].

use std::alloc::Layout;
use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Descriptor, Memory, RingStatistics, Rings};

/// The room in front of every received frame, as with the kernel's rings.
const HEADROOM: u32 = 476;

/// Rings for tests: what is delivered to the wire's end comes out of
/// `receive`, what is sent arrives there.
#[derive(Debug)]
pub struct FakeRings {
    state: Arc<Mutex<State>>,
}

/// The other end of [`FakeRings`]: the network and the kernel.
#[derive(Clone, Debug)]
pub struct FakeWire {
    state: Arc<Mutex<State>>,
    memory: Memory,
}

#[derive(Debug, Default)]
struct State {
    fill_size: u32,
    tx_size: usize,
    fill: VecDeque<u64>,
    rx: VecDeque<Descriptor>,
    tx: VecDeque<Descriptor>,
    completion: VecDeque<u64>,
    sent: VecDeque<Vec<u8>>,
    statistics: RingStatistics,
    down: bool,
}

impl FakeRings {
    /// Rings over fresh memory: `chunks` chunks of `chunk_bytes`, fill and tx
    /// rings with `ring_size` entries. `None` for a shape that `Memory` refuses.
    pub fn new(chunks: u32, chunk_bytes: u32, ring_size: u32) -> Option<(Self, Memory, FakeWire)> {
        let area = Area::new(chunks.checked_mul(chunk_bytes)? as usize)?;
        let base = area.0;
        // SAFETY: `area` is that large, lives in the `Arc`, and is reached
        // through this `Memory` only.
        let memory = unsafe { Memory::new(base, chunks, chunk_bytes, HEADROOM, Arc::new(area)) }?;
        let state = State { fill_size: ring_size, tx_size: ring_size as usize, ..State::default() };
        let state = Arc::new(Mutex::new(state));
        let wire = FakeWire { state: Arc::clone(&state), memory: memory.clone() };
        Some((Self { state }, memory, wire))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rings for FakeRings {
    fn receive(&mut self, out: &mut [Descriptor]) -> usize {
        let mut state = self.lock();
        let n = out.len().min(state.rx.len());
        for (to, from) in out.iter_mut().zip(state.rx.drain(..n)) {
            *to = from;
        }
        n
    }

    fn waiting(&mut self) -> usize {
        self.lock().rx.len()
    }

    fn fill(&mut self, addrs: &[u64]) -> usize {
        let mut state = self.lock();
        if state.fill.len() + addrs.len() > state.fill_size as usize {
            return 0;
        }
        state.fill.extend(addrs);
        addrs.len()
    }

    fn transmit(&mut self, descriptors: &[Descriptor]) -> usize {
        let mut state = self.lock();
        if state.tx.len() + descriptors.len() > state.tx_size {
            return 0;
        }
        state.tx.extend(descriptors);
        descriptors.len()
    }

    fn complete(&mut self, out: &mut [u64]) -> usize {
        let mut state = self.lock();
        let n = out.len().min(state.completion.len());
        for (to, from) in out.iter_mut().zip(state.completion.drain(..n)) {
            *to = from;
        }
        n
    }

    fn kick(&mut self) -> io::Result<u32> {
        let state = self.lock();
        Ok(if state.down { state.tx.len() as u32 } else { 0 })
    }

    fn fill_size(&self) -> u32 {
        self.lock().fill_size
    }

    fn statistics(&self) -> io::Result<RingStatistics> {
        Ok(self.lock().statistics)
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

impl FakeWire {
    /// A frame arrives. Spread over as many chunks as it takes; dropped and
    /// counted, like in the kernel, if the fill ring has too few.
    pub fn deliver(&self, frame: &[u8]) -> bool {
        let mut state = self.lock();
        let capacity = self.memory.chunk_capacity();
        let pieces = frame.chunks(capacity).count().max(1);
        if state.fill.len() < pieces {
            state.statistics.fill_ring_empty += 1;
            return false;
        }
        for (at, bytes) in frame.chunks(capacity).enumerate() {
            let Some(addr) = state.fill.pop_front() else {
                return false;
            };
            self.memory.kernel_write(addr as u32, bytes);
            state.rx.push_back(Descriptor { addr, len: bytes.len() as u32, more: at + 1 < pieces });
        }
        true
    }

    /// A descriptor of the caller's making appears in the rx ring.
    pub fn deliver_descriptor(&self, descriptor: Descriptor) {
        self.lock().rx.push_back(descriptor);
    }

    /// An address of the caller's making appears in the completion ring.
    pub fn complete_address(&self, addr: u64) {
        self.lock().completion.push_back(addr);
    }

    /// The next address that the kernel would receive into.
    pub fn take_fill(&self) -> Option<u64> {
        self.lock().fill.pop_front()
    }

    /// Whether the link is down: queued frames stay in the tx ring.
    pub fn set_down(&self, down: bool) {
        self.lock().down = down;
    }

    /// The next frame that was sent; its chunks are completed.
    pub fn sent(&self) -> Option<Vec<u8>> {
        let mut state = self.lock();
        if !state.down {
            self.send_all(&mut state);
        }
        state.sent.pop_front()
    }

    fn send_all(&self, state: &mut State) {
        let mut frame = Vec::new();
        while let Some(descriptor) = state.tx.pop_front() {
            frame.extend(self.memory.kernel_read(descriptor.addr as u32, descriptor.len));
            state.completion.push_back(descriptor.addr);
            if !descriptor.more {
                state.sent.push_back(std::mem::take(&mut frame));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
