//! The 512 bytes that IDENTIFY DEVICE returns: 256 little-endian words.
//!
//! Initiators read three things: bit 10 of words 83 and 86, without which Linux limits
//! the disk to 128 GiB; the size in words 60-61 and 100-103; and the strings. TRIM and
//! the write cache are read by others. Everything else follows what `vblade` sends.

use super::bytes::{array, put};

/// Length of the answer in bytes.
pub const IDENTIFY_LEN: usize = 512;

const SERIAL: usize = 10;
const FIRMWARE: usize = 23;
const MODEL: usize = 27;
const SECTORS_28: usize = 60;
const ADDITIONAL: usize = 69;
const FEATURES_SUPPORTED: usize = 82;
const FEATURES_ENABLED: usize = 85;
const SECTORS_48: usize = 100;
const TRIM_BLOCKS: usize = 105;
const PHYSICAL_SECTOR: usize = 106;
const DATA_SET: usize = 169;
const ALIGNMENT: usize = 209;

/// Words that are the same for every export.
const FIXED: [(usize, u16); 9] = [
    (47, 0x8000),        // no READ MULTIPLE
    (49, 0x0200),        // LBA
    (50, 0x4000),        // the word is valid
    (83, 0x7400),        // valid; FLUSH CACHE EXT, FLUSH CACHE, 48-bit LBA supported
    (84, 0x4000),        // the word is valid
    (86, 0x3400),        // FLUSH CACHE EXT, FLUSH CACHE, 48-bit LBA enabled
    (87, 0x4000),        // the word is valid
    (93, 0x400b),        // hardware reset result, as from a lone device
    (ALIGNMENT, 0x4000), // valid; sector 0 starts a physical sector
];

/// Word 69: reads of trimmed sectors are deterministic (bit 14) and return zeros (bit 5).
const TRIMMED_IS_ZERO: u16 = 1 << 14 | 1 << 5;
/// Word 105: maximum number of 512-byte blocks of ranges in a TRIM. It equals the largest
/// sector count ever advertised; where the advertised count is smaller, a larger TRIM is
/// refused.
const TRIM_BLOCKS_MAX: u16 = 16;
/// Word 169: TRIM.
const TRIM: u16 = 1;
/// Words 82 and 85: a write cache.
const WRITE_CACHE: u16 = 1 << 5;

const SECTORS_28_MAX: u64 = 0x0fff_ffff;
/// Linux reads a 64-bit size, so word 103 must be 0.
const SECTORS_48_MAX: u64 = (1 << 48) - 1;

/// Exactly `N` bytes of printable ASCII, padded with spaces.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Text<const N: usize>([u8; N]);

impl<const N: usize> Text<N> {
    /// Takes the first `N` characters; replaces anything but printable ASCII by `?`.
    pub fn new(text: &str) -> Self {
        let mut bytes = [b' '; N];
        for (byte, character) in bytes.iter_mut().zip(text.chars()) {
            let printable = matches!(character, ' '..='~');
            *byte = if printable { character as u8 } else { b'?' };
        }
        Self(bytes)
    }

    /// The text without its padding.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("").trim_end_matches(' ')
    }

    /// Writes the text from word `word` on, with the bytes of each word swapped.
    fn emit(&self, out: &mut [u8], word: usize) -> Option<()> {
        put(out, word * 2, &swapped(self.0))
    }

    fn parse(bytes: &[u8], word: usize) -> Option<Self> {
        let text = swapped(array(bytes, word * 2)?);
        let printable = text.iter().all(|byte| matches!(byte, b' '..=b'~'));
        printable.then_some(Self(text))
    }
}

/// The text with the bytes of each word swapped.
fn swapped<const N: usize>(mut text: [u8; N]) -> [u8; N] {
    text.as_chunks_mut::<2>().0.iter_mut().for_each(|pair| pair.reverse());
    text
}

impl<const N: usize> std::fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self.as_str(), f)
    }
}

/// The strings that identify an export to initiators.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Names {
    /// Constant for as long as the export has the same data.
    pub serial: Text<20>,
    /// The version of this program.
    pub firmware: Text<8>,
    /// The model; distinguishes a volatile export from a durable one.
    pub model: Text<40>,
}

