//! Maps an errno to the error reported to the initiator.

use super::IoError;

impl IoError {
    /// The error for the errno of a read, write or sync.
    pub fn from_errno(errno: i32) -> Self {
        match errno {
            // What disks, transports and file systems report if data is not available,
            // because the medium is bad or the path to it is gone.
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

    /// The error for a sync. No failed sync is transient, because it is unknown which data
    /// was lost.
    pub(super) fn of_sync(self) -> Self {
        if self == Self::Transient { Self::System } else { self }
    }
}

impl From<std::io::Error> for IoError {
    fn from(error: std::io::Error) -> Self {
        error.raw_os_error().map_or(Self::System, Self::from_errno)
    }
}
