//! Limits on numbers, shared by the command line and the file. Each function returns the
//! number, or the remedy as an error.

/// Minimum number of outstanding requests: with one, Linux never sends its first.
pub const BUFFER_COUNT_MIN: u16 = 2;

/// Minimum number of initiators to size the rings for.
pub const INITIATORS_MIN: u16 = 1;

/// Minimum number of chunks: the size of the smallest ring.
const CHUNKS_MIN: u32 = 64;

/// Checks the number of entries of an rx or tx ring.
pub fn ring(entries: u32) -> Result<u32, &'static str> {
    let fits = entries.is_power_of_two() && (64..=1 << 16).contains(&entries);
    fits.then_some(entries).ok_or("give a power of two from 64 to 65536")
}

/// Checks the size of a UMEM chunk, in bytes.
pub fn chunk_bytes(bytes: u32) -> Result<u32, &'static str> {
    matches!(bytes, 2048 | 4096).then_some(bytes).ok_or("give 2048 or 4096")
}

/// Checks the number of UMEM chunks against their size.
pub fn umem_chunks(chunks: u32, chunk_bytes: u32) -> Result<u32, &'static str> {
    let fits = chunks >= CHUNKS_MIN && chunks.checked_mul(chunk_bytes).is_some();
    fits.then_some(chunks).ok_or("give at least 64, and less than 4 GiB in all")
}
