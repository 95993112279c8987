//! Both ways to the bytes of a file keep the same promises.

use std::process::Command;

use xblade::store::{Access, MmapStore, OpenOptions};

use crate::fixture::*;

/// The other tests map their files. Here all of them run once more, in a
/// process of their own, by descriptor.
#[test]
fn every_test_again_by_descriptor() {
    if by_descriptor() {
        return;
    }
    let program = std::env::current_exe().unwrap();
    let again = Command::new(program)
        .env("XBLADE_TEST_BY_DESCRIPTOR", "1")
        // Only a mapping raises signals.
        .args(["--skip", "sigbus", "--test-threads", "2"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&again.stdout);
    assert!(again.status.success(), "{said}");
    assert!(said.contains("a_file_truncated_below_its_store_stays_truncated ... ok"), "{said}");
}

#[test]
fn what_lies_in_memory_is_mapped_and_nothing_else() {
    let on_disk = Scratch::new();
    for (path, whole) in [("/dev/shm", true), ("/dev/shm", false), ("", true)] {
        let name = format!("xblade-access-{}-{whole}", std::process::id());
        let path = if path.is_empty() { on_disk.path(&name) } else { std::path::Path::new(path).join(name) };
        std::fs::write(&path, pattern(1, 8192)).unwrap();
        if !whole {
            truncate(&path, 1 << 20);
        }
        let store = MmapStore::open(&OpenOptions { read_only: true, ..OpenOptions::new(&path) }).unwrap();
        let in_memory = path.starts_with("/dev/shm");
        assert_eq!(store.is_mapped(), in_memory && whole, "{}", path.display());
        let store = MmapStore::open(&OpenOptions {
            read_only: true,
            access: Access::Mapped,
            ..OpenOptions::new(&path)
        });
        assert!(store.unwrap().is_mapped());
        std::fs::remove_file(&path).unwrap();
    }
}
