//! Two different accesses to one file are refused.

use std::os::unix::fs::symlink;
use std::path::Path;

use xblade::store::{Access, Expected, OpenErrorKind, OpenOptions, open};

use crate::fixture::{Alone, Scratch, root};
use crate::media::{Loop, Mounted, command};

const PAGE: u64 = 4096;

/// A directory on a disk, as root: in memory no access bypasses the page cache.
struct Disk {
    mounted: Mounted,
    _image: Loop,
    _scratch: Scratch,
    _alone: Alone,
}

impl Disk {
    fn new(test: &str) -> Option<Self> {
        let alone = root(test)?;
        let scratch = Scratch::new();
        let image = Loop::new(&scratch.sparse("disk", 64 << 20), &[]);
        command("mkfs.ext4", &["-q", image.name()]).unwrap();
        let mounted = Mounted::new(scratch.path("mnt"), &[image.name()]);
        std::fs::write(mounted.path("f"), vec![1; 1 << 20]).unwrap();
        Some(Self { mounted, _image: image, _scratch: scratch, _alone: alone })
    }

    fn file(&self) -> std::path::PathBuf {
        self.mounted.path("f")
    }
}

fn part(path: &Path, access: Access, offset_bytes: u64, length: u64) -> OpenOptions {
    OpenOptions { access, offset_bytes, length_bytes: Some(length), ..OpenOptions::new(path) }
}

/// Whether the second one is refused next to the first, by opening and by the check alike.
#[track_caller]
fn is_refused(first: &OpenOptions, second: &OpenOptions) -> bool {
    let held = open(first).unwrap();
    let opened = open(second).map(drop);
    let expected = [second, first].map(|options| Expected::of(options).unwrap());
    let looked = expected[0].check_beside(&expected[1]);
    match (opened, looked) {
        (Ok(()), Ok(())) => {
            drop(held);
            false
        }
        (Err(opened), Err(looked)) => {
            assert_eq!(opened.to_string(), looked.to_string());
            let text = opened.to_string();
            assert!(matches!(opened.kind, OpenErrorKind::Beside(_)), "{text}");
            for path in [&first.path, &second.path] {
                assert!(text.contains(path.to_str().unwrap()), "{text}");
            }
            // The other one conflicts, and only while it is open.
            drop(held);
            open(second).unwrap();
            true
        }
        (opened, looked) => panic!("{opened:?}, but {looked:?}"),
    }
}

