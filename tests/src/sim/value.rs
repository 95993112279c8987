//! The content of a sector: the operation and position that wrote it, and 496 bytes
//! derived from these, so that nothing else is mistaken for it.

use super::rng::mix;

/// Bytes per sector.
pub(crate) const SECTOR: usize = 512;

/// Identifies the content of a sector: 0 for zeros, else the number of the operation that
/// wrote it, plus one.
pub(crate) type Value = u32;

/// The sector that operation `op` writes at `lba`.
pub(crate) fn sector(seed: u64, op: u32, lba: u64) -> [u8; SECTOR] {
    let mut bytes = [0; SECTOR];
    let mut state = mix(seed ^ u64::from(op) << 32 ^ lba);
    for word in bytes.chunks_exact_mut(8) {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        word.copy_from_slice(&(state ^ state >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9).to_le_bytes());
    }
    bytes[..4].copy_from_slice(&(op + 1).to_le_bytes());
    bytes[4..8].copy_from_slice(&(lba as u32).to_le_bytes());
    bytes
}

/// The data that operation `op` writes from `lba` on.
pub(crate) fn data(seed: u64, op: u32, lba: u64, count: u8) -> Vec<u8> {
    (lba..lba + u64::from(count)).flat_map(|lba| sector(seed, op, lba)).collect()
}

/// The value of the content found at `lba`; an error if no operation writes this there.
pub(crate) fn parse(seed: u64, lba: u64, bytes: &[u8]) -> Result<Value, String> {
    if bytes.iter().all(|byte| *byte == 0) {
        return Ok(0);
    }
    let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let (value, place) = (word(0), word(4));
    if value > 0 && bytes == sector(seed, value - 1, lba) {
        return Ok(value);
    }
    Err(format!(
        "sector {lba} holds what was never written there: it begins as if by op {} for {place}",
        value.wrapping_sub(1)
    ))
}
