//! Two network namespaces, a veth pair between them, and the facts as seen by a thread in
//! one of them.

use std::process::Command;

use xblade::link::Facts;

pub use xblade_kit::{Space, may_run, sh, until};

/// Our end and the peer's end of the veth pair.
pub const OURS: &str = "xbl0";
pub const PEER: &str = "xbl1";

/// Runs a command line in the namespace of this thread. Returns whether it succeeded.
pub fn sh_works(line: &str) -> bool {
    Command::new("sh").args(["-c", line]).output().unwrap().status.success()
}

/// Two namespaces, joined by a veth pair that is up on both sides.
pub struct Pair {
    pub ours: Space,
    pub peer: Space,
}

impl Pair {
    pub fn new() -> Self {
        Self::with("", "")
    }

    /// With options for our end and the peer's, as for `ip link add`.
    pub fn with(ours: &str, peer: &str) -> Self {
        let pair = Self { ours: Space::new(), peer: Space::new() };
        pair.ours.sh(&format!(
            "ip link add {OURS} {ours} type veth peer name {PEER} {peer} && ip link set {OURS} up"
        ));
        pair.ours.give(PEER, &pair.peer);
        pair.peer.sh(&format!("ip link set {PEER} up"));
        pair
    }

    /// Sets the MTU of both ends.
    pub fn mtu(&self, mtu: u32) {
        self.ours.sh(&format!("ip link set {OURS} mtu {mtu}"));
        self.peer.sh(&format!("ip link set {PEER} mtu {mtu}"));
    }
}

/// The facts of our end, in the namespace of this thread.
pub fn facts() -> Facts {
    facts_of(OURS)
}

/// The facts of an interface in the namespace of this thread.
pub fn facts_of(name: &str) -> Facts {
    Facts::read(name).unwrap()
}

/// Waits until no program is on our end. Not immediate, because another test may be
/// starting a command: until that process calls `exec`, it holds a copy of the link.
pub fn until_detached() {
    until("no program attached", || facts().attached.is_empty());
}
