//! A power failure, simulated by the `shutdown` ioctl of ext4: data that is not on the disk
//! is gone when the file system is mounted again.

use std::path::{Path, PathBuf};

use xblade::store::{
    self, Access, Durability, IoError, IoVec, KernelWork, Kind, Op, OpenOptions, Ring, Store,
};

use crate::fixture::*;

/// Sectors are this far apart, so that no write makes another one stable.
const STRIDE: u64 = 64;
const WRITES: u64 = 40;

/// An ext4 file system in an image, with one file of old data that is on disk.
struct Disk {
    // Before the directory in which it is mounted: fields are dropped in order.
    mounted: Option<Mounted>,
    image: PathBuf,
    scratch: Scratch,
}

impl Disk {
    fn new() -> Self {
        let scratch = Scratch::new();
        let image = scratch.sparse("image", 32 << 20);
        command("mkfs.ext4", &["-q", image.to_str().unwrap()]).unwrap();
        let mut disk = Self { scratch, image, mounted: None };
        disk.mount();
        let bytes = (STRIDE * WRITES * 512) as usize;
        std::fs::write(disk.file(), vec![0xDD; bytes]).unwrap();
        command("sync", &["--file-system", disk.file().to_str().unwrap()]).unwrap();
        disk
    }

    fn mount(&mut self) {
        let image = self.image.to_str().unwrap();
        self.mounted = Some(Mounted::new(self.scratch.path("mnt"), &["-o", "loop", image]));
    }

    fn file(&self) -> PathBuf {
        self.mounted.as_ref().unwrap().path("f")
    }

    fn cut_power(&self) {
        shut_down(&self.file());
    }

    /// Mounts it again after the power failure; the store must be closed.
    fn restart(&mut self) {
        self.mounted = None;
        self.mount();
    }
}

fn write_all(store: &mut dyn Store) {
    for index in 0..WRITES {
        write(store, index * STRIDE, &pattern(index as u8, 1024)).unwrap();
    }
}

/// The number of writes that are present.
fn count_kept(file: &Path) -> u64 {
    let bytes = std::fs::read(file).unwrap();
    let kept = |index: &u64| {
        let start = (index * STRIDE * 512) as usize;
        bytes[start..start + 1024] == pattern(*index as u8, 1024)
    };
    (0..WRITES).filter(kept).count() as u64
}

#[test]
fn an_acknowledged_durable_write_survives_a_power_cut() {
    let Some(_alone) = root("an_acknowledged_durable_write_survives_a_power_cut") else {
        return;
    };
    let mut disk = Disk::new();
    let mut store = open(&OpenOptions::new(disk.file()));
    write_all(&mut *store);
    disk.cut_power();
    drop(store);
    disk.restart();
    assert_eq!(count_kept(&disk.file()), WRITES);
}

/// Every second write is discarded again. The control is in the same test: what a volatile
/// store discards comes back.
#[test]
fn an_acknowledged_durable_discard_survives_a_power_cut() {
    let Some(_alone) = root("an_acknowledged_durable_discard_survives_a_power_cut") else {
        return;
    };
    for durable in [true, false] {
        let mut disk = Disk::new();
        let mut store = open(&OpenOptions { trim: Some(true), ..OpenOptions::new(disk.file()) });
        write_all(&mut *store);
        drop(store);
        let options = if durable { OpenOptions::new(disk.file()) } else { volatile(&disk.file()) };
        let mut store = open(&OpenOptions { trim: Some(true), ..options });
        let whole_pages = |index: u64| (index * STRIDE, 8);
        for index in (0..WRITES).step_by(2) {
            discard(&mut *store, &[whole_pages(index), (index * STRIDE + 16, 0)]).unwrap();
        }
        disk.cut_power();
        drop(store);
        disk.restart();
        let bytes = std::fs::read(disk.file()).unwrap();
        let zeros = |index: &u64| bytes[(index * STRIDE * 512) as usize..][..4096].iter().all(|b| *b == 0);
        let forgotten = (0..WRITES).filter(zeros).count() as u64;
        if durable {
            assert_eq!((forgotten, count_kept(&disk.file())), (WRITES / 2, WRITES / 2));
        } else {
            assert!(forgotten <= WRITES / 10, "{forgotten} stayed forgotten: the cut proves nothing");
        }
    }
}

