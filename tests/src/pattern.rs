//! Patterns to fill files with.

/// A sector with different content for every `seed` and `lba`.
pub fn sector(seed: u8, lba: u64) -> [u8; 512] {
    let mut bytes = [0; 512];
    let mut state = lba.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ u64::from(seed) << 32 | 1;
    for byte in &mut bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        *byte = state as u8;
    }
    bytes
}

/// `count` sectors from `lba` on.
pub fn pattern(seed: u8, lba: u64, count: usize) -> Vec<u8> {
    (lba..lba + count as u64).flat_map(|lba| sector(seed, lba)).collect()
}
