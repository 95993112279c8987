//! Media that do not return or accept data: every failure ends the operation, and none ends
//! the process or affects another store.

use xblade::store::{IoError, IoVec, Kind, Op};

use crate::fixture::*;

#[test]
fn a_file_truncated_below_its_store_stays_truncated() {
    let scratch = Scratch::new();
    let other_path = scratch.file("other", &pattern(3, 8192));
    let mut other = open(&volatile(&other_path));
    for end in [0, 512, 4096, 5 * 512, 4096 + 512] {
        for durable in [true, false] {
            let path = scratch.file("f", &pattern(1, 64 << 10));
            let mut store = by(durable, &path);
            read(&mut *store, 0, 64 << 10).unwrap();
            truncate(&path, end);
            let first = end / 512;
            // The next sector shares a page with the end; the last does not.
            for (sector, bytes) in [(first, 512), (127, 512), (first, 8192), (0, 64 << 10)] {
                let what = format!("{bytes} bytes at {sector}, cut at {end}, durable {durable}");
                assert_eq!(read(&mut *store, sector, bytes), Err(IoError::Media), "read {what}");
                let written = write(&mut *store, sector, &vec![7; bytes]);
                assert_eq!(written, Err(IoError::Media), "write {what}");
                assert_eq!(size(&path), end, "write {what}");
            }
            if first > 0 {
                assert_eq!(read(&mut *store, 0, 512).unwrap(), pattern(1, 512));
                write(&mut *store, first - 1, &[9; 512]).unwrap();
            }
            assert_eq!(read(&mut *other, 0, 8192).unwrap(), pattern(3, 8192));
            write(&mut *other, 0, &pattern(3, 512)).unwrap();
            assert_eq!(store.degraded(), None);
        }
    }
}

/// A mapped volatile store queries the end of the file once in a turn, up to `kick`.
#[test]
fn a_file_truncated_within_a_turn_is_not_extended() {
    let scratch = Scratch::new();
    let path = scratch.file("f", &pattern(1, 64 << 10));
    let mut store = open(&volatile(&path));
    let mut at_once = |sector, ends_turn: bool| {
        let (mut memory, mut buffers) = ([7; 512], IoVec::empty());
        // SAFETY: the memory outlives the list, which ends below.
        assert!(unsafe { buffers.push(&mut memory) });
        let result = store.try_inline(&mut Op { token: 0, kind: Kind::Write, sector, buffers });
        if ends_turn {
            store.kick();
        }
        result
    };
    let Some(first) = at_once(0, false) else { return eprintln!("not mapped") };
    assert_eq!(first, Ok(()));
    truncate(&path, 8192 + 512);
    assert_eq!(at_once(127, true), Some(Err(IoError::Media)), "its page is gone");
    assert_eq!(at_once(17, true), Some(Err(IoError::Media)), "in the next turn, on the last page");
    assert_eq!(at_once(16, true), Some(Ok(())));
    assert_eq!(size(&path), 8192 + 512);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn a_sigbus_that_is_not_ours_still_kills() {
    use std::os::unix::process::ExitStatusExt;
    let scratch = Scratch::new();
    let _alone = alone();
    for role in ["fault elsewhere", "signal from outside"] {
        let path = scratch.file("f", &pattern(1, 8192));
        let status = crate::child::ending(role, &path);
        assert_eq!(status.signal(), Some(libc::SIGBUS), "{role}: {status}");
    }
}

#[test]
fn many_threads_meet_bad_pages_at_once() {
    let scratch = Scratch::new();
    std::thread::scope(|scope| {
        for index in 0..4 {
            let path = scratch.file(&format!("f{index}"), &pattern(index, 16384));
            scope.spawn(move || {
                let mut store = open(&volatile(&path));
                truncate(&path, 8192);
                for _ in 0..500 {
                    assert_eq!(read(&mut *store, 16, 4096), Err(IoError::Media));
                    assert_eq!(read(&mut *store, 0, 8192).unwrap(), pattern(index, 8192));
                }
            });
        }
    });
}

#[test]
fn a_full_file_system_is_no_space_for_every_kind_of_write() {
    let Some(_alone) = root("a_full_file_system_is_no_space_for_every_kind_of_write") else {
        return;
    };
    let scratch = Scratch::new();
    for durable in [true, false] {
        let mounted = Mounted::new(scratch.path("full"), &["-t", "tmpfs", "-o", "size=256k", "none"]);
        let path = mounted.path("f");
        truncate_new(&path, 4 << 20);
        let mut store = by(durable, &path);
        fill(&mounted.path("filler"));
        // One page is free again: room for only the first page of the next write.
        truncate(&mounted.path("filler"), size(&mounted.path("filler")) - 4096);
        assert_eq!(write(&mut *store, 0, &pattern(1, 8192)), Err(IoError::NoSpace), "{durable}");
        assert_eq!(write(&mut *store, 4096, &pattern(1, 4096)), Err(IoError::NoSpace), "{durable}");
        assert_eq!(write(&mut *store, 0, &pattern(2, 4096)), Ok(()), "the page that it got");
        assert_eq!(read(&mut *store, 0, 4096).unwrap(), pattern(2, 4096));
        std::fs::remove_file(mounted.path("filler")).unwrap();
        assert_eq!(write(&mut *store, 4096, &pattern(3, 4096)), Ok(()), "room again");
        assert_eq!(read(&mut *store, 4096, 4096).unwrap(), pattern(3, 4096));
    }
}

fn fill(path: &std::path::Path) {
    let mut file = std::fs::File::create(path).unwrap();
    while std::io::Write::write_all(&mut file, &[1; 4096]).is_ok() {}
}

#[test]
fn a_full_disk_file_system_is_no_space_too() {
    let Some(_alone) = root("a_full_disk_file_system_is_no_space_too") else {
        return;
    };
    let scratch = Scratch::new();
    let image = scratch.sparse("image", 16 << 20);
    command("mkfs.ext4", &["-q", "-m0", image.to_str().unwrap()]).unwrap();
    for durable in [true, false] {
        let mounted = Mounted::new(scratch.path("mnt"), &["-o", "loop", image.to_str().unwrap()]);
        let path = mounted.path("f");
        truncate_new(&path, 4 << 20);
        let mut store = by(durable, &path);
        fill(&mounted.path("filler"));
        assert_eq!(write(&mut *store, 2048, &pattern(1, 8192)), Err(IoError::NoSpace), "{durable}");
        drop(store);
        std::fs::remove_file(mounted.path("filler")).unwrap();
    }
}

#[test]
fn a_device_that_lost_its_media_gives_media_faults() {
    let Some(_alone) = root("a_device_that_lost_its_media_gives_media_faults") else {
        return;
    };
    let scratch = Scratch::new();
    for durable in [true, false] {
        let image = scratch.file("image", &pattern(1, 8 << 20));
        let device = Loop::new(&image, &[]);
        let mut store = by(durable, device.path());
        assert_eq!(read(&mut *store, 0, 4096).unwrap(), pattern(1, 4096));
        // The device keeps its size, and reads beyond the end of the file fail.
        truncate(&image, 1 << 20);
        assert_eq!(read(&mut *store, 8192, 4096), Err(IoError::Media));
        assert_eq!(read(&mut *store, 8192, 512), Err(IoError::Media));
        assert_eq!(measure(&mut *store), 16384, "the device is as large as before");
    }
}
