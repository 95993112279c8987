//! Selects the engine for a file or device.

use std::fs::File;

use super::disk::{DiskLayout, DiskStore, Persist, Uring};
use super::identity::{Data, OpenFile};
use super::open::{Backing, extent, size_of};
use super::write_cache::{self, Cache};
use super::{
    Access, Durability, Geometry, MmapStore, OpenError, OpenErrorKind, OpenOptions, SECTOR_BYTES, Store,
    Sync, Warning, dio, file_facts,
};

/// A store that was opened.
pub struct Opened {
    /// The engine.
    pub store: Box<dyn Store>,
    /// Warnings for the operator.
    pub warnings: Vec<Warning>,
    /// How its file is accessed, if it has one; never [`Access::Fitting`].
    pub access: Option<Access>,
    /// How its writes become stable.
    pub stable: Persist,
    /// The identity of its data.
    pub data: Data,
    /// The file or device, if it has one.
    pub file: Option<OpenFile>,
}

/// Opens, locks and measures what `options` describe, and selects an engine:
///
/// - a file that is in memory as a whole is mapped;
/// - any other is accessed past the page cache, by io_uring;
/// - if its file system does not support that, or only in blocks that do not fit the
///   extent, through the page cache, by io_uring;
/// - if this kernel has no io_uring, or forbids it, through the page cache by blocking
///   calls.
///
/// An explicitly requested access is used or refused. An access that would interfere with
/// another store of this process is refused (`sharing`).
///
/// # Errors
///
/// An [`OpenError`] that names the file and the remedy.
pub fn open(options: &OpenOptions) -> Result<Opened, OpenError> {
    let mut backing = Backing::open(options)?;
    let mut warnings = backing.warnings().to_vec();
    let (data, file) = (backing.data(), backing.open_file(options));
    let rule: &[Access] = match options.access {
        Access::Fitting if file_facts::is_resident(backing.file()) => &[Access::Mapped],
        Access::Fitting => &[Access::Direct, Access::Cached, Access::Descriptor],
        Access::Direct => &[Access::Direct],
        Access::Cached => &[Access::Cached],
        Access::Mapped => &[Access::Mapped],
        Access::Descriptor => &[Access::Descriptor],
    };
    let usage = backing.usage();
    let mut refusal = None;
    for &access in rule {
        if let Some(why) = refusal.take() {
            warnings.push(Warning::Fallback { path: options.path.clone(), access, why: reason(&why) });
        }
        match attempt(backing, options, access) {
            Ok((store, stable)) => {
                usage.settle(access)?;
                let access = Some(access);
                return Ok(Opened { store, warnings, access, stable, data, file: Some(file) });
            }
            Err((Some(back), why)) => (backing, refusal) = (back, Some(why)),
            Err((None, why)) => return Err(why),
        }
    }
    Err(refusal.unwrap_or(OpenError::missing(&options.path)))
}

/// How the file of this description would be accessed. The description must have no other
/// use.
pub(super) fn expected(options: &OpenOptions, file: &File) -> Access {
    if options.access != Access::Fitting {
        return options.access;
    }
    let bytes = size_of(file).ok().and_then(|size| extent(options, size).ok()).unwrap_or(0);
    match () {
        () if file_facts::is_resident(file) => Access::Mapped,
        () if !Uring::is_possible() => Access::Descriptor,
        () if dio::enable(file).is_ok_and(|block| is_whole(options.offset_bytes, bytes, block)) => {
            Access::Direct
        }
        () => Access::Cached,
    }
}

/// Whether an extent consists of whole blocks.
fn is_whole(offset: u64, bytes: u64, block: u32) -> bool {
    offset.is_multiple_of(block.into()) && bytes.is_multiple_of(block.into())
}

/// The innermost cause: why this access was not possible.
fn reason(error: &OpenError) -> String {
    match std::error::Error::source(error) {
        Some(source) => source.to_string(),
        None => error.to_string(),
    }
}

type Attempt = Result<(Box<dyn Store>, Persist), (Option<Backing>, OpenError)>;

