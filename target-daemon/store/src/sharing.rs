//! Refuses two exports that access one file through different caches.
//!
//! A cache holds bytes of every export of its file. An export that writes past that cache
//! does not change them there: the next write of the page puts the old bytes back, or the
//! kernel finds that it cannot drop the page and reports a failed sync to both.
//! Page-aligned exports do not avoid this: the kernel caches more than a page at once, and
//! readahead brings in bytes beyond the border. So two exports of one file must go through
//! the same caches if one of them may be written.
//!
//! ```text
//! export of a file        ─► [cache of the file] ─────────────────────► file
//! export of a loop device ─► [cache of the device] ─► [cache of the file] ─► file
//! export of a partition   ─► [cache of the partition] ────────────────► disk
//! ```
//!
//! Each block device has a cache of its own, for its own bytes only. The cache of a
//! partition is shared with no other partition, nor with the disk, so exports of two
//! partitions may differ in their access. The same bytes through two devices are in two
//! caches that are not coherent with each other, so such exports are always refused.
//!
//! A file is identified by its device and inode, so links and bind mounts lead to the same
//! one. The file below a loop device and the disk around a partition are looked up in /sys.
//! What lies below another kind of device (device mapper, NBD), or below a file of a
//! stacked file system (overlayfs), is not known.

use std::fs::{self, File};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::device::{self, attribute};
use super::file_facts::{Id, is_device};
use super::{Access, Beside, OpenError, OpenOptions, SECTOR_BYTES, lock, select};

/// The most loop devices on top of each other that are followed.
const LEVELS_MAX: usize = 8;

/// Bytes of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Range {
    pub(super) start: u64,
    pub(super) end: u64,
}

impl Range {
    pub(super) fn meets(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// Translates a range of the device, which occupies `device` in the file below, to that
    /// file.
    fn in_lower(self, device: Self) -> Self {
        let shift = |at: u64| device.start.saturating_add(at).min(device.end);
        Self { start: shift(self.start), end: shift(self.end) }
    }
}

/// A page cache, and the bytes of [`Location::base`] that it caches.
#[derive(Clone, Copy, Debug)]
struct Cache {
    of: Id,
    bytes: Range,
}

/// Where the bytes of an export lie.
#[derive(Clone, Debug)]
struct Location {
    /// The opened file or device, or the lowest known one below it.
    base: Id,
    /// The bytes in `base`.
    bytes: Range,
    /// The caches between the export and `base`. The first is that of the opened file,
    /// which [`Access::Direct`] bypasses.
    caches: Vec<Cache>,
}

impl Location {
    fn of(options: &OpenOptions, facts: &fs::Metadata) -> Self {
        let whole = Range { start: 0, end: u64::MAX };
        let (mut base, mut bytes) = (Id::of(facts), options.range());
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

/// The file or disk below a device, and the range that the device occupies in it.
struct Lower {
    id: Id,
    bytes: Range,
    /// The device uses the cache of what is below it.
    is_cached: bool,
}

fn lower(device: u64) -> Option<Lower> {
    let folder = device::folder(device)?;
    let number = |name: &str| attribute(&folder, name)?.parse::<u64>().ok();
    let range = |start: u64, bytes: Option<u64>| Range {
        start,
        end: bytes.map_or(u64::MAX, |bytes| start.saturating_add(bytes)),
    };
    if number("partition").is_some() {
        let disk = attribute(folder.parent()?, "dev")?;
        let (major, minor) = disk.split_once(':')?;
        let sectors = |name| Some(number(name)?.saturating_mul(SECTOR_BYTES));
        return Some(Lower {
            id: Id::Device(libc::makedev(major.parse().ok()?, minor.parse().ok()?)),
            bytes: range(sectors("start")?, sectors("size")),
            is_cached: false,
        });
    }
    let file = fs::metadata(attribute(&folder, "loop/backing_file")?).ok()?;
    let limit = number("loop/sizelimit").filter(|bytes| *bytes > 0);
    Some(Lower {
        id: Id::of(&file),
        bytes: range(number("loop/offset")?, limit),
        is_cached: number("loop/dio") != Some(1),
    })
}

/// The open exports, each as long as its token lives.
static OPEN: Mutex<Vec<(Weak<()>, Expected)>> = Mutex::new(Vec::new());

/// An export that is or could be open, and how it is accessed.
#[derive(Debug)]
pub struct Expected {
    options: OpenOptions,
    location: Location,
    access: Access,
}

impl Expected {
    /// `None` if it cannot be examined; other checks report that.
    pub fn of(options: &OpenOptions) -> Option<Self> {
        // Opening a FIFO would wait for its other end.
        let facts = fs::metadata(&options.path).ok()?;
        if !facts.is_file() && !is_device(&facts) {
            return None;
        }
        let access = select::expected(options, &File::open(&options.path).ok()?);
        Some(Self::new(options, &facts, access))
    }

    pub(super) fn new(options: &OpenOptions, facts: &fs::Metadata, access: Access) -> Self {
        Self { options: options.clone(), location: Location::of(options, facts), access }
    }

    /// Registers an open export until its token is dropped.
    ///
    /// # Errors
    ///
    /// Those of [`Expected::check_beside`], against any other open export.
    pub(super) fn register(self, token: &Arc<()>) -> Result<(), OpenError> {
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|(token, _)| token.strong_count() > 0);
        for (_, other) in &*open {
            // Locks do not detect this if both have the same description, handed over twice.
            if self.overlaps(other) {
                return Err(lock::locked_by_us(&self.options));
            }
            self.check_beside(other)?;
        }
        open.push((Arc::downgrade(token), self));
        Ok(())
    }

    /// Checks that it can be served together with an earlier one.
    ///
    /// # Errors
    ///
    /// It cannot: both are on one file, one of them may write, and they do not go through
    /// the same caches, or they are the same bytes through different devices.
    pub fn check_beside(&self, first: &Self) -> Result<(), OpenError> {
        let (ours, theirs) = (&self.location, &first.location);
        if ours.base != theirs.base || (self.options.read_only && first.options.read_only) {
            return Ok(());
        }
        let beside =
            |ways| Err(Beside { path: self.options.path.clone(), other: first.options.clone(), ways }.into());
        // Within one opened file, the locks detect this.
        if ours.opened() != theirs.opened() && ours.bytes.meets(theirs.bytes) {
            return beside(None);
        }
        if self.goes_past_a_cache_of(first) || first.goes_past_a_cache_of(self) {
            return beside(Some((self.access, first.access)));
        }
        Ok(())
    }

    /// Whether both are the same bytes of one opened file, and one may write.
    fn overlaps(&self, other: &Self) -> bool {
        let (ours, theirs) = (&self.location, &other.location);
        !(self.options.read_only && other.options.read_only)
            && ours.opened() == theirs.opened()
            && self.options.range().meets(other.options.range())
    }

    /// The caches that it goes through.
    fn caches(&self) -> &[Cache] {
        let past = usize::from(self.access == Access::Direct);
        self.location.caches.get(past..).unwrap_or_default()
    }

    /// Whether the other one goes through a cache that may hold bytes of this one and that
    /// this one does not go through.
    fn goes_past_a_cache_of(&self, other: &Self) -> bool {
        let is_ours = |cache: &Cache| self.caches().iter().any(|ours| ours.of == cache.of);
        other.caches().iter().any(|cache| cache.bytes.meets(self.location.bytes) && !is_ours(cache))
    }
}
