//! The storage of a file: its file system, and the device below.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Describes the storage of a directory in one line.
pub fn describe(directory: &Path) -> String {
    let found = findmnt(directory);
    let [kind, source, options] = found.as_slice() else { return "file system unknown".to_owned() };
    match queue_of(source) {
        Some((name, queue)) => format!("{kind} ({options}) on {name}: {}", device(&queue)),
        None => format!("{kind} ({options}), no block device"),
    }
}

/// Whether files in a directory are stored in memory.
pub fn is_in_memory(directory: &Path) -> bool {
    findmnt(directory).first().is_some_and(|kind| kind == "tmpfs" || kind == "ramfs")
}

/// The type, the source and the options of a directory's file system; empty if unknown.
fn findmnt(directory: &Path) -> Vec<String> {
    let fields = ["--noheadings", "--raw", "--output", "FSTYPE,SOURCE,OPTIONS", "--target"];
    let output = Command::new("findmnt").args(fields).arg(directory).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    // Of several at one place, the last hides the others.
    text.lines().last().unwrap_or_default().split_whitespace().map(str::to_owned).collect()
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

    #[test]
    fn the_file_system_of_a_directory_is_found() {
        assert!(is_in_memory(Path::new("/dev/shm")));
        assert!(describe(Path::new("/dev/shm")).ends_with("no block device"));
        assert!(!is_in_memory(Path::new("/proc")));
        assert!(describe(Path::new("/proc")).starts_with("proc (rw"), "{}", describe(Path::new("/proc")));
        assert_eq!(describe(Path::new("/no/such")), "file system unknown");
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