/// The content of IDENTIFY DEVICE.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The strings.
    pub names: Names,
    /// Size in sectors of 512 bytes.
    pub sectors: u64,
    /// Bytes that the store writes at a time. A hint, ignored unless it is a power of two
    /// above 512.
    pub physical_bytes: u32,
    /// Whether TRIM is supported; trimmed sectors then read as zeros.
    pub trims: bool,
    /// Whether writes are acknowledged before they are stable.
    pub write_cache: bool,
}

impl Identity {
    /// Writes the answer. Returns [`IDENTIFY_LEN`]; `None` if `out` is too short.
    pub fn emit(&self, out: &mut [u8]) -> Option<usize> {
        let out = out.get_mut(..IDENTIFY_LEN)?;
        out.fill(0);
        for (word, value) in FIXED {
            put(out, word * 2, &value.to_le_bytes())?;
        }
        self.names.serial.emit(out, SERIAL)?;
        self.names.firmware.emit(out, FIRMWARE)?;
        self.names.model.emit(out, MODEL)?;
        let sectors_28 = self.sectors.min(SECTORS_28_MAX) as u32;
        put(out, SECTORS_28 * 2, &sectors_28.to_le_bytes())?;
        let sectors_48 = self.sectors.min(SECTORS_48_MAX);
        put(out, SECTORS_48 * 2, &sectors_48.to_le_bytes())?;
        put(out, PHYSICAL_SECTOR * 2, &self.physical_sector().to_le_bytes())?;
        let trims = [(ADDITIONAL, TRIMMED_IS_ZERO), (TRIM_BLOCKS, TRIM_BLOCKS_MAX), (DATA_SET, TRIM)];
        let cache = [(FEATURES_SUPPORTED, WRITE_CACHE), (FEATURES_ENABLED, WRITE_CACHE)];
        let trims = trims.into_iter().filter(|_| self.trims);
        for (word, value) in trims.chain(cache.into_iter().filter(|_| self.write_cache)) {
            put(out, word * 2, &value.to_le_bytes())?;
        }
        Some(IDENTIFY_LEN)
    }

    /// Word 106: valid, with the number of logical sectors per physical sector as a power
    /// of two.
    fn physical_sector(&self) -> u16 {
        if !self.physical_bytes.is_power_of_two() || self.physical_bytes <= 512 {
            return 0x4000;
        }
        0x6000 | (self.physical_bytes / 512).trailing_zeros().min(0xf) as u16
    }

