//! Reads and writes at an offset that never panic.

use super::FRAME_LEN_MIN;

/// The `N` bytes at `at`; `None` if `bytes` is too short.
#[inline]
pub(super) fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// The first `count` chunks of `N` bytes from `at` on; `None` if there are fewer.
pub(super) fn chunks<const N: usize>(bytes: &[u8], at: usize, count: u8) -> Option<&[[u8; N]]> {
    bytes.get(at..)?.as_chunks().0.get(..count.into())
}

/// Writes `value` at `at`; `None`, with nothing written, if it does not fit.
#[inline(always)]
pub(super) fn put(out: &mut [u8], at: usize, value: &[u8]) -> Option<()> {
    out.get_mut(at..)?.get_mut(..value.len())?.copy_from_slice(value);
    Some(())
}

/// Pads a frame of `len` bytes with zeros to [`FRAME_LEN_MIN`]. Returns the length to
/// send; `None` if `out` has no room for the padding.
#[inline(always)]
pub(super) fn pad(out: &mut [u8], len: usize) -> Option<usize> {
    if len >= FRAME_LEN_MIN {
        return Some(len);
    }
    out.get_mut(len..FRAME_LEN_MIN)?.fill(0);
    Some(FRAME_LEN_MIN)
}
