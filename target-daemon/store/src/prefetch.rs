//! Cache prefetch hints.

/// Size of a cache line in bytes.
const LINE: usize = 64;

/// Prefetches the cache line at `from` and the following ones that hold its first `bytes`
/// bytes. It is only a hint: it reads nothing visible to the program, and unmapped
/// addresses are ignored.
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
    // SAFETY: a prefetch reads nothing visible to the program, and faults on no address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
}

#[cfg(not(target_arch = "x86_64"))]
fn line(_: *const u8) {}
