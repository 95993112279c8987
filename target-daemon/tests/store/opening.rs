//! Refusals with their messages, and warnings.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use xblade::store::{Access, OpenOptions};

use crate::fixture::*;

#[test]
fn a_refusal_names_the_file_the_value_and_the_remedy() {
    let scratch = Scratch::new();
    let file = scratch.file("f", &[0; 8192]);
    let fifo = scratch.path("fifo");
    make_fifo(&fifo);
    let plain = |path: PathBuf| OpenOptions::new(path);
    let rows: Vec<(OpenOptions, &[&str])> = vec![
        (plain(scratch.path("none")), &["no such file", "fallocate -l"]),
        (plain("/dev/none/lv".into()), &["no such device", "lsblk", "lvs", "vgchange -ay"]),
        (plain("/dev/shm/xblade-none".into()), &["no such file", "fallocate -l"]),
        (plain(scratch.path("f").join("below")), &["cannot open"]),
        (plain(scratch.path("")), &["is a directory", "regular file or a block device"]),
        (plain("/dev/null".into()), &["is a character device"]),
        (plain(fifo), &["is a FIFO"]),
        (plain(scratch.file("empty", &[])), &["is empty", "fallocate -l 10G /"]),
        (plain(scratch.file("short", &[0; 511])), &["has 511 bytes"]),
        (extent(&file, 100, None), &["offset 100 is not a multiple of 512"]),
        (extent(&file, 512, Some(700)), &["length 700 is not a multiple of 512"]),
        (extent(&file, 8192, None), &["has 0 bytes from offset 8192 on"]),
        (extent(&file, 1 << 40, None), &["has 0 bytes from offset 1099511627776 on"]),
        (extent(&file, 0, Some(0)), &["has 8192 bytes from offset 0 on", "at least one sector"]),
        (extent(&file, 512, Some(8192)), &["offset 512 + length 8192", "end at 8192 bytes"]),
        (extent(&file, u64::MAX - 511, Some(512)), &["lies beyond its end", "18446744073709551104"]),
    ];
    for (options, parts) in rows {
        let message = refusal(&options);
        for part in [&[options.path.to_str().unwrap()], parts].concat() {
            assert!(message.contains(part), "{message:?} should say {part:?}");
        }
        assert!(!message.contains('\n'), "{message:?} is more than a line");
        assert!(
            !message.contains("device: ") || !message.contains("truncate"),
            "{message:?}: makes no device"
        );
    }
}

fn make_fifo(path: &Path) {
    let path = std::ffi::CString::new(path.as_os_str().as_encoded_bytes()).unwrap();
    // SAFETY: a string that ends with zero.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
}

