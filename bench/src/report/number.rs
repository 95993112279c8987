//! Numbers as people read them.

/// Thousands are set apart with this: narrow, and no line is broken there.
pub const THIN: char = '\u{202f}';

/// With so many decimals, and thousands set apart: "12 345.6".
pub fn grouped(value: f64, decimals: usize) -> String {
    let plain = format!("{:.decimals$}", value.abs());
    let (whole, rest) = plain.split_at(plain.find('.').unwrap_or(plain.len()));
    let sign = if value < 0.0 && plain.bytes().any(|b| (b'1'..=b'9').contains(&b)) { "−" } else { "" };
    let mut out = sign.to_owned();
    for (at, digit) in whole.chars().enumerate() {
        // Four digits are easy to read.
        if at > 0 && whole.len() > 4 && (whole.len() - at).is_multiple_of(3) {
            out.push(THIN);
        }
        out.push(digit);
    }
    out + rest
}

/// A column: all with as many decimals, so that they line up, and no more than
/// three digits are worth.
pub fn column(values: &[f64]) -> Vec<String> {
    let most = values.iter().copied().fold(0.0, f64::max);
    let decimals = match most {
        ..1.0 => 3,
        ..10.0 => 2,
        ..1000.0 => 1,
        _ => 0,
    };
    values.iter().map(|&value| grouped(value, decimals)).collect()
}

/// Bytes, in words: "4 KiB".
pub fn bytes(n: u64) -> String {
    if n >= 1024 && n.is_multiple_of(1024) { format!("{} KiB", n / 1024) } else { format!("{n} B") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_easy_to_read() {
        let plain = |value, decimals| grouped(value, decimals).replace(THIN, " ");
        assert_eq!(plain(1_234_567.89, 1), "1 234 567.9");
        assert_eq!([plain(1234.0, 0), plain(12_345.0, 0), plain(0.5, 2)], ["1234", "12 345", "0.50"]);
        assert_eq!([plain(-12_345.6, 0), plain(-0.01, 1)], ["−12 346", "0.0"]);
        assert_eq!(column(&[1.0, 250.25]), ["1.0", "250.2"]);
        assert_eq!(column(&[3.2, 1250.9]), ["3", "1251"]);
        assert_eq!([bytes(512), bytes(4096), bytes(1536)], ["512 B", "4 KiB", "1536 B"]);
    }
}
