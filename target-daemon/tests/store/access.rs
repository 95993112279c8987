//! Every access to the bytes of a file keeps the same promises.

use std::process::Command;

use xblade::store::{self, Access, OpenOptions};

use crate::fixture::*;

/// By default the tests map their files. This runs all of them again for another access, in
/// a separate process.
fn every_test_again(way: &str, skipped: &[&str]) {
    if access() != Access::Mapped {
        return;
    }
    let skips = skipped.iter().flat_map(|name| ["--skip", name]);
    let again = Command::new(std::env::current_exe().unwrap())
        .env("XBLADE_TEST_ACCESS", way)
        // Only a mapping raises signals.
        .args(["--skip", "sigbus", "--skip", "access::", "--test-threads", "2"])
        .args(skips)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&again.stdout);
    assert!(again.status.success(), "{said}");
    assert!(said.contains("a_file_truncated_below_its_store_stays_truncated ... ok"), "{said}");
}

#[test]
fn every_test_again_by_descriptor() {
    every_test_again("descriptor", &[]);
}

#[test]
fn every_test_again_through_the_page_cache() {
    every_test_again("cached", &[]);
}

#[test]
fn every_test_again_past_the_page_cache() {
    every_test_again("direct", &[]);
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
        let options = OpenOptions { read_only: true, ..OpenOptions::new(&path) };
        let expected = if path.starts_with("/dev/shm") && whole { Access::Mapped } else { Access::Direct };
        assert_eq!(store::open(&options).unwrap().access, Some(expected), "{}", path.display());
        for access in [Access::Mapped, Access::Descriptor, Access::Cached] {
            let options = OpenOptions { access, ..options.clone() };
            assert_eq!(store::open(&options).unwrap().access, Some(access), "what was asked for");
        }
        std::fs::remove_file(&path).unwrap();
    }
}
