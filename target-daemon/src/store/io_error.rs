//! From an errno to what the initiator is told.

use super::IoError;

impl IoError {
    /// The fault that an errno of a read, write or sync means.
    pub fn from_errno(errno: i32) -> Self {
        match errno {
            // What disks, transports and file systems say when data cannot be
            // had, whether for bad media or because the path to it is gone.
            libc::EIO
            | libc::ENXIO
            | libc::ENODEV
            | libc::ENODATA
            | libc::ENOMEDIUM
            | libc::EILSEQ
            | libc::EREMOTEIO
            | libc::EBADMSG
            | libc::EUCLEAN
            | libc::ENOLINK
            | libc::ETIMEDOUT => Self::Media,
            libc::ENOSPC | libc::EDQUOT | libc::EFBIG => Self::NoSpace,
            libc::EAGAIN | libc::EINTR | libc::ENOMEM | libc::ENOBUFS | libc::EBUSY => Self::Transient,
            libc::EROFS | libc::EPERM | libc::EACCES | libc::EBADF => Self::ReadOnly,
            _ => Self::System,
        }
    }
}

impl IoError {
    /// What it means for a sync: nothing is transient there, for what was lost
    /// is not known.
    pub(super) fn of_sync(self) -> Self {
        if self == Self::Transient { Self::System } else { self }
    }
}

impl From<std::io::Error> for IoError {
    fn from(error: std::io::Error) -> Self {
        error.raw_os_error().map_or(Self::System, Self::from_errno)
    }
}
