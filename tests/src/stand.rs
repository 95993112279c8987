//! The exports that the rules are tested on.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::{Address, Scratch, pattern};

/// A writable file.
pub const MAIN: Address = (7, 3);
/// Its size in sectors.
pub const MAIN_SECTORS: u64 = 2048;
/// A file served read-only.
pub const READ_ONLY: Address = (7, 4);
/// Its size in sectors.
pub const READ_ONLY_SECTORS: u64 = 64;
/// A file with a hole that supports discard. Rules may write to all but the first 16
/// sectors.
pub const THIN: Address = (7, 6);
/// Its size in sectors.
pub const THIN_SECTORS: u64 = 2048;
/// Start of its hole.
const THIN_DATA: u64 = 512;
/// Zeros, and more sectors than 28 bits can count.
pub const LARGE: Address = (300, 0);
/// Its size in sectors.
pub const LARGE_SECTORS: u64 = (1 << 28) + 1000;
/// Serves the sentinel reads by which a bench knows that nothing more will arrive. Its
/// address is the highest.
pub const SENTINEL: Address = (65534, 254);
/// Its size in sectors.
pub const SENTINEL_SECTORS: u64 = 8;

/// The images behind the exports.
#[derive(Debug)]
pub struct Stand {
    scratch: Scratch,
}

impl Stand {
    /// Creates new images, each with its own pattern.
    #[expect(clippy::new_without_default, reason = "it makes files")]
    pub fn new() -> Self {
        // In memory: such files are mapped, so replies are in the order of their
        // requests, by which a bench knows that nothing more will arrive.
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

    /// All addresses, sorted, with their sizes.
    pub fn exports() -> [(Address, u64); 5] {
        [
            (MAIN, MAIN_SECTORS),
            (READ_ONLY, READ_ONLY_SECTORS),
            (THIN, THIN_SECTORS),
            (LARGE, LARGE_SECTORS),
            (SENTINEL, SENTINEL_SECTORS),
        ]
    }

    /// Path of the file behind an export.
    pub fn image(&self, address: Address) -> PathBuf {
        self.scratch.path().join(name(address))
    }

    /// The current content of the file.
    pub fn contents(&self, address: Address, lba: u64, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count * 512];
        let file = fs::File::open(self.image(address)).unwrap();
        file.read_exact_at(&mut bytes, lba * 512).unwrap();
        bytes
    }

    /// The original content of the file.
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

    /// Changes the size of the file; sectors that reappear have their original content.
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