    /// Parses the answer of another target. `None` if it is too short or its strings are
    /// not ASCII.
    pub fn parse(data: &[u8]) -> Option<Self> {
        let sectors = array(data, SECTORS_48 * 2).map(u64::from_le_bytes)?;
        let physical = array(data, PHYSICAL_SECTOR * 2).map(u16::from_le_bytes)?;
        let exponent = if physical & 0xE000 == 0x6000 { physical & 0xf } else { 0 };
        let has = |word, bits| array(data, word * 2).map(u16::from_le_bytes).map(|value| value & bits != 0);
        array::<1>(data, IDENTIFY_LEN - 1)?;
        Some(Self {
            names: Names {
                serial: Text::parse(data, SERIAL)?,
                firmware: Text::parse(data, FIRMWARE)?,
                model: Text::parse(data, MODEL)?,
            },
            sectors,
            physical_bytes: 512 << exponent,
            trims: has(DATA_SET, TRIM)?,
            write_cache: has(FEATURES_ENABLED, WRITE_CACHE)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(sectors: u64, physical_bytes: u32) -> Identity {
        let names = Names {
            serial: Text::new("7.3:0123456789ab"),
            firmware: Text::new("0.1.0"),
            model: Text::new("xblade AoE export"),
        };
        Identity { names, sectors, physical_bytes, trims: false, write_cache: false }
    }

    fn words(identity: &Identity) -> Vec<u16> {
        let mut bytes = [0xEE; IDENTIFY_LEN];
        assert_eq!(identity.emit(&mut bytes), Some(IDENTIFY_LEN));
        bytes.chunks_exact(2).map(|pair| u16::from_le_bytes(pair.try_into().unwrap())).collect()
    }

    /// The whole table: every word not named here is 0.
    #[test]
    fn words_are_the_recommended_ones() {
        let words = words(&identity(0x0006_0005_0004_0003, 512));
        let texts = (10..20).chain(23..47);
        let mut expected = vec![0; 256];
        for (word, value) in [
            (47, 0x8000),
            (49, 0x0200),
            (50, 0x4000),
            (60, 0xffff),
            (61, 0x0fff),
            (83, 0x7400),
            (84, 0x4000),
            (86, 0x3400),
            (87, 0x4000),
            (93, 0x400b),
            (100, 0xffff),
            (101, 0xffff),
            (102, 0xffff),
            (103, 0),
            (106, 0x4000),
            (209, 0x4000),
        ] {
            expected[word] = value;
        }
        for word in texts {
            expected[word] = words[word];
        }
        assert_eq!(words, expected);
    }

    /// TRIM and a write cache add these words and no others.
    #[test]
    fn trim_and_write_cache_have_their_words_and_no_others() {
        let plain = words(&identity(8, 512));
        let trim = [(69, 0x4020), (105, 16), (169, 1)];
        let cache = [(82, 0x0020), (85, 0x0020)];
        for (trims, write_cache) in [(false, true), (true, false), (true, true)] {
            let mut expected = plain.clone();
            let added = trim.into_iter().filter(|_| trims).chain(cache.into_iter().filter(|_| write_cache));
            added.for_each(|(word, value)| expected[word] = value);
            assert_eq!(words(&Identity { trims, write_cache, ..identity(8, 512) }), expected);
        }
    }

    #[test]
    fn size_is_in_both_places() {
        for (sectors, low, high) in [
            (0, [0, 0], [0, 0, 0, 0]),
            (0x0123_4567, [0x4567, 0x0123], [0x4567, 0x0123, 0, 0]),
            (0x0fff_ffff, [0xffff, 0x0fff], [0xffff, 0x0fff, 0, 0]),
            (0x1000_0000, [0xffff, 0x0fff], [0, 0x1000, 0, 0]),
            (0x1234_5678_9abc, [0xffff, 0x0fff], [0x9abc, 0x5678, 0x1234, 0]),
            (u64::MAX, [0xffff, 0x0fff], [0xffff, 0xffff, 0xffff, 0]),
        ] {
            let words = words(&identity(sectors, 512));
            assert_eq!(words[60..62], low, "{sectors}");
            assert_eq!(words[100..104], high, "{sectors}");
        }
    }

    #[test]
    fn smart_is_not_claimed_and_48_bits_are() {
        let words = words(&identity(1, 512));
        assert_eq!((words[82] & 1, words[85] & 1), (0, 0));
        assert_ne!(words[83] & 1 << 10, 0);
        assert_ne!(words[86] & 1 << 10, 0);
    }

    #[test]
    fn physical_sector_is_a_hint() {
        for (bytes, word) in
            [(0, 0x4000), (512, 0x4000), (1024, 0x6001), (4096, 0x6003), (4000, 0x4000), (65536, 0x6007)]
        {
            assert_eq!(words(&identity(8, bytes))[106], word, "{bytes}");
        }
    }

    #[test]
    fn texts_are_swapped_padded_cut_and_ascii() {
        let mut bytes = [0; IDENTIFY_LEN];
        identity(1, 512).emit(&mut bytes).unwrap();
        assert_eq!(&bytes[20..40], b".7:31032547698ba    ".as_slice());
        assert_eq!(&bytes[46..54], b".0.1 0  ".as_slice());
        assert_eq!(Text::<8>::new("a\u{e4}\n\u{7f}").as_str(), "a???");
        assert_eq!(Text::<4>::new("abcdef").as_str(), "abcd");
        assert_eq!(Text::<4>::new("").as_str(), "");
    }

    #[test]
    fn what_was_emitted_can_be_read() {
        let mut bytes = [0; IDENTIFY_LEN];
        for (trims, write_cache) in [(true, true), (true, false), (false, true), (false, false)] {
            let identity = Identity { trims, write_cache, ..identity(0x1234_5678_9abc, 4096) };
            identity.emit(&mut bytes).unwrap();
            assert_eq!(Identity::parse(&bytes), Some(identity));
        }
        assert_eq!(Identity::parse(&bytes[..511]), None);
        bytes[20] = 0;
        assert_eq!(Identity::parse(&bytes), None);
    }
}