#[test]
fn two_ways_into_one_file_are_refused() {
    let Some(disk) = Disk::new("two_ways_into_one_file_are_refused") else { return };
    let file = disk.file();
    let (direct, cached, mapped, fitting) = (Access::Direct, Access::Cached, Access::Mapped, Access::Fitting);
    let waiting = Access::Descriptor;
    // Within a page, between pages, and far apart: readahead goes beyond a page.
    for (end, start) in [(PAGE + 512, PAGE + 512), (2 * PAGE, 2 * PAGE), (PAGE, 200 * PAGE)] {
        for (first, second, refused) in [
            (direct, cached, true),
            (direct, mapped, true),
            (direct, waiting, true),
            // The selected access counts: on a disk, past the page cache.
            (fitting, cached, true),
            (fitting, mapped, true),
            (fitting, direct, false),
            (direct, direct, false),
            // The same cache.
            (cached, mapped, false),
            (cached, waiting, false),
        ] {
            for (one, other) in [(first, second), (second, first)] {
                let (low, high) = (part(&file, one, 0, end), part(&file, other, start, 8 * PAGE));
                let what = format!("{one:?} up to {end}, {other:?} from {start} on");
                assert_eq!(is_refused(&low, &high), refused, "{what}");
                assert_eq!(is_refused(&high, &low), refused, "{what}, in the other order");
            }
        }
    }
    let read_only = |options: OpenOptions| OpenOptions { read_only: true, ..options };
    let (low, high) = (part(&file, direct, 0, 512), part(&file, cached, 512, 512));
    assert!(!is_refused(&read_only(low.clone()), &read_only(high.clone())), "neither writes");
    assert!(is_refused(&read_only(low.clone()), &high));
    assert!(is_refused(&low, &read_only(high)));
    let rest = OpenOptions { access: cached, offset_bytes: 512, ..OpenOptions::new(&file) };
    let message = open(&low).map(|_held| open(&rest).map(drop).unwrap_err().to_string()).unwrap();
    for part in ["by store=file", "by store=direct", "the same path and the same store=, or a file each"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn links_and_bind_mounts_lead_to_the_same_file() {
    let Some(disk) = Disk::new("links_and_bind_mounts_lead_to_the_same_file") else { return };
    let file = disk.file();
    let (soft, hard, bound) =
        (disk.mounted.path("soft"), disk.mounted.path("hard"), disk.mounted.path("bound"));
    symlink(&file, &soft).unwrap();
    std::fs::hard_link(&file, &hard).unwrap();
    let bind = Mounted::new(bound, &["--bind", disk.mounted.path("").to_str().unwrap()]);
    for other in [soft, hard, bind.path("f")] {
        let (low, high) = (part(&file, Access::Direct, 0, 512), part(&other, Access::Cached, 512, 512));
        assert!(is_refused(&low, &high), "{}", other.display());
        let high = part(&other, Access::Direct, 512, 512);
        assert!(!is_refused(&low, &high), "{}", other.display());
    }
}

/// A loop device has its own cache, above that of the file, which it uses unless it was
/// created with direct I/O.
#[test]
fn a_loop_device_is_a_way_into_its_file() {
    let Some(disk) = Disk::new("a_loop_device_is_a_way_into_its_file") else { return };
    let file = disk.file();
    let (direct, cached) = (Access::Direct, Access::Cached);
    // Next to the device's part of the file, and after it.
    for (direct_io, of_device, of_file, beside, behind) in [
        ("off", direct, direct, true, true),
        ("off", direct, cached, false, false),
        // The device's cache holds only the bytes of the device.
        ("off", cached, cached, true, false),
        ("off", cached, direct, true, true),
        ("on", direct, direct, false, false),
        ("on", direct, cached, true, true),
        ("on", cached, direct, true, false),
    ] {
        // It starts a page into the file.
        let direct_io = format!("--direct-io={direct_io}");
        let device = Loop::new(&file, &[&direct_io, "--offset", "4096", "--sizelimit", "65536"]);
        let above = part(device.path(), of_device, 0, PAGE);
        let what = format!("{direct_io}: {of_device:?} over {of_file:?}");
        for start in [2 * PAGE, 3 * PAGE] {
            let below = part(&file, of_file, start, PAGE);
            assert_eq!(is_refused(&above, &below), beside, "{what}, from {start} on");
            assert_eq!(is_refused(&below, &above), beside, "{what}, from {start} on");
        }
        // The same bytes, with any access.
        let same = part(&file, of_file, PAGE, 512);
        assert!(is_refused(&above, &same), "{what}, same bytes");
        let whole = OpenOptions { access: of_device, ..OpenOptions::new(device.path()) };
        let beyond = part(&file, of_file, PAGE + 65536, PAGE);
        assert_eq!(is_refused(&whole, &beyond), behind, "{what}, behind its end");
    }
}

/// A partition of a loop device, made without a partition table.
struct Partition<'a>(&'a Loop, u32);

impl<'a> Partition<'a> {
    fn new(device: &'a Loop, number: u32, start: u64, sectors: u64) -> Self {
        // Left behind by an earlier test.
        let _ = command("delpart", &[device.name(), &number.to_string()]);
        let numbers = [number.into(), start, sectors].map(|number| number.to_string());
        command("addpart", &[device.name(), &numbers[0], &numbers[1], &numbers[2]]).unwrap();
        Self(device, number)
    }

    fn path(&self) -> std::path::PathBuf {
        format!("{}p{}", self.0.name(), self.1).into()
    }
}

impl Drop for Partition<'_> {
    fn drop(&mut self) {
        if let Err(error) = command("delpart", &[self.0.name(), &self.1.to_string()]) {
            eprintln!("{error}");
        }
    }
}

/// The kernel itself keeps exports of a disk and of its partition apart. A partition of a
/// loop device is also a part of the file below.
#[test]
fn a_partition_of_a_loop_device_is_a_part_of_its_file() {
    let Some(disk) = Disk::new("a_partition_of_a_loop_device_is_a_part_of_its_file") else { return };
    let file = disk.file();
    let device = Loop::new(&file, &["--direct-io=on"]);
    let partition = Partition::new(&device, 1, 16, 100);
    let partition = partition.path();
    let above = part(&partition, Access::Direct, 0, 8 * 512);
    for (sector, refused) in [(15, false), (16, true), (23, true), (24, false)] {
        let below = part(&file, Access::Direct, sector * 512, 512);
        assert_eq!(is_refused(&above, &below), refused, "sector {sector}");
        let below = part(&file, Access::Cached, sector * 512, 512);
        assert!(is_refused(&above, &below), "sector {sector}, through the cache");
    }
}

/// Each has its own cache.
#[test]
fn two_partitions_may_be_reached_in_different_ways() {
    let Some(disk) = Disk::new("two_partitions_may_be_reached_in_different_ways") else { return };
    let device = Loop::new(&disk.file(), &[]);
    let (first, second) = (Partition::new(&device, 1, 9, 100), Partition::new(&device, 2, 109, 100));
    let whole =
        |partition: &Partition<'_>, access| OpenOptions { access, ..OpenOptions::new(partition.path()) };
    assert!(!is_refused(&whole(&first, Access::Direct), &whole(&second, Access::Cached)));
    let (low, high) =
        (part(&first.path(), Access::Direct, 0, 512), part(&first.path(), Access::Cached, 8192, 512));
    assert!(is_refused(&low, &high), "one partition");
}
