//! Two network namespaces with a veth pair between them, removed when dropped.

use anyhow::{Context, Result};
use serde_json::Value;

use super::shell;

/// Interface names. Each is alone in its namespace, so they cannot collide.
const TARGET_IF: &str = "xbbt";
const INITIATOR_IF: &str = "xbbi";

/// One end of the pair.
#[derive(Clone, Debug)]
pub struct End {
    /// The namespace.
    pub namespace: String,
    /// The interface in the namespace.
    pub interface: &'static str,
}

/// The pair. Dropping it removes the namespaces, and with them the interfaces.
#[derive(Debug)]
pub struct Pair {
    /// Where the target runs.
    pub target: End,
    /// Where the generator runs.
    pub initiator: End,
}

impl End {
    /// The command prefix that runs a program here, on a core.
    pub fn run_on(&self, core: usize) -> Vec<String> {
        // Not `ip netns exec`: that hides /sys/fs/bpf.
        let namespace = format!("--net=/run/netns/{}", self.namespace);
        shell::words(&[&"nsenter", &namespace, &"taskset", &"-c", &core])
    }

    /// Frames dropped by this interface and by its driver.
    pub fn drops(&self) -> Result<u64> {
        let text =
            shell::run(&["ip", "-n", &self.namespace, "-s", "-j", "link", "show", "dev", self.interface])?;
        let links: Value =
            serde_json::from_str(&text).context("cannot read the output of `ip -s -j link`")?;
        let counted = |way: &str, what: &str| {
            links.pointer(&format!("/0/stats64/{way}/{what}")).and_then(Value::as_u64).unwrap_or(0)
        };
        let stack = counted("rx", "dropped") + counted("tx", "dropped") + counted("rx", "errors");
        Ok(stack + self.driver_drops())
    }

    /// Where the attached XDP program runs.
    pub fn xdp(&self) -> String {
        let words = ["ip", "-n", &self.namespace, "-j", "link", "show", "dev", self.interface];
        let links = shell::run(&words).ok().and_then(|text| serde_json::from_str::<Value>(&text).ok());
        let mode = links.and_then(|links| links.pointer("/0/xdp/mode")?.as_u64());
        match mode {
            // XDP_ATTACHED_*, linux/if_link.h.
            Some(1) => "native mode".to_owned(),
            Some(2) => "generic mode".to_owned(),
            Some(other) => format!("mode {other}"),
            None => "none".to_owned(),
        }
    }

    /// Kills every process in its namespace; all of them are ours.
    pub fn kill_all(&self) {
        let listed = shell::output(&["ip", "netns", "pids", &self.namespace]);
        let listed = listed.map(|output| output.stdout).unwrap_or_default();
        for pid in String::from_utf8_lossy(&listed).split_whitespace() {
            let _ = shell::output(&["kill", "-KILL", pid]);
        }
    }

    /// The drops that `ethtool -S` reports; 0 if it is not installed.
    fn driver_drops(&self) -> u64 {
        let namespace = format!("--net=/run/netns/{}", self.namespace);
        let Ok(output) = shell::output(&["nsenter", &namespace, "ethtool", "-S", self.interface]) else {
            return 0;
        };
        sum_of_drops(&String::from_utf8_lossy(&output.stdout))
    }

    fn ip(&self, words: &[&str]) -> Result<()> {
        let mut all = vec!["ip", "-n", &self.namespace];
        all.extend(words);
        shell::run(&all).map(|_| ())
    }
}

impl Pair {
    /// Creates the pair, with the ID of this process in the names.
    pub fn new() -> Result<Self> {
        remove_old();
        let end =
            |letter, interface| End { namespace: format!("xbb-{}-{letter}", std::process::id()), interface };
        let pair = Self { target: end('t', TARGET_IF), initiator: end('i', INITIATOR_IF) };
        pair.build().context("cannot make a veth pair (run as root)")?;
        Ok(pair)
    }

    fn build(&self) -> Result<()> {
        let (t, i) = (&self.target, &self.initiator);
        shell::run(&["ip", "netns", "add", &t.namespace])?;
        shell::run(&["ip", "netns", "add", &i.namespace])?;
        let one = ["numtxqueues", "1", "numrxqueues", "1"];
        let mut words = vec!["ip", "link", "add", t.interface, "netns", &t.namespace];
        words.extend(one);
        words.extend(["type", "veth", "peer", "name", i.interface, "netns", &i.namespace]);
        words.extend(one);
        shell::run(&words)?;
        for end in [t, i] {
            // Without an IPv6 address the kernel sends nothing by itself.
            end.ip(&["link", "set", end.interface, "addrgenmode", "none"])?;
            end.ip(&["link", "set", end.interface, "up"])?;
        }
        Ok(())
    }

    /// Sets the MTU of both ends.
    pub fn set_mtu(&self, mtu: usize) -> Result<()> {
        let mtu = mtu.to_string();
        [&self.target, &self.initiator]
            .into_iter()
            .try_for_each(|end| end.ip(&["link", "set", end.interface, "mtu", &mtu]))
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for end in [&self.target, &self.initiator] {
            end.kill_all();
            // Fails if it was never created.
            let _ = shell::output(&["ip", "netns", "del", &end.namespace]);
        }
    }
}

/// Removes the namespaces of killed comparisons.
fn remove_old() {
    let names = std::fs::read_dir("/run/netns").into_iter().flatten().flatten();
    for name in names.map(|entry| entry.file_name().to_string_lossy().into_owned()) {
        if shell::left_behind(&name).is_some_and(|rest| rest == "t" || rest == "i") {
            End { namespace: name.clone(), interface: "" }.kill_all();
            let _ = shell::output(&["ip", "netns", "del", &name]);
        }
    }
}

/// The sum of the counters of `ethtool -S` whose names end in "drops" or "errors".
fn sum_of_drops(text: &str) -> u64 {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(name, _)| name.ends_with("drops") || name.ends_with("errors"))
        .filter_map(|(_, value)| value.trim().parse::<u64>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_of_a_driver_are_added_up() {
        let text = "NIC statistics:\n     peer_ifindex: 3\n     rx_queue_0_xdp_packets: 9\n     \
                    rx_queue_0_drops: 2\n     rx_queue_0_xdp_tx_errors: 5\n     rx_queue_0_xdp_drops: 4\n";
        assert_eq!(sum_of_drops(text), 11);
    }
}
