//! Sizes: sectors, or bytes with a unit.

use super::{Problem, SECTOR_BYTES};

/// Binary units with their bits, the largest first.
const BINARY: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];

/// A size in the largest binary unit in which it is at least 1; `None` below one
/// kibibyte.
pub fn in_largest_unit(bytes: u64) -> Option<String> {
    let (unit, bits) = BINARY.into_iter().find(|(_, bits)| bytes >> bits > 0)?;
    Some(format!("{:.1} {unit}", bytes as f64 / (1u64 << bits) as f64))
}

/// A size as a multiple of the largest binary unit for which that is possible.
pub fn exactly(bytes: u64) -> Option<String> {
    let (unit, bits) = BINARY.into_iter().find(|(_, bits)| bytes > 0 && bytes.is_multiple_of(1 << bits))?;
    Some(format!("{}{unit}", bytes >> bits))
}

/// The largest rate of data.
const RATE_MAX: u64 = 1 << 40;

/// Bytes per second as a multiple of the largest unit for which that is possible.
pub fn rate(bytes: u64) -> String {
    let decimal = [("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000), ("B", 1)];
    let of =
        |(unit, scale): (&str, u64)| bytes.is_multiple_of(scale).then(|| format!("{}{unit}", bytes / scale));
    exactly(bytes).or_else(|| decimal.into_iter().find_map(of)).unwrap_or_default()
}

/// Parses a number of bytes per second: a size with a unit, as for [`parse_bytes`], but not
/// in whole sectors.
///
/// # Errors
///
/// The text is no size with a unit, or it is too small or too large.
pub fn parse_rate(text: &str) -> Result<u64, Problem> {
    let remedy = "give 512B to 1TiB with a unit (200MiB, 50MB, 4096B), or none";
    let problem = |what: &str| Problem::new(format!("'{text}' {what}"), remedy);
    match split(text) {
        Some((_, "")) => Err(problem("has no unit")),
        // Sectors; or would it be seconds?
        Some((number, unit)) if unit != "s" => {
            let scale = scale(unit).ok_or_else(|| problem("is not a number of bytes per second"))?;
            let bytes = number.parse().ok().and_then(|number: u64| number.checked_mul(scale));
            let bytes = bytes.filter(|bytes| *bytes <= RATE_MAX).ok_or_else(|| problem("is too large"))?;
            Some(bytes).filter(|bytes| *bytes >= SECTOR_BYTES).ok_or_else(|| problem("is too small"))
        }
        _ => Err(problem("is not a number of bytes per second")),
    }
}

/// A number and its unit.
fn split(text: &str) -> Option<(&str, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at_checked(digits).filter(|(number, _)| !number.is_empty())
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
    let (number, unit) = split(text).ok_or_else(unreadable)?;
    let scale = scale(unit).ok_or_else(unreadable)?;
    let number: u64 = number.parse().map_err(|_| too_large())?;
    let bytes = number.checked_mul(scale).filter(|b| b / SECTOR_BYTES <= 1 << 48).ok_or_else(too_large)?;
    if !bytes.is_multiple_of(SECTOR_BYTES) {
        let what = format!("'{text}' is {bytes} bytes, which is not a multiple of 512");
        return Err(Problem::new(what, "give whole sectors"));
    }
    Ok(bytes)
}

/// The bytes in a unit.
fn scale(unit: &str) -> Option<u64> {
    let power = |letters: &str, letter| letters.find(letter).map(|at| at as u32 + 1);
    match unit {
        "" | "s" => return Some(SECTOR_BYTES),
        "B" => return Some(1),
        _ => {}
    }
    match unit.split_at_checked(1)? {
        (letter, "" | "iB") => Some(1024u64.pow(power("KMGTP", letter)?)),
        (letter, "B") => Some(1000u64.pow(power("kMGTP", letter)?)),
        _ => None,
    }
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
    fn rates_have_a_unit_and_need_no_whole_sectors() {
        for (text, bytes, shown) in [
            ("200MiB", 200 << 20, "200MiB"),
            ("50MB", 50_000_000, "50MB"),
            ("512B", 512, "512B"),
            ("1000000B", 1_000_000, "1MB"),
            ("999999B", 999_999, "999999B"),
            ("1TiB", 1 << 40, "1TiB"),
        ] {
            assert_eq!(parse_rate(text).map(|bytes| (bytes, rate(bytes))), Ok((bytes, shown.to_owned())));
            assert_eq!(parse_rate(shown), Ok(bytes), "{text} is shown as what it means");
        }
        for (text, what) in [
            ("1000000", "has no unit"),
            ("", "is not a number"),
            ("M", "is not a number"),
            ("10MiB/s", "is not a number"),
            ("2s", "is not a number"),
            ("-1MB", "is not a number"),
            ("511B", "is too small"),
            ("0MiB", "is too small"),
            ("1025GiB", "is too large"),
            ("99999999999999999999B", "is too large"),
            ("99999999999P", "is too large"),
        ] {
            let problem = parse_rate(text).unwrap_err();
            assert!(problem.what.contains(what) && problem.remedy.contains("200MiB"), "{text}: {problem}");
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
