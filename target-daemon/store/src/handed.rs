//! Open files that are handed to a store, which then opens nothing by its path: those of a
//! caller who may open what this process may not, and that of a store which is opened again.
//!
//! The sender of a descriptor may keep a copy, and change the flags or release the
//! locks of the description. That concerns only bytes that they may write anyway: the store
//! relies on neither for anything else.

use std::fs::{self, File, Metadata};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use super::file_facts::{Id, is_device};
use super::identity::{Data, Identity};
use super::lock;
use super::open::{open_error, open_file, wrong_kind};
use super::{OpenError, OpenErrorKind, OpenOptions};

/// The most descriptors that an export needs: the file, and the claim of a device.
pub const DESCRIPTORS_MAX: usize = 2;

/// An open file or device.
#[derive(Clone, Debug)]
pub struct Handed {
    pub(super) file: Arc<File>,
    /// Opened exclusively, for a device that this process has not claimed yet.
    pub(super) claim: Option<Arc<File>>,
    /// Calls of a store that was dropped are still under way, and protected by its lock.
    pub(super) stays_locked: Arc<AtomicBool>,
}

impl Handed {
    /// Opens what is to be handed to another process.
    ///
    /// # Errors
    ///
    /// This process may not open it, or it is none that can be exported.
    pub fn open(options: &OpenOptions) -> Result<Self, OpenError> {
        let (file, facts) = open_file(options)?;
        // Refused if the other process has claimed the device already: then it needs no other
        // claim. If a third one has, it refuses the device.
        let exclusive = || lock::open_exclusively(&options.path).ok();
        let claim = if is_device(&facts) { exclusive() } else { None };
        Ok(Self::new(Arc::new(file), claim, Arc::default()))
    }

    /// The data of an export of it that begins there.
    pub fn data(&self, offset_bytes: u64) -> Data {
        Data { identity: Identity::of(&self.file), offset_bytes }
    }

    pub(super) fn new(file: Arc<File>, claim: Option<Arc<File>>, stays_locked: Arc<AtomicBool>) -> Self {
        Self { file, claim, stays_locked }
    }

    /// The descriptors to send, in the order of [`Self::receive`].
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        std::iter::once(&self.file).chain(&self.claim).map(|file| file.as_fd()).collect()
    }

    /// Checks descriptors that another process has sent for an export.
    ///
    /// # Errors
    ///
    /// They are not of what the options describe.
    pub fn receive(
        descriptors: impl IntoIterator<Item = OwnedFd>,
        options: &OpenOptions,
    ) -> Result<Self, OpenError> {
        let path = &options.path;
        let mut files = descriptors.into_iter().map(|one| Arc::new(File::from(one)));
        let file = files.next().ok_or_else(|| OpenError::missing(path))?;
        let facts = file.metadata().map_err(|source| OpenError::system(path, "examine", source))?;
        if let Some(kind) = wrong_kind(facts.file_type()) {
            let what = format!("the descriptor that came with it is of a {kind}");
            return Err(OpenError::new(path, what, "send one of a regular file or a block device"));
        }
        if !is_device(&facts) && facts.nlink() == 0 {
            let what = "the descriptor that came with it is of a file without a name";
            return Err(OpenError::new(path, what, "give the file a name, or what hosts write is lost"));
        }
        if leads_elsewhere(path, &facts) {
            let what = "leads to another file here than the descriptor that came with it";
            return Err(OpenError::new(path, what, "send the descriptor of the file at this path"));
        }
        let is_same = |claim: &Arc<File>| {
            claim.metadata().is_ok_and(|theirs| is_device(&theirs) && theirs.rdev() == facts.rdev())
        };
        let claim = files.next().filter(|_| is_device(&facts));
        if !claim.as_ref().is_none_or(is_same) {
            let what = "the second descriptor that came with it is of another device";
            return Err(OpenError::new(path, what, "send the same device, opened with O_EXCL"));
        }
        Ok(Self::new(file, claim, Arc::default()))
    }

    /// Prepares the description for a store with these options.
    pub(super) fn prepare(&self, options: &OpenOptions) -> Result<Metadata, OpenError> {
        let path = &options.path;
        self.check_mode(options)?;
        // Also undoes O_DIRECT of the store before, and O_APPEND, with which every write goes
        // to the end of the file.
        fcntl_setfl(&*self.file, OFlags::empty())
            .map_err(|source| OpenError::system(path, "set the flags of", source.into()))?;
        self.file.metadata().map_err(|source| OpenError::system(path, "examine", source))
    }

    /// Checks whether a store with these options can use the description.
    pub(super) fn check_mode(&self, options: &OpenOptions) -> Result<(), OpenError> {
        let path = &options.path;
        if self.stays_locked.load(Ordering::Acquire) {
            let what = "what was under way when it was closed has not ended";
            return Err(OpenError::new(path, what, "try again when its disk has answered"));
        }
        let flags =
            fcntl_getfl(&*self.file).map_err(|source| OpenError::system(path, "examine", source.into()))?;
        let mode = if flags.contains(OFlags::PATH) { OFlags::WRONLY } else { flags & OFlags::ACCMODE };
        let what = match mode {
            OFlags::RDWR => return Ok(()),
            OFlags::RDONLY if options.read_only => return Ok(()),
            OFlags::RDONLY => "is open for reading only",
            _ => "is not open for reading",
        };
        let remedy =
            "remove the export and add it again as one who may write the file, or export it with `ro`";
        Err(OpenError::new(path, what, remedy).of(OpenErrorKind::Unwritable))
    }

    /// The exclusive claim of a device.
    pub(super) fn claim(&self, options: &OpenOptions, device: u64) -> Result<Arc<File>, OpenError> {
        let given = || self.claim.clone().ok_or_else(|| std::io::ErrorKind::ResourceBusy.into());
        lock::claim(device, given).map_err(|source| open_error(options, source))
    }
}

/// Whether this process finds another file at the path. One that it may not see, or that is in
/// another mount namespace, may be the same.
fn leads_elsewhere(path: &Path, facts: &Metadata) -> bool {
    fs::metadata(path).is_ok_and(|theirs| Id::of(&theirs) != Id::of(facts))
}
