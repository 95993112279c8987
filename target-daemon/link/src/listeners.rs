//! Sockets of other processes on this host: packet sockets that receive AoE frames, as
//! vblade's does, and the control sockets of other xblades.

use std::fs;
use std::path::PathBuf;

use super::processes;

/// The protocol as written in `/proc/net/packet`.
const AOE: &str = "88a2";

/// The id and name of each process with a packet socket for AoE on the interface with this
/// index, or on all interfaces. Empty if the kernel does not report them.
pub fn listeners(interface: u32) -> Vec<(u32, String)> {
    let text = fs::read_to_string("/proc/thread-self/net/packet").unwrap_or_default();
    let sockets: Vec<PathBuf> =
        sockets(&text, interface).iter().map(|inode| format!("socket:[{inode}]").into()).collect();
    if sockets.is_empty() {
        return Vec::new();
    }
    processes::with("fd", |fd| fs::read_link(fd).is_ok_and(|to| sockets.contains(&to)))
}

/// The unix sockets on which a process listens, by the absolute paths to which they were
/// bound. Empty if the kernel does not report them.
pub fn unix_listeners(pid: u32) -> Vec<PathBuf> {
    let text = fs::read_to_string(format!("/proc/{pid}/net/unix")).unwrap_or_default();
    let fds = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let own: Vec<PathBuf> = fds.filter_map(|fd| fs::read_link(fd.path()).ok()).collect();
    let is_own = |inode: u64| own.contains(&format!("socket:[{inode}]").into());
    text.lines()
        .filter_map(listening)
        .filter(|(inode, _)| is_own(*inode))
        .map(|(_, path)| path.into())
        .collect()
}

/// The inode and path of a listening socket, from a line `Num RefCount Protocol Flags Type
/// St Inode Path`.
fn listening(line: &str) -> Option<(u64, &str)> {
    const ACCEPTS: u32 = 0x1_0000;
    let path = line.get(line.find('/')?..)?;
    let words: Vec<&str> = line.split_whitespace().take(7).collect();
    let [_, _, _, flags, _, _, inode] = words.as_slice() else { return None };
    let listens = u32::from_str_radix(flags, 16).ok()? & ACCEPTS != 0;
    Some((inode.parse().ok()?, path)).filter(|_| listens)
}

/// The inodes of the sockets, from lines `sk RefCnt Type Proto Iface R Rmem User Inode`.
fn sockets(text: &str, interface: u32) -> Vec<u64> {
    let inode = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, _, _, protocol, index, _, _, _, inode] = words.as_slice() else { return None };
        let index: u32 = index.parse().ok()?;
        (*protocol == AOE && (index == interface || index == 0)).then(|| inode.parse().ok())?
    };
    text.lines().filter_map(inode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_for_aoe_on_the_interface_or_on_all_are_found() {
        let text = "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n\
                    0000000000000000 3      3    88a2   7     1 0      0      4711\n\
                    0000000000000000 3      3    88a2   8     1 0      0      4712\n\
                    0000000000000000 3      3    0003   7     1 0      0      4713\n\
                    0000000000000000 3      2    88a2   0     1 0      0      4714\n\
                    odd\n";
        assert_eq!(sockets(text, 7), [4711, 4714]);
        assert!(sockets("", 7).is_empty());
    }

    #[test]
    fn unix_sockets_that_listen_are_found_by_their_paths() {
        for (line, expected) in [
            (
                "00000000d6896114: 00000002 00000000 00010000 0001 01   162 /run/a b.sock",
                Some((162, "/run/a b.sock")),
            ),
            ("00000000d6896114: 00000003 00000000 00000000 0001 03 984163 /run/a", None),
            ("00000000d6896114: 00000002 00000000 00010000 0001 01 984163 @abstract", None),
            ("00000000d6896114: 00000002 00000000 00010000 0001 01 984163", None),
            ("Num       RefCount Protocol Flags    Type St Inode Path", None),
        ] {
            assert_eq!(listening(line), expected, "{line}");
        }
    }
}
