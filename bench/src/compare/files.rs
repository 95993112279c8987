//! The exported files, removed when the value is dropped. Each target has its own file
//! with the same content, so that none depends on what another one has written.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rustix::fs::{Advice, fadvise};

use crate::conditions;

use super::case::Case;
use super::shell;

/// Space left free for others, in MiB.
const SPARE_MIB: u64 = 64;
/// The size of the file of an idle export.
const IDLE_BYTES: u64 = 1 << 20;
/// What a target without a file gets as its path.
const NO_FILE: &str = "/dev/null";

/// Temporary files, removed when dropped.
#[derive(Debug, Default)]
pub struct Files {
    /// By target; some have none.
    paths: Vec<Option<PathBuf>>,
    /// By target, where several exports are loaded: a file for each of them.
    parts: Vec<Vec<PathBuf>>,
    /// Empty ones of exports without load. Targets run one at a time, and share them.
    idle: Vec<PathBuf>,
    /// The control socket of a target that has one.
    control: PathBuf,
}

/// What a target serves in a case.
#[derive(Debug)]
pub struct Served {
    /// Addresses and files: those under load, then the idle ones.
    pub exports: Vec<(String, PathBuf)>,
    /// The path of its control socket.
    pub control: PathBuf,
}

impl Files {
    /// Writes a file of `mib` MiB for each target that needs one, and syncs it. So every
    /// target overwrites allocated blocks, and none pays for allocating them or for
    /// marking them as written. The content is not zero, because reading a hole would
    /// cost no memory access. For cases with several exports, the files of a target's exports
    /// have `mib` together.
    pub fn new(directory: &Path, mib: u64, wanted: &[bool], cases: &[Case]) -> Result<Self> {
        let is_ours = |path: &PathBuf| path.extension().is_some_and(|end| end == "img" || end == "sock");
        shell::left_behind(directory).filter(is_ours).for_each(|path| drop(fs::remove_file(path)));
        let most = |of: fn(&Case) -> u16| cases.iter().map(of).max().unwrap_or(0);
        let (busy, idle) = (most(|case| case.busy), most(|case| case.idle));
        let parts = if busy > 1 { busy } else { 0 };
        let part_mib = (mib / u64::from(busy.max(1))).max(1);
        let copies = wanted.iter().filter(|wanted| **wanted).count() as u64;
        check_room(directory, free_mib(directory)?, copies, mib + u64::from(parts) * part_mib)?;
        let id = std::process::id();
        let path = |name: String| directory.join(format!("xbb-{id}-{name}"));
        let numbered = |(at, wanted): (usize, &bool)| wanted.then(|| path(format!("{at}.img")));
        let parts = |(at, wanted): (usize, &bool)| {
            (0..if *wanted { parts } else { 0 }).map(|part| path(format!("{at}-{part}.img"))).collect()
        };
        let files = Self {
            paths: wanted.iter().enumerate().map(numbered).collect(),
            parts: wanted.iter().enumerate().map(parts).collect(),
            idle: (0..idle).map(|n| path(format!("idle-{n}.img"))).collect(),
            control: path("control.sock".to_owned()),
        };
        let whole = files.paths.iter().flatten().map(|path| (path, mib));
        let parts = files.parts.iter().flatten().map(|path| (path, part_mib));
        for (path, mib) in whole.chain(parts) {
            write(path, mib).with_context(|| format!("cannot write {}", path.display()))?;
        }
        for path in &files.idle {
            let made = File::create(path).and_then(|file| file.set_len(IDLE_BYTES));
            made.with_context(|| format!("cannot make {}", path.display()))?;
        }
        Ok(files)
    }

    /// The file of a target.
    pub fn path(&self, target: usize) -> &Path {
        self.paths.get(target).and_then(Option::as_deref).unwrap_or(Path::new(NO_FILE))
    }

    /// What a target serves in a case.
    pub fn served(&self, target: usize, case: &Case) -> Served {
        let files = match self.parts.get(target) {
            _ if case.busy == 1 => vec![self.path(target).to_owned()],
            Some(parts) if !parts.is_empty() => parts.clone(),
            _ => vec![PathBuf::from(NO_FILE); usize::from(case.busy)],
        };
        let busy = case.addresses().into_iter().zip(files);
        let exports = busy.chain(case.idle_addresses().into_iter().zip(self.idle.iter().cloned())).collect();
        Served { exports, control: self.control.clone() }
    }

    /// Syncs all written data, so that no target pays for another's writes. If `cold`,
    /// also drops the target's file from the page cache.
    pub fn settle(&self, target: usize, cold: bool) -> Result<()> {
        for path in self.written() {
            let failed = || format!("cannot sync {}", path.display());
            let file = File::open(path).with_context(failed)?;
            file.sync_all().with_context(failed)?;
            let own = self.parts.get(target).is_some_and(|parts| parts.contains(path));
            if cold && (own || path == self.path(target)) {
                fadvise(&file, 0, None, Advice::DontNeed).with_context(failed)?;
            }
        }
        Ok(())
    }

    fn written(&self) -> impl Iterator<Item = &PathBuf> {
        self.paths.iter().flatten().chain(self.parts.iter().flatten())
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        for path in self.written().chain(&self.idle).chain([&self.control]) {
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
        let files = Files::new(&std::env::temp_dir(), 2, &[true, false, true], &[]).unwrap();
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
    fn each_busy_export_has_a_part_and_idle_ones_are_shared() {
        let folder = std::env::temp_dir().join(format!("xbb-parts-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let cases = ["read:512:1:4+3", "read:512:1:2", "read:512"].map(|word| word.parse::<Case>().unwrap());
        let files = Files::new(&folder, 8, &[true, false, true], &cases).unwrap();
        let of = |target, case: &Case| files.served(target, case).exports;
        let (first, third) = (of(0, &cases[0]), of(2, &cases[0]));
        assert_eq!((first.len(), first[4..] == third[4..]), (7, true));
        assert!(first[..4].iter().all(|one| !third.contains(one)), "{first:?}");
        assert!(first[..4].iter().all(|(_, path)| fs::metadata(path).unwrap().len() == 2 << 20));
        assert_eq!(of(0, &cases[1]), first[..2]);
        assert_eq!(of(0, &cases[2]), [("0.1".to_owned(), files.path(0).to_owned())]);
        assert!(of(1, &cases[0])[..4].iter().all(|(_, path)| path == Path::new(NO_FILE)));
        files.settle(0, true).unwrap();
        drop(files);
        fs::remove_dir(&folder).unwrap();
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
        for name in ["xbb-4194305-0.img", "xbb-4194305-control.sock", "xbb-4194305-0.txt", "xbb-x-0.img"] {
            fs::write(folder.join(name), "").unwrap();
        }
        Files::new(&folder, 1, &[false], &[]).unwrap();
        let left = fs::read_dir(&folder).unwrap().count();
        let gone = !folder.join("xbb-4194305-0.img").exists();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!((left, gone), (2, true));
    }
}
