//! Two network namespaces with a veth pair between them, removed when dropped.

use std::path::Path;
use std::process::Command;

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
    /// Runs a program here, on a core.
    pub fn command(&self, core: usize, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        // Not `ip netns exec`: that hides /sys/fs/bpf.
        command.arg(format!("--net=/run/netns/{}", self.namespace));
        command.args(["taskset", "-c", &core.to_string()]).arg(program);
        command
    }

    /// Frames dropped by this interface.
    pub fn drops(&self) -> Result<u64> {
        let link = self.link()?;
        let counters = ["rx/dropped", "tx/dropped", "rx/errors"];
        Ok(counters.iter().filter_map(|name| link.pointer(&format!("/0/stats64/{name}"))?.as_u64()).sum())
    }

    /// Where the attached XDP program runs.
    pub fn xdp(&self) -> Result<&'static str> {
        // XDP_ATTACHED_*, linux/if_link.h.
        Ok(match self.link()?.pointer("/0/xdp/mode").and_then(Value::as_u64) {
            Some(1) => "native mode",
            Some(2) => "generic mode",
            Some(_) => "another mode",
            None => "none",
        })
    }

    /// The interface with its counters.
    fn link(&self) -> Result<Value> {
        let words = ["ip", "-n", &self.namespace, "-s", "-j", "link", "show", "dev", self.interface];
        serde_json::from_str(&shell::run(&words)?).context("cannot read the output of `ip -s -j link`")
    }

    /// Kills every process in its namespace; all of them are ours.
    pub fn kill_all(&self) {
        let pids = shell::run(&["ip", "netns", "pids", &self.namespace]).unwrap_or_default();
        for pid in pids.split_whitespace() {
            let _ = shell::run(&["kill", "-KILL", pid]);
        }
    }

    fn set(&self, words: &[&str]) -> Result<()> {
        shell::run(&[&["ip", "-n", &self.namespace, "link", "set", self.interface], words].concat())
            .map(|_| ())
    }

    /// Removes the namespace with all that runs in it. It may never have been made.
    fn remove(&self) {
        self.kill_all();
        let _ = shell::run(&["ip", "netns", "del", &self.namespace]);
    }
}

impl Pair {
    /// Creates the pair, with the ID of this process in the names.
    pub fn new() -> Result<Self> {
        for path in shell::left_behind(Path::new("/run/netns")) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            End { namespace: name, interface: "" }.remove();
        }
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
        let queues = ["numtxqueues", "1", "numrxqueues", "1"];
        let one = [&["ip", "link", "add", t.interface, "netns", &t.namespace], &queues[..]].concat();
        let other =
            [&["type", "veth", "peer", "name", i.interface, "netns", &i.namespace], &queues[..]].concat();
        shell::run(&[one, other].concat())?;
        // Without an IPv6 address the kernel sends nothing by itself.
        [t, i].iter().try_for_each(|end| end.set(&["addrgenmode", "none", "up"]))
    }

    /// Sets the MTU of both ends.
    pub fn set_mtu(&self, mtu: usize) -> Result<()> {
        [&self.target, &self.initiator].iter().try_for_each(|end| end.set(&["mtu", &mtu.to_string()]))
    }

    /// Frames dropped by both ends.
    pub fn drops(&self) -> Result<u64> {
        Ok(self.target.drops()? + self.initiator.drops()?)
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        [&self.target, &self.initiator].iter().for_each(|end| end.remove());
    }
}
