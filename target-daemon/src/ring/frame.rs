//! An owned frame: the chunks that hold it, and nothing else.

/// Most chunks in one frame. A 9000-byte frame takes three chunks of 4 KiB or
/// six of 2 KiB; a longer chain is counted and recycled.
pub const FRAGMENTS_MAX: usize = 8;

/// A frame in UMEM, owned by whoever holds the value.
///
/// It can be neither copied nor made outside this module: the chunk table hands
/// every chunk to at most one `Frame`. Give it back with `Lane::transmit` or
/// `Lane::release`; one that is dropped stays out of circulation, which the
/// conservation check reports.
#[derive(Debug)]
#[must_use = "a dropped frame leaks its chunks"]
pub struct Frame {
    /// UMEM addresses of the first byte of each piece.
    addrs: [u32; FRAGMENTS_MAX],
    /// Bytes in each piece.
    lens: [u16; FRAGMENTS_MAX],
    count: u8,
    /// Which `Memory` the addresses belong to.
    umem: u16,
    /// When it arrived, the low half first; 0 if nothing says so. In halves, for frames
    /// are moved often, and this way they are no longer than they have to be.
    arrived_ns: [u32; 2],
}

impl Frame {
    pub(super) fn empty(umem: u16) -> Self {
        Self { addrs: [0; FRAGMENTS_MAX], lens: [0; FRAGMENTS_MAX], count: 0, umem, arrived_ns: [0; 2] }
    }

    /// Adds a piece; `false` if the frame has no room for one more.
    pub(super) fn push(&mut self, addr: u32, len: u16) -> bool {
        let at = usize::from(self.count);
        let (Some(a), Some(l)) = (self.addrs.get_mut(at), self.lens.get_mut(at)) else {
            return false;
        };
        *a = addr;
        *l = len;
        self.count += 1;
        true
    }

    /// Takes the last piece off and returns its address.
    pub(super) fn pop(&mut self) -> Option<u32> {
        let at = usize::from(self.count).checked_sub(1)?;
        self.count -= 1;
        self.addrs.get(at).copied()
    }

    pub(super) fn set_len(&mut self, piece: usize, len: u16) {
        if let Some(l) = self.lens.get_mut(piece) {
            *l = len;
        }
    }

    /// Address and length of one piece.
    pub(super) fn piece(&self, at: usize) -> Option<(u32, u16)> {
        if at >= usize::from(self.count) {
            return None;
        }
        Some((*self.addrs.get(at)?, *self.lens.get(at)?))
    }

    pub(super) fn memory_id(&self) -> u16 {
        self.umem
    }

    /// When the driver that received it was polled, in nanoseconds of CLOCK_MONOTONIC:
    /// the XDP program's stamp. `None` where frames carry none.
    pub fn arrived_ns(&self) -> Option<u64> {
        let [low, high] = self.arrived_ns;
        let ns = u64::from(high) << 32 | u64::from(low);
        (ns > 0).then_some(ns)
    }

    /// Sets when it arrived, or that nothing says so.
    pub fn set_arrived(&mut self, ns: Option<u64>) {
        let ns = ns.unwrap_or(0);
        self.arrived_ns = [ns as u32, (ns >> 32) as u32];
    }

    /// Number of pieces.
    pub fn pieces(&self) -> usize {
        usize::from(self.count)
    }

    /// Length of the whole frame in bytes.
    pub fn len(&self) -> usize {
        self.lens.iter().take(self.pieces()).map(|&l| usize::from(l)).sum()
    }

    /// Whether the frame has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
