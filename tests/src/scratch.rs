//! Temporary files, and patterns to fill them with.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder that is deleted when this is dropped.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Creates a new folder.
    #[expect(clippy::new_without_default, reason = "it makes a folder")]
    pub fn new() -> Self {
        Self::within(&std::env::temp_dir(), "xbc")
    }

    /// Creates a new folder in `parent`, named `PREFIX-PROCESS-NUMBER`.
    pub fn within(parent: &Path, prefix: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{prefix}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = parent.join(name);
        fs::create_dir(&path).expect("a scratch folder");
        Self(path)
    }

    /// Creates a file with these bytes in it.
    pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, bytes).expect("a scratch file");
        path
    }

    /// Path of the folder.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A sector with different content for every `seed` and `lba`.
pub fn sector(seed: u8, lba: u64) -> [u8; 512] {
    let mut bytes = [0; 512];
    let mut state = lba.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ u64::from(seed) << 32 | 1;
    for byte in &mut bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        *byte = state as u8;
    }
    bytes
}

/// `count` sectors from `lba` on.
pub fn pattern(seed: u8, lba: u64, count: usize) -> Vec<u8> {
    (lba..lba + count as u64).flat_map(|lba| sector(seed, lba)).collect()
}
