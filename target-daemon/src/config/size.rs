//! Sizes: sectors, or bytes with a unit.

/// Bytes in a sector.
const SECTOR_BYTES: u64 = 512;

const UNITS: [(&str, u64); 17] = [
    ("s", SECTOR_BYTES),
    ("B", 1),
    ("K", 1 << 10),
    ("KiB", 1 << 10),
    ("M", 1 << 20),
    ("MiB", 1 << 20),
    ("G", 1 << 30),
    ("GiB", 1 << 30),
    ("T", 1 << 40),
    ("TiB", 1 << 40),
    ("P", 1 << 50),
    ("PiB", 1 << 50),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("PB", 1_000_000_000_000_000),
];

/// A size in the largest binary unit in which it is at least 1; `None` below one
/// kibibyte.
pub fn in_largest_unit(bytes: u64) -> Option<String> {
    let units = ["TiB", "GiB", "MiB", "KiB"].into_iter().zip([40, 30, 20, 10]);
    let (unit, bits) = units.into_iter().find(|(_, bits)| bytes >> bits > 0)?;
    Some(format!("{:.1} {unit}", bytes as f64 / f64::from(2).powi(bits)))
}

/// Why a size is invalid.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SizeError {
    /// Not a number with a known unit.
    #[error("'{0}' is not a size: give sectors (2048) or a unit (1MiB, 10G, 500GB, 4096B)")]
    Unreadable(String),
    /// Not a multiple of the sector size.
    #[error("'{text}' is {bytes} bytes, which is not a multiple of 512: give whole sectors")]
    Uneven {
        /// The text as given.
        text: String,
        /// Its value in bytes.
        bytes: u64,
    },
    /// More than 64 bits.
    #[error("'{0}' is too large: an export has at most 2^48 sectors of 512 bytes")]
    TooLarge(String),
}

/// Parses a size and returns bytes, a multiple of 512. A bare number counts sectors; `K`,
/// `M`, `G`, `T` and their `iB` forms are powers of 1024, `kB`, `MB`, `GB`, `TB` powers
/// of 1000.
pub fn parse_bytes(text: &str) -> Result<u64, SizeError> {
    let unreadable = || SizeError::Unreadable(text.to_owned());
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale = match unit {
        "" => SECTOR_BYTES,
        unit => UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(unreadable)?.1,
    };
    if number.is_empty() {
        return Err(unreadable());
    }
    let too_large = || SizeError::TooLarge(text.to_owned());
    let number: u64 = number.parse().map_err(|_| too_large())?;
    let bytes = number.checked_mul(scale).filter(|b| b / SECTOR_BYTES <= 1 << 48).ok_or_else(too_large)?;
    if bytes % SECTOR_BYTES != 0 {
        return Err(SizeError::Uneven { text: text.to_owned(), bytes });
    }
    Ok(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn sizes_with_and_without_units() {
        let rows = [
            ("0", 0),
            ("1", 512),
            ("2048", 1 << 20),
            ("2048s", 1 << 20),
            ("4096B", 4096),
            ("1K", 1024),
            ("1MiB", 1 << 20),
            ("3G", 3 << 30),
            ("512kB", 512_000),
            ("2TB", 2_000_000_000_000),
        ];
        for (text, bytes) in rows {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn bad_sizes_say_what_to_give() {
        for text in ["", "M", "-1", "1.5G", "10X", "1 MiB", "0x10"] {
            assert!(matches!(parse_bytes(text), Err(SizeError::Unreadable(_))), "{text}");
        }
        assert!(matches!(parse_bytes("100B"), Err(SizeError::Uneven { bytes: 100, .. })));
        for text in ["99999999999999999999", "281474976710657", "999999P"] {
            assert!(matches!(parse_bytes(text), Err(SizeError::TooLarge(_))), "{text}");
        }
        assert!(parse_bytes("281474976710656").is_ok(), "2^48 sectors");
    }
}
