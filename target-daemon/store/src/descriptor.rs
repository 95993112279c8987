//! Reads, writes and discards through a file descriptor. Each one is complete, or an error.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::retry_on_intr;

use super::{IoVec, SEGMENTS_MAX};

/// Fills `buffers` from `offset` on.
pub(super) fn read(file: &File, buffers: &mut IoVec, offset: u64) -> io::Result<()> {
    transfer(buffers, offset, |iovecs, offset| {
        // SAFETY: the pieces are valid and ours (the contract of `IoVec`),
        // and `read` borrows them mutably.
        let moved =
            unsafe { libc::preadv(file.as_raw_fd(), iovecs.as_ptr(), iovecs.len() as libc::c_int, offset) };
        result(moved)
    })
}

/// Writes `buffers` from `offset` on.
pub(super) fn write(file: &File, buffers: &IoVec, offset: u64) -> io::Result<()> {
    transfer(buffers, offset, |iovecs, offset| {
        let count = iovecs.len() as libc::c_int;
        // SAFETY: the pieces are valid (the contract of `IoVec`); the kernel only reads them.
        let moved = unsafe { libc::pwritev(file.as_raw_fd(), iovecs.as_ptr(), count, offset) };
        result(moved)
    })
}

/// Makes a range read as zeros and frees its space; the file keeps its length.
pub(super) fn punch(file: &File, at: u64, bytes: u64) -> io::Result<()> {
    let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    Ok(retry_on_intr(|| fallocate(file, mode, at, bytes))?)
}

fn result(returned: isize) -> io::Result<usize> {
    usize::try_from(returned).map_err(|_| io::Error::last_os_error())
}

/// Repeats `call` until every byte is moved. A call may move less than requested, and only the
/// next one reports why.
fn transfer(
    buffers: &IoVec,
    offset: u64,
    mut call: impl FnMut(&[libc::iovec], i64) -> io::Result<usize>,
) -> io::Result<()> {
    let mut rest = Rest::new(buffers);
    let mut offset = i64::try_from(offset).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    while rest.bytes > 0 {
        match call(rest.iovecs(), offset) {
            // End of file, or a write that makes no progress.
            Ok(0) => return Err(io::Error::from_raw_os_error(libc::EIO)),
            Ok(moved) => {
                rest.advance(moved);
                offset = offset.saturating_add_unsigned(moved as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The part of the buffers that is still to be moved.
struct Rest {
    iovecs: [libc::iovec; SEGMENTS_MAX],
    first: usize,
    count: usize,
    bytes: usize,
}

impl Rest {
    fn new(buffers: &IoVec) -> Self {
        let mut iovecs = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; SEGMENTS_MAX];
        for (to, from) in iovecs.iter_mut().zip(buffers.iovecs()) {
            *to = *from;
        }
        Self { iovecs, first: 0, count: buffers.iovecs().len(), bytes: buffers.len() }
    }

    fn iovecs(&self) -> &[libc::iovec] {
        self.iovecs.get(self.first..self.count).unwrap_or(&[])
    }

    fn advance(&mut self, moved: usize) {
        let mut moved = moved.min(self.bytes);
        self.bytes -= moved;
        while let Some(iovec) = self.iovecs.get_mut(self.first) {
            if moved < iovec.iov_len {
                iovec.iov_base = iovec.iov_base.wrapping_byte_add(moved);
                iovec.iov_len -= moved;
                return;
            }
            moved -= iovec.iov_len;
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The results of the scripted calls, and the result of the transfer.
    type Row = (&'static [Result<usize, i32>], Result<(), i32>);

    #[test]
    fn a_transfer_is_whole_or_an_error() {
        let rows: &[Row] = &[
            (&[Ok(10)], Ok(())),
            (&[Ok(4), Ok(6)], Ok(())),
            (&[Ok(1), Ok(2), Ok(1), Ok(5), Ok(1)], Ok(())),
            (&[Err(libc::EINTR), Ok(3), Err(libc::EINTR), Ok(7)], Ok(())),
            (&[Ok(4), Ok(0)], Err(libc::EIO)),
            (&[Ok(9), Err(libc::ENOSPC)], Err(libc::ENOSPC)),
            (&[Err(libc::EIO)], Err(libc::EIO)),
        ];
        for (script, expected) in rows {
            let mut memory = *b"0123456789";
            let mut buffers = IoVec::EMPTY;
            for piece in memory.chunks_mut(4) {
                // SAFETY: the array outlives the list and is not used while the list exists.
                assert!(unsafe { buffers.push(piece) });
            }
            let mut steps = script.iter();
            let mut seen: Vec<u8> = Vec::new();
            let result = transfer(&buffers, 100, |iovecs, offset| {
                assert_eq!(offset, 100 + seen.len() as i64, "{script:?}");
                let step = *steps.next().unwrap();
                let bytes = iovecs.iter().flat_map(|iovec| {
                    // SAFETY: a part of `memory`.
                    unsafe { std::slice::from_raw_parts(iovec.iov_base.cast::<u8>(), iovec.iov_len) }
                });
                seen.extend(bytes.take(step.unwrap_or(0)).copied());
                step.map_err(io::Error::from_raw_os_error)
            });
            let result = result.map_err(|error| error.raw_os_error().unwrap());
            assert_eq!(result, *expected, "{script:?}");
            assert!(steps.next().is_none(), "{script:?} was not used up");
            assert_eq!(seen, &b"0123456789"[..seen.len()], "{script:?}");
        }
    }
}
