//! Whether an export discards sectors.
//!
//! A fully allocated file was allocated so that no write can run out of space. A hole in it
//! would break that, so the operator must request discards for such a file. A file that
//! already has holes loses nothing by them, and neither does a device.

use std::fs::{File, Metadata};

use super::file_facts::{allocated, is_device, is_huge};
use super::{OpenError, OpenErrorKind, OpenOptions, descriptor, device};

/// Whether the store on this file, of `size` bytes, is to discard sectors. Changes no byte of
/// the file.
pub(super) fn is_wanted(
    options: &OpenOptions,
    file: &File,
    facts: &Metadata,
    size: u64,
) -> Result<bool, OpenError> {
    let loses_nothing = is_device(facts) || allocated(facts) < size;
    if options.read_only || !options.trim.unwrap_or(loses_nothing) {
        return Ok(false);
    }
    let can = match is_device(facts) {
        true => device::discards(facts),
        // A hole beyond the end of the file changes nothing.
        false => !is_huge(file) && descriptor::punch(file, size, 1).is_ok(),
    };
    if options.trim == Some(true) && !can {
        let what = "trim=on, but its file system or device does not give space back";
        return Err(OpenError::new(&options.path, what, "leave trim=on out").of(OpenErrorKind::Option));
    }
    Ok(can)
}
