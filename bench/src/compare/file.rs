//! The file that is exported, for as long as the value lives.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::shell;

/// A file of its own, removed when dropped.
#[derive(Debug)]
pub struct ExportedFile {
    path: PathBuf,
}

impl ExportedFile {
    /// Writes one of `mib` MiB, and has it on stable storage: every target
    /// overwrites what is there, and none pays for allocating blocks, for
    /// marking them as written, or for what another one left to be written.
    /// Not zeros: a hole would cost no memory access.
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
        out.sync_all().with_context(failed)?;
        let allocated = out.metadata().with_context(failed)?.blocks() * 512;
        if allocated < mib << 20 {
            bail!("{}: the file system allocated {allocated} bytes only: it compresses", path.display());
        }
        Ok(file)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where results go while a measurement runs.
    pub fn result(&self) -> PathBuf {
        self.path.with_extension("json")
    }

    /// Has what was written on stable storage, and if told so drops the file
    /// from the page cache.
    pub fn settle(&self, cold: bool) -> Result<()> {
        if !cold {
            let file = File::open(&self.path).and_then(|file| file.sync_all());
            return file.with_context(|| format!("cannot sync {}", self.path.display()));
        }
        // Without a block to copy, dd drops the whole file.
        let of = format!("of={}", self.path.display());
        shell::run(&["dd", "if=/dev/null", &of, "oflag=nocache", "conv=notrunc,fdatasync", "count=0"])
            .map(|_| ())
    }
}

impl Drop for ExportedFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
        let _ = fs::remove_file(self.result());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_whole_and_stays_so_when_it_is_dropped_from_the_cache() {
        let file = ExportedFile::new(&std::env::temp_dir(), 2).unwrap();
        let before = fs::read(file.path()).unwrap();
        assert_eq!(before.len(), 2 << 20);
        file.settle(true).unwrap();
        file.settle(false).unwrap();
        assert!(fs::read(file.path()).unwrap() == before);
        let path = file.path().to_owned();
        drop(file);
        assert!(!path.exists());
    }
}
