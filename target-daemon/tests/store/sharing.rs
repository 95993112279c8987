//! Two ways into one page of one file are refused.

use std::os::unix::fs::symlink;
use std::path::Path;

use xblade::store::{Access, Expected, OpenError, OpenOptions, Warning, open};

use crate::fixture::{Alone, Scratch, root};
use crate::media::{Loop, Mounted, command};

const PAGE: u64 = 4096;

/// A folder on a disk, as root: in memory nothing goes past the page cache.
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

/// Whether the second one is refused beside the first one, by opening and by looking
/// alike.
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
            assert!(matches!(opened, OpenError::SharedPage { .. } | OpenError::SameBytes { .. }), "{text}");
            for path in [&first.path, &second.path] {
                assert!(text.contains(path.to_str().unwrap()), "{text}");
            }
            // It is the other one that is in the way, and only while it is open.
            drop(held);
            open(second).unwrap();
            true
        }
        (opened, looked) => panic!("{opened:?}, but {looked:?}"),
    }
}

#[test]
fn two_ways_must_not_meet_in_a_page() {
    let Some(disk) = Disk::new("two_ways_must_not_meet_in_a_page") else { return };
    let file = disk.file();
    let (direct, cached, mapped, fitting) = (Access::Direct, Access::Cached, Access::Mapped, Access::Fitting);
    let waiting = Access::Descriptor;
    for (border, first, second, refused) in [
        (PAGE + 512, direct, cached, true),
        (PAGE + 512, cached, direct, true),
        (PAGE + 512, direct, mapped, true),
        (PAGE + 512, direct, waiting, true),
        // What was chosen counts: on a disk, past the page cache.
        (PAGE + 512, fitting, cached, true),
        (PAGE + 512, mapped, fitting, true),
        (PAGE + 512, fitting, direct, false),
        (PAGE + 512, direct, direct, false),
        // One cache.
        (PAGE + 512, cached, mapped, false),
        (PAGE + 512, cached, waiting, false),
        // Between pages.
        (2 * PAGE, direct, cached, false),
        (2 * PAGE, mapped, direct, false),
    ] {
        let low = part(&file, first, 0, border);
        let high = part(&file, second, border, 8 * PAGE);
        assert_eq!(is_refused(&low, &high), refused, "{first:?}, {second:?} from {border} on");
        let (low, high) = (part(&file, second, 0, border), part(&file, first, border, 8 * PAGE));
        assert_eq!(is_refused(&high, &low), refused, "{first:?} from {border} on, {second:?}");
    }
    let read_only = |options: OpenOptions| OpenOptions { read_only: true, ..options };
    let (low, high) = (part(&file, direct, 0, 512), part(&file, cached, 512, 512));
    assert!(!is_refused(&read_only(low.clone()), &read_only(high.clone())), "neither writes");
    assert!(is_refused(&read_only(low.clone()), &high));
    assert!(is_refused(&low, &read_only(high)));
    // It follows the size of the file, so it has the last page as well.
    let rest = OpenOptions { access: cached, offset_bytes: 512, ..OpenOptions::new(&file) };
    assert!(is_refused(&low, &rest));
    let message = open(&low).map(|_held| open(&rest).map(drop).unwrap_err().to_string()).unwrap();
    for part in ["by store=file", "by store=direct", "share a page of 4096 bytes", "multiples of 4096"] {
        assert!(message.contains(part), "{message}");
    }
}

