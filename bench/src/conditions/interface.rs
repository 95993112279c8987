//! The network interface, read with netlink and the ioctls of ethtool, because /sys shows the network
//! namespace in which it was mounted.

use xblade_link::{Facts, NicSetting};

use crate::outcome::Condition;

use super::condition;

/// The conditions that affect the speed of an interface in this network namespace, including
/// the programs attached at the time of the call. Empty if there is no such interface.
pub fn read(name: &str) -> Vec<Condition> {
    Facts::read(name).map(|facts| describe(&facts, rings(name))).unwrap_or_default()
}

fn describe(facts: &Facts, rings: Option<String>) -> Vec<Condition> {
    let driver = if facts.driver.is_empty() { "unknown" } else { &facts.driver };
    let mode = match facts.attached.first() {
        Some((mode, _)) => format!("{mode} mode"),
        None => "none attached".to_owned(),
    };
    vec![
        condition("interface", facts.name.as_str()),
        condition("driver", driver),
        condition("MTU", facts.mtu.to_string()),
        condition("receive queues", facts.queues.to_string()),
        condition("XDP", mode),
        condition("zero-copy", told(facts.zero_copy)),
        condition("NIC rings", rings.as_deref().unwrap_or("none, or not told")),
    ]
}

fn told(offered: Option<bool>) -> &'static str {
    match offered {
        Some(true) => "offered by the driver",
        Some(false) => "not offered: copy mode",
        None => "not told by the driver",
    }
}

/// The sizes of the NIC's rings, with their maximums.
fn rings(name: &str) -> Option<String> {
    let size = |setting: NicSetting| setting.read(name).ok().filter(|entries| *entries > 0);
    let (rx, tx) = (size(NicSetting::RX_RING)?, size(NicSetting::TX_RING)?);
    let (rx_max, tx_max) = (size(NicSetting::RX_RING_MAX)?, size(NicSetting::TX_RING_MAX)?);
    Some(format!("rx {rx} of {rx_max}, tx {tx} of {tx_max}"))
}

#[cfg(test)]
mod tests {
    use xblade_link::XdpMode;

    use super::*;

    #[test]
    fn an_interface_is_described_as_it_is_now() {
        let facts = Facts {
            name: "eth1".to_owned(),
            index: 1,
            mac: [0; 6],
            mtu: 9000,
            queues: 2,
            queues_max: 2,
            driver: "veth".to_owned(),
            up: true,
            carrier: true,
            loopback: false,
            strips_tags: false,
            filters_vlans: false,
            native: Some(true),
            rx_sg: Some(true),
            zero_copy: Some(false),
            zero_copy_segments: 1,
            attached: vec![(XdpMode::Native, 5)],
        };
        let values: Vec<String> =
            describe(&facts, Some("none".to_owned())).into_iter().map(|c| c.value).collect();
        let expected = ["eth1", "veth", "9000", "2", "native mode", "not offered: copy mode", "none"];
        assert_eq!(values, expected);
        let bare = Facts { attached: vec![], zero_copy: None, driver: String::new(), ..facts };
        let values: Vec<String> = describe(&bare, None).into_iter().map(|c| c.value).collect();
        assert_eq!(
            values[1..],
            ["unknown", "9000", "2", "none attached", "not told by the driver", "none, or not told"]
        );
    }

    #[test]
    fn an_interface_that_is_not_there_has_none() {
        assert_eq!(read("no-such-if"), []);
    }
}
