//! The memory of an operation: up to [`SEGMENTS_MAX`] pieces of a frame.

/// Most pieces that one operation can have: a 9000-byte frame in 2 KiB chunks
/// has six.
pub const SEGMENTS_MAX: usize = 8;

/// A scatter list over memory that somebody else keeps alive.
///
/// It is a list of raw pieces rather than of slices because an operation may
/// outlive the call that submitted it: an asynchronous engine works on the
/// memory while the frame that owns it waits in the worker's in-flight slab.
#[derive(Clone, Copy)]
pub struct Buffers {
    iovecs: [libc::iovec; SEGMENTS_MAX],
    count: u8,
    bytes: u32,
}

// SAFETY: the pieces are plain memory, and the contract of `push` makes this
// list their only user.
unsafe impl Send for Buffers {}

impl Buffers {
    /// No memory at all.
    pub const EMPTY: Self = Self {
        iovecs: [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; SEGMENTS_MAX],
        count: 0,
        bytes: 0,
    };

    /// Adds a piece. Returns `false`, and adds nothing, if the list is full.
    ///
    /// # Safety
    ///
    /// The memory stays mapped, and nobody else reads or writes it, until the
    /// completion of the operation that carries this list was returned, or the
    /// list was dropped without being submitted.
    #[must_use]
    pub unsafe fn push(&mut self, piece: &mut [u8]) -> bool {
        let Some(iovec) = self.iovecs.get_mut(usize::from(self.count)) else {
            return false;
        };
        iovec.iov_base = piece.as_mut_ptr().cast();
        iovec.iov_len = piece.len();
        self.count += 1;
        self.bytes += piece.len() as u32;
        true
    }

    /// The pieces, for a system call.
    pub fn iovecs(&self) -> &[libc::iovec] {
        self.iovecs.get(..usize::from(self.count)).unwrap_or(&[])
    }

    /// Their total length in bytes.
    pub fn len(&self) -> usize {
        self.bytes as usize
    }

    /// Whether there is no memory.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }
}

impl std::fmt::Debug for Buffers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buffers({} bytes in {} pieces)", self.bytes, self.count)
    }
}
