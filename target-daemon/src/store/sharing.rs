//! Two exports that reach one page of one file by different ways.
//!
//! A page in a cache holds bytes of every export that lies in it. An export that
//! writes past that cache, or through another one, does not change them there:
//! the next write of the page puts the old bytes back, or the kernel finds that it
//! cannot drop the page, and reports to both a failed sync. So two such exports of
//! one file must not meet in a page, if one of them may be written.
//!
//! ```text
//! export of a file       ─► [cache of the file] ─────────────────────► file
//! export of a loop device ─► [cache of the device] ─► [cache of the file] ─► file
//! ```
//!
//! A file is known by its device and inode: links and bind mounts lead to the same.
//! The file below a loop device and the disk around a partition are looked up in
//! /sys. What lies below another kind of device (device mapper, NBD), or below a file
//! of a stacked file system (overlayfs), is not known.

use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use super::mapping::page_bytes;
use super::{Access, OpenError, OpenOptions, SECTOR_BYTES, Warning, choose};

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

    /// All pages that it has a part of.
    fn in_pages(self) -> Self {
        let page = page_bytes();
        Self {
            start: self.start - self.start % page,
            end: self.end.checked_next_multiple_of(page).unwrap_or(u64::MAX),
        }
    }

    /// The same bytes in the file below, where those of the device are these.
    fn in_lower(self, device: Self) -> Self {
        let shift = |at: u64| device.start.saturating_add(at).min(device.end);
        Self { start: shift(self.start), end: shift(self.end) }
    }
}

/// Where the bytes of an export lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Location {
    /// What was opened.
    opened: Id,
    /// What holds the bytes: the opened file or device itself, or what is below it.
    base: Id,
    /// The bytes in `base`.
    bytes: Range,
    /// The bytes in `base` that are written back together with them: past the cache
    /// of the opened file, and through it.
    direct: Range,
    cached: Range,
    /// The first cache below that of the opened file.
    lower_cache: Option<Id>,
}

impl Location {
    fn of(options: &OpenOptions, facts: &fs::Metadata) -> Self {
        let opened = Id::of(facts);
        let start = options.offset_bytes;
        let end = options.length_bytes.map_or(u64::MAX, |length| start.saturating_add(length));
        let bytes = Range { start, end };
        let (direct, cached) = (bytes, bytes.in_pages());
        let mut found = Self { opened, base: opened, bytes, direct, cached, lower_cache: None };
        for _ in 0..LEVELS_MAX {
            let Id::Device(number) = found.base else { break };
            let Some(lower) = lower(number) else { break };
            found.bytes = found.bytes.in_lower(lower.bytes);
            for pages in [&mut found.direct, &mut found.cached] {
                let there = pages.in_lower(lower.bytes);
                *pages = if lower.is_cached { there.in_pages() } else { there };
            }
            found.base = lower.id;
            found.lower_cache = found.lower_cache.or(lower.is_cached.then_some(lower.id));
        }
        found
    }

    /// The first cache that this way to the bytes goes through.
    fn cache(&self, access: Access) -> Option<Id> {
        if access == Access::Direct { self.lower_cache } else { Some(self.opened) }
    }

    fn pages(&self, access: Access) -> Range {
        if access == Access::Direct { self.direct } else { self.cached }
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
        let access = choose::expected(options, &File::open(&options.path).ok()?);
        Some(Self { options: options.clone(), location: Location::of(options, &facts), access })
    }

    /// Whether it could be served beside another one that comes first.
    ///
    /// # Errors
    ///
    /// It could not, for that is reached otherwise, and has a part of a page in
    /// common with it, or is the same bytes.
    pub fn check_beside(&self, first: &Self) -> Result<(), OpenError> {
        let (ours, theirs) = (&self.location, &first.location);
        if !self.may_disturb(first) {
            return Ok(());
        }
        let (path, other) = (self.options.path.clone(), Box::new(first.options.clone()));
        let same_file = ours.opened == theirs.opened;
        // Of one file the locks see to that.
        if !same_file && ours.bytes.meets(theirs.bytes) {
            return Err(OpenError::SameBytes { path, other });
        }
        let (access, other_access) = (self.access, first.access);
        if self.is_by_another_way_than(first) && ours.pages(access).meets(theirs.pages(other_access)) {
            return Err(OpenError::SharedPage { path, access, other, other_access, same_file });
        }
        Ok(())
    }

    /// Whether both are of one file, and one of them may write.
    fn may_disturb(&self, other: &Self) -> bool {
        self.location.base == other.location.base && !(self.options.read_only && other.options.read_only)
    }

    /// The same, and they do not go through the same caches.
    fn is_by_another_way_than(&self, other: &Self) -> bool {
        self.may_disturb(other) && self.location.cache(self.access) != other.location.cache(other.access)
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
    /// Those of [`Expected::check_beside`], with any that is open. Returns what the
    /// operator should know of one that is reached otherwise, on other pages.
    pub(super) fn settle(self: &Arc<Self>, access: Access) -> Result<Option<Warning>, OpenError> {
        let mut uses = USES.lock().unwrap_or_else(PoisonError::into_inner);
        uses.retain(|other| other.strong_count() > 0);
        let ours = Expected { options: self.options.clone(), location: self.location, access };
        let mut warning = None;
        for other in uses.iter().filter_map(Weak::upgrade) {
            let Some(first) = other.settled.get() else { continue };
            ours.check_beside(first)?;
            if ours.is_by_another_way_than(first) {
                warning = Some(Warning::TwoWays {
                    path: ours.options.path.clone(),
                    access,
                    other: first.options.path.clone(),
                    other_access: first.access,
                });
            }
        }
        // Set once: an engine is chosen once.
        let _ = self.settled.set(ours);
        uses.push(Arc::downgrade(self));
        Ok(warning)
    }
}