/// The control: it shows that the simulated power failure loses data.
#[test]
fn a_volatile_write_does_not_survive_a_power_cut() {
    if access() == Access::Direct {
        return; // data overwritten with O_DIRECT is on the loop device at once
    }
    let Some(_alone) = root("a_volatile_write_does_not_survive_a_power_cut") else {
        return;
    };
    let mut disk = Disk::new();
    let mut store = open(&volatile(&disk.file()));
    write_all(&mut *store);
    disk.cut_power();
    drop(store);
    disk.restart();
    let kept = count_kept(&disk.file());
    assert!(kept <= WRITES / 10, "{kept} of {WRITES} survived: the cut proves nothing");
}

#[test]
fn a_volatile_write_survives_after_a_flush() {
    let Some(_alone) = root("a_volatile_write_survives_after_a_flush") else {
        return;
    };
    let mut disk = Disk::new();
    let mut store = open(&volatile(&disk.file()));
    write_all(&mut *store);
    flush(&mut *store).unwrap();
    disk.cut_power();
    drop(store);
    disk.restart();
    assert_eq!(count_kept(&disk.file()), WRITES, "fdatasync must cover the mapping");
}

#[test]
fn a_dead_file_system_fails_writes_and_a_failed_flush_stays() {
    let Some(_alone) = root("a_dead_file_system_fails_writes_and_a_failed_flush_stays") else {
        return;
    };
    for durable in [true, false] {
        let disk = Disk::new();
        let file = disk.file();
        let mut store = by(durable, &file);
        write_all(&mut *store);
        disk.cut_power();
        if durable {
            assert_eq!(write(&mut *store, 1, &pattern(1, 512)), Err(IoError::Media));
            assert_eq!(store.degraded(), None, "a write tells its initiator, that is enough");
        }
        assert_eq!(flush(&mut *store), Err(IoError::Media));
        assert_eq!(store.degraded(), Some(IoError::Media));
        assert_eq!(write(&mut *store, 1, &pattern(1, 512)), Err(IoError::ReadOnly));
        assert_eq!(discard(&mut *store, &[(0, 1)]), Err(IoError::ReadOnly));
        assert_eq!(flush(&mut *store), Err(IoError::Media), "not better the second time");
        // Without the guarded copy, the read asks the file system, which is dead.
        if cfg!(target_arch = "x86_64") && access() == Access::Mapped {
            assert_eq!(read(&mut *store, 0, 1024).unwrap(), pattern(0, 1024), "still in memory");
        }
    }
}

/// A loop device of `bytes` bytes on a file system that holds 1 MiB, in drop order.
fn overcommitted(bytes: u64) -> (Loop, Mounted, Scratch) {
    let scratch = Scratch::new();
    let mounted = Mounted::new(scratch.path("m"), &["-t", "tmpfs", "-o", "size=1m", "none"]);
    let image = mounted.path("image");
    truncate_new(&image, bytes);
    (Loop::new(&image, &[]), mounted, scratch)
}

/// A disk that fails only one flush: the second `fdatasync` reports success, although the
/// data never reached the disk.
#[test]
fn a_flush_that_failed_once_is_not_trusted_again() {
    if access() == Access::Direct {
        return; // the write itself fails
    }
    let Some(_alone) = root("a_flush_that_failed_once_is_not_trusted_again") else {
        return;
    };
    let (device, _mounted, _scratch) = overcommitted(4 << 20);
    let mut store = open(&volatile(device.path()));
    for index in 0..512 {
        write(&mut *store, index * 8, &pattern(index as u8, 4096)).unwrap();
    }
    flush(&mut *store).unwrap_err();
    assert!(store.degraded().is_some());
    assert!(flush(&mut *store).is_err());
    assert_eq!(write(&mut *store, 0, &pattern(1, 512)), Err(IoError::ReadOnly));
}

