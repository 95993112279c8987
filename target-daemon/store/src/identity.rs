//! The identity of the data under a store, independent of how its path is spelt, and
//! whether the path still leads to it.
//!
//! A path is a name, and names move: `mv new image`, a symlink that is replaced, a disk
//! that is `/dev/sdb` today and `/dev/sdc` tomorrow. What stays the same is the inode in a
//! file system, with its generation, or the serial number of a disk.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::fs::fstatvfs;

use super::file_facts::{Id, is_device, is_fuse};
use super::handed::Handed;
use super::open::Backing;
use super::{device, lock};

/// What it is of: `file`, `device`, or the engine of a store without a file.
const KIND: &str = "kind";

/// A fact that is valid only while this process runs.
const DEV: &str = "dev";

/// Identifiers of block devices, and the files that hold them below `/sys/dev/block/M:N`.
const DEVICE_FACTS: &[(&str, &[&str])] = &[
    ("wwid", &["wwid", "device/wwid"]),
    ("serial", &["serial", "device/serial"]),
    ("cid", &["device/cid"]),
    ("dm", &["dm/uuid"]),
    ("md", &["md/uuid"]),
    ("loop", &["loop/backing_file"]),
    ("loop-offset", &["loop/offset"]),
];

/// Facts that identify a file or device. Two identities are of the same data if they agree
/// on all facts that both have.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Identity(BTreeMap<String, String>);

impl Identity {
    /// The identity of no data: `store=null`.
    pub(super) fn null() -> Self {
        Self::from_facts([(KIND.to_owned(), "null".to_owned())])
    }

    /// The identity of data in memory that no other store has.
    pub(super) fn ram() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed).to_string();
        Self::from_facts([(KIND.to_owned(), "ram".to_owned()), (DEV.to_owned(), number)])
    }

    /// The identity of an open file or device.
    pub(super) fn of(file: &File) -> Self {
        let Ok(facts) = file.metadata() else { return Self::default() };
        let rows = if is_device(&facts) { of_device(facts.rdev()) } else { of_file(file, &facts) };
        let known = rows.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        Self::from_facts(known)
    }

    /// A saved identity.
    pub fn from_facts(facts: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(facts.into_iter().collect())
    }

    /// The facts that remain valid after a restart.
    pub fn lasting(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        all.filter(|(name, _)| *name != DEV)
    }

    /// Whether it is of data that outlives this process: a file or device.
    pub fn is_lasting(&self) -> bool {
        self.0.get(KIND).is_none_or(|kind| kind == "file" || kind == "device")
    }

    /// Whether nothing is known. Then it is neither the same as any other identity nor
    /// different from it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether both are of the same file or device, as far as is known.
    pub fn is_same(&self, other: &Self) -> bool {
        self.0.iter().all(|(name, value)| other.0.get(name).is_none_or(|theirs| theirs == value))
    }
}

/// Facts by name, as far as they are known.
type Rows = Vec<(&'static str, Option<String>)>;

fn of_file(file: &File, facts: &Metadata) -> Rows {
    let (uuid, fsid) = (device::file_system_uuid(file), fsid(file, facts.dev()));
    let dev = (uuid.is_none() && fsid.is_none()).then(|| facts.dev().to_string());
    // A query of a FUSE file would wait for its server.
    let generation = if is_fuse(file) { None } else { device::generation(file) };
    vec![
        (KIND, Some("file".to_owned())),
        ("inode", Some(facts.ino().to_string())),
        ("uuid", uuid),
        ("fsid", fsid),
        (DEV, dev),
        ("generation", generation.map(|generation| generation.to_string())),
    ]
}

/// The id of a file system, unless it is derived from its device number, which may change
/// at a restart. Btrfs has one for each subvolume; the inode numbers repeat between
/// subvolumes.
fn fsid(file: &File, dev: u64) -> Option<String> {
    let id = fstatvfs(file).ok()?.f_fsid;
    let (major, minor) = (libc::major(dev), libc::minor(dev));
    let of_device = minor & 0xff | major << 8 | (minor & !0xff) << 12;
    (id != 0 && id != of_device.into()).then(|| format!("{:08x}{:08x}", id as u32, id >> 32))
}

fn of_device(number: u64) -> Rows {
    let folder = device::folder(number).unwrap_or_else(|| "/sys/dev/block".into());
    let partition = read(&folder, "partition");
    // A partition has no id of its own: use that of its disk, and the partition number.
    let disk = folder.parent().filter(|_| partition.is_some()).unwrap_or(&folder);
    let told =
        |(fact, files): &(&'static str, &[&str])| (*fact, files.iter().find_map(|file| read(disk, file)));
    let mut rows: Rows = DEVICE_FACTS.iter().map(told).collect();
    rows.push(("partuuid", partuuid(&folder)));
    rows.push(match rows.iter().all(|(_, value)| value.is_none()) {
        true => ("number", Some(format!("{}:{}", libc::major(number), libc::minor(number)))),
        false => ("partition", partition),
    });
    rows.push((KIND, Some("device".to_owned())));
    rows
}

fn partuuid(folder: &Path) -> Option<String> {
    let told = device::attribute(folder, "uevent")?;
    told.lines().find_map(|line| line.strip_prefix("PARTUUID=")).map(str::to_owned)
}

fn read(folder: &Path, name: &str) -> Option<String> {
    let text = device::attribute(folder, name)?;
    // A loop device whose backing file has been unlinked.
    let text = text.trim().trim_end_matches(" (deleted)");
    (!text.is_empty()).then(|| text.to_owned())
}

/// The data of an export: a file or device, and where the export begins in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Data {
    /// The file or device.
    pub identity: Identity,
    /// Where the export begins in it, in bytes.
    pub offset_bytes: u64,
}

impl Data {
    /// Whether both are the same data, as far as is known.
    pub fn is_same(&self, other: &Self) -> bool {
        self.offset_bytes == other.offset_bytes && self.identity.is_same(&other.identity)
    }
}

/// How an open file and its path no longer match.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Replaced {
    /// The path leads to something else now.
    pub is_taken: bool,
    /// The file has no name any more and is deleted when it is closed.
    pub is_nameless: bool,
}

