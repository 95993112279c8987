//! A veth pair: each half alone in a network namespace.

use std::io;

use crate::{PacketSocket, Space, TARGET_MAC};

/// The halves of the pair.
pub const TARGET_SIDE: &str = "xbc0";
const HOST_SIDE: &str = "xbc1";

/// The pair and its namespaces, which go away with it.
pub struct Link {
    /// Where initiators are.
    pub host: Space,
    /// Where the daemon is.
    pub target: Space,
}

impl Link {
    /// A pair with this MTU. The target's half has [`TARGET_MAC`].
    pub fn new(mtu: u32) -> Self {
        Self::between(Space::new(), Space::new(), mtu)
    }

    /// A pair between these two.
    pub fn between(host: Space, target: Space, mtu: u32) -> Self {
        let [a, b, c, d, e, f] = TARGET_MAC;
        target.sh(&format!(
            "ip link add {TARGET_SIDE} mtu {mtu} address {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x} \
             numtxqueues 1 numrxqueues 1 type veth peer name {HOST_SIDE} mtu {mtu} numtxqueues 1 numrxqueues 1 &&
             ip link set {HOST_SIDE} netns {} && ip link set {TARGET_SIDE} up",
            host.tid()
        ));
        host.sh(&format!("ip link set {HOST_SIDE} up"));
        Self { host, target }
    }

    /// A raw socket on the initiators' half.
    pub fn socket(&self) -> io::Result<PacketSocket> {
        self.host.run(|| PacketSocket::open(HOST_SIDE))
    }
}
