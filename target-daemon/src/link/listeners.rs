//! Who else on this host takes AoE frames: packet sockets, as vblade has one.

use std::fs;
use std::path::PathBuf;

use super::processes;

/// The protocol, as `/proc/net/packet` writes it.
const AOE: &str = "88a2";

/// Id and name of each process that has a packet socket for AoE on the interface
/// with this index, or on all; nobody, if the kernel does not tell.
pub fn listeners(interface: u32) -> Vec<(u32, String)> {
    let text = fs::read_to_string("/proc/thread-self/net/packet").unwrap_or_default();
    let sockets: Vec<PathBuf> =
        sockets(&text, interface).iter().map(|inode| format!("socket:[{inode}]").into()).collect();
    if sockets.is_empty() {
        return Vec::new();
    }
    processes::with("fd", |fd| fs::read_link(fd).is_ok_and(|to| sockets.contains(&to)))
}

/// The inodes of the sockets: `sk RefCnt Type Proto Iface R Rmem User Inode`.
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
}
