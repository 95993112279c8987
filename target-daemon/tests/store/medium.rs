//! A medium that fails, stalls or does only part of a request, under every kind of store.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use libc::{EIO, ENOSPC};
use xblade::store::{Access, IoError, Kind, OpenOptions, Store};

use crate::fixture::*;
use crate::fuse::{FuseFile, On, Verdict};
use crate::kinds::{ROWS, Row, Running};

const BYTES: usize = 1 << 20;

/// For every kind of store, on a file that the kernel caches and, if possible, on one that
/// it does not cache.
fn each(test: &str, act: impl Fn(&Row, &FuseFile, Running)) {
    // These rows already cover every access, and `access` runs every test again.
    if access() != Access::Mapped {
        return;
    }
    let Some(_alone) = root(test) else { return };
    for row in ROWS {
        for direct in [false, true] {
            if direct && row.mapped {
                continue;
            }
            let scratch = Scratch::new();
            let file = FuseFile::new(&scratch.path(""), pattern(1, BYTES), direct);
            let store = Running::new((row.open)(&OpenOptions::new(file.path())));
            act(row, &file, store);
        }
    }
}

#[test]
fn a_fault_of_the_medium_fails_the_operation_and_no_more() {
    each("a_fault_of_the_medium_fails_the_operation_and_no_more", |row, file, mut store| {
        for (round, (errno, fault)) in [(EIO, IoError::Media), (ENOSPC, IoError::NoSpace)].iter().enumerate()
        {
            // Where nothing has been read before.
            let sector = 1024 * round as u64;
            file.set(On::Write, Verdict::Fail(*errno));
            assert_eq!(store.write(sector, &pattern(9, 4096)), Err(*fault), "{}", row.name);
            file.set(On::Read, Verdict::Fail(EIO));
            assert_eq!(store.read(sector + 512, 4096), Err(IoError::Media), "{}", row.name);
            file.release();
            assert_eq!(
                store.read(sector + 512, 4096).unwrap(),
                pattern(1, BYTES)[(sector as usize + 512) * 512..][..4096]
            );
            assert_eq!(store.write(sector, &pattern(2, 4096)), Ok(()), "{}", row.name);
            assert_eq!(file.bytes()[sector as usize * 512..][..4096], pattern(2, 4096), "{}", row.name);
            assert_eq!(store.flush(), Ok(()));
            assert_eq!(store.store.degraded(), None);
        }
    });
}

#[test]
fn after_a_failed_sync_nothing_is_written_any_more() {
    each("after_a_failed_sync_nothing_is_written_any_more", |row, file, mut store| {
        for (errno, fault) in [(EIO, IoError::Media), (ENOSPC, IoError::NoSpace)] {
            assert_eq!(store.write(0, &pattern(2, 4096)), Ok(()));
            file.set(On::Sync, Verdict::Fail(errno));
            assert_eq!(store.write(8, &pattern(3, 4096)), Err(fault), "{}", row.name);
            assert_eq!(store.store.degraded(), Some(fault), "{}", row.name);
            // The medium works again, but its contents are unknown.
            file.release();
            let calls = file.calls(On::Write);
            assert!(store.flush().is_err(), "{}", row.name);
            assert_eq!(store.write(16, &pattern(4, 4096)), Err(IoError::ReadOnly), "{}", row.name);
            assert_eq!(file.calls(On::Write), calls, "nothing reached the medium");
            assert!(store.flush().is_err(), "{}", row.name);
            assert_eq!(store.read(0, 4096).unwrap(), pattern(2, 4096));
            assert_eq!(store.read(64, 512).unwrap(), pattern(1, BYTES)[64 * 512..][..512]);
            drop(store);
            store = Running::new((row.open)(&OpenOptions::new(file.path())));
            assert_eq!(store.write(16, &pattern(5, 4096)), Ok(()), "opened again");
        }
    });
}