/// Reading ahead may fill a folio that lies on both sides of the border.
#[test]
fn two_ways_into_one_file_are_a_warning_even_between_pages() {
    let Some(disk) = Disk::new("two_ways_into_one_file_are_a_warning_even_between_pages") else { return };
    let file = disk.file();
    for (first, second, expected) in [
        (Access::Direct, Access::Cached, true),
        (Access::Mapped, Access::Direct, true),
        (Access::Direct, Access::Direct, false),
        (Access::Mapped, Access::Cached, false),
    ] {
        let _held = open(&part(&file, first, 0, PAGE)).unwrap();
        let opened = open(&part(&file, second, PAGE, PAGE)).unwrap();
        let warned = opened.warnings.iter().any(|warning| matches!(warning, Warning::TwoWays { .. }));
        assert_eq!(warned, expected, "{first:?}, {second:?}: {:?}", opened.warnings);
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
        let high = part(&other, Access::Cached, PAGE, PAGE);
        assert!(!is_refused(&low, &high), "{}", other.display());
    }
}

/// A loop device has a cache of its own, above that of the file, which it uses unless
/// it was made with direct I/O.
#[test]
fn a_loop_device_is_a_way_into_its_file() {
    let Some(disk) = Disk::new("a_loop_device_is_a_way_into_its_file") else { return };
    let file = disk.file();
    let (direct, cached) = (Access::Direct, Access::Cached);
    let first = PAGE + 512;
    for (direct_io, of_device, of_file, refused) in [
        ("off", direct, direct, true),
        ("off", direct, cached, false),
        ("off", cached, cached, true),
        ("off", cached, direct, true),
        ("on", direct, direct, false),
        ("on", direct, cached, true),
        ("on", cached, direct, true),
    ] {
        // It starts a page into the file.
        let direct_io = format!("--direct-io={direct_io}");
        let device = Loop::new(&file, &[&direct_io, "--offset", "4096", "--sizelimit", "65536"]);
        let above = part(device.path(), of_device, 0, first);
        let (beside, beyond) = (PAGE + first, 3 * PAGE);
        let below = part(&file, of_file, beside, PAGE);
        let what = format!("{direct_io}: {of_device:?} over {of_file:?}");
        assert_eq!(is_refused(&above, &below), refused, "{what}");
        assert_eq!(is_refused(&below, &above), refused, "{what}");
        assert!(!is_refused(&above, &part(&file, of_file, beyond, PAGE)), "{what}, between pages");
        // The same bytes, in any way.
        let same = part(&file, of_file, PAGE, 512);
        assert!(is_refused(&above, &same), "{what}, same bytes");
        // Behind the end of the device.
        let whole = OpenOptions { access: of_device, ..OpenOptions::new(device.path()) };
        assert!(!is_refused(&whole, &part(&file, of_file, PAGE + 65536, PAGE)), "{what}, behind its end");
    }
}

/// The first partition of a loop device, made without a partition table.
struct Partition<'a>(&'a Loop);

impl<'a> Partition<'a> {
    fn new(device: &'a Loop, start: u64, sectors: u64) -> Self {
        // One that a test has left behind.
        let _ = command("delpart", &[device.name(), "1"]);
        command("addpart", &[device.name(), "1", &start.to_string(), &sectors.to_string()]).unwrap();
        Self(device)
    }

    fn path(&self) -> std::path::PathBuf {
        format!("{}p1", self.0.name()).into()
    }
}

impl Drop for Partition<'_> {
    fn drop(&mut self) {
        if let Err(error) = command("delpart", &[self.0.name(), "1"]) {
            eprintln!("{error}");
        }
    }
}

/// The kernel itself keeps exports of a disk and of a partition of it apart; a
/// partition of a loop device is a part of its file as well.
#[test]
fn a_partition_of_a_loop_device_is_a_part_of_its_file() {
    let Some(disk) = Disk::new("a_partition_of_a_loop_device_is_a_part_of_its_file") else { return };
    let file = disk.file();
    let device = Loop::new(&file, &[]);
    let partition = Partition::new(&device, 9, 100);
    let partition = partition.path();
    let above = part(&partition, Access::Direct, 0, 8 * 512);
    for (sector, refused) in [(7, false), (8, true), (9, true), (16, true), (17, true), (24, false)] {
        let below = part(&file, Access::Direct, sector * 512, 512);
        assert_eq!(is_refused(&above, &below), refused, "sector {sector}");
    }
}