fn attempt(backing: Backing, options: &OpenOptions, access: Access) -> Attempt {
    if matches!(access, Access::Mapped | Access::Descriptor) {
        let stable =
            if options.durability == Durability::Durable { Persist::Group } else { Persist::OnFlush };
        return match MmapStore::over(backing, options, access == Access::Mapped) {
            Ok(store) => Ok((Box::new(store), stable)),
            Err(why) => Err((None, why)),
        };
    }
    let block = match access {
        Access::Direct => match direct(&backing, options) {
            Ok(block) => block,
            Err(why) => return Err((Some(backing), why)),
        },
        _ => SECTOR_BYTES as u32,
    };
    let stable = stable(options, access, &backing);
    let layout = layout(&backing, options, access, block, stable);
    let ring = Uring::new(backing).map_err(|(mut backing, source)| {
        let undone = dio::disable(backing.file());
        let path = &options.path;
        match undone {
            // Any other access would run out of descriptors too.
            Ok(()) if source.raw_os_error() == Some(libc::EMFILE) => (None, OpenError::too_many_files(path)),
            Ok(()) => {
                let what = "this kernel gives no io_uring ring";
                let remedy =
                    "see `sysctl kernel.io_uring_disabled` and the limit of locked memory, or leave store= out";
                (Some(backing), OpenError::new(path, what, remedy).because(source))
            }
            Err(source) => {
                backing.unlock();
                (None, OpenError::system(path, "reopen", source))
            }
        }
    })?;
    let store = DiskStore::new(ring, layout);
    let store = store.map_err(|source| (None, OpenError::system(&options.path, "get memory for", source)))?;
    Ok((Box::new(store), stable))
}

/// Makes the file bypass the page cache, in blocks that divide the extent: two extents that
/// shared a block would overwrite each other's part of it.
fn direct(backing: &Backing, options: &OpenOptions) -> Result<u32, OpenError> {
    let refused = |why| {
        let remedy = "give store=file, or leave store= out";
        let error = OpenError::new(&options.path, "cannot go past the page cache", remedy);
        error.of(OpenErrorKind::Option).because(why)
    };
    let block = dio::enable(backing.file()).map_err(refused)?;
    if is_whole(backing.offset(), backing.bytes(), block) {
        return Ok(block);
    }
    let misfit = std::io::Error::other(format!("offset and size have to be multiples of {block} bytes"));
    Err(refused(dio::disable(backing.file()).err().unwrap_or(misfit)))
}

/// One sync for a group of writes, unless the disk makes a single write stable for the
/// price of the write because it has no volatile cache, or can write past it. Through the
/// page cache only a group is possible: there, a write that fails to become stable does not
/// report which bytes are lost. With direct access the operator may choose.
fn stable(options: &OpenOptions, access: Access, backing: &Backing) -> Persist {
    match (options.durability, access) {
        (Durability::Volatile, _) => Persist::OnFlush,
        (Durability::Durable, Access::Direct) if options.sync == Sync::Each => Persist::PerWrite,
        (Durability::Durable, Access::Direct) if options.sync == Sync::Auto => {
            match write_cache::cache(backing.file()) {
                Some(Cache::None | Cache::Bypassed) => Persist::PerWrite,
                Some(Cache::Flushed) | None => Persist::Group,
            }
        }
        (Durability::Durable, _) => Persist::Group,
    }
}

fn layout(
    backing: &Backing,
    options: &OpenOptions,
    access: Access,
    block_bytes: u32,
    stable: Persist,
) -> DiskLayout {
    let physical = backing.physical_bytes().max(block_bytes);
    // A device does not discard data that is dirty in the page cache.
    let dirty = backing.is_device() && access == Access::Cached;
    DiskLayout {
        offset_bytes: backing.offset(),
        length_bytes: backing.is_fixed().then_some(backing.bytes()),
        geometry: Geometry {
            block_bytes,
            // Part of a block cannot be discarded, and initiators count in sectors.
            discards: backing.discards() && block_bytes == SECTOR_BYTES as u32 && !dirty,
            ..Geometry::new(backing.bytes() / SECTOR_BYTES, physical)
        },
        read_only: options.read_only,
        persist: stable,
    }
}
