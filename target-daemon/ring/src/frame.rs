//! An owned frame: the list of chunks that hold it.

/// Maximum number of chunks in a frame. A 9000-byte frame takes three chunks of 4 KiB or
/// six of 2 KiB; a longer chain is counted and recycled.
pub const FRAGMENTS_MAX: usize = 8;

/// A frame in UMEM. The value owns the chunks.
///
/// It can neither be cloned nor be created outside this module: the chunk table gives
/// each chunk to at most one `Frame`. Return it with `Lane::transmit` or `Lane::release`.
/// Dropping it leaks its chunks, which the conservation check reports.
#[derive(Debug)]
#[must_use = "a dropped frame leaks its chunks"]
pub struct Frame {
    /// UMEM addresses of the first byte of each piece.
    addrs: [u32; FRAGMENTS_MAX],
    /// Bytes in each piece.
    lens: [u16; FRAGMENTS_MAX],
    count: u8,
    /// Id of the `Umem` that the addresses belong to.
    umem: u16,
    /// Arrival time, low half first; 0 if unknown. Two halves, because frames are moved
    /// often and a `u64` would enlarge them by its alignment.
    arrived_ns: [u32; 2],
}

impl Frame {
    pub(super) fn empty(umem: u16) -> Self {
        Self { addrs: [0; FRAGMENTS_MAX], lens: [0; FRAGMENTS_MAX], count: 0, umem, arrived_ns: [0; 2] }
    }

    /// Adds a piece; `false` if the frame is full.
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

    /// Removes the last piece and returns its address.
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

    /// UMEM address and length of one piece.
    pub fn piece(&self, at: usize) -> Option<(u32, u16)> {
        if at >= usize::from(self.count) {
            return None;
        }
        Some((*self.addrs.get(at)?, *self.lens.get(at)?))
    }

    pub(super) fn memory_id(&self) -> u16 {
        self.umem
    }

    /// Time of the driver poll that received it, in nanoseconds of CLOCK_MONOTONIC: the
    /// XDP program's stamp. `None` if the frame had none.
    pub fn arrived_ns(&self) -> Option<u64> {
        let [low, high] = self.arrived_ns;
        let ns = u64::from(high) << 32 | u64::from(low);
        (ns > 0).then_some(ns)
    }

    /// Sets the arrival time; `None` means unknown.
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
