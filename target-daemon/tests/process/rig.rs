//! One worker with two exports: a sick one, and one that must not be affected.

use std::path::Path;
use std::time::Duration;

use xblade::wire::aoe::Address;

use crate::daemon::serving;
use crate::fuse::FuseFile;
use crate::image::{Dir, Image, pattern, patterns};
use crate::kinds::Kind;
use xblade_kit::{Answer, Daemon, Ended, Initiator, OURS, PEER, Pair, at};

/// Sectors of each export.
pub const SECTORS: u64 = 4096;

/// Success, a failed read, any other failure.
pub const GOOD: (u8, u8) = (0x40, 0);
pub const BAD_READ: (u8, u8) = (0x41, 0x40);
pub const ABORTED: (u8, u8) = (0x41, 0x04);

pub fn sick() -> Address {
    at(0, 1)
}

pub fn well() -> Address {
    at(0, 2)
}

pub struct Rig {
    /// Dropped first: while it holds requests, the daemon cannot exit.
    pub fuse: Option<FuseFile>,
    daemon: Option<Daemon>,
    pub host: Initiator,
    pub pair: Pair,
    pub healthy: Image,
    arguments: String,
    next: u64,
    _dirs: [Dir; 2],
}

impl Rig {
    /// The sick export is this file or device.
    pub fn new(kind: &Kind, path: &Path) -> Self {
        Self::with(kind, path, None, Dir::new())
    }

    /// The sick export is a FUSE file with [`pattern`] in it.
    pub fn fuse(kind: &Kind, direct: bool) -> Self {
        let dir = Dir::new();
        let fuse = FuseFile::new(dir.path(), patterns(0, SECTORS, 0), direct);
        Self::with(kind, &fuse.path(), Some(fuse), dir)
    }

    fn with(kind: &Kind, path: &Path, fuse: Option<FuseFile>, dir: Dir) -> Self {
        // In memory, where no foreign sync has an effect.
        let memory = Dir::within(Path::new("/dev/shm"));
        let (pair, healthy) = (Pair::new(), memory.image("healthy", SECTORS));
        let word = kind.word;
        let exports = format!("0.1={},store={word} 0.2={healthy},store={word}", path.display());
        let arguments = format!("{exports} -i {OURS} --cores 0");
        let daemon = Some(serving(&pair.ours, &arguments));
        let host = Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS));
        Self { fuse, daemon, host, pair, healthy, arguments, next: 0, _dirs: [dir, memory] }
    }

    pub fn fuse_file(&self) -> &FuseFile {
        self.fuse.as_ref().expect("a rig over FUSE")
    }

    pub fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().expect("not taken")
    }

    pub fn take_daemon(&mut self) -> Daemon {
        self.daemon.take().expect("not taken")
    }

    /// Another host on the same wire.
    pub fn host(&self) -> Initiator {
        Initiator::new(&self.pair.peer, PEER, self.pair.ours.mac(OURS))
    }

    /// Status and error of a read of the sick export; checks the data.
    pub fn read(&mut self, lba: u64, expected: &[u8]) -> (u8, u8) {
        let tag = self.host.send_read(sick(), lba, (expected.len() / 512) as u8);
        let answer = self.host.answer(tag);
        if answer.status == GOOD.0 {
            assert!(answer.data == expected, "wrong data at {lba}");
        }
        result(&answer)
    }

    /// Status and error of a write to the sick export.
    pub fn write(&mut self, lba: u64, data: &[u8]) -> (u8, u8) {
        let tag = self.host.send_write(sick(), lba, data);
        result(&self.host.answer(tag))
    }

    /// Status and error of a flush of the sick export.
    pub fn flush(&mut self) -> (u8, u8) {
        let tag = self.host.send_flush(sick());
        result(&self.host.answer(tag))
    }

    /// The other export serves correctly, with exactly the data written.
    #[track_caller]
    pub fn assert_others_well(&mut self) {
        self.next += 1;
        let lba = 100 + self.next % 1000;
        self.host.write(well(), lba, &pattern(lba, self.next));
        assert_eq!(self.host.read(well(), lba, 1), pattern(lba, self.next));
        assert_eq!(self.healthy.sectors(lba, 1), pattern(lba, self.next));
        assert!(self.daemon.as_mut().is_some_and(Daemon::is_running), "the process has ended");
    }

    /// Stops the daemon, which must exit with 0, and starts another one.
    pub fn restart(&mut self) -> Ended {
        let ended = self.take_daemon().stop();
        self.daemon = Some(serving(&self.pair.ours, &self.arguments));
        self.host.until_served(sick());
        ended
    }

    /// Stops the daemon, which must exit with 0 and report nothing odd.
    pub fn end(mut self) {
        self.take_daemon().stop().report().assert_sound();
    }

    /// Checks that none of these is answered within this time.
    #[track_caller]
    pub fn assert_unanswered(&mut self, tags: &[u32], limit: Duration) {
        let came = self.host.next_answer(limit, |tag| tags.contains(&tag));
        assert_eq!(came, None, "an answer while the medium held the request");
    }
}

pub fn result(answer: &Answer) -> (u8, u8) {
    (answer.status, answer.error)
}
