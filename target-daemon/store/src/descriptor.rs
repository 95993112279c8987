//! Reads, writes and discards through a file descriptor. Each one is complete, or an error.

use std::array;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::{Errno, preadv, pwritev, retry_on_intr};

use super::{IoVec, SEGMENTS_MAX};

/// Fills `buffers` from `offset` on.
pub(super) fn read(file: &File, buffers: &mut IoVec, offset: u64) -> io::Result<()> {
    let (count, mut pieces) = (buffers.iovecs().len(), buffers.pieces_mut());
    let mut slices: [_; SEGMENTS_MAX] =
        array::from_fn(|_| IoSliceMut::new(pieces.next().unwrap_or_default()));
    let call = |rest: &mut [IoSliceMut<'_>], offset| preadv(file, rest, offset);
    transfer(slices.get_mut(..count).unwrap_or_default(), offset, IoSliceMut::advance_slices, call)
}

/// Writes `buffers` from `offset` on.
pub(super) fn write(file: &File, buffers: &IoVec, offset: u64) -> io::Result<()> {
    let (count, mut pieces) = (buffers.iovecs().len(), buffers.pieces());
    let mut slices: [_; SEGMENTS_MAX] = array::from_fn(|_| IoSlice::new(pieces.next().unwrap_or_default()));
    let call = |rest: &mut [IoSlice<'_>], offset| pwritev(file, rest, offset);
    transfer(slices.get_mut(..count).unwrap_or_default(), offset, IoSlice::advance_slices, call)
}

/// Makes a range read as zeros and frees its space; the file keeps its length.
pub(super) fn punch(file: &File, at: u64, bytes: u64) -> io::Result<()> {
    let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    Ok(retry_on_intr(|| fallocate(file, mode, at, bytes))?)
}

/// Repeats `call` until every byte of `rest` is moved. A call may move less than requested, and
/// only the next one reports why.
fn transfer<S>(
    mut rest: &mut [S],
    mut offset: u64,
    advance: fn(&mut &mut [S], usize),
    mut call: impl FnMut(&mut [S], u64) -> rustix::io::Result<usize>,
) -> io::Result<()> {
    advance(&mut rest, 0);
    while !rest.is_empty() {
        match retry_on_intr(|| call(rest, offset))? {
            // End of file, or a write that makes no progress.
            0 => return Err(Errno::IO.into()),
            moved => {
                advance(&mut rest, moved);
                offset = offset.saturating_add(moved as u64);
            }
        }
    }
    Ok(())
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
            let mut slices: Vec<IoSlice<'_>> = b"0123456789".chunks(4).map(IoSlice::new).collect();
            let mut steps = script.iter();
            let mut seen: Vec<u8> = Vec::new();
            let result = transfer(&mut slices, 100, IoSlice::advance_slices, |rest, offset| {
                assert_eq!(offset, 100 + seen.len() as u64, "{script:?}");
                let step = *steps.next().unwrap();
                let bytes = rest.iter().flat_map(|slice| slice.iter());
                seen.extend(bytes.take(step.unwrap_or(0)));
                step.map_err(rustix::io::Errno::from_raw_os_error)
            });
            let result = result.map_err(|error| error.raw_os_error().unwrap());
            assert_eq!(result, *expected, "{script:?}");
            assert!(steps.next().is_none(), "{script:?} was not used up");
            assert_eq!(seen, &b"0123456789"[..seen.len()], "{script:?}");
        }
    }
}
