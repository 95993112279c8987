//! The network interface, read with netlink and ethtool, because /sys shows the network
//! namespace in which it was mounted.

use std::process::Command;

use xblade_link::Facts;

use crate::outcome::Condition;

use super::condition;

/// The conditions that affect the speed of an interface in this network namespace, including
/// the programs attached at the time of the call. Empty if there is no such interface.
pub fn read(name: &str) -> Vec<Condition> {
    Facts::read(name).map(|facts| describe(&facts, &rings(name))).unwrap_or_default()
}

fn describe(facts: &Facts, rings: &str) -> Vec<Condition> {
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
        condition("NIC rings", rings),
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
fn rings(name: &str) -> String {
    let output = Command::new("ethtool").args(["-g", name]).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    of_ethtool(&text).unwrap_or_else(|| "none, or not told".to_owned())
}

/// Parses `ethtool -g`: the maximums come first, then the current values.
fn of_ethtool(text: &str) -> Option<String> {
    let sizes = |way: &str| {
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        let values = lines.filter(|(name, _)| *name == way).map(|(_, value)| value.trim().parse().ok());
        values.collect::<Option<Vec<u32>>>()
    };
    let (rx, tx) = (sizes("RX")?, sizes("TX")?);
    Some(format!("rx {} of {}, tx {} of {}", rx.get(1)?, rx.first()?, tx.get(1)?, tx.first()?))
}

#[cfg(test)]
mod tests {
    use xblade_link::XdpMode;

    use super::*;

    const REAL: &str = "Ring parameters for eth1:\nPre-set maximums:\nRX:\t\t8192\nRX Mini:\tn/a\nTX:\t\t4096\n\
                        Current hardware settings:\nRX:\t\t1024\nRX Mini:\tn/a\nTX:\t\t512\n";

    #[test]
    fn rings_are_read_where_there_are_some() {
        assert_eq!(of_ethtool(REAL).as_deref(), Some("rx 1024 of 8192, tx 512 of 4096"));
        assert_eq!(of_ethtool("netlink error: Operation not supported"), None);
    }

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
            native: Some(true),
            rx_sg: Some(true),
            zero_copy: Some(false),
            zero_copy_segments: 1,
            attached: vec![(XdpMode::Native, 5)],
        };
        let values: Vec<String> = describe(&facts, "none").into_iter().map(|c| c.value).collect();
        let expected = ["eth1", "veth", "9000", "2", "native mode", "not offered: copy mode", "none"];
        assert_eq!(values, expected);
        let bare = Facts { attached: vec![], zero_copy: None, driver: String::new(), ..facts };
        let values: Vec<String> = describe(&bare, "none").into_iter().map(|c| c.value).collect();
        assert_eq!(values[1..], ["unknown", "9000", "2", "none attached", "not told by the driver", "none"]);
    }

    #[test]
    fn an_interface_that_is_not_there_has_none() {
        assert_eq!(read("no-such-if"), []);
    }
}
