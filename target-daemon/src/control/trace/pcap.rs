//! Writes frames to a file for tcpdump and Wireshark: the classic libpcap format with
//! nanoseconds.
//!
//! ```text
//! file:   magic (4)  version (2, 2)  0 (8)  snap length (4)  link type (4)
//! frame:  seconds (4)  nanoseconds (4)  captured (4)  length (4)  bytes …
//! ```

use std::io::{self, Write};

use jiff::Timestamp;

use crate::worker::CAPTURE_MAX;

/// Nanosecond format; the byte order is that of the writer.
const MAGIC: u32 = 0xa1b2_3c4d;
/// Major and minor, in this order.
const VERSION: u32 = 4 << 16 | 2;
/// Ethernet.
const LINK_TYPE: u32 = 1;

/// Writes the header of a file.
pub fn begin(to: &mut impl Write) -> io::Result<()> {
    // Time zone and precision: always 0.
    write(to, &[MAGIC, VERSION, 0, 0, CAPTURE_MAX as u32, LINK_TYPE], &[])
}

/// Appends a frame: the captured `bytes` of a frame of `len` bytes.
pub fn put(to: &mut impl Write, at: Timestamp, len: u32, bytes: &[u8]) -> io::Result<()> {
    let bytes = bytes.get(..CAPTURE_MAX).unwrap_or(bytes);
    let captured = bytes.len() as u32;
    // Seconds wrap around in 2106.
    let (seconds, nanoseconds) = (at.as_second() as u32, at.subsec_nanosecond().unsigned_abs());
    write(to, &[seconds, nanoseconds, captured, len.max(captured)], bytes)
}

/// Writes completely and at once, so that the file is valid whenever the process stops.
fn write(to: &mut impl Write, words: &[u32], bytes: &[u8]) -> io::Result<()> {
    let mut all: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    all.extend(bytes);
    to.write_all(&all)?;
    to.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_the_published_one() {
        let mut file = Vec::new();
        begin(&mut file).unwrap();
        put(&mut file, "2026-01-02T03:04:05.000000678Z".parse().unwrap(), 60, &[0xab; 60]).unwrap();
        put(&mut file, "2026-01-02T03:04:06Z".parse().unwrap(), 8226, &[0xcd; 300]).unwrap();
        let words = |at: usize, n: usize| -> Vec<u32> {
            file[at..at + 4 * n].chunks(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect()
        };
        assert_eq!(words(0, 6), [0xa1b2_3c4d, 0x0004_0002, 0, 0, 256, 1]);
        assert_eq!(words(24, 4), [1_767_323_045, 678, 60, 60]);
        assert_eq!(file[40..100], [0xab; 60]);
        assert_eq!(words(100, 4), [1_767_323_046, 0, 256, 8226]);
        assert_eq!(file[116..], [0xcd; 256]);
    }
}
