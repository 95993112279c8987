//! Files to export, and their directories.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory that is removed on drop.
pub struct Dir(PathBuf);

impl Dir {
    pub fn new() -> Self {
        Self::within(&std::env::temp_dir())
    }

    /// In a directory of the test's choice.
    pub fn within(parent: &Path) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("xbp-{}-{n}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A file of `sectors` sectors, each filled with [`sector`].
    pub fn image(&self, name: &str, sectors: u64) -> Image {
        let path = self.0.join(name);
        let bytes: Vec<u8> = (0..sectors).flat_map(sector).collect();
        fs::write(&path, bytes).unwrap();
        // A reload opens it as the user of the daemon.
        fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).unwrap();
        Image(path)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A file that is exported.
pub struct Image(PathBuf);

impl Image {
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Sectors from `lba` on, read as any other program would.
    pub fn sectors(&self, lba: u64, count: u64) -> Vec<u8> {
        let mut bytes = vec![0; count as usize * 512];
        File::open(&self.0).unwrap().read_exact_at(&mut bytes, lba * 512).unwrap();
        bytes
    }

    /// Sets its length.
    pub fn resize(&self, sectors: u64) {
        fs::OpenOptions::new().write(true).open(&self.0).unwrap().set_len(sectors * 512).unwrap();
    }
}

impl std::fmt::Display for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.display().fmt(f)
    }
}

/// The contents of sector `lba` in a fresh image.
pub fn sector(lba: u64) -> [u8; 512] {
    pattern(lba, 0)
}

/// 512 bytes that identify their sector and its version.
pub fn pattern(lba: u64, version: u64) -> [u8; 512] {
    let word = (lba << 20 | version).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    std::array::from_fn(|at| (word.rotate_left(at as u32 / 8) >> (at % 8 * 8)) as u8)
}

/// [`pattern`] for several sectors.
pub fn patterns(lba: u64, count: u64, version: u64) -> Vec<u8> {
    (lba..lba + count).flat_map(|lba| pattern(lba, version)).collect()
}
