//! The exports that the rules are tried on.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::{Address, Scratch, pattern};

/// A file that may be read and written.
pub const MAIN: Address = (7, 3);
/// Its size.
pub const MAIN_SECTORS: u64 = 2048;
/// A file that is served read-only.
pub const READ_ONLY: Address = (7, 4);
/// Its size.
pub const READ_ONLY_SECTORS: u64 = 64;
/// A file with a hole, whose sectors can be forgotten. All but the first 16 may be
/// written.
pub const THIN: Address = (7, 6);
/// Its size.
pub const THIN_SECTORS: u64 = 2048;
/// Where its hole begins.
const THIN_DATA: u64 = 512;
/// Zeros, and more of them than 28 bits can count.
pub const LARGE: Address = (300, 0);
/// Its size.
pub const LARGE_SECTORS: u64 = (1 << 28) + 1000;
/// Serves the reads by which a bench knows that nothing more will come. The
/// last one in every order.
pub const SENTINEL: Address = (65534, 254);
/// Its size.
pub const SENTINEL_SECTORS: u64 = 8;

/// The images behind the exports.
#[derive(Debug)]
pub struct Stand {
    scratch: Scratch,
}

impl Stand {
    /// Fresh images, each with a pattern of its own.
    #[expect(clippy::new_without_default, reason = "it makes files")]
    pub fn new() -> Self {
        // In memory: such files are mapped, so replies come in the order of their
        // requests, which is how a bench knows that nothing more will come.
        let scratch = Scratch::within(Path::new("/dev/shm"), "xbc");
        for (address, sectors) in
            [(MAIN, MAIN_SECTORS), (READ_ONLY, READ_ONLY_SECTORS), (SENTINEL, SENTINEL_SECTORS)]
        {
            scratch.file(&name(address), &pattern(address.1, 0, sectors as usize));
        }
        let thin = scratch.file(&name(THIN), &Self::original(THIN, 0, THIN_DATA as usize));
        let thin = fs::File::options().write(true).open(thin).unwrap();
        thin.set_len(THIN_SECTORS * 512).unwrap();
        Self { scratch }
    }

    /// All addresses, in order, with their sizes.
    pub fn exports() -> [(Address, u64); 5] {
        [
            (MAIN, MAIN_SECTORS),
            (READ_ONLY, READ_ONLY_SECTORS),
            (THIN, THIN_SECTORS),
            (LARGE, LARGE_SECTORS),
            (SENTINEL, SENTINEL_SECTORS),
        ]
    }

    /// The file behind an export.
    pub fn image(&self, address: Address) -> PathBuf {
        self.scratch.path().join(name(address))
    }

    /// Where a daemon that serves it writes what it has to say.
    pub fn log(&self) -> PathBuf {
        self.scratch.path().join("xblade.log")
    }

    /// What is in the file now.
    pub fn contents(&self, address: Address, lba: u64, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count * 512];
        let file = fs::File::open(self.image(address)).unwrap();
        file.read_exact_at(&mut bytes, lba * 512).unwrap();
        bytes
    }

    /// What was in it at first.
    pub fn original(address: Address, lba: u64, count: usize) -> Vec<u8> {
        let data = match address {
            LARGE => 0,
            THIN => (count as u64).min(THIN_DATA.saturating_sub(lba)),
            _ => count as u64,
        };
        let mut bytes = pattern(address.1, lba, data as usize);
        bytes.resize(count * 512, 0);
        bytes
    }

    /// Gives the file another size; what comes back is what was there at first.
    pub fn resize(&self, address: Address, sectors: u64) {
        let file = fs::File::options().write(true).open(self.image(address)).unwrap();
        let before = file.metadata().unwrap().len() / 512;
        file.set_len(sectors * 512).unwrap();
        if sectors > before {
            file.write_all_at(&Self::original(address, before, (sectors - before) as usize), before * 512)
                .unwrap();
        }
    }
}

fn name((shelf, slot): Address) -> String {
    format!("{shelf}.{slot}.img")
}
