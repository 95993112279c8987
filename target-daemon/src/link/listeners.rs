//! Who else on this host takes AoE frames: packet sockets, as vblade has one.

use std::fs;
use std::os::unix::fs::MetadataExt;

/// The protocol, as `/proc/net/packet` writes it.
const AOE: &str = "88a2";

/// A process with a packet socket for AoE.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listener {
    /// Its id; 0 if it cannot be seen from here.
    pub pid: u32,
    /// Its name.
    pub name: String,
}

/// Who has a packet socket for AoE on the interface with this index, or on all.
/// Nobody, if the kernel does not tell.
pub fn listeners(interface: u32) -> Vec<Listener> {
    let text = fs::read_to_string("/proc/thread-self/net/packet").unwrap_or_default();
    sockets(&text, interface).into_iter().map(owner).collect()
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

fn owner(inode: u64) -> Listener {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let has_it = |pid: &u32| {
        let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        open.filter_map(|fd| fs::metadata(fd.path()).ok()).any(|file| file.ino() == inode)
    };
    let pid = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find(has_it);
    let name = pid.and_then(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).ok());
    Listener {
        pid: pid.unwrap_or(0),
        name: name.map_or_else(|| "unknown".to_owned(), |name| name.trim().to_owned()),
    }
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
