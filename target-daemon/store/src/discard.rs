//! Discarding sectors: whether it is wanted, whether it is possible, and how it is done.
//!
//! A fully allocated file was allocated so that no write can run out of space. A hole in it
//! would break that, so the operator must request discards for such a file. A file that
//! already has holes loses nothing by them, and neither does a device.

use std::fs::{self, File, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use super::descriptor::{self, Stopped};
use super::{OpenError, OpenErrorKind, OpenOptions, file_facts};

/// Whether the store on this file, of `size` bytes, is to discard sectors. Changes no byte of
/// the file.
pub(super) fn is_wanted(options: &OpenOptions, file: &File, size: u64) -> Result<bool, OpenError> {
    let facts = file.metadata().map_err(|source| OpenError::system(&options.path, "examine", source))?;
    let is_device = facts.file_type().is_block_device();
    // `st_blocks` counts in units of 512 bytes on every file system.
    let loses_nothing = is_device || facts.blocks().saturating_mul(512) < size;
    if options.read_only || !options.trim.unwrap_or(loses_nothing) {
        return Ok(false);
    }
    let can = if is_device { device_can(&facts) } else { file_can(file, size) };
    match options.trim {
        Some(true) if !can => {
            let what = "trim=on, but its file system or device does not give space back";
            Err(OpenError::new(&options.path, what, "leave trim=on out").of(OpenErrorKind::Option))
        }
        _ => Ok(can),
    }
}

/// Makes a range of a file or device read as zeros, and frees its space.
pub(super) fn punch(file: &File, at: u64, bytes: u64) -> Result<(), Stopped> {
    descriptor::punch(file, at, bytes)
}

/// Whether the device discards, and has a command after which the range is guaranteed to read
/// as zeros. `fallocate` on a device needs both.
fn device_can(facts: &Metadata) -> bool {
    let (major, minor) = (libc::major(facts.rdev()), libc::minor(facts.rdev()));
    let limit = |of: &str, name: &str| {
        let text = fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/{of}queue/{name}"));
        text.ok().and_then(|text| text.trim().parse::<u64>().ok())
    };
    // A partition has no queue of its own; it uses that of its disk.
    let has = |name| limit("", name).or_else(|| limit("../", name)).is_some_and(|bytes| bytes > 0);
    has("discard_max_bytes") && has("write_zeroes_max_bytes")
}

/// Whether the file system supports holes. A hole beyond the end of the file changes nothing.
fn file_can(file: &File, size: u64) -> bool {
    !file_facts::is_huge(file) && punch(file, size, 1).is_ok()
}
