//! Opens the file behind a store: a regular file or a block device, or a part of one.

use std::fs::{self, File, FileType, Metadata};
use std::io::{self, ErrorKind, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::error::{OpenErrorKind, denied, files_max};
use super::file_facts::{self, allocated, is_device, is_huge};
use super::handed::Handed;
use super::identity::{Data, Identity};
use super::lock;
use super::sharing::Range;
use super::{Durability, OpenError, SECTOR_BYTES, Warning, descriptor, device};

/// The largest write unit worth reporting, and the largest block or device sector that can be
/// served: a page.
pub(super) const BLOCK_MAX: u32 = 4096;

/// Descriptors that no export may use: reserved for the program and its rings, for control
/// clients, for the state file, and for the rest of the export being opened.
const FILES_KEPT: u64 = 64;

/// What to open, and how.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OpenOptions {
    /// A regular file or a block device.
    pub path: PathBuf,
    /// Refuse writes, and share the file with other read-only stores.
    pub read_only: bool,
    /// Where the export starts, in bytes; a multiple of 512.
    pub offset_bytes: u64,
    /// Its length in bytes, a multiple of 512; `None` for everything from the offset on,
    /// even when the file grows.
    pub length_bytes: Option<u64>,
    /// What an acknowledged write survives.
    pub durability: Durability,
    /// How its bytes are accessed.
    pub access: Access,
    /// How durable writes are made stable.
    pub sync: Sync,
    /// Whether sectors may be discarded; `None`: only if that cannot make a later write run
    /// out of space.
    pub trim: Option<bool>,
    /// Pin the mapping in memory.
    pub pin: bool,
    /// Request huge pages for the mapping.
    pub huge: bool,
}

/// How durable writes become stable, for engines that have the choice.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Sync {
    /// Whatever suits the file or device.
    #[default]
    Auto,
    /// Each by itself, as part of its call.
    Each,
    /// Many by one later call.
    Group,
}

/// How the bytes of a file are accessed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Access {
    /// Automatic: mapped if the whole file is in memory; otherwise past the page cache if
    /// the file system supports it; otherwise through it.
    #[default]
    Fitting,
    /// Past the page cache (O_DIRECT), asynchronously.
    Direct,
    /// Through the page cache, asynchronously.
    Cached,
    /// Mapped. On a disk, the first use of a page also reads its surroundings.
    Mapped,
    /// Through the page cache by blocking calls, for a kernel without io_uring.
    Descriptor,
}

impl OpenOptions {
    /// The whole of `path`: writable, durable, automatic access.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), ..Self::default() }
    }

    /// Whether acknowledged writes have to be stable.
    pub(super) fn wants_stable_writes(&self) -> bool {
        !self.read_only && self.durability == Durability::Durable
    }

    /// The bytes of the file that it has.
    pub(super) fn range(&self) -> Range {
        let start = self.offset_bytes;
        Range { start, end: self.length_bytes.map_or(u64::MAX, |length| start.saturating_add(length)) }
    }
}

/// An open, locked and measured extent of a file or block device.
#[derive(Debug)]
pub(super) struct Backing {
    pub(super) options: OpenOptions,
    pub(super) file: Arc<File>,
    pub(super) facts: Metadata,
    pub(super) is_device: bool,
    /// The size of the extent, in whole sectors.
    pub(super) bytes: u64,
    pub(super) physical_bytes: u32,
    /// Whether it supports discards, by [`descriptor::punch`](super::descriptor::punch).
    pub(super) discards: bool,
    pub(super) warnings: Vec<Warning>,
    /// Other exports see its use as long as this lives.
    pub(super) token: Arc<()>,
    /// For a device.
    _claim: Option<Arc<File>>,
    /// The lock ends with the last copy of the description, which the kernel may hold, not
    /// with this value.
    pub(super) stays_locked: Arc<AtomicBool>,
}

