//! The exported files, removed when the value is dropped. Each target has its own file
//! with the same content, so that none depends on what another one has written.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rustix::fs::{Advice, fadvise};

use crate::conditions;

use super::shell;

/// Space left free for others, in MiB.
const SPARE_MIB: u64 = 64;

/// Temporary files, removed when dropped.
#[derive(Debug)]
pub struct Files {
    /// By target; some have none.
    paths: Vec<Option<PathBuf>>,
}

impl Files {
    /// Writes a file of `mib` MiB for each target that needs one, and syncs it. So every
    /// target overwrites allocated blocks, and none pays for allocating them or for
    /// marking them as written. The content is not zero, because reading a hole would
    /// cost no memory access.
    pub fn new(directory: &Path, mib: u64, wanted: &[bool]) -> Result<Self> {
        let old =
            shell::left_behind(directory).filter(|path| path.extension().is_some_and(|end| end == "img"));
        old.for_each(|path| drop(fs::remove_file(path)));
        let copies = wanted.iter().filter(|wanted| **wanted).count() as u64;
        check_room(directory, free_mib(directory)?, copies, mib)?;
        let id = std::process::id();
        let path = |at: usize| directory.join(format!("xbb-{id}-{at}.img"));
        let paths = wanted.iter().enumerate().map(|(at, wanted)| wanted.then(|| path(at))).collect();
        let files = Self { paths };
        for path in files.paths.iter().flatten() {
            write(path, mib).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(files)
    }

    /// The file of a target.
    pub fn path(&self, target: usize) -> &Path {
        self.paths.get(target).and_then(Option::as_deref).unwrap_or(Path::new("/dev/null"))
    }

    /// Syncs all written data, so that no target pays for another's writes. If `cold`,
    /// also drops the target's file from the page cache.
    pub fn settle(&self, target: usize, cold: bool) -> Result<()> {
        for path in self.paths.iter().flatten() {
            let failed = || format!("cannot sync {}", path.display());
            let file = File::open(path).with_context(failed)?;
            file.sync_all().with_context(failed)?;
            if cold && path == self.path(target) {
                fadvise(&file, 0, None, Advice::DontNeed).with_context(failed)?;
            }
        }
        Ok(())
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        for path in self.paths.iter().flatten() {
            let _ = fs::remove_file(path);
        }
    }
}

fn write(path: &Path, mib: u64) -> Result<()> {
    let mut out = File::create(path)?;
    let block: Vec<u8> = (0..1u32 << 18).flat_map(|n| n.wrapping_mul(0x9E37_79B1).to_le_bytes()).collect();
    for _ in 0..mib {
        out.write_all(&block)?;
    }
    out.sync_all()?;
    let allocated = out.metadata()?.blocks() * 512;
    ensure!(allocated >= mib << 20, "the file system allocated {allocated} bytes only: it compresses");
    Ok(())
}

/// The free space of a directory, in MiB; if its files take memory, at most the free
/// memory.
fn free_mib(directory: &Path) -> Result<u64> {
    let stat = rustix::fs::statvfs(directory)
        .with_context(|| format!("cannot ask how much is free in {}", directory.display()))?;
    let disk = (stat.f_bavail * stat.f_frsize) >> 20;
    let memory = fs::read_to_string("/proc/meminfo").ok().and_then(|text| memory_mib(&text));
    Ok(memory.filter(|_| conditions::is_in_memory(directory)).map_or(disk, |memory| memory.min(disk)))
}

fn memory_mib(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? >> 10)
}

fn check_room(directory: &Path, free: u64, copies: u64, mib: u64) -> Result<()> {
    let wanted = copies.saturating_mul(mib);
    ensure!(
        copies == 0 || wanted.saturating_add(SPARE_MIB) <= free,
        "--backing {}: {free} MiB are free, and {copies} files of {mib} MiB need {wanted}, with {SPARE_MIB} to \
         spare: give a smaller --mib, fewer --targets, or another --backing",
        directory.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_target_has_a_file_of_its_own_of_the_same_content() {
        let files = Files::new(&std::env::temp_dir(), 2, &[true, false, true]).unwrap();
        let before = fs::read(files.path(0)).unwrap();
        assert_eq!(before.len(), 2 << 20);
        assert!(fs::read(files.path(2)).unwrap() == before);
        fs::write(files.path(2), "else").unwrap();
        files.settle(0, true).unwrap();
        files.settle(1, true).unwrap();
        assert!(fs::read(files.path(0)).unwrap() == before, "nobody else's, and dropped from the cache only");
        let paths = [0, 2].map(|at| files.path(at).to_owned());
        drop(files);
        assert!(paths.iter().all(|path| !path.exists()));
    }

    #[test]
    fn files_for_which_there_is_no_room_are_refused_before_one_is_written() {
        let said = check_room(Path::new("/d"), 100, 3, 20).unwrap_err().to_string();
        assert!(said.contains("100 MiB are free") && said.contains("3 files of 20 MiB need 60"), "{said}");
        assert!(check_room(Path::new("/d"), 124, 3, 20).is_ok());
        assert!(check_room(Path::new("/d"), 0, 0, 20).is_ok(), "none is needed");
        assert!(check_room(Path::new("/d"), 1 << 50, 2, u64::MAX).is_err());
        assert_eq!(memory_mib("MemTotal: 9 kB\nMemAvailable:    2048 kB\n"), Some(2));
    }

    #[test]
    fn files_of_a_comparison_that_was_killed_are_removed() {
        let folder = std::env::temp_dir().join(format!("xbb-killed-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        // No process has this ID: it is above the maximum of Linux.
        for name in ["xbb-4194305-0.img", "xbb-4194305-0.txt", "xbb-x-0.img"] {
            fs::write(folder.join(name), "").unwrap();
        }
        Files::new(&folder, 1, &[false]).unwrap();
        let left = fs::read_dir(&folder).unwrap().count();
        let gone = !folder.join("xbb-4194305-0.img").exists();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!((left, gone), (2, true));
    }
}
