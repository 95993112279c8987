//! Two exports that reach one file by different ways.
//!
//! A cache holds bytes of every export of its file. An export that writes past that
//! cache does not change them there: the next write of the page puts the old bytes
//! back, or the kernel finds that it cannot drop the page, and reports a failed sync
//! to both. That no page belongs to both is not enough: the kernel caches more than a
//! page at once, and reading ahead brings in what lies beyond the border. So two
//! exports of one file, of which one may be written, must go through the same caches.
//!
//! ```text
//! export of a file        ─► [cache of the file] ─────────────────────► file
//! export of a loop device ─► [cache of the device] ─► [cache of the file] ─► file
//! export of a partition   ─► [cache of the partition] ────────────────► disk
//! ```
//!
//! Each block device has a cache of its own, of its own bytes only. That of a partition
//! is shared with no other partition, nor with the disk, so exports of two partitions
//! may be reached in different ways. The same bytes by two devices are in two caches
//! that do not know of each other: they are refused in any way.
//!
//! A file is known by its device and inode: links and bind mounts lead to the same.
//! The file below a loop device and the disk around a partition are looked up in
//! /sys. What lies below another kind of device (device mapper, NBD), or below a file
//! of a stacked file system (overlayfs), is not known.

use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use super::{Access, OpenError, OpenOptions, SECTOR_BYTES, select};

/// Loop devices over loop devices that are followed.
const LEVELS_MAX: usize = 8;

/// A file or device, as the kernel knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Id {
    File { device: u64, inode: u64 },
    Device(u64),
}

impl Id {
    fn of(facts: &fs::Metadata) -> Self {
        match facts.file_type().is_block_device() {
            true => Self::Device(facts.rdev()),
            false => Self::File { device: facts.dev(), inode: facts.ino() },
        }
    }
}

/// Bytes of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Range {
    start: u64,
    end: u64,
}

impl Range {
    fn meets(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// The same bytes in the file below, where those of the device are these.
    fn in_lower(self, device: Self) -> Self {
        let shift = |at: u64| device.start.saturating_add(at).min(device.end);
        Self { start: shift(self.start), end: shift(self.end) }
    }
}

/// A page cache, and the bytes of [`Location::base`] that it is a cache of.
#[derive(Clone, Copy, Debug)]
struct Cache {
    of: Id,
    bytes: Range,
}

/// Where the bytes of an export lie.
#[derive(Clone, Debug)]
struct Location {
    /// What holds the bytes: the opened file or device itself, or what is below it.
    base: Id,
    /// The bytes in `base`.
    bytes: Range,
    /// The caches on the way down. The first one is that of what was opened, which
    /// [`Access::Direct`] goes past.
    caches: Vec<Cache>,
}

impl Location {
    fn of(options: &OpenOptions, facts: &fs::Metadata) -> Self {
        let whole = Range { start: 0, end: u64::MAX };
        let start = options.offset_bytes;
        let end = options.length_bytes.map_or(u64::MAX, |length| start.saturating_add(length));
        let (mut base, mut bytes) = (Id::of(facts), Range { start, end });
        let mut caches = vec![Cache { of: base, bytes: whole }];
        for _ in 0..LEVELS_MAX {
            let Id::Device(number) = base else { break };
            let Some(lower) = lower(number) else { break };
            base = lower.id;
            bytes = bytes.in_lower(lower.bytes);
            for cache in &mut caches {
                cache.bytes = cache.bytes.in_lower(lower.bytes);
            }
            if lower.is_cached {
                caches.push(Cache { of: base, bytes: whole });
            }
        }
        Self { base, bytes, caches }
    }