impl Backing {
    /// Checks, opens unless the open file is handed to it, measures and locks, in this order.
    pub(super) fn open(options: &OpenOptions, handed: Option<&Handed>) -> Result<Self, OpenError> {
        check_alignment(options)?;
        let (file, facts) = match handed {
            Some(handed) => (Arc::clone(&handed.file), handed.prepare(options)?),
            None => open_file(options).map(|(file, facts)| (Arc::new(file), facts))?,
        };
        // The kernel assigns the lowest free number.
        if file.as_raw_fd() as u64 + FILES_KEPT > files_max() {
            return Err(OpenError::too_many_files(&options.path));
        }
        let by_path = || lock::claim(facts.rdev(), || lock::open_exclusively(&options.path));
        let claim = || match handed {
            Some(handed) => handed.claim(options, facts.rdev()),
            None => by_path().map_err(|source| open_error(options, source)),
        };
        let claim = is_device(&facts).then(claim).transpose()?;
        let Measures { size, bytes, physical_bytes } = measure(options, &file, &facts)?;
        lock::lock(&file, options)?;
        Ok(Self {
            is_device: is_device(&facts),
            bytes,
            physical_bytes,
            discards: discards(options, &file, &facts, size)?,
            warnings: file_facts::warnings(options, &file, &facts, size),
            token: Arc::new(()),
            _claim: claim,
            stays_locked: handed.map(|handed| Arc::clone(&handed.stays_locked)).unwrap_or_default(),
            file,
            facts,
            options: options.clone(),
        })
    }

    /// The identity of the extent.
    pub(super) fn data(&self) -> Data {
        Data { identity: Identity::of(&self.file), offset_bytes: self.options.offset_bytes }
    }

    /// The current size of the whole file or device.
    pub(super) fn bytes_now(&self) -> io::Result<u64> {
        if self.is_device { device::bytes(&self.file) } else { size_of(&self.file) }
    }

    /// The new size of the extent, if it follows the size of the file and has changed to
    /// something that can be exported.
    pub(super) fn resized(&self) -> Option<u64> {
        let size = self.bytes_now().ok()?;
        let bytes = whole_sectors(size.saturating_sub(self.options.offset_bytes));
        (self.options.length_bytes.is_none() && bytes > 0 && bytes != self.bytes).then_some(bytes)
    }
}

impl Drop for Backing {
    fn drop(&mut self) {
        if !self.stays_locked.load(Ordering::Acquire) {
            lock::unlock(&self.file, &self.options);
        }
    }
}

/// Checks whether a store could be opened, as far as that is visible without a lock and
/// without opening anything for writing. A process that has it open is not affected.
///
/// # Errors
///
/// Why it could not be opened.
pub(super) fn examine(options: &OpenOptions, handed: Option<&Handed>) -> Result<(), OpenError> {
    check_alignment(options)?;
    if let Some(handed) = handed {
        handed.check_mode(options)?;
        let facts = handed.file.metadata();
        let facts = facts.map_err(|source| OpenError::system(&options.path, "examine", source))?;
        return measure(options, &handed.file, &facts).map(|_| ());
    }
    let (file, facts) = open_file(&OpenOptions { read_only: true, ..options.clone() })?;
    if !options.read_only {
        let refused = |e: rustix::io::Errno| OpenError::unwritable(&options.path, e.into());
        rustix::fs::access(&options.path, rustix::fs::Access::WRITE_OK).map_err(refused)?;
    }
    measure(options, &file, &facts).map(|_| ())
}

/// The data to which a path leads now; `None` if none is readable there.
pub(super) fn data(options: &OpenOptions) -> Option<Data> {
    let (file, _) = open_file(&OpenOptions { read_only: true, ..options.clone() }).ok()?;
    Some(Data { identity: Identity::of(&file), offset_bytes: options.offset_bytes })
}

fn check_alignment(options: &OpenOptions) -> Result<(), OpenError> {
    let values = [("offset", options.offset_bytes), ("length", options.length_bytes.unwrap_or(SECTOR_BYTES))];
    for (name, bytes) in values {
        if !bytes.is_multiple_of(SECTOR_BYTES) {
            let what = format!("{name} {bytes} is not a multiple of 512");
            let error = OpenError::new(&options.path, what, "round it to whole sectors");
            return Err(error.of(OpenErrorKind::Option));
        }
    }
    Ok(())
}