/// An open file, and the path by which it was opened.
#[derive(Clone, Debug)]
pub struct OpenFile {
    file: Arc<File>,
    path: PathBuf,
    stays_locked: Arc<AtomicBool>,
}

impl OpenFile {
    pub(super) fn new(backing: &Backing) -> Self {
        let path = backing.options.path.clone();
        Self { file: Arc::clone(&backing.file), path, stays_locked: Arc::clone(&backing.stays_locked) }
    }

    /// The file for a store that is opened after this one was closed. Keeps a device claimed
    /// meanwhile.
    pub fn hand_on(&self) -> Handed {
        let device = self.file.metadata().ok().filter(is_device).map(|facts| facts.rdev());
        Handed::new(Arc::clone(&self.file), device.and_then(lock::claim_of), Arc::clone(&self.stays_locked))
    }

    /// Checks whether the path now leads elsewhere or nowhere. `None` if it still leads to
    /// the file, or if that cannot be determined.
    pub fn look(&self) -> Option<Replaced> {
        let ours = self.file.metadata().ok()?;
        let is_taken = match fs::metadata(&self.path) {
            Ok(theirs) if Id::of(&theirs) == Id::of(&ours) => return None,
            Ok(_) => true,
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => false,
            Err(_) => return None,
        };
        Some(Replaced { is_taken, is_nameless: !is_device(&ours) && ours.nlink() == 0 })
    }

    /// Whether the user of this process may use it, though it is open: a FUSE file system may be
    /// for the user who has mounted it alone.
    ///
    /// # Errors
    ///
    /// It may not.
    pub fn check_usable(&self) -> io::Result<()> {
        self.file.metadata().map(drop)
    }

    /// Makes all data written to it stable.
    ///
    /// # Errors
    ///
    /// Those of `fdatasync`; the contents of the disk are then unknown.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// The path by which it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its descriptor number in this process: `/proc/PID/fd/N` leads to a file that has no
    /// name.
    pub fn descriptor(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(facts: &[(&str, &str)]) -> Identity {
        Identity::from_facts(facts.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn what_both_know_has_to_agree() {
        let all = identity(&[("kind", "file"), ("inode", "5"), ("uuid", "a"), ("generation", "7")]);
        // An older kernel does not report the UUID.
        assert!(all.is_same(&identity(&[("kind", "file"), ("inode", "5"), ("generation", "7")])));
        for (name, value) in [("kind", "device"), ("inode", "6"), ("uuid", "b"), ("generation", "8")] {
            let mut other = all.clone();
            other.0.insert(name.to_owned(), value.to_owned());
            assert!(!all.is_same(&other) && !other.is_same(&all), "{name}");
        }
    }

    #[test]
    fn a_file_is_known_by_any_name_and_its_successor_is_another() {
        let dir = std::env::temp_dir().join(format!("xblade-identity-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let path = |name: &str| dir.join(name);
        fs::write(path("a"), "1").unwrap();
        fs::write(path("b"), "1").unwrap();
        std::os::unix::fs::symlink(path("a"), path("link")).unwrap();
        let of = |name: &str| Identity::of(&File::open(path(name)).unwrap());
        let a = of("a");
        assert!(a.is_same(&of("link")) && !a.is_same(&of("b")), "{a:?} {:?}", of("b"));
        let file = Arc::new(File::open(path("a")).unwrap());
        let open = OpenFile { file, path: path("a"), stays_locked: Arc::default() };
        assert_eq!(open.look(), None);
        fs::rename(path("a"), path("c")).unwrap();
        assert_eq!(open.look(), Some(Replaced { is_taken: false, is_nameless: false }));
        assert!(a.is_same(&of("c")), "a name is no part of it");
        fs::rename(path("b"), path("a")).unwrap();
        assert_eq!(open.look(), Some(Replaced { is_taken: true, is_nameless: false }));
        fs::remove_file(path("c")).unwrap();
        assert_eq!(open.look(), Some(Replaced { is_taken: true, is_nameless: true }));
        let kept = Identity::from_facts(a.lasting().map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert!(kept.is_same(&a) && !kept.is_same(&of("a")));
        fs::remove_dir_all(&dir).unwrap();
    }
}
