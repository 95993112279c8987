//! The UMEM of a lane: access to the bytes of a frame.

use std::any::Any;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use xblade_ebpf::Stamp;

use super::Frame;
use crate::prefetch;

/// A UMEM area, divided into chunks whose size is a power of two.
///
/// Its bytes are accessed through a [`Frame`], and borrowing the frame borrows the bytes:
/// the chunk table (`Pool`) puts a chunk into at most one frame, and never while the
/// kernel has it.
#[derive(Clone)]
pub struct Umem {
    base: NonNull<u8>,
    bytes: u32,
    chunk_bytes: u32,
    chunk_shift: u32,
    /// Bytes left free at the start of each chunk: the kernel's headroom.
    headroom: u32,
    id: u16,
    /// Keeps the mapping alive.
    _mapping: Arc<dyn Any + Send + Sync>,
}

// SAFETY: `base` points to a mapping that `_mapping` keeps alive and that any thread may
// access; frame ownership decides which thread accesses which bytes.
unsafe impl Send for Umem {}
// SAFETY: as above; `&Umem` gives access to bytes only with a borrowed frame.
unsafe impl Sync for Umem {}

impl Umem {
    /// An area of `chunks` chunks of `chunk_bytes` bytes at `base`.
    ///
    /// Returns `None` if the area has more than 4 GiB, or `chunk_bytes` is not
    /// a power of two above `headroom` and at most 32 KiB.
    ///
    /// # Safety
    ///
    /// `base` is valid for reads and writes of the whole area for as long as `mapping`
    /// lives, and its bytes are accessed only by the kernel (through descriptors) and by
    /// this value.
    pub unsafe fn new(
        base: NonNull<u8>,
        chunks: u32,
        chunk_bytes: u32,
        headroom: u32,
        mapping: Arc<dyn Any + Send + Sync>,
    ) -> Option<Self> {
        static NEXT_ID: AtomicU16 = AtomicU16::new(0);
        let bytes = chunks.checked_mul(chunk_bytes)?;
        if !chunk_bytes.is_power_of_two() || chunk_bytes > 1 << 15 || headroom >= chunk_bytes {
            return None;
        }
        Some(Self {
            base,
            bytes,
            chunk_bytes,
            chunk_shift: chunk_bytes.trailing_zeros(),
            headroom,
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            _mapping: mapping,
        })
    }

    /// Number of chunks.
    pub fn chunks(&self) -> u32 {
        self.bytes >> self.chunk_shift
    }

    /// The address of the area's first byte, and its length in bytes. To turn this into a
    /// pointer, the caller must own the bytes it accesses.
    pub fn extent(&self) -> (usize, usize) {
        (self.base.as_ptr().expose_provenance(), self.bytes as usize)
    }

    /// Bytes of a frame that a chunk can hold after the headroom.
    pub fn chunk_capacity(&self) -> usize {
        (self.chunk_bytes() - self.headroom) as usize
    }

    pub(super) fn id(&self) -> u16 {
        self.id
    }

    pub(super) fn chunk_bytes(&self) -> u32 {
        self.chunk_bytes
    }

    /// The chunk that an address lies in.
    pub(super) fn chunk_of(&self, addr: u32) -> u32 {
        addr >> self.chunk_shift
    }

    /// The chunk that an address lies in, if it is inside the area.
    #[inline]
    pub(super) fn chunk_at(&self, addr: u64) -> Option<u32> {
        let chunk = self.chunk_of(u32::try_from(addr).ok()?);
        (chunk < self.chunks()).then_some(chunk)
    }

    /// Where a frame starts in a chunk taken from the free list.
    pub(super) fn start_of(&self, chunk: u32) -> u32 {
        (chunk << self.chunk_shift) + self.headroom
    }

    /// Bytes from an address to the end of its chunk.
    #[inline]
    pub(super) fn room_at(&self, addr: u32) -> u32 {
        self.chunk_bytes() - (addr & (self.chunk_bytes() - 1))
    }

    /// Prefetches the first bytes at an address.
    pub(super) fn prefetch(&self, addr: u32) {
        prefetch::line(self.base.as_ptr().wrapping_add(addr as usize));
    }

