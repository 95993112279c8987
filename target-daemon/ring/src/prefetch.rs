//! A hint to the processor which memory is needed soon.

/// Brings the cache line at `at` near. The program sees no read, and an address that is
/// not mapped is ignored.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(crate) fn line(at: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a prefetch reads nothing that the program sees, and faults on no address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn line(_: *const u8) {}
