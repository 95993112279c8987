//! Whether the bytes of a file or device are in memory: in a tmpfs or on a zram disk, even
//! below an overlay, a loop device, a volume, or a file system on one of these.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags, open, statx};

use super::device::{attribute, folder};
use super::file_facts::{file_system, is_device};

/// tmpfs and ramfs.
pub(super) const IN_MEMORY: [libc::c_long; 2] = [libc::TMPFS_MAGIC, 0x8584_58f6];

const OVERLAY: libc::c_long = 0x794c_7630;

/// Block devices that the kernel keeps in memory.
const MEMORY_DISKS: [&str; 3] = ["zram", "ram", "nullb"];

/// The most layers that are followed.
const LAYERS_MAX: u32 = 8;

/// What is below a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Below {
    /// Memory, through these files and devices.
    Memory(Vec<PathBuf>),
    /// A file that cannot be examined from here.
    Unknown(PathBuf),
}

/// What is known to be below a file or device; `None` if it is not memory.
pub(super) fn below(file: &File) -> Option<Below> {
    of_file(file, LAYERS_MAX)
}

fn of_file(file: &File, layers: u32) -> Option<Below> {
    let layers = layers.checked_sub(1)?;
    let facts = file.metadata().ok()?;
    if is_device(&facts) {
        return of_device(&folder(facts.rdev())?, layers);
    }
    let kind = file_system(file)?;
    if IN_MEMORY.contains(&kind) {
        return Some(Below::Memory(Vec::new()));
    }
    if kind == OVERLAY {
        // Without an upper layer it is read-only.
        let upper = upper_layer(&mount(file)?)?;
        return of_path(upper, layers);
    }
    // btrfs has its own device number for each volume; its mount names the device.
    let number = match libc::major(facts.dev()) {
        0 => fs::metadata(source(&mount(file)?)?).ok().filter(is_device)?.rdev(),
        _ => facts.dev(),
    };
    let device = folder(number)?;
    by_way_of(name(&device), of_device(&device, layers))
}

/// The same for the device with this directory in `/sys`.
fn of_device(device: &Path, layers: u32) -> Option<Below> {
    let layers = layers.checked_sub(1)?;
    if device.join("partition").exists() {
        return of_device(device.parent()?, layers);
    }
    let own = device.file_name()?.to_str()?;
    let number = MEMORY_DISKS.into_iter().find_map(|kind| own.strip_prefix(kind));
    if number.is_some_and(|number| number.parse::<u32>().is_ok()) {
        return Some(Below::Memory(Vec::new()));
    }
    if let Some(path) = attribute(device, "loop/backing_file") {
        return of_path(path.into(), layers);
    }
    let slaves = fs::read_dir(device.join("slaves")).into_iter().flatten().flatten();
    slaves
        .filter_map(|slave| slave.path().canonicalize().ok())
        .find_map(|slave| by_way_of(name(&slave), of_device(&slave, layers)))
}

fn by_way_of(one: PathBuf, below: Option<Below>) -> Option<Below> {
    Some(match below? {
        Below::Memory(rest) => Below::Memory(std::iter::once(one).chain(rest).collect()),
        unknown @ Below::Unknown(_) => unknown,
    })
}

/// The same for the file at this path, which is opened for inspection only.
fn of_path(path: PathBuf, layers: u32) -> Option<Below> {
    match open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
        Ok(file) => by_way_of(path, of_file(&file.into(), layers)),
        Err(_) => Some(Below::Unknown(path)),
    }
}

fn name(device: &Path) -> PathBuf {
    Path::new("/dev").join(device.file_name().unwrap_or_default())
}

/// The line of the mount table for the mount of a file.
fn mount(file: &File) -> Option<String> {
    let facts = statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).ok()?;
    let list = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let is_ours =
        |line: &&str| line.split(' ').next().and_then(|id| id.parse().ok()) == Some(facts.stx_mnt_id);
    list.lines().find(is_ours).map(str::to_owned)
}

/// The mounted device, from a line of the mount table.
fn source(line: &str) -> Option<String> {
    line.split_once(" - ")?.1.split(' ').nth(1).map(unescaped)
}

/// The directory to which an overlay writes.
fn upper_layer(line: &str) -> Option<PathBuf> {
    let options = line.split_once(" - ")?.1.split(' ').nth(2)?;
    options.split(',').find_map(|option| option.strip_prefix("upperdir=")).map(|path| unescaped(path).into())
}

/// Decodes the kernel's escapes of spaces and similar characters: a backslash and three
/// octal digits.
fn unescaped(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                whole.push(byte.into());
                whole.push_str(part.get(3..).unwrap_or_default());
            }
            None => whole.push_str(part),
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_mounts_is_read() {
        let line = "36 25 0:33 / /o rw,relatime shared:7 - overlay /cow rw,lowerdir=/a:/b,upperdir=/t\\040x/u,workdir=/w";
        assert_eq!(upper_layer(line), Some("/t x/u".into()));
        assert_eq!(source(line).as_deref(), Some("/cow"));
        assert_eq!(upper_layer("36 25 0:33 / /o ro - overlay o ro,lowerdir=/a:/b"), None);
        assert_eq!((upper_layer("36"), source("36")), (None, None));
        assert_eq!(unescaped("a\\134b\\011c\\x"), "a\\b\tcx");
    }

    #[test]
    fn the_root_of_proc_is_on_a_mount() {
        let line = mount(&File::open("/proc/self/stat").unwrap()).unwrap();
        assert!(line.contains(" - proc "), "{line}");
    }
}