pub(super) fn open_file(options: &OpenOptions) -> Result<(File, Metadata), OpenError> {
    let path = &options.path;
    // Checked before opening: opening a FIFO would wait for its other end.
    let facts = fs::metadata(path).map_err(|source| open_error(options, source))?;
    if let Some(kind) = wrong_kind(facts.file_type()) {
        return Err(OpenError::new(path, format!("is a {kind}"), "give a regular file or a block device"));
    }
    let file = fs::OpenOptions::new()
        .read(true)
        .write(!options.read_only)
        .open(path)
        .map_err(|source| open_error(options, source))?;
    let facts = file.metadata().map_err(|source| OpenError::system(path, "examine", source))?;
    Ok((file, facts))
}

pub(super) fn wrong_kind(kind: FileType) -> Option<&'static str> {
    match kind {
        kind if kind.is_file() || kind.is_block_device() => None,
        kind if kind.is_dir() => Some("directory"),
        kind if kind.is_char_device() => Some("character device"),
        kind if kind.is_fifo() => Some("FIFO"),
        kind if kind.is_socket() => Some("socket"),
        _ => Some("file of another kind"),
    }
}

pub(super) fn open_error(options: &OpenOptions, source: io::Error) -> OpenError {
    let path = &options.path;
    match source.kind() {
        ErrorKind::NotFound => OpenError::missing(path),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem
            if !options.read_only && File::open(path).is_ok() =>
        {
            OpenError::unwritable(path, source)
        }
        ErrorKind::PermissionDenied => {
            let what = format!("may not be read by {}", denied(path));
            let error = OpenError::new(path, what, "give that user read permission");
            error.of(OpenErrorKind::Unreadable).because(source)
        }
        ErrorKind::ResourceBusy => {
            let remedy = format!("release it (`lsblk {}` shows its user)", path.display());
            OpenError::new(path, "is in use, perhaps mounted, part of an array, or swap", remedy)
        }
        _ => OpenError::system(path, "open", source),
    }
}

/// What is measured before an extent is served.
struct Measures {
    /// Of the whole file or device.
    size: u64,
    /// Of the extent.
    bytes: u64,
    physical_bytes: u32,
}

fn measure(options: &OpenOptions, file: &File, facts: &Metadata) -> Result<Measures, OpenError> {
    let size = size_of(file).map_err(|source| OpenError::system(&options.path, "measure", source))?;
    let bytes = extent(options, size)?;
    let physical_bytes = match is_device(facts) {
        true => device::physical_bytes(options, file)?,
        false => u32::try_from(facts.blksize()).unwrap_or(BLOCK_MAX),
    };
    if options.wants_stable_writes() && is_huge(file) {
        let (what, remedy) =
            ("lies in hugetlbfs, which keeps nothing", "export it as volatile, or read-only");
        return Err(OpenError::new(&options.path, what, remedy).of(OpenErrorKind::Option));
    }
    Ok(Measures { size, bytes, physical_bytes: physical_bytes.clamp(SECTOR_BYTES as u32, BLOCK_MAX) })
}

/// The size of the extent, given the size of the file.
pub(super) fn extent(options: &OpenOptions, size: u64) -> Result<u64, OpenError> {
    let (path, offset) = (&options.path, options.offset_bytes);
    let rest = size.saturating_sub(offset);
    if let Some(length) = options.length_bytes.filter(|length| *length > rest) {
        let what = format!("offset {offset} + length {length} lies beyond its end at {size} bytes");
        return Err(OpenError::new(path, what, "correct them, or enlarge the file"));
    }
    match options.length_bytes.unwrap_or(whole_sectors(rest)) {
        0 => Err(OpenError::too_small(path, offset, rest)),
        bytes => Ok(bytes),
    }
}

fn whole_sectors(bytes: u64) -> u64 {
    bytes - bytes % SECTOR_BYTES
}

/// The size of a file or a device. No code uses the file position, and seeking is the
/// cheapest query: volatile writes make it each time.
pub(super) fn size_of(mut file: &File) -> io::Result<u64> {
    file.seek(SeekFrom::End(0))
}

/// Whether the store on this file, of `size` bytes, discards sectors. Changes no byte of the
/// file.
///
/// A fully allocated file was allocated so that no write can run out of space. A hole in it
/// would break that, so the operator must request discards for such a file. A file that
/// already has holes loses nothing by them, and neither does a device.
fn discards(options: &OpenOptions, file: &File, facts: &Metadata, size: u64) -> Result<bool, OpenError> {
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