    fn opened(&self) -> Option<Id> {
        self.caches.first().map(|cache| cache.of)
    }
}

/// What lies below a device, and which bytes of it are those of the device.
struct Lower {
    id: Id,
    bytes: Range,
    /// The device goes through its cache.
    is_cached: bool,
}

fn lower(device: u64) -> Option<Lower> {
    let (major, minor) = (libc::major(device), libc::minor(device));
    let folder = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()?;
    let text = |name: &str| fs::read_to_string(folder.join(name)).ok();
    let number = |name: &str| text(name)?.trim().parse::<u64>().ok();
    let range = |start: u64, bytes: Option<u64>| Range {
        start,
        end: bytes.map_or(u64::MAX, |bytes| start.saturating_add(bytes)),
    };
    if text("partition").is_some() {
        let disk = fs::read_to_string(folder.parent()?.join("dev")).ok()?;
        let (major, minor) = disk.trim().split_once(':')?;
        let sectors = |name| Some(number(name)?.saturating_mul(SECTOR_BYTES));
        return Some(Lower {
            id: Id::Device(libc::makedev(major.parse().ok()?, minor.parse().ok()?)),
            bytes: range(sectors("start")?, sectors("size")),
            is_cached: false,
        });
    }
    let file = text("loop/backing_file")?;
    let file = fs::metadata(file.trim_end_matches('\n')).ok()?;
    let limit = number("loop/sizelimit").filter(|bytes| *bytes > 0);
    Some(Lower {
        id: Id::of(&file),
        bytes: range(number("loop/offset")?, limit),
        is_cached: number("loop/dio") != Some(1),
    })
}

/// An export that could be opened, and how it would be reached.
#[derive(Debug)]
pub struct Expected {
    options: OpenOptions,
    location: Location,
    access: Access,
}

impl Expected {
    /// `None` if it cannot be looked at, which is for others to say.
    pub fn of(options: &OpenOptions) -> Option<Self> {
        // To open a FIFO would wait for its other end.
        let facts = fs::metadata(&options.path).ok()?;
        if !facts.is_file() && !facts.file_type().is_block_device() {
            return None;
        }
        let access = select::expected(options, &File::open(&options.path).ok()?);
        Some(Self { options: options.clone(), location: Location::of(options, &facts), access })
    }

    /// Whether it could be served beside another one that comes first.
    ///
    /// # Errors
    ///
    /// It could not: both are of one file, one of them may write, and they do not go
    /// through the same caches, or are the same bytes by different devices.
    pub fn check_beside(&self, first: &Self) -> Result<(), OpenError> {
        let (ours, theirs) = (&self.location, &first.location);
        if ours.base != theirs.base || (self.options.read_only && first.options.read_only) {
            return Ok(());
        }
        let (path, other) = (self.options.path.clone(), Box::new(first.options.clone()));
        // Of one file the locks see to that.
        if ours.opened() != theirs.opened() && ours.bytes.meets(theirs.bytes) {
            return Err(OpenError::SameBytes { path, other });
        }
        if self.goes_past_a_cache_of(first) || first.goes_past_a_cache_of(self) {
            let (access, other_access) = (self.access, first.access);
            return Err(OpenError::TwoWays { path, access, other, other_access });
        }
        Ok(())
    }

    /// The caches that it goes through.
    fn caches(&self) -> &[Cache] {
        let past = usize::from(self.access == Access::Direct);
        self.location.caches.get(past..).unwrap_or_default()
    }

    /// Whether the other one goes through a cache that may hold bytes of this one,
    /// which does not.
    fn goes_past_a_cache_of(&self, other: &Self) -> bool {
        let is_ours = |cache: &Cache| self.caches().iter().any(|ours| ours.of == cache.of);
        other.caches().iter().any(|cache| cache.bytes.meets(self.location.bytes) && !is_ours(cache))
    }
}

/// An open file, for as long as it is open.
#[derive(Debug)]
pub(super) struct Use {
    options: OpenOptions,
    location: Location,
    /// Set when an engine has been chosen.
    settled: OnceLock<Expected>,
}

/// All that are open.
static USES: Mutex<Vec<Weak<Use>>> = Mutex::new(Vec::new());

impl Use {
    /// Of a file that was opened by these options.
    pub(super) fn new(options: &OpenOptions, facts: &fs::Metadata) -> Arc<Self> {
        let location = Location::of(options, facts);
        Arc::new(Self { options: options.clone(), location, settled: OnceLock::new() })
    }

    /// It is reached in this way from now on.
    ///
    /// # Errors
    ///
    /// Those of [`Expected::check_beside`], with any that is open.
    pub(super) fn settle(self: &Arc<Self>, access: Access) -> Result<(), OpenError> {
        let mut uses = USES.lock().unwrap_or_else(PoisonError::into_inner);
        uses.retain(|other| other.strong_count() > 0);
        let ours = Expected { options: self.options.clone(), location: self.location.clone(), access };
        for other in uses.iter().filter_map(Weak::upgrade) {
            other.settled.get().map_or(Ok(()), |first| ours.check_beside(first))?;
        }
        // Set once: an engine is chosen once.
        let _ = self.settled.set(ours);
        uses.push(Arc::downgrade(self));
        Ok(())
    }
}
