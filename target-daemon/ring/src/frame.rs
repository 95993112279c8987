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
    /// Bytes in all pieces.
    bytes: u32,
    count: u8,
    /// Id of the `Umem` that the addresses belong to.
    umem: u16,
    /// Arrival time, low half first; 0 if unknown. Two halves, because frames are moved
    /// often and a `u64` would enlarge them by its alignment.
    arrived_ns: [u32; 2],
}

impl Frame {
    #[inline]
    pub(super) fn empty(umem: u16) -> Self {
        let (addrs, lens) = ([0; FRAGMENTS_MAX], [0; FRAGMENTS_MAX]);
        Self { addrs, lens, bytes: 0, count: 0, umem, arrived_ns: [0; 2] }
    }

    /// Adds a piece; `false` if the frame is full.
    #[inline]
    pub(super) fn push(&mut self, addr: u32, len: u16) -> bool {
        let at = usize::from(self.count);
        let (Some(a), Some(l)) = (self.addrs.get_mut(at), self.lens.get_mut(at)) else {
            return false;
        };
        *a = addr;
        *l = len;
        self.bytes += u32::from(len);
        self.count += 1;
        true
    }

    /// Removes the last piece and returns its address.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<u32> {
        let (addr, len) = self.last()?;
        self.count -= 1;
        self.bytes -= u32::from(len);
        Some(addr)
    }

    /// UMEM address and length of the last piece.
    #[inline]
    pub(super) fn last(&self) -> Option<(u32, u16)> {
        self.piece(usize::from(self.count).checked_sub(1)?)
    }

    /// Sets the length of the last piece.
    #[inline]
    pub(super) fn set_last_len(&mut self, len: u16) {
        let last = usize::from(self.count).checked_sub(1).and_then(|at| self.lens.get_mut(at));
        if let Some(l) = last {
            self.bytes = self.bytes - u32::from(*l) + u32::from(len);
            *l = len;
        }
    }

    /// Replaces the chunk of the first piece.
    #[inline]
    pub(super) fn set_first_addr(&mut self, addr: u32) {
        let [first, ..] = &mut self.addrs;
        *first = addr;
    }

    /// UMEM address and length of each piece.
    #[inline]
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, u16)> + '_ {
        self.addrs.iter().copied().zip(self.lens.iter().copied()).take(self.pieces())
    }

    /// UMEM address and length of one piece.
    #[inline]
    pub fn piece(&self, at: usize) -> Option<(u32, u16)> {
        if at >= usize::from(self.count) {
            return None;
        }
        Some((*self.addrs.get(at)?, *self.lens.get(at)?))
    }

    #[inline]
    pub(super) fn memory_id(&self) -> u16 {
        self.umem
    }

    /// Time of the driver poll that received it, in nanoseconds of CLOCK_MONOTONIC: the
    /// XDP program's stamp. `None` if the frame had none.
    #[inline]
    pub fn arrived_ns(&self) -> Option<u64> {
        let [low, high] = self.arrived_ns;
        let ns = u64::from(high) << 32 | u64::from(low);
        (ns > 0).then_some(ns)
    }

    /// Sets the arrival time; `None` means unknown.
    #[inline]
    pub fn set_arrived(&mut self, ns: Option<u64>) {
        let ns = ns.unwrap_or(0);
        self.arrived_ns = [ns as u32, (ns >> 32) as u32];
    }

    /// Number of pieces.
    #[inline]
    pub fn pieces(&self) -> usize {
        usize::from(self.count)
    }

    /// Length of the whole frame in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.bytes as usize
    }

    /// Whether the frame has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
