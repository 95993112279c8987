//! The same bytes are exported only once.

use xblade::store::OpenOptions;

use crate::child::Waiting;
use crate::fixture::*;

#[test]
fn extents_of_one_file_must_not_overlap_unless_read_only() {
    let scratch = Scratch::new();
    let path = scratch.file("f", &[0; 8192]);
    let ro = |options: OpenOptions| OpenOptions { read_only: true, ..options };
    let all = || extent(&path, 0, None);
    let part = |offset, length| extent(&path, offset, Some(length));
    let rows = [
        (all(), all(), false),
        (all(), ro(all()), false),
        (ro(all()), all(), false),
        (ro(all()), ro(all()), true),
        (part(0, 4096), part(4096, 4096), true),
        (part(0, 4096), part(3584, 1024), false),
        (part(0, 4096), ro(part(512, 512)), false),
        (part(0, 4096), extent(&path, 4096, None), true),
        (extent(&path, 4096, None), part(7680, 512), false),
    ];
    for (first, second, allowed) in rows {
        let held = open(&first);
        if allowed {
            open(&second);
        } else {
            let message = refusal(&second);
            assert!(message.contains(path.to_str().unwrap()), "{message}");
            assert!(message.contains("locked by another export of this process"), "{message}");
        }
        drop(held);
        open(&second);
    }
}

#[test]
fn a_link_to_the_file_is_the_same_file() {
    let scratch = Scratch::new();
    let path = scratch.file("f", &[0; 8192]);
    let _held = open(&OpenOptions::new(&path));
    std::fs::hard_link(&path, scratch.path("hard")).unwrap();
    std::os::unix::fs::symlink(&path, scratch.path("soft")).unwrap();
    for name in ["hard", "soft"] {
        assert!(refusal(&OpenOptions::new(scratch.path(name))).contains("locked by"));
    }
}

#[test]
fn the_process_that_has_the_lock_is_named() {
    let scratch = Scratch::new();
    let path = scratch.file("f", &[0; 8192]);
    let _alone = alone();
    for role in ["store", "posix lock"] {
        let child = Waiting::new(role, &path);
        for options in [OpenOptions::new(&path), read_only(&path)] {
            let message = refusal(&options);
            let holder = format!("locked by process {}:", child.pid());
            assert!(message.contains(&holder), "{role}: {message}");
        }
        drop(child);
        open(&OpenOptions::new(&path));
    }
}

/// A daemon that is just starting a program must be able to reopen a store.
#[test]
fn a_copy_of_the_descriptor_does_not_keep_the_lock() {
    let _alone = alone();
    let scratch = Scratch::new();
    let path = scratch.file("f", &[0; 8192]);
    let held = open(&OpenOptions::new(&path));
    // SAFETY: the child calls nothing but `pause`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        loop {
            // SAFETY: no arguments; the parent's signal ends it.
            unsafe { libc::pause() };
        }
    }
    drop(held);
    let reopened = xblade::store::open(&OpenOptions::new(&path));
    // SAFETY: the child that was started above, and reaped only here.
    unsafe {
        libc::kill(child, libc::SIGKILL);
        libc::waitpid(child, std::ptr::null_mut(), 0);
    }
    reopened.unwrap();
}

#[test]
fn growth_of_the_file_is_locked_too() {
    let scratch = Scratch::new();
    let path = scratch.file("f", &[0; 4096]);
    let mut store = open(&OpenOptions::new(&path));
    truncate(&path, 8192);
    assert!(refusal(&extent(&path, 4096, Some(4096))).contains("locked by"));
    assert_eq!(measure(&mut *store), 16);
}

#[test]
fn a_device_is_claimed_and_shared_only_among_its_exports() {
    let Some(_alone) = root("a_device_is_claimed_and_shared_only_among_its_exports") else {
        return;
    };
    let scratch = Scratch::new();
    let image = scratch.sparse("image", 16 << 20);
    let device = Loop::new(&image, &[]);
    let first = open(&extent(device.path(), 0, Some(1 << 20)));
    let second = open(&extent(device.path(), 1 << 20, None));
    assert!(refusal(&extent(device.path(), 512, Some(512))).contains("locked by another export"));
    command("mkfs.ext4", &["-q", device.name()]).expect_err("mkfs must find it in use");
    drop((first, second));

    command("mkfs.ext4", &["-q", device.name()]).unwrap();
    let _mounted = Mounted::new(scratch.path("mnt"), &[device.name()]);
    for options in [OpenOptions::new(device.path()), read_only(device.path())] {
        let message = refusal(&options);
        assert!(message.contains("in use, perhaps mounted"), "{message}");
    }
}
