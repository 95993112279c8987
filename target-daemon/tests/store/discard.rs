//! Forgetting sectors: what reads as zeros then, and which stores do it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use xblade::store::{Access, Durability, IoError, OpenOptions};

use crate::fixture::*;

const SECTORS: usize = 4096;

/// A file whose first half has data, and whose second half is a hole.
fn thin(path: &Path) -> Vec<u8> {
    let mut bytes = pattern(3, SECTORS / 2 * 512);
    fs::write(path, &bytes).unwrap();
    truncate(path, SECTORS as u64 * 512);
    bytes.resize(SECTORS * 512, 0);
    bytes
}

fn allocated(path: &Path) -> u64 {
    fs::metadata(path).unwrap().blocks() * 512
}

fn durably(durable: bool) -> Durability {
    if durable { Durability::Durable } else { Durability::Volatile }
}

/// On a disk and in memory.
fn places() -> [(Option<Scratch>, PathBuf); 2] {
    let scratch = Scratch::new();
    let on_disk = scratch.path("f");
    let name = format!("/dev/shm/xblade-discard-{}-{:?}", std::process::id(), access());
    [(Some(scratch), on_disk), (None, name.into())]
}

#[test]
fn what_is_forgotten_reads_as_zeros_and_its_neighbours_stay() {
    // Whole pages, parts of pages, over the end of the data, twice, none.
    let ranges = [(8, 16), (101, 1), (203, 30), (SECTORS as u64 / 2 - 5, 20), (210, 5), (77, 0)];
    for (_scratch, path) in places() {
        for (durable, offset) in [(true, 0), (true, 5), (false, 0), (false, 5)] {
            let mut expected = thin(&path);
            let options = extent(&path, offset * 512, None);
            let mut store = open(&OpenOptions { durability: durably(durable), ..options });
            assert!(store.geometry().discards, "{}", path.display());
            // Into the page cache and the mapping, to be forgotten with the rest.
            write(&mut *store, 8, &pattern(9, 1024)).unwrap();
            read(&mut *store, 0, 64 * 512).unwrap();
            let before = allocated(&path);
            discard(&mut *store, &ranges).unwrap();
            let after = allocated(&path);
            assert!(after < before, "space was given back: {} has {after} of {before}", path.display());
            for (sector, count) in ranges {
                let start = (offset + sector) as usize * 512;
                expected[start..start + usize::from(count) * 512].fill(0);
            }
            let all = read(&mut *store, 0, (SECTORS - offset as usize) * 512).unwrap();
            assert!(all == expected[offset as usize * 512..], "durable: {durable}, offset {offset}");
            assert!(fs::read(&path).unwrap() == expected, "durable: {durable}, offset {offset}");
            write(&mut *store, 9, &pattern(4, 512)).unwrap();
            assert_eq!(read(&mut *store, 9, 512).unwrap(), pattern(4, 512));
        }
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn one_range_beyond_the_end_and_nothing_is_forgotten() {
    let scratch = Scratch::new();
    let path = scratch.path("f");
    let before = thin(&path);
    // The last sector of the file is not exported.
    let length = (SECTORS as u64 - 1) * 512;
    let mut store = open(&extent(&path, 0, Some(length)));
    let end = SECTORS as u64 - 1;
    for beyond in [(end, 1), (end - 1, 2), ((1 << 48) - 1, 0xffff), (1 << 40, 1)] {
        assert_eq!(discard(&mut *store, &[(0, 8), beyond, (16, 8)]), Err(IoError::Range), "{beyond:?}");
        assert!(fs::read(&path).unwrap() == before, "{beyond:?}");
    }
    discard(&mut *store, &[(end - 1, 1), (end, 0)]).unwrap();
}

#[test]
fn a_file_that_was_cut_is_not_taken_for_forgotten() {
    let scratch = Scratch::new();
    let path = scratch.path("f");
    thin(&path);
    let mut store = open(&OpenOptions::new(&path));
    truncate(&path, 4096);
    assert_eq!(discard(&mut *store, &[(8, 1)]), Err(IoError::Media));
    assert_eq!(discard(&mut *store, &[(7, 1)]), Ok(()));
    assert_eq!(size(&path), 4096);
}

/// A file with all its space keeps it, unless the operator says otherwise; to
/// find out changes nothing.
#[test]
fn a_file_is_forgotten_in_if_that_takes_no_space_from_writes() {
    for (_scratch, path) in places() {
        for (holes, trim, read_only, expected) in [
            (true, None, false, true),
            (true, Some(true), false, true),
            (true, Some(false), false, false),
            (true, None, true, false),
            (false, None, false, false),
            (false, Some(true), false, true),
            (false, Some(false), false, false),
        ] {
            let before = if holes {
                thin(&path)
            } else {
                let whole = pattern(7, 64 * 512 + 100);
                fs::write(&path, &whole).unwrap();
                whole
            };
            let blocks = allocated(&path);
            let mut store = open(&OpenOptions { trim, read_only, ..OpenOptions::new(&path) });
            let what = format!("holes: {holes}, trim {trim:?}, read-only: {read_only}");
            assert_eq!(store.geometry().discards, expected, "{what}");
            assert!(fs::read(&path).unwrap() == before, "{what}");
            assert_eq!(allocated(&path), blocks, "{what}");
            if !expected {
                let fault = if read_only { IoError::ReadOnly } else { IoError::System };
                assert_eq!(discard(&mut *store, &[(0, 8)]), Err(fault), "{what}");
                assert!(fs::read(&path).unwrap() == before, "{what}");
            }
        }
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn a_file_system_without_holes_forgets_nothing() {
    if access() == Access::Direct {
        return; // ramfs does not do it
    }
    let Some(_alone) = root("a_file_system_without_holes_forgets_nothing") else { return };
    let scratch = Scratch::new();
    let mounted = Mounted::new(scratch.path("m"), &["-t", "ramfs", "none"]);
    let path = mounted.path("f");
    fs::write(&path, pattern(1, 8192)).unwrap();
    assert!(!open(&OpenOptions::new(&path)).geometry().discards);
    let message = refusal(&OpenOptions { trim: Some(true), ..OpenOptions::new(&path) });
    assert!(message.contains("trim=on") && message.contains("leave"), "{message}");
}

/// A device whose disk gives space back does so too; its queue says whether.
#[test]
fn a_device_forgets_if_its_queue_says_so() {
    let Some(_alone) = root("a_device_forgets_if_its_queue_says_so") else { return };
    let scratch = Scratch::new();
    let image = scratch.file("image", &pattern(1, 8 << 20));
    let device = Loop::new(&image, &[]);
    let before = allocated(&image);
    for durable in [true, false] {
        let mut store =
            open(&OpenOptions { durability: durably(durable), ..OpenOptions::new(device.path()) });
        // What is dirty in the page cache keeps a device from forgetting it.
        assert_eq!(store.geometry().discards, access() != Access::Cached, "durable: {durable}");
        if access() == Access::Cached {
            continue;
        }
        write(&mut *store, 0, &pattern(1, 8 << 20)).unwrap();
        discard(&mut *store, &[(2048, 2048), (1, 1), (9000, 0)]).unwrap();
        let mut expected = pattern(1, 8 << 20);
        expected[2048 * 512..4096 * 512].fill(0);
        expected[512..1024].fill(0);
        assert!(read(&mut *store, 0, 8 << 20).unwrap() == expected, "durable: {durable}");
    }
    let given_back = allocated(&image) < before;
    assert_eq!(given_back, access() != Access::Cached, "space was given back");
    let store = open(&OpenOptions { trim: Some(false), ..OpenOptions::new(device.path()) });
    assert!(!store.geometry().discards);
}

#[test]
fn a_pinned_mapping_is_locked_or_its_limit_is_named() {
    let Some(_alone) = root("a_pinned_mapping_is_locked_or_its_limit_is_named") else { return };
    if access() != Access::Mapped {
        return;
    }
    let scratch = Scratch::new();
    let path = scratch.file("f", &pattern(1, 1 << 20));
    let mut store = open(&OpenOptions { pin: true, huge: true, ..OpenOptions::new(&path) });
    assert_eq!(read(&mut *store, 5, 512).unwrap(), pattern(1, 1 << 20)[5 * 512..6 * 512]);
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let locked = status.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap();
    let locked: u64 = locked.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(locked >= 1024, "{locked} kB");
    truncate(&path, 2 << 20);
    assert_eq!(measure(&mut *store), 4096, "the longer one is pinned as well");
    drop(store);
    let status = crate::child::ending("pin without a right to", &path);
    assert_eq!(status.code(), Some(0), "see its role");
}