#[test]
fn a_short_transfer_is_continued_or_fails() {
    each("a_short_transfer_is_continued_or_fails", |row, file, mut store| {
        let data = pattern(7, 8192);
        // Less than a block, more than one, nothing at all.
        for (sector, most) in [(0, 512), (100, 4096), (200, 4608), (300, 100), (400, 0)] {
            file.set(On::Write, Verdict::Short(most));
            let result = store.write(sector, &data);
            file.release();
            let held = &file.bytes()[sector as usize * 512..][..8192];
            match result {
                Ok(()) => {
                    assert!(held == data, "{}: acknowledged, {most} at a time, and not there", row.name)
                }
                Err(fault) => {
                    assert!(matches!(fault, IoError::Media | IoError::System), "{}: {fault:?}", row.name)
                }
            }
            assert!(result.is_err() || most > 0, "{}", row.name);
            assert_eq!(store.store.degraded(), None);
            assert_eq!(store.write(sector, &data), Ok(()), "{}: and well again", row.name);
        }
        for (sector, most) in [(600, 4096), (700, 512), (800, 100), (900, 0)] {
            file.set(On::Read, Verdict::Short(most));
            let result = store.read(sector, 8192);
            file.release();
            match result {
                Ok(read) => {
                    let held = &file.bytes()[sector as usize * 512..][..8192];
                    assert!(read == held, "{}: {most} at a time, and wrong", row.name);
                }
                Err(fault) => assert_eq!(fault, IoError::Media, "{}", row.name),
            }
        }
    });
}

/// A slow medium blocks no caller of an asynchronous store.
#[test]
fn a_medium_that_stalls_is_waited_for() {
    each("a_medium_that_stalls_is_waited_for", |row, file, mut store| {
        for (round, on) in [On::Read, On::Write, On::Sync].into_iter().enumerate() {
            let sector = 512 * (round as u64 + 1);
            file.set(on, Verdict::Hold);
            thread::scope(|scope| {
                scope.spawn(|| {
                    file.until_held(1);
                    thread::sleep(Duration::from_millis(250));
                    file.release();
                });
                store.slowest = Duration::ZERO;
                match on {
                    On::Read => {
                        let expected = &pattern(1, BYTES)[sector as usize * 512..][..4096];
                        assert_eq!(store.read(sector, 4096).unwrap(), expected);
                    }
                    On::Write | On::Sync => {
                        assert_eq!(store.write(sector, &pattern(4, 4096)), Ok(()));
                        assert_eq!(file.bytes()[sector as usize * 512..][..4096], pattern(4, 4096));
                    }
                }
            });
            let waited = store.slowest > Duration::from_millis(200);
            assert_eq!(waited, !row.asynchronous, "{} {on:?}: {:?} in one call", row.name, store.slowest);
        }
        // Several at once, completing in any order.
        file.set(On::Read, Verdict::Delay(Duration::from_millis(20)));
        let tokens: Vec<u32> = (0..4).map(|n| store.submit(Kind::Read, n * 64, &[0; 512])).collect();
        let mut done: Vec<u32> = tokens.iter().map(|_| store.wait().0.token).collect();
        done.sort();
        assert_eq!(done, tokens);
    });
}

/// The kernel continues the calls of a store that is closed. Until they end, the file is
/// locked: a late write must not overwrite newer data.
#[test]
fn a_store_that_is_closed_with_calls_under_way_stays_locked() {
    each("a_store_that_is_closed_with_calls_under_way_stays_locked", |row, file, mut store| {
        if !row.asynchronous {
            return;
        }
        file.set(On::Write, Verdict::Hold);
        store.submit(Kind::Write, 8, &pattern(6, 4096));
        file.until_held(1);
        // The memory of the call stays.
        let Running { store: closed, .. } = store;
        drop(closed);
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(250));
                is_over.store(true, Ordering::SeqCst);
                file.release();
            });
            let reopened = (row.open)(&OpenOptions::new(file.path()));
            assert!(is_over.load(Ordering::SeqCst), "{}: it was free too early", row.name);
            drop(reopened);
        });
    });
}

/// A worker sleeps on the descriptor of a store: a completion during that sleep must wake
/// it.
#[test]
fn the_descriptor_wakes_who_sleeps_on_it() {
    each("the_descriptor_wakes_who_sleeps_on_it", |row, file, mut store| {
        for on in [On::Read, On::Write, On::Sync] {
            if !row.asynchronous {
                continue;
            }
            file.set(on, Verdict::Delay(Duration::from_millis(30)));
            let (kind, start) = (if on == On::Read { Kind::Read } else { Kind::Write }, Instant::now());
            store.submit(kind, 512 * (1 + on as u64), &pattern(3, 4096));
            let mut slept = 0;
            while store.poll().is_none() {
                slept += 1;
                assert!(
                    store.sleep(Duration::from_secs(2)),
                    "{} {on:?}: sleep {slept} did not end",
                    row.name
                );
            }
            assert!(start.elapsed() < Duration::from_secs(1), "{} {on:?}: {:?}", row.name, start.elapsed());
        }
    });
}
