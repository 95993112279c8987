//! Selects the engine for a file or device.

use std::fs::File;
use std::sync::Arc;

use super::disk::{DiskLayout, DiskStore, Persist, Ring, Uring};
use super::handed::Handed;
use super::identity::{Data, OpenFile};
use super::mmap::MmapStore;
use super::open::{Backing, extent, size_of};
use super::{
    Access, Durability, Expected, Geometry, Identity, OpenError, OpenErrorKind, OpenOptions, SECTOR_BYTES,
    Store, Sync, Warning, device, dio, file_facts,
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

impl Opened {
    /// A store without a file.
    pub(super) fn without_file(store: impl Store + 'static, identity: Identity) -> Self {
        Self {
            store: Box::new(store),
            warnings: Vec::new(),
            access: None,
            stable: Persist::OnFlush,
            data: Data { identity, offset_bytes: 0 },
            file: None,
        }
    }
}

/// Opens, locks and measures what `options` describe, and selects an engine:
///
/// - a file that is entirely in memory is mapped;
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
    open_with(options, None)
}

/// As [`open`], with a file that is open already.
pub(super) fn open_with(options: &OpenOptions, handed: Option<&Handed>) -> Result<Opened, OpenError> {
    let backing = Backing::open(options, handed)?;
    let mut warnings = backing.warnings.clone();
    let rule: &[Access] = match options.access {
        Access::Fitting if file_facts::is_resident(&backing.file) => &[Access::Mapped],
        Access::Fitting => &[Access::Direct, Access::Cached, Access::Descriptor],
        _ => std::slice::from_ref(&options.access),
    };
    let mut refusal = None;
    for &access in rule {
        if let Some(why) = refusal.take() {
            warnings.push(fallback(options, access, &why));
        }
        match prepare(&backing, access)? {
            Ok(block) => {
                let (data, file) = (backing.data(), OpenFile::new(&backing));
                let (token, stable) = (Arc::clone(&backing.token), stable(&backing, access));
                let expected = Expected::new(options, &backing.facts, access);
                let store = store(backing, access, stable, block)?;
                expected.register(&token)?;
                let access = Some(access);
                return Ok(Opened { store, warnings, access, stable, data, file: Some(file) });
            }
            Err(why) => refusal = Some(why),
        }
    }
    Err(refusal.unwrap_or(OpenError::missing(&options.path)))
}

/// The warning that a preferred access is not possible, and another one is tried.
fn fallback(options: &OpenOptions, access: Access, refusal: &OpenError) -> Warning {
    let way = match access {
        Access::Descriptor => " with blocking calls (a disk that hangs blocks the other exports)",
        _ => "",
    };
    // The innermost cause.
    let why = match std::error::Error::source(refusal) {
        Some(source) => source.to_string(),
        None => refusal.to_string(),
    };
    Warning::new(format!("{}: is served through the page cache{way}: {why}", options.path.display()))
}

/// How this open file would be accessed. May change its flags, so its file description
/// must have no other user.
pub(super) fn expected(options: &OpenOptions, file: &File) -> Access {
    if options.access != Access::Fitting {
        return options.access;
    }
    let bytes = size_of(file).ok().and_then(|size| extent(options, size).ok()).unwrap_or(0);
    match () {
        () if file_facts::is_resident(file) => Access::Mapped,
        () if Ring::is_missing().is_some() => Access::Descriptor,
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

/// Prepares an asynchronous access; returns the block size in which it accesses the file, and
/// `None` for any other access.
///
/// # Errors
///
/// After an inner error another access may be tried. An outer error is final.
fn prepare(backing: &Backing, access: Access) -> Result<Result<Option<u32>, OpenError>, OpenError> {
    let path = &backing.options.path;
    let block = match access {
        Access::Mapped | Access::Descriptor => return Ok(Ok(None)),
        Access::Direct => match direct(backing) {
            Ok(block) => block,
            Err(why) => return Ok(Err(why)),
        },
        _ => SECTOR_BYTES as u32,
    };
    let Some(source) = Ring::is_missing() else { return Ok(Ok(Some(block))) };
    dio::disable(&backing.file).map_err(|source| OpenError::system(path, "reopen", source))?;
    let what = "this kernel gives no io_uring ring";
    let remedy = "see `sysctl kernel.io_uring_disabled` and the limit of locked memory, or leave store= out";
    Ok(Err(OpenError::new(path, what, remedy).because(source)))
}

/// The store for an access that was prepared.
fn store(
    backing: Backing,
    access: Access,
    stable: Persist,
    block: Option<u32>,
) -> Result<Box<dyn Store>, OpenError> {
    let Some(block) = block else {
        return Ok(Box::new(MmapStore::over(backing, access == Access::Mapped)?));
    };
    let (layout, path) = (layout(&backing, access, block, stable), backing.options.path.clone());
    let store = DiskStore::new(Uring::new(backing), layout);
    Ok(Box::new(store.map_err(|source| OpenError::system(&path, "get memory for", source))?))
}

/// Makes the file bypass the page cache, in blocks that divide the extent: two extents that
/// shared a block would overwrite each other's part of it.
fn direct(backing: &Backing) -> Result<u32, OpenError> {
    let options = &backing.options;
    let refused = |why| {
        let remedy = "give store=file, or leave store= out";
        let error = OpenError::new(&options.path, "cannot go past the page cache", remedy);
        error.of(OpenErrorKind::Option).because(why)
    };
    let block = dio::enable(&backing.file).map_err(refused)?;
    if is_whole(options.offset_bytes, backing.bytes, block) {
        return Ok(block);
    }
    let misfit = std::io::Error::other(format!("offset and size have to be multiples of {block} bytes"));
    Err(refused(dio::disable(&backing.file).err().unwrap_or(misfit)))
}

/// One sync for a group of writes, unless the disk makes a single write stable at no
/// extra cost, because it has no volatile cache or can bypass it. Through the page cache
/// only a group is possible: there, an error while data is made stable does not show
/// which bytes are lost. With direct access the operator may choose.
fn stable(backing: &Backing, access: Access) -> Persist {
    match (backing.options.durability, access, backing.options.sync) {
        (Durability::Volatile, ..) => Persist::OnFlush,
        (_, Access::Direct, Sync::Each) => Persist::PerWrite,
        (_, Access::Direct, Sync::Auto) if device::writes_through(&backing.facts) => Persist::PerWrite,
        _ => Persist::Group,
    }
}

fn layout(backing: &Backing, access: Access, block_bytes: u32, persist: Persist) -> DiskLayout {
    let (options, physical) = (&backing.options, backing.physical_bytes.max(block_bytes));
    // A device does not discard data that is dirty in the page cache.
    let dirty = backing.is_device && access == Access::Cached;
    DiskLayout {
        offset_bytes: options.offset_bytes,
        length_bytes: options.length_bytes,
        geometry: Geometry {
            block_bytes,
            // Part of a block cannot be discarded, and initiators count in sectors.
            discards: backing.discards && block_bytes == SECTOR_BYTES as u32 && !dirty,
            ..Geometry::new(backing.bytes / SECTOR_BYTES, physical)
        },
        read_only: options.read_only,
        persist,
    }
}
