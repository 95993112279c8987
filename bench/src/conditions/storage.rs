//! The storage of a file: its file system, and the device below.

use std::fs;
use std::path::{Path, PathBuf};

/// A mount, from /proc/self/mountinfo.
#[derive(PartialEq, Eq, Debug)]
struct Mount {
    point: PathBuf,
    kind: String,
    source: String,
    options: String,
}

/// Describes the storage of a directory in one line.
pub fn describe(directory: &Path) -> String {
    let Some(mount) = mounted(directory) else { return "file system unknown".to_owned() };
    let (kind, options) = (&mount.kind, &mount.options);
    match queue_of(&mount.source) {
        Some((name, queue)) => format!("{kind} ({options}) on {name}: {}", device(&queue)),
        None => format!("{kind} ({options}), no block device"),
    }
}

/// Whether files in a directory are stored in memory.
pub fn is_in_memory(directory: &Path) -> bool {
    mounted(directory).is_some_and(|mount| mount.kind == "tmpfs" || mount.kind == "ramfs")
}

fn mounted(directory: &Path) -> Option<Mount> {
    let text = fs::read_to_string("/proc/self/mountinfo").ok()?;
    mount_of(&text, &fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned()))
}

/// The mount of a path: the longest mount point above it, and of equal ones the last,
/// which hides the others.
fn mount_of(mountinfo: &str, path: &Path) -> Option<Mount> {
    let above = |mount: &Mount| path.starts_with(&mount.point);
    mountinfo.lines().filter_map(mount).filter(above).max_by_key(|mount| mount.point.components().count())
}

/// `36 35 98:0 /root /point options [tags] - kind source options`.
fn mount(line: &str) -> Option<Mount> {
    let (front, back) = line.split_once(" - ")?;
    let mut front = front.split(' ').skip(4);
    let (point, options) = (front.next()?, front.next()?);
    let mut back = back.split(' ');
    let (kind, source) = (back.next()?.to_owned(), back.next()?.to_owned());
    Some(Mount { point: point.replace("\\040", " ").into(), kind, source, options: options.to_owned() })
}

/// The name of a block device, and the sysfs folder of its queue or its disk's queue.
fn queue_of(source: &str) -> Option<(String, PathBuf)> {
    let real = fs::canonicalize(source).ok()?;
    let name = real.file_name()?.to_string_lossy().into_owned();
    let device = fs::canonicalize(Path::new("/sys/class/block").join(&name)).ok()?;
    // A partition has none of its own.
    let queue =
        [device.join("queue"), device.parent()?.join("queue")].into_iter().find(|path| path.is_dir())?;
    Some((name, queue))
}

/// What affects the cost of durability.
fn device(queue: &Path) -> String {
    let read = |name: &str| fs::read_to_string(queue.join(name)).unwrap_or_default().trim().to_owned();
    let scheduler = read("scheduler");
    let chosen = scheduler.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map(|(name, _)| name);
    format!(
        "write cache \"{}\", FUA {}, scheduler {}, blocks of {} bytes ({} physical)",
        read("write_cache"),
        if read("fua") == "1" { "yes" } else { "no" },
        chosen.unwrap_or(&scheduler),
        read("logical_block_size"),
        read("physical_block_size"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
23 22 0:20 / /dev rw,nosuid - devtmpfs devtmpfs rw
24 23 0:21 / /dev/shm rw,nosuid - tmpfs tmpfs rw,size=1g
25 22 8:1 / /a\\040b rw,noatime - xfs /dev/sda1 rw
26 22 8:2 / /a\\040b ro - btrfs /dev/sdb rw
not a mount
";

    #[test]
    fn the_nearest_mount_above_a_path_is_found_and_of_two_the_upper() {
        let of =
            |path| mount_of(MOUNTS, Path::new(path)).map(|mount| (mount.kind, mount.source, mount.options));
        let expected = |words: [&str; 3]| Some(words.map(str::to_owned).into());
        assert_eq!(of("/var/tmp"), expected(["ext4", "/dev/vda", "rw,relatime"]));
        assert_eq!(of("/dev/shm/x"), expected(["tmpfs", "tmpfs", "rw,nosuid"]));
        assert_eq!(of("/dev/shmem"), expected(["devtmpfs", "devtmpfs", "rw,nosuid"]));
        assert_eq!(of("/a b/c"), expected(["btrfs", "/dev/sdb", "ro"]));
        assert_eq!(mount_of("", Path::new("/")), None);
    }

    #[test]
    fn a_queue_is_read() {
        let queue = std::env::temp_dir().join(format!("xbb-queue-{}", std::process::id()));
        fs::create_dir(&queue).unwrap();
        let files = [
            ("write_cache", "write back\n"),
            ("fua", "1\n"),
            ("scheduler", "none [mq-deadline] bfq\n"),
            ("logical_block_size", "512\n"),
            ("physical_block_size", "4096\n"),
        ];
        for (name, text) in files {
            fs::write(queue.join(name), text).unwrap();
        }
        let text = device(&queue);
        fs::remove_dir_all(&queue).unwrap();
        assert_eq!(
            text,
            "write cache \"write back\", FUA yes, scheduler mq-deadline, blocks of 512 bytes (4096 physical)"
        );
    }
}
