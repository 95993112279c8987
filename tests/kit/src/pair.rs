//! Two network namespaces, and a veth pair between them.

use xblade_link::Facts;
use xblade_wire::ether::Mac;

use crate::namespace::{Space, until};

/// The target's interface.
pub const OURS: &str = "xbp0";
/// The initiator's interface.
pub const PEER: &str = "xbp1";

impl Space {
    /// The facts of an interface in this namespace.
    pub fn facts(&self, name: &'static str) -> Facts {
        self.run(move || Facts::read(name).unwrap())
    }

    /// The MAC address of an interface in this namespace.
    pub fn mac(&self, name: &'static str) -> Mac {
        Mac(self.facts(name).mac)
    }

    /// Sets the MAC address of an interface in this namespace.
    pub fn set_mac(&self, name: &str, mac: Mac) {
        self.sh(&format!("ip link set {name} address {mac}"));
    }

    /// Waits until no program is on an interface: the kernel detaches it a moment after the
    /// exit of the process that held it.
    pub fn until_detached(&self, name: &'static str) {
        until("no XDP program on the interface", || self.facts(name).attached.is_empty());
        let shown = self.sh(&format!("ip -d link show {name}"));
        assert!(!shown.contains("xdp"), "{shown}");
    }
}

/// A veth pair, up on both sides; options as for `ip link add`.
pub fn join(a: (&Space, &str), b: (&Space, &str), options: &str) {
    let ((a, a_name), (b, b_name)) = (a, b);
    a.sh(&format!(
        "ip link add {a_name} {options} type veth peer name {b_name} {options} && ip link set {a_name} up"
    ));
    a.give(b_name, b);
    b.sh(&format!("ip link set {b_name} up"));
    // A carrier is not enough: until the kernel has noticed it, it drops sent frames.
    let up = |space: &Space, name: &str| space.sh(&format!("ip -o link show {name}")).contains("state UP");
    until("the new pair is up", || up(a, a_name) && up(b, b_name));
}

/// Two namespaces, joined by a veth pair.
pub struct Pair {
    /// The namespace of the target.
    pub ours: Space,
    /// The namespace of the initiators.
    pub peer: Space,
}

impl Pair {
    /// A pair with the defaults of the kernel.
    #[expect(clippy::new_without_default, reason = "it starts threads")]
    pub fn new() -> Self {
        Self::with("")
    }

    /// With options for both ends, as for `ip link add`.
    pub fn with(options: &str) -> Self {
        Self::between(Space::new(), Space::new(), options)
    }

    /// Between these two namespaces.
    pub fn between(ours: Space, peer: Space, options: &str) -> Self {
        join((&ours, OURS), (&peer, PEER), options);
        Self { ours, peer }
    }

    /// Sets the MTU of both ends, the peer's first if frames get longer.
    pub fn mtu(&self, mtu: u32) {
        self.peer.sh(&format!("ip link set {PEER} mtu {mtu}"));
        self.ours.sh(&format!("ip link set {OURS} mtu {mtu}"));
    }
}
