//! The UMEM of a lane: where a frame's bytes are.

use std::any::Any;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use xblade_ebpf::Stamp;

use super::Frame;
use crate::prefetch;

/// A UMEM area, divided into chunks of a power of two.
///
/// Access to its bytes goes through a [`Frame`], and the borrow of the frame is
/// the borrow of the bytes: the chunk table (`Pool`) puts a chunk into at most one
/// frame, and never while the kernel has it.
#[derive(Clone)]
pub struct Umem {
    base: NonNull<u8>,
    bytes: u32,
    chunk_shift: u32,
    /// Bytes at the start of each chunk that stay free: the kernel's headroom.
    headroom: u32,
    id: u16,
    /// Whatever keeps the mapping alive.
    _mapping: Arc<dyn Any + Send + Sync>,
}

// SAFETY: `base` points to a mapping that `_mapping` keeps alive and that any
// thread may access; who accesses which bytes is settled by frame ownership.
unsafe impl Send for Umem {}
// SAFETY: as above; `&Memory` gives bytes only together with a frame's borrow.
unsafe impl Sync for Umem {}

impl Umem {
    /// Describes `chunks` chunks of `chunk_bytes` bytes at `base`.
    ///
    /// Returns `None` if the area has more than 4 GiB, or `chunk_bytes` is not
    /// a power of two above `headroom` and at most 32 KiB.
    ///
    /// # Safety
    ///
    /// `base` is valid for reads and writes of the whole area for as long as
    /// `mapping` lives, and its bytes are accessed by nobody but the kernel
    /// (through descriptors) and this value.
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

    /// The address of its first byte, and its length in bytes. Who makes a
    /// pointer of that has to know that the bytes are his.
    pub fn extent(&self) -> (usize, usize) {
        (self.base.as_ptr().expose_provenance(), self.bytes as usize)
    }

    /// Bytes that a chunk can hold of a frame that starts behind the headroom.
    pub fn chunk_capacity(&self) -> usize {
        (self.chunk_bytes() - self.headroom) as usize
    }

    pub(super) fn id(&self) -> u16 {
        self.id
    }

    pub(super) fn chunk_bytes(&self) -> u32 {
        1 << self.chunk_shift
    }

    /// The chunk that an address lies in.
    pub(super) fn chunk_of(&self, addr: u32) -> u32 {
        addr >> self.chunk_shift
    }

    /// The chunk that an address lies in, if that is in the area.
    pub(super) fn chunk_at(&self, addr: u64) -> Option<u32> {
        let chunk = self.chunk_of(u32::try_from(addr).ok()?);
        (chunk < self.chunks()).then_some(chunk)
    }

    /// Where a frame starts in a chunk taken from the free list.
    pub(super) fn start_of(&self, chunk: u32) -> u32 {
        (chunk << self.chunk_shift) + self.headroom
    }

    /// Bytes from an address to the end of its chunk.
    pub(super) fn room_at(&self, addr: u32) -> u32 {
        self.chunk_bytes() - (addr & (self.chunk_bytes() - 1))
    }

    /// Has the first bytes at an address brought into the cache.
    pub(super) fn prefetch(&self, addr: u32) {
        prefetch::bytes(self.base.as_ptr().wrapping_add(addr as usize), 1);
    }

    /// Takes the stamp of a frame that was received at this address: the XDP program
    /// put it directly before the frame. It is cleared, so that a chunk whose next
    /// frame comes without a stamp does not show this one again. No payload ever lies
    /// there: all frames in a chunk start at one address or behind it.
    ///
    /// Call with an address that the chunk table has just taken over from the kernel.
    pub(super) fn take_stamp(&self, addr: u32) -> Option<u64> {
        let offset = addr & (self.chunk_bytes() - 1);
        if offset < Stamp::LEN as u32 || addr >= self.bytes {
            return None;
        }
        // SAFETY: the bytes lie in the chunk of `addr`, which is in the area; the
        // chunk is the caller's, and no frame covers what lies before its first byte.
        let place = unsafe { self.base.add(addr as usize - Stamp::LEN) }.cast::<[u8; Stamp::LEN]>();
        // SAFETY: as above; an array of bytes has no alignment and no invalid value.
        let stamp = Stamp::parse(unsafe { place.read() })?;
        // SAFETY: as above.
        unsafe { place.write([0; Stamp::LEN]) };
        Some(stamp.ns)
    }

    /// A piece of a frame; empty if the frame has no such piece.
    pub fn piece<'a>(&'a self, frame: &'a Frame, at: usize) -> &'a [u8] {
        match self.locate(frame, at) {
            // SAFETY: `locate` has checked the bounds; the frame is borrowed
            // for as long as the slice, and its chunks are in no other frame.
            Some((p, len)) => unsafe { std::slice::from_raw_parts(p.as_ptr(), len) },
            None => &[],
        }
    }

    /// A piece of a frame for writing; empty if the frame has no such piece.
    pub fn piece_mut<'a>(&'a self, frame: &'a mut Frame, at: usize) -> &'a mut [u8] {
        match self.locate(frame, at) {
            // SAFETY: as in `piece`; the borrow of the frame is exclusive.
            Some((p, len)) => unsafe { std::slice::from_raw_parts_mut(p.as_ptr(), len) },
            None => &mut [],
        }
    }

    /// Copies as much of the frame as fits into `out`; returns the length.
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

    fn locate(&self, frame: &Frame, at: usize) -> Option<(NonNull<u8>, usize)> {
        let (addr, len) = frame.piece(at)?;
        let in_bounds = u64::from(addr) + u64::from(len) <= u64::from(self.bytes);
        if frame.memory_id() != self.id || !in_bounds {
            return None;
        }
        // SAFETY: `addr + len` lies within the area that `new` was promised.
        let p = unsafe { self.base.add(addr as usize) };
        Some((p, usize::from(len)))
    }

    /// Writes bytes at a UMEM address, as the kernel does when it receives.
    pub(super) fn kernel_write(&self, addr: u32, bytes: &[u8]) -> bool {
        let mut frame = Frame::empty(self.id);
        let fits = frame.push(addr, bytes.len() as u16) && self.locate(&frame, 0).is_some();
        if fits {
            self.piece_mut(&mut frame, 0).copy_from_slice(bytes);
        }
        fits
    }

    /// Reads bytes at a UMEM address, as the kernel does when it sends.
    pub(super) fn kernel_read(&self, addr: u32, len: u32) -> Vec<u8> {
        let mut frame = Frame::empty(self.id);
        if frame.push(addr, len as u16) { self.piece(&frame, 0).to_vec() } else { Vec::new() }
    }
}

impl std::fmt::Debug for Umem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Memory(id {}, {} chunks of {} bytes)", self.id, self.chunks(), self.chunk_bytes())
    }
}
