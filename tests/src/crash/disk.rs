//! A file system whose power can be cut.
//!
//! It is in an image on a loop device. The cut is the file system's own forced shutdown
//! without a flush of the log: data that is not on the loop device at that instant never
//! gets there. Mounting it again replays the journal, as after a real power failure.
//!
//! The file on it is created again for each cut, with extents that are allocated and marked
//! unwritten. So unsynced data is lost even if it was written past the page cache: the mark
//! that the extent is now written is metadata, and waits in memory for the next commit of
//! the journal.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::Space;

/// The file system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileSystem {
    /// ext4 with 4 KiB blocks, as on disks of any size.
    Ext4,
    /// XFS.
    Xfs,
}

impl FileSystem {
    /// Its name for `mount` and `mkfs`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
        }
    }

    /// Bytes of the image: 128 MiB, or the minimum of mkfs.xfs.
    fn image_bytes(self) -> u64 {
        match self {
            Self::Ext4 => 128 << 20,
            Self::Xfs => 320 << 20,
        }
    }

    /// Nothing is left to be written later in the background.
    fn mkfs_options(self) -> &'static [&'static str] {
        match self {
            Self::Ext4 => &["-q", "-b", "4096", "-E", "lazy_itable_init=0,lazy_journal_init=0"],
            Self::Xfs => &["-q"],
        }
    }

    /// When a file is renamed over another one, ext4 writes its data before the name, to
    /// help programs that omit the sync. Disabled here.
    fn mount_options(self) -> &'static str {
        match self {
            Self::Ext4 => ",noauto_da_alloc",
            Self::Xfs => "",
        }
    }
}

impl std::str::FromStr for FileSystem {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let all = [Self::Ext4, Self::Xfs];
        all.into_iter().find(|fs| fs.name() == name).ok_or(format!("'{name}' is neither ext4 nor xfs"))
    }
}

/// The longest time until an exited process has released the file system.
const RELEASE_MAX: Duration = Duration::from_secs(10);

/// The file system, mounted in a namespace of its own, and the file on it.
pub struct Disk {
    kind: FileSystem,
    image: PathBuf,
    on: PathBuf,
}

impl Disk {
    /// Creates one below `folder` and mounts it in `space`.
    pub fn new(space: &Space, folder: &Path, kind: FileSystem) -> Self {
        let (image, on) = (folder.join("image"), folder.join("mnt"));
        File::create(&image).and_then(|file| file.set_len(kind.image_bytes())).expect("an image");
        std::fs::create_dir(&on).expect("a folder to mount on");
        let mut mkfs = Command::new(format!("mkfs.{}", kind.name()));
        let output = mkfs.args(kind.mkfs_options()).arg(&image).output().expect("mkfs");
        assert!(output.status.success(), "{mkfs:?}: {}", String::from_utf8_lossy(&output.stderr));
        let disk = Self { kind, image, on };
        disk.mount(space);
        disk
    }

    /// The path of the file.
    pub fn path(&self) -> PathBuf {
        self.on.join("store")
    }

    /// Creates the file again: zeros, in unwritten extents, and on disk.
    pub fn renew(&self, space: &Space, bytes: u64) {
        let path = self.path();
        space.run(move || {
            let _ = std::fs::remove_file(&path);
            let file = File::create(&path).expect("a file");
            let fd = file.as_raw_fd();
            // SAFETY: no pointers.
            check("fallocate", unsafe { libc::fallocate(fd, 0, 0, bytes as i64) });
            // SAFETY: as above.
            check("syncfs", unsafe { libc::syncfs(fd) });
        });
    }

    /// Opens the file for reading; the handle works in every namespace.
    pub fn open(&self, space: &Space) -> File {
        let path = self.path();
        space.run(move || File::open(path)).expect("the file")
    }

    /// The power is back: mounts the file system again, with what was on the disk. No
    /// process may have a file on it open.
    pub fn restart(&self, space: &Space) {
        let on = std::ffi::CString::new(self.on.as_os_str().as_encoded_bytes()).unwrap();
        space.run(move || {
            let end = Instant::now() + RELEASE_MAX;
            // SAFETY: a string that ends with zero.
            while unsafe { libc::umount2(on.as_ptr(), 0) } != 0 {
                let error = io::Error::last_os_error();
                let is_busy = error.raw_os_error() == Some(libc::EBUSY);
                assert!(is_busy && Instant::now() < end, "umount: {error}");
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        self.mount(space);
    }

    /// With a loop device that is released at unmount.
    fn mount(&self, space: &Space) {
        let (kind, image, on) = (self.kind.name(), self.image.display(), self.on.display());
        let options = self.kind.mount_options();
        space.sh(&format!("timeout 20 mount -t {kind} -o loop{options} {image} {on}"));
    }
}

/// Cuts the power of the file system that contains this file.
pub fn cut(file: &File) {
    /// `EXT4_IOC_SHUTDOWN`, `XFS_IOC_GOINGDOWN`.
    const SHUTDOWN: libc::Ioctl = libc::_IOR::<u32>(b'X' as u32, 125);
    /// Without writing the log.
    static NOLOGFLUSH: u32 = 2;
    // SAFETY: the call reads a `u32`.
    check("shutdown", unsafe { libc::ioctl(file.as_raw_fd(), SHUTDOWN, &raw const NOLOGFLUSH) });
}

fn check(what: &str, result: libc::c_int) {
    assert_eq!(result, 0, "{what}: {}", io::Error::last_os_error());
}
