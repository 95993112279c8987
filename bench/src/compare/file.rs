//! The file that is exported, for as long as the value lives.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A file of its own, removed when dropped.
#[derive(Debug)]
pub struct ExportedFile {
    path: PathBuf,
}

impl ExportedFile {
    /// Writes one of `mib` MiB. Not zeros: a hole would cost no memory access.
    pub fn new(directory: &Path, mib: u64) -> Result<Self> {
        let path = directory.join(format!("xbb-{}.img", std::process::id()));
        let failed = || format!("cannot write {}", path.display());
        let mut out = File::create(&path).with_context(failed)?;
        let file = Self { path: path.clone() };
        let block: Vec<u8> =
            (0..1u32 << 18).flat_map(|n| n.wrapping_mul(0x9E37_79B1).to_le_bytes()).collect();
        for _ in 0..mib {
            out.write_all(&block).with_context(failed)?;
        }
        Ok(file)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ExportedFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
        let _ = fs::remove_file(self.path.with_extension("json"));
    }
}
