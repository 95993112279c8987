//! A veth pair with each end alone in a network namespace.

use std::io;

use crate::{PacketSocket, Space, TARGET_MAC};

/// The interface names of the two ends.
pub const TARGET_SIDE: &str = "xbc0";
const HOST_SIDE: &str = "xbc1";

/// The pair and its namespaces. Dropping it removes them.
pub struct Link {
    /// The namespace of the initiators.
    pub host: Space,
    /// The namespace of the daemon.
    pub target: Space,
}

impl Link {
    /// Creates a pair with this MTU. The target's end has the address [`TARGET_MAC`].
    pub fn new(mtu: u32) -> Self {
        Self::between(Space::new(), Space::new(), mtu)
    }

    /// Creates a pair between these two namespaces.
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

    /// A raw socket on the initiators' end.
    pub fn socket(&self) -> io::Result<PacketSocket> {
        self.host.run(|| PacketSocket::open(HOST_SIDE))
    }
}
