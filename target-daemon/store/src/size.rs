//! Sizes: sectors, or bytes with a unit.

use super::{Problem, SECTOR_BYTES};

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

/// A size as a multiple of the largest binary unit for which that is possible.
pub fn exactly(bytes: u64) -> Option<String> {
    let units = ["TiB", "GiB", "MiB", "KiB"].into_iter().zip([40, 30, 20, 10]);
    let (unit, bits) = units.into_iter().find(|(_, bits)| bytes > 0 && bytes.is_multiple_of(1 << bits))?;
    Some(format!("{}{unit}", bytes >> bits))
}

/// Parses a size and returns bytes, a multiple of 512. A bare number counts sectors; `K`,
/// `M`, `G`, `T` and their `iB` forms are powers of 1024, `kB`, `MB`, `GB`, `TB` powers
/// of 1000.
///
/// # Errors
///
/// The text is no size, not in whole sectors, or too large.
pub fn parse_bytes(text: &str) -> Result<u64, Problem> {
    let unreadable = || {
        let remedy = "give sectors (2048) or a unit (1MiB, 10G, 500GB, 4096B)";
        Problem::new(format!("'{text}' is not a size"), remedy)
    };
    let too_large =
        || Problem::new(format!("'{text}' is too large"), "an export has at most 2^48 sectors of 512 bytes");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale = match unit {
        "" => SECTOR_BYTES,
        unit => UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(unreadable)?.1,
    };
    if number.is_empty() {
        return Err(unreadable());
    }
    let number: u64 = number.parse().map_err(|_| too_large())?;
    let bytes = number.checked_mul(scale).filter(|b| b / SECTOR_BYTES <= 1 << 48).ok_or_else(too_large)?;
    if !bytes.is_multiple_of(SECTOR_BYTES) {
        let what = format!("'{text}' is {bytes} bytes, which is not a multiple of 512");
        return Err(Problem::new(what, "give whole sectors"));
    }
    Ok(bytes)
}

#[cfg(test)]
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
            assert!(parse_bytes(text).unwrap_err().what.ends_with("is not a size"), "{text}");
        }
        assert!(parse_bytes("100B").unwrap_err().what.contains("is 100 bytes"));
        for text in ["99999999999999999999", "281474976710657", "999999P"] {
            assert!(parse_bytes(text).unwrap_err().what.ends_with("is too large"), "{text}");
        }
        assert!(parse_bytes("281474976710656").is_ok(), "2^48 sectors");
    }
}