#[test]
fn a_file_without_write_permission_is_offered_read_only() {
    let scratch = Scratch::new();
    let path = scratch.file("f", &[0; 8192]);
    let below = scratch.path("closed");
    std::fs::create_dir(&below).unwrap();
    std::fs::write(below.join("f"), [0; 8192]).unwrap();
    chmod(&below, 0o000);
    let ids = std::fs::metadata(&path).map(|facts| (facts.uid(), facts.gid())).unwrap();
    let (write, read) = ("give write permission, or export it with `ro`", "give that user read permission");
    let file = |mode| format!("(the file has owner {}, group {}, mode {mode}): ", ids.0, ids.1);
    let folder = "(it cannot enter a folder of the path): ".to_owned();
    for (mode, options, what, why, remedy) in [
        (0o444, OpenOptions::new(&path), "written", file("0444"), write),
        (0o000, OpenOptions::new(&path), "read", file("0000"), read),
        (0o000, read_only(&path), "read", file("0000"), read),
        (0o644, OpenOptions::new(below.join("f")), "read", folder, read),
    ] {
        chmod(&path, mode);
        let message = as_nobody(|| refusal(&options));
        let uid = rustix::process::geteuid().as_raw();
        let user = format!("may not be {what} by the user of this process, uid {uid}");
        assert!(message.contains(&user) && message.contains(&format!("{why}{remedy}")), "{message}");
    }
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Runs `act` without root's privilege to ignore permissions; affects only files, and only
/// this thread.
fn as_nobody<T>(act: impl FnOnce() -> T) -> T {
    // SAFETY: no memory is passed.
    let before = unsafe { libc::setfsuid(65534) };
    let result = act();
    // SAFETY: as above.
    unsafe { libc::setfsuid(before as libc::uid_t) };
    result
}

#[test]
fn odd_tails_and_holes_are_remarked() {
    let scratch = Scratch::new();
    let cut = |path: &Path, bytes| {
        format!("{}: the last {bytes} bytes are no whole sector and are not exported", path.display())
    };
    let odd = scratch.file("odd", &[1; 1500]);
    let sparse = scratch.sparse("sparse", 1 << 20);
    let hole = format!(
        "{}: only 0 of 1048576 bytes are allocated: writes fail when its file system is full; allocate them with \
         `fallocate`",
        sparse.display()
    );
    for (options, sectors, warnings) in [
        (OpenOptions::new(&odd), 2, vec![cut(&odd, 476)]),
        (read_only(&odd), 2, vec![cut(&odd, 476)]),
        (extent(&odd, 512, None), 1, vec![cut(&odd, 476)]),
        (extent(&odd, 0, Some(512)), 1, vec![]),
        (OpenOptions::new(&sparse), 2048, vec![hole]),
        (read_only(&sparse), 2048, vec![]),
    ] {
        let store = open(&options);
        assert_eq!(store.geometry().sectors, sectors, "{options:?}");
        drop(store);
        assert_eq!(self::warnings(&options), warnings, "{options:?}");
    }
}

/// The warning about a file in memory, through the last of these files and devices.
fn in_memory(path: &Path, way: &[&Path]) -> String {
    let names: Vec<String> = way.iter().map(|one| one.display().to_string()).collect();
    let on = if way.is_empty() { String::new() } else { format!(" (on {})", names.join(", on ")) };
    format!(
        "{}: lies in memory{on}: its writes do not survive a restart of this host, so export it as volatile, or move \
         it to a disk",
        path.display()
    )
}

#[test]
fn memory_is_remarked_only_if_it_was_asked_to_be_durable() {
    if access() == Access::Direct {
        return; // ramfs does not support it
    }
    let Some(_alone) = root("memory_is_remarked_only_if_it_was_asked_to_be_durable") else {
        return;
    };
    let scratch = Scratch::new();
    for kind in ["tmpfs", "ramfs"] {
        let mounted = Mounted::new(scratch.path("m"), &["-t", kind, "none"]);
        let path = mounted.path("f");
        std::fs::write(&path, [1; 4096]).unwrap();
        assert_eq!(warnings(&OpenOptions::new(&path)), [in_memory(&path, &[])], "{kind}");
        assert!(warnings(&volatile(&path)).is_empty(), "{kind}");
        assert!(warnings(&read_only(&path)).is_empty(), "{kind}");
    }
    let mounted = Mounted::new(scratch.path("m"), &["-t", "hugetlbfs", "none"]);
    let path = mounted.path("f");
    truncate_new(&path, 4 << 20);
    let message = refusal(&OpenOptions::new(&path));
    assert!(message.contains("hugetlbfs") && message.contains("volatile"), "{message}");
}

#[test]
fn memory_is_found_below_overlays_loop_devices_and_file_systems() {
    if access() != Access::Mapped {
        return;
    }
    let Some(_alone) = root("memory_is_found_below_overlays_loop_devices_and_file_systems") else { return };
    let scratch = Scratch::new();
    let memory = Mounted::new(scratch.path("memory"), &["-t", "tmpfs", "none"]);
    let folder = |name: &str| {
        let path = memory.path(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    };
    let (upper, work) = (folder("up per"), folder("work"));
    std::fs::create_dir(scratch.path("lower")).unwrap();
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        scratch.path("lower").display(),
        upper.display(),
        work.display()
    );
    let overlay = Mounted::new(scratch.path("overlay"), &["-t", "overlay", "none", "-o", &options]);
    let path = overlay.path("f");
    std::fs::write(&path, [1; 8192]).unwrap();
    assert_eq!(warnings(&OpenOptions::new(&path)), [in_memory(&path, &[&upper])]);
    assert!(warnings(&volatile(&path)).is_empty());

    let image = memory.path("image");
    std::fs::write(&image, vec![0; 4 << 20]).unwrap();
    let device = Loop::new(&image, &[]);
    assert_eq!(warnings(&OpenOptions::new(device.path())), [in_memory(device.path(), &[&image])]);
    command("mkfs.ext4", &["-q", device.name()]).unwrap();
    let ext4 = Mounted::new(scratch.path("ext4"), &[device.name()]);
    let path = ext4.path("f");
    std::fs::write(&path, [1; 8192]).unwrap();
    assert_eq!(warnings(&OpenOptions::new(&path)), [in_memory(&path, &[device.path(), &image])]);
    // A layer that cannot be examined is reported, too.
    drop(ext4);
    std::fs::remove_file(&image).unwrap();
    let [warning] = &opened(&OpenOptions::new(device.path())).warnings[..] else { panic!("not one warning") };
    assert_eq!(warning.level, log::Level::Info, "it is not certain");
    let expected = format!("{}: lies on {}", device.name(), image.display());
    assert!(warning.text.starts_with(&expected), "{warning:?}");
    assert!(warning.text.contains("which xblade cannot look at"), "{warning:?}");
}

#[test]
fn a_disk_in_compressed_memory_is_memory() {
    if access() != Access::Mapped {
        return;
    }
    let Some(_alone) = root("a_disk_in_compressed_memory_is_memory") else { return };
    let Ok(number) = std::fs::read_to_string("/sys/class/zram-control/hot_add") else { return };
    let number = number.trim();
    let set = |name: &str, value: &str| std::fs::write(format!("/sys/block/zram{number}/{name}"), value);
    set("disksize", "4M").unwrap();
    // For systems where no program creates device nodes.
    let scratch = Scratch::new();
    let (node, device) =
        (scratch.path("node"), std::fs::read_to_string(format!("/sys/block/zram{number}/dev")));
    let numbers = device.unwrap();
    let (major, minor) = numbers.trim().split_once(':').unwrap();
    command("mknod", &[node.to_str().unwrap(), "b", major, minor]).unwrap();
    let remarked = warnings(&OpenOptions::new(&node));
    let _ = set("reset", "1");
    let _ = std::fs::write("/sys/class/zram-control/hot_remove", number);
    assert_eq!(remarked, [in_memory(&node, &[])]);
}

#[test]
fn a_device_tells_its_sectors() {
    let Some(_alone) = root("a_device_tells_its_sectors") else {
        return;
    };
    let scratch = Scratch::new();
    // Past the page cache only whole blocks are served, here of 4096 bytes.
    let odd = if access() == Access::Direct { 4096 } else { 512 };
    let image = scratch.sparse("image", (8 << 20) + odd);
    let sectors = (8 << 20) / 512 + odd / 512;
    {
        let device = Loop::new(&image, &[]);
        let store = open(&OpenOptions::new(device.path()));
        assert_eq!(store.geometry().sectors, sectors);
        assert!(matches!(store.geometry().physical_bytes, 512..=4096));
        drop(store);
        assert!(warnings(&OpenOptions::new(device.path())).is_empty());
    }
    {
        let device = Loop::new(&image, &["--sector-size", "4096"]);
        let mut store = open(&OpenOptions::new(device.path()));
        assert_eq!(store.geometry().sectors, sectors);
        assert_eq!(store.geometry().physical_bytes, 4096);
        let block = if access() == Access::Direct { 4096 } else { 512 };
        assert_eq!(store.geometry().block_bytes, block);
        // One sector in the middle of a block, and two across the edge of one.
        write(&mut *store, 8, &pattern(1, 8 * 512)).unwrap();
        write(&mut *store, 11, &pattern(2, 512)).unwrap();
        write(&mut *store, 15, &pattern(3, 1024)).unwrap();
        let mut expected = pattern(1, 16 * 512);
        expected[8 * 512..].fill(0);
        expected[3 * 512..4 * 512].copy_from_slice(&pattern(2, 512));
        expected[7 * 512..9 * 512].copy_from_slice(&pattern(3, 1024));
        assert_eq!(read(&mut *store, 8, 16 * 512).unwrap(), expected);
    }
    let device = Loop::new(&image, &["--read-only"]);
    let message = refusal(&OpenOptions::new(device.path()));
    assert!(message.contains("export it with `ro`"), "{message}");
    let mut store = open(&read_only(device.path()));
    assert_eq!(read(&mut *store, 16384, 512).unwrap(), [0; 512]);
}

#[test]
fn a_device_of_a_new_size_is_noticed() {
    let Some(_alone) = root("a_device_of_a_new_size_is_noticed") else {
        return;
    };
    let scratch = Scratch::new();
    let image = scratch.sparse("image", 1 << 20);
    let device = Loop::new(&image, &[]);
    let mut store = open(&OpenOptions::new(device.path()));
    truncate(&image, 2 << 20);
    command("losetup", &["--set-capacity", device.name()]).unwrap();
    assert_eq!(measure(&mut *store), 4096);
    write(&mut *store, 4095, &pattern(1, 512)).unwrap();
    assert_eq!(read(&mut *store, 4095, 512).unwrap(), pattern(1, 512));
}
