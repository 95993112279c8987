//! `xblade serve` on one end of a veth pair, a raw socket on the other.

use std::time::Duration;

use xblade::wire::DropReason;
use xblade::wire::ether::Mac;
use xblade_kit::{Daemon, OURS, PATIENCE, PEER, PacketSocket, Pair, Space};

use crate::binary::serve;
use crate::frame::{Ask, QUERY, query};
use crate::{
    LARGE, LARGE_SECTORS, MAIN, READ_ONLY, SENTINEL, SENTINEL_HOST, Stand, TARGET_MAC, THIN, Target,
};

/// A pair with one queue and this MTU, with the target in `ours`. The target's end has the
/// address [`TARGET_MAC`].
pub fn pair(ours: Space, mtu: u32) -> Pair {
    let pair = Pair::between(ours, Space::new(), &format!("mtu {mtu} numtxqueues 1 numrxqueues 1"));
    pair.ours.set_mac(OURS, Mac(TARGET_MAC));
    // Frames keep their VLAN tags.
    pair.ours.sh(&format!("ethtool -K {OURS} rxvlan off rx-vlan-stag-hw-parse off"));
    pair.peer.sh(&format!("ethtool -K {PEER} txvlan off tx-vlan-stag-hw-insert off"));
    pair
}

/// A daemon over real rings. Dropping it stops and removes everything.
pub struct VethTarget {
    daemon: Daemon,
    socket: PacketSocket,
    /// What the daemon sent unasked when it started.
    pub announced: Vec<Vec<u8>>,
    // Last, so that the daemon is gone before its namespace.
    pair: Pair,
}

impl VethTarget {
    /// Starts the daemon on a stand. `options` are added to its command line; it is ready
    /// once it has made `announcements` announcements.
    pub fn start(stand: &Stand, mtu: u32, options: &[&str], announcements: usize) -> Self {
        Self::on(pair(Space::new(), mtu), stand, options, announcements)
    }

    /// As [`Self::start`], on this pair.
    pub fn on(pair: Pair, stand: &Stand, options: &[&str], announcements: usize) -> Self {
        let socket = PacketSocket::within(&pair.peer, PEER).expect("a raw socket");
        let mut arguments = exports(stand).to_vec();
        // The rules change sizes for a moment, so it must not check sizes by itself.
        arguments.extend(["--interface", OURS, "--no-probe", "--measure-every", "0"].map(str::to_owned));
        if !options.contains(&"--host-settings") {
            // The rules are about what hosts set, too.
            arguments.extend(["--host-settings", "allow"].map(str::to_owned));
        }
        arguments.extend(options.iter().map(|option| (*option).to_owned()));
        let daemon = serve(&pair.ours, &arguments, &[]);
        let mut veth = Self { daemon, socket, announced: Vec::new(), pair };
        for _ in 0..announcements {
            let announced = veth.next_reply(PATIENCE).expect("an announcement (see the log of xblade below)");
            veth.announced.push(announced);
        }
        veth.until_answered();
        veth
    }

    /// Sends requests until a reply arrives. After a link comes up, the kernel silently
    /// drops frames for some time.
    pub fn until_answered(&mut self) {
        for tag in 1..=100 {
            let ask = Ask { tag, ..Ask::new(SENTINEL, QUERY, query(0, b"")).from(SENTINEL_HOST) };
            self.send(&ask.bytes());
            let is_its = |reply: &[u8]| reply.get(20..24) == Some(&tag.to_be_bytes()[..]);
            while let Some(reply) = self.next_reply(Duration::from_millis(100)) {
                if is_its(&reply) {
                    return;
                }
            }
        }
        panic!("the target does not answer");
    }

    /// Waits until the daemon has logged this text.
    pub fn wait_for(&self, text: &str) {
        self.daemon.wait_for(text);
    }

    /// Runs a command line in the namespace of the daemon.
    pub fn sh(&self, line: &str) {
        self.pair.ours.sh(line);
    }

    /// Whether the daemon is still running.
    pub fn is_running(&mut self) -> bool {
        self.daemon.is_running()
    }
}

fn exports(stand: &Stand) -> [String; 5] {
    let file = |address| stand.image(address).display().to_string();
    // Mapped stores reply in the order of the requests, by which a bench knows that
    // nothing more will arrive.
    let text = |(shelf, slot), what| format!("{shelf}.{slot}={what},vlan=any");
    [
        text(MAIN, file(MAIN) + ",store=mmap"),
        text(READ_ONLY, file(READ_ONLY) + ",ro,store=mmap"),
        text(THIN, file(THIN) + ",store=mmap"),
        text(LARGE, format!("zeros,store=null,length={LARGE_SECTORS}")),
        text(SENTINEL, file(SENTINEL) + ",store=mmap"),
    ]
}

impl Target for VethTarget {
    fn send(&mut self, frame: &[u8]) {
        self.socket.send(frame).expect("a frame that fits the link");
    }

    fn next_reply(&mut self, window: Duration) -> Option<Vec<u8>> {
        self.socket.receive(window).expect("a link that is up")
    }

    fn drops(&self) -> Option<[u64; DropReason::NAMES.len()]> {
        None
    }
}