    /// Takes the stamp of a frame received at this address: the XDP program put it
    /// directly before the frame. Clears it, so that the next frame in this chunk does
    /// not show an old stamp if it comes without one. No payload ever lies there: all
    /// frames in a chunk start at the same address or later.
    ///
    /// Call only with an address that was just taken over from the kernel in the chunk
    /// table.
    #[inline]
    pub(super) fn take_stamp(&self, addr: u32) -> Option<u64> {
        let offset = addr & (self.chunk_bytes() - 1);
        if offset < Stamp::LEN as u32 || addr >= self.bytes {
            return None;
        }
        // SAFETY: the bytes lie in the chunk of `addr`, which is in the area; the caller
        // owns the chunk, and no frame covers the bytes before its own first byte.
        let place = unsafe { self.base.add(addr as usize - Stamp::LEN) }.cast::<[u8; Stamp::LEN]>();
        // SAFETY: as above; an array of bytes has no alignment and no invalid value.
        let stamp = Stamp::parse(unsafe { place.read() })?;
        // SAFETY: as above.
        unsafe { place.write([0; Stamp::LEN]) };
        Some(stamp.ns)
    }

    /// Moves the only piece of a frame, which fits into any chunk, to the start of another
    /// chunk.
    ///
    /// Call only with an address in a chunk that the caller owns, but no frame. The frame's
    /// own chunk may already be on the free list: no one else can take it before the caller
    /// does.
    #[inline(always)]
    pub(super) fn move_piece(&self, frame: &mut Frame, to: u32) {
        /// A request without data, padding included, is at most this long.
        const USUAL: usize = 64;
        let (Some((from, len)), Some((addr, _))) = (self.locate(frame, 0), frame.last()) else { return };
        debug_assert!(to < self.bytes && len <= self.chunk_capacity());
        // SAFETY: the chunk of `to` lies in the area.
        let place = unsafe { self.base.add(to as usize) };
        if len <= USUAL && USUAL <= (self.room_at(addr) as usize).min(self.chunk_capacity()) {
            // A fixed length takes a few instructions instead of a call.
            // SAFETY: both chunks have this many bytes from there on, and are the caller's.
            unsafe { place.copy_from_nonoverlapping(from, USUAL) };
        } else {
            // SAFETY: `locate` has checked the bounds of one, and the caller those of the other;
            // both chunks are the caller's.
            unsafe { place.copy_from_nonoverlapping(from, len) };
        }
        frame.set_first_addr(to);
    }

    /// A piece of a frame; empty if there is no such piece.
    #[inline]
    pub fn piece<'a>(&'a self, frame: &'a Frame, at: usize) -> &'a [u8] {
        match self.locate(frame, at) {
            // SAFETY: `locate` has checked the bounds; the frame is borrowed as long as
            // the slice, and its chunks are in no other frame.
            Some((p, len)) => unsafe { std::slice::from_raw_parts(p.as_ptr(), len) },
            None => &[],
        }
    }

    /// A piece of a frame, writable; empty if there is no such piece.
    #[inline]
    pub fn piece_mut<'a>(&'a self, frame: &'a mut Frame, at: usize) -> &'a mut [u8] {
        match self.locate(frame, at) {
            // SAFETY: as in `piece`; the borrow of the frame is exclusive.
            Some((p, len)) => unsafe { std::slice::from_raw_parts_mut(p.as_ptr(), len) },
            None => &mut [],
        }
    }

    /// Copies as much of the frame as fits into `out`; returns the number of bytes
    /// copied.
    pub fn copy_out(&self, frame: &Frame, out: &mut [u8]) -> usize {
        let mut done = 0;
        for at in 0..frame.pieces() {
            let piece = self.piece(frame, at);
            let Some(rest) = out.get_mut(done..) else {
                break;
            };
            let n = piece.len().min(rest.len());
            if let (Some(to), Some(from)) = (rest.get_mut(..n), piece.get(..n)) {
                to.copy_from_slice(from);
            }
            done += n;
        }
        done
    }

    #[inline]
    fn locate(&self, frame: &Frame, at: usize) -> Option<(NonNull<u8>, usize)> {
        let (addr, len) = frame.piece(at)?;
        let in_bounds = u64::from(addr) + u64::from(len) <= u64::from(self.bytes);
        if frame.memory_id() != self.id || !in_bounds {
            return None;
        }
        // SAFETY: `addr + len` lies within the area that the caller of `new` promised.
        let p = unsafe { self.base.add(addr as usize) };
        Some((p, usize::from(len)))
    }
}

impl std::fmt::Debug for Umem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Umem(id {}, {} chunks of {} bytes)", self.id, self.chunks(), self.chunk_bytes())
    }
}