/// A disk that accepts data into the page cache and fails when it must become stable: no
/// write of the group may be acknowledged, and none after it.
#[test]
fn a_group_whose_sync_fails_is_not_acknowledged() {
    if access() == Access::Direct {
        return; // the write itself fails
    }
    let Some(_alone) = root("a_group_whose_sync_fails_is_not_acknowledged") else {
        return;
    };
    let (device, _mounted, _scratch) = overcommitted(8 << 20);
    let mut store = open(&OpenOptions::new(device.path()));
    let mut memory = vec![0x5a; 8192];
    // More than fits, in one group, so that its one sync fails.
    let tokens: Vec<u32> = (0..250).collect();
    for token in &tokens {
        let mut buffers = IoVec::empty();
        // SAFETY: `memory` outlives the store's operations, which only read it.
        assert!(unsafe { buffers.push(&mut memory) });
        let (kind, sector) = (Kind::Write, u64::from(*token) * 64);
        store.submit(Op { token: *token, kind, sector, buffers }).expect("room in the queue");
    }
    let mut first = Vec::new();
    for _ in &tokens {
        let completion = next(&mut *store);
        assert!(completion.result.is_err(), "write {} was acknowledged", completion.token);
        first.push(completion.token);
    }
    first.sort_unstable();
    assert_eq!(first, tokens, "each once");
    assert!(store.degraded().is_some());
    assert_eq!(write(&mut *store, 0, &pattern(1, 512)), Err(IoError::ReadOnly));
}

/// A single request is stable when its completion arrives, and so is each of a group:
/// nothing completes before the sync.
#[test]
fn a_write_is_not_complete_before_completions_are_polled() {
    if matches!(access(), Access::Direct | Access::Cached) {
        return; // their order is up to the disk
    }
    let scratch = Scratch::new();
    let path = scratch.file("f", &pattern(1, 8192));
    let mut store = open(&OpenOptions::new(&path));
    let (mut memory, mut into) = (pattern(9, 512), vec![0; 512]);
    for (token, kind, piece) in [(1, Kind::Write, &mut memory), (2, Kind::Read, &mut into)] {
        let mut buffers = IoVec::empty();
        // SAFETY: both pieces outlive the operations.
        assert!(unsafe { buffers.push(piece) });
        store.submit(Op { token, kind, sector: 0, buffers }).expect("room in the queue");
    }
    let order: Vec<_> = std::iter::from_fn(|| store.complete()).map(|c| (c.token, c.result)).collect();
    assert_eq!(order, [(2, Ok(())), (1, Ok(()))], "the write waits for its sync, the read for nothing");
    assert_eq!(into, pattern(9, 512), "executed in order of arrival");
}

/// A kernel thread of the worker's core may have to finish a write, also one that need not be
/// stable. A worker that never sleeps starves it unless it knows.
#[test]
fn writes_and_syncs_are_known_to_need_kernel_threads() {
    let scratch = Scratch::new();
    let file = scratch.file("f", &[0; 1 << 16]);
    for (access, durability, kind, in_threads) in [
        (Access::Direct, Durability::Durable, Kind::Write, true),
        (Access::Direct, Durability::Volatile, Kind::Write, true),
        (Access::Direct, Durability::Durable, Kind::Flush, true),
        (Access::Direct, Durability::Durable, Kind::Read, false),
        (Access::Cached, Durability::Volatile, Kind::Write, true),
    ] {
        let options = OpenOptions { access, durability, ..OpenOptions::new(&file) };
        let mut store = store::open(&options).unwrap().store;
        let mut ring = Ring::open(Vec::new()).unwrap();
        store.join(ring.registered());
        let (mut memory, mut buffers) = (vec![7u8; 8192], IoVec::empty());
        // SAFETY: the memory outlives the call, which ends below.
        assert!(kind == Kind::Flush || unsafe { buffers.push(&mut memory) });
        store.submit(Op { token: 1, kind, sector: 0, buffers }).unwrap();
        store.kick();
        ring.take(0, store.calls().unwrap());
        let work = ring.kernel_work();
        let expected: &[_] =
            if in_threads { &[KernelWork::InThreads, KernelWork::Single] } else { &[KernelWork::Inline] };
        assert!(expected.contains(&work), "{access:?}, {durability:?}, {kind:?}: {work:?}");
        while store.complete().is_none() {
            let calls = store.calls().unwrap();
            ring.take(0, calls);
            ring.exchange(|_, call, result| calls.deliver(call, result));
            store.kick();
        }
        assert_eq!(ring.kernel_work(), KernelWork::None);
    }
}
