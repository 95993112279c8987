//! The memory of an operation: up to [`SEGMENTS_MAX`] pieces of a frame.

use std::mem::MaybeUninit;

/// The most pieces of one operation: a 9000-byte frame in 2 KiB chunks has six.
pub const SEGMENTS_MAX: usize = 8;

/// A scatter list over memory that the caller keeps alive.
///
/// It is a list of raw pieces instead of slices because an operation may outlive the call
/// that submitted it: an asynchronous engine works on the memory while the frame that owns
/// it waits in the worker's in-flight slab.
///
/// It can be moved but not copied: as long as the list exists, it is the only user of its
/// pieces. This makes the methods that access them safe.
pub struct IoVec {
    /// The first `count` are initialised.
    iovecs: MaybeUninit<[libc::iovec; SEGMENTS_MAX]>,
    count: u8,
    bytes: usize,
}

// SAFETY: the pieces are plain memory, and the contract of `push` makes this list their
// only user.
unsafe impl Send for IoVec {}

impl IoVec {
    /// No memory. A function, because a constant would be copied, and with it all that is not
    /// initialised.
    #[inline(always)]
    pub fn empty() -> Self {
        Self { iovecs: MaybeUninit::uninit(), count: 0, bytes: 0 }
    }

    /// Adds a piece. Returns `false`, and adds nothing, if the list is full.
    ///
    /// # Safety
    ///
    /// The memory must stay mapped, with no other reader or writer, until this list is
    /// dropped. A store drops the list of an operation before it returns the operation's
    /// completion.
    #[must_use]
    #[inline]
    pub unsafe fn push(&mut self, piece: &mut [u8]) -> bool {
        let Some(bytes) = self.bytes.checked_add(piece.len()) else {
            return false;
        };
        let at = usize::from(self.count);
        if at >= SEGMENTS_MAX {
            return false;
        }
        let iovec = libc::iovec { iov_base: piece.as_mut_ptr().cast(), iov_len: piece.len() };
        // SAFETY: the index is within the array.
        unsafe { self.iovecs.as_mut_ptr().cast::<libc::iovec>().add(at).write(iovec) };
        self.count += 1;
        self.bytes = bytes;
        true
    }

    /// The pieces, for a system call.
    #[inline]
    pub fn iovecs(&self) -> &[libc::iovec] {
        // SAFETY: `push` has initialised the first `count` of at most `SEGMENTS_MAX`.
        unsafe { std::slice::from_raw_parts(self.iovecs.as_ptr().cast(), self.count.into()) }
    }

    #[inline]
    fn iovecs_mut(&mut self) -> &mut [libc::iovec] {
        // SAFETY: as in `iovecs`.
        unsafe { std::slice::from_raw_parts_mut(self.iovecs.as_mut_ptr().cast(), self.count.into()) }
    }

    /// Their total length in bytes.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Keeps only the first `bytes` bytes.
    pub fn truncate(&mut self, bytes: usize) {
        let mut left = bytes;
        for iovec in self.iovecs_mut() {
            iovec.iov_len = iovec.iov_len.min(left);
            left -= iovec.iov_len;
        }
        self.bytes = self.bytes.min(bytes);
    }

    /// Whether there is no memory.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Copies `from` into the pieces, in their order. Returns the number of bytes copied:
    /// the shorter of the two lengths.
    pub fn fill(&mut self, from: &[u8]) -> usize {
        let mut rest = from;
        for piece in self.pieces_mut() {
            let (now, later) = rest.split_at(piece.len().min(rest.len()));
            if let Some(piece) = piece.get_mut(..now.len()) {
                piece.copy_from_slice(now);
            }
            rest = later;
        }
        from.len() - rest.len()
    }

    /// Copies the pieces, in their order, into `to`. Returns the number of bytes copied:
    /// the shorter of the two lengths.
    pub fn copy_to(&self, to: &mut [u8]) -> usize {
        let mut copied = 0;
        for piece in self.pieces() {
            let rest = to.get_mut(copied..).unwrap_or(&mut []);
            let (now, _) = piece.split_at(piece.len().min(rest.len()));
            if let Some(rest) = rest.get_mut(..now.len()) {
                rest.copy_from_slice(now);
            }
            copied += now.len();
        }
        copied
    }

    /// Sets every byte to zero.
    pub fn zero(&mut self) {
        for piece in self.pieces_mut() {
            piece.fill(0);
        }
    }

    /// The last byte of the last piece that is not empty.
    #[inline]
    pub fn last(&self) -> Option<u8> {
        self.pieces().rev().find_map(|piece| piece.last().copied())
    }

    /// The pieces, read-only.
    #[inline]
    pub(super) fn pieces(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.iovecs().iter().map(|iovec| {
            // SAFETY: `push` stored pointer and length of a valid slice, and
            // its contract keeps that slice alive and ours while the list is
            // borrowed here.
            unsafe { std::slice::from_raw_parts(iovec.iov_base.cast::<u8>(), iovec.iov_len) }
        })
    }

    pub(super) fn pieces_mut(&mut self) -> impl Iterator<Item = &mut [u8]> {
        self.iovecs().iter().map(|iovec| {
            // SAFETY: as in `pieces`; the list is borrowed mutably, and its
            // pieces came from distinct `&mut` slices that may not be used
            // while the list lives, so no two of them overlap.
            unsafe { std::slice::from_raw_parts_mut(iovec.iov_base.cast::<u8>(), iovec.iov_len) }
        })
    }
}

impl std::fmt::Debug for IoVec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buffers({} bytes in {} pieces)", self.bytes, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_cross_the_borders_of_pieces() {
        let (mut a, mut b, mut c) = ([0u8; 3], [0u8; 0], [0u8; 5]);
        let mut list = IoVec::empty();
        for piece in [&mut a[..], &mut b[..], &mut c[..]] {
            // SAFETY: the arrays outlive the list and are not used while it exists.
            assert!(unsafe { list.push(piece) });
        }
        assert_eq!((list.len(), list.iovecs().len()), (8, 3));
        for (from, copied, expected) in
            [(&b"12345678"[..], 8, *b"12345678"), (b"ab", 2, *b"ab345678"), (b"ABCDEFGHIJ", 8, *b"ABCDEFGH")]
        {
            assert_eq!(list.fill(from), copied);
            let mut out = [0; 10];
            assert_eq!(list.copy_to(&mut out), 8);
            assert_eq!((&out[..8], &out[8..]), (&expected[..], &[0, 0][..]));
            assert_eq!(list.last(), expected.last().copied());
        }
        let mut short = [0; 4];
        assert_eq!((list.copy_to(&mut short), &short), (4, b"ABCD"));
        list.truncate(9);
        assert_eq!(list.len(), 8);
        list.truncate(4);
        assert_eq!(list.len(), 4);
        list.zero();
        assert_eq!((a, c), ([0; 3], [0, b'E', b'F', b'G', b'H']));
    }

    #[test]
    fn a_full_list_takes_nothing_more() {
        let mut memory = [0u8; SEGMENTS_MAX + 1];
        let mut list = IoVec::empty();
        for (index, piece) in memory.chunks_mut(1).enumerate() {
            // SAFETY: the array outlives the list and is not used while it exists.
            assert_eq!(unsafe { list.push(piece) }, index < SEGMENTS_MAX);
        }
        assert_eq!(list.len(), SEGMENTS_MAX);
    }
}
