//! Telling the processor what will be needed soon.

/// Bytes that come into the cache together.
const LINE: usize = 64;

/// Has memory brought near: the line at `from`, and those behind it that hold
/// the first `bytes` bytes. It is a hint: nothing is read that the program
/// sees, and an address that is not mapped is ignored.
#[inline]
pub fn bytes(from: *const u8, bytes: usize) {
    for at in (0..bytes.max(1)).step_by(LINE) {
        line(from.wrapping_add(at));
    }
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn line(at: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a prefetch reads nothing that the program sees, and faults on no
    // address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
}

#[cfg(not(target_arch = "x86_64"))]
fn line(_: *const u8) {}
