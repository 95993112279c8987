//! Text from files that others have written, and for people.

use std::borrow::Cow;
use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

/// The longest file that is read whole.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// Reads a file whole, if it is a regular one, and at most [`FILE_BYTES_MAX`] long. Waits for no
/// other process.
///
/// # Errors
///
/// What the file is instead, or that of the system.
pub fn read(path: &Path) -> io::Result<String> {
    // Without this flag, opening a FIFO waits for its writer.
    let flags = OFlags::NONBLOCK.bits() as i32;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let kind = file.metadata()?.file_type();
    // Reading a directory has an error of its own.
    if !kind.is_file() && !kind.is_dir() {
        let what = if kind.is_fifo() { "a FIFO" } else { "a device" };
        return Err(io::Error::other(format!("it is {what}, and not a regular file")));
    }
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        let what = format!("it is longer than {FILE_BYTES_MAX} bytes");
        return Err(io::Error::new(ErrorKind::FileTooLarge, what));
    }
    Ok(text)
}

/// Escapes control characters, as in `\n` and `\u{1b}`. In names of files, or in what hosts send,
/// they would divide a line of the log, forge one, or act on the terminal.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return text.into();
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if c.is_control() {
            escaped.extend(c.escape_default());
        } else {
            escaped.push(c);
        }
    }
    escaped.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_of_some_length_are_read() {
        let path = std::env::temp_dir().join(format!("xblade-text-{}", std::process::id()));
        for (bytes, good) in [(0, true), (FILE_BYTES_MAX, true), (FILE_BYTES_MAX + 1, false)] {
            std::fs::write(&path, vec![b' '; bytes as usize]).unwrap();
            assert_eq!(read(&path).is_ok(), good, "{bytes}");
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(read(Path::new("/tmp")).unwrap_err().kind(), ErrorKind::IsADirectory);
        let error = read(Path::new("/dev/zero")).unwrap_err().to_string();
        assert_eq!(error, "it is a device, and not a regular file");
    }

    #[test]
    fn only_control_characters_are_escaped() {
        for (text, shown) in [
            ("/srv/käse \"a\" \\", "/srv/käse \"a\" \\"),
            ("a\nb\r\t", "a\\nb\\r\\t"),
            ("\u{1b}[2J\0\u{85}", "\\u{1b}[2J\\u{0}\\u{85}"),
        ] {
            assert_eq!(printable(text), shown);
        }
        assert!(matches!(printable("abc"), Cow::Borrowed(_)));
    }
}
