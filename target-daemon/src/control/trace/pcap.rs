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
const VERSION: [u16; 2] = [2, 4];
/// Ethernet.
const LINK_TYPE: u32 = 1;

/// Writes frames. Each is written completely and at once, so that the file is valid
/// whenever the process stops.
pub struct Pcap<W> {
    to: W,
}

impl<W: Write> Pcap<W> {
    /// Writes the header of a file.
    ///
    /// # Errors
    ///
    /// I/O errors.
    pub fn new(mut to: W) -> io::Result<Self> {
        let [major, minor] = VERSION.map(u16::to_le_bytes);
        let mut header = Vec::from(MAGIC.to_le_bytes());
        header.extend(major.into_iter().chain(minor));
        // Time zone and precision: always 0.
        header.extend([0; 8]);
        header.extend((CAPTURE_MAX as u32).to_le_bytes());
        header.extend(LINK_TYPE.to_le_bytes());
        to.write_all(&header)?;
        to.flush()?;
        Ok(Self { to })
    }

    /// Appends a frame: the captured `bytes` of a frame of `len` bytes.
    ///
    /// # Errors
    ///
    /// I/O errors.
    pub fn put(&mut self, at: Timestamp, len: u32, bytes: &[u8]) -> io::Result<()> {
        let bytes = bytes.get(..CAPTURE_MAX).unwrap_or(bytes);
        let captured = bytes.len() as u32;
        // Seconds wrap around in 2106.
        let (seconds, nanoseconds) = (at.as_second() as u32, at.subsec_nanosecond().unsigned_abs());
        let head = [seconds, nanoseconds, captured, len.max(captured)];
        let mut record: Vec<u8> = head.into_iter().flat_map(u32::to_le_bytes).collect();
        record.extend(bytes);
        self.to.write_all(&record)?;
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_the_published_one() {
        let mut file = Vec::new();
        let mut pcap = Pcap::new(&mut file).unwrap();
        pcap.put("2026-01-02T03:04:05.000000678Z".parse().unwrap(), 60, &[0xab; 60]).unwrap();
        pcap.put("2026-01-02T03:04:06Z".parse().unwrap(), 8226, &[0xcd; 300]).unwrap();
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
