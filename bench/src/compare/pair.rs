//! The two ends of the network: a veth pair between two network namespaces, removed when
//! dropped, or interfaces of two hosts, whose settings stay as they are.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::args::TwoHosts;

use super::case::Case;
use super::shell;

/// Interface names. Each is alone in its namespace, so they cannot collide.
const TARGET_IF: &str = "xbbt";
const INITIATOR_IF: &str = "xbbi";
const ONE_QUEUE: &str = "numtxqueues 1 numrxqueues 1";
/// The name of this program on the other host.
pub const BENCH: &str = "xblade-bench";

/// One end.
#[derive(Clone, Debug)]
pub struct End {
    /// The words in front of a command that run it there.
    pub reach: Vec<String>,
    /// The interface there.
    pub interface: String,
}

/// Both ends. Dropping it removes what was made.
#[derive(Debug)]
pub struct Pair {
    /// Where the target runs.
    pub target: End,
    /// Where the generator runs.
    pub initiator: End,
    /// The namespaces of a veth pair; two hosts have none.
    namespaces: Vec<String>,
}

impl End {
    /// A program at this end, on a core.
    pub fn command(&self, core: usize, program: &Path) -> Command {
        let core = core.to_string();
        let mut words = self.words(&["taskset", "-c", &core]).into_iter();
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).arg(program);
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

    fn mtu(&self) -> Result<usize> {
        let link = self.link()?;
        let mtu = link.pointer("/0/mtu").and_then(Value::as_u64);
        Ok(mtu.with_context(|| format!("the MTU of {} is unknown", self.interface))? as usize)
    }

    /// The interface with its counters.
    fn link(&self) -> Result<Value> {
        let text = self.run(&["ip", "-s", "-j", "link", "show", "dev", &self.interface])?;
        serde_json::from_str(&text).context("cannot read the output of `ip -s -j link`")
    }

    /// Runs a command at this end; returns its output.
    fn run(&self, words: &[&str]) -> Result<String> {
        shell::run(&self.words(words))
    }

    fn words<'a>(&'a self, words: &[&'a str]) -> Vec<&'a str> {
        self.reach.iter().map(String::as_str).chain(words.iter().copied()).collect()
    }
}

impl Pair {
    /// Creates a veth pair, with the ID of this process in the names of its namespaces.
    pub fn veth() -> Result<Self> {
        for path in shell::left_behind(Path::new("/run/netns")) {
            remove(&path.file_name().unwrap_or_default().to_string_lossy());
        }
        let [t, i] = ["t", "i"].map(|letter| format!("xbb-{}-{letter}", std::process::id()));
        let end = |namespace: &str, interface: &str| End {
            // Not `ip netns exec`: that hides /sys/fs/bpf.
            reach: vec!["nsenter".to_owned(), format!("--net=/run/netns/{namespace}")],
            interface: interface.to_owned(),
        };
        let (target, initiator) = (end(&t, TARGET_IF), end(&i, INITIATOR_IF));
        let line = format!(
            "ip link add {TARGET_IF} netns {t} {ONE_QUEUE} type veth peer name {INITIATOR_IF} netns {i} {ONE_QUEUE}"
        );
        let pair = Self { target, initiator, namespaces: vec![t, i] };
        pair.build(&line).context("cannot make a veth pair (run as root)")?;
        Ok(pair)
    }

    fn build(&self, line: &str) -> Result<()> {
        for namespace in &self.namespaces {
            shell::run(&["ip", "netns", "add", namespace])?;
        }
        shell::run(&line.split(' ').collect::<Vec<_>>())?;
        // Without an IPv6 address the kernel sends nothing by itself.
        self.set(&["addrgenmode", "none", "up"])
    }

    /// The ends on two hosts. Cases are measured at the MTU that both have.
    pub fn of_hosts(hosts: &TwoHosts, cases: &mut [Case]) -> Result<Self> {
        let TwoHosts { interface: ours, remote, remote_interface: theirs } = hosts;
        // A target must not outlive this process: nothing else would end it.
        let here = "setpriv --pdeathsig KILL".split(' ').map(str::to_owned).collect();
        let there =
            shlex::split(remote).with_context(|| format!("--remote '{remote}': a quotation mark is open"))?;
        let end = |reach, interface: &String| End { reach, interface: interface.clone() };
        let pair = Self { target: end(here, ours), initiator: end(there, theirs), namespaces: vec![] };
        pair.check(cases).with_context(|| format!("--remote '{remote}'"))?;
        let (here, there) = (pair.target.mtu()?, pair.initiator.mtu()?);
        for case in cases {
            let (mtu, bytes) = (case.mtu, case.bytes());
            ensure!(
                here == there && case.fits(here),
                "a case of {bytes} bytes needs one MTU on both hosts that it fits, for example {mtu}, but {ours} here \
                 has {here}, and {theirs} there {there}: change them with `ip link set IF mtu {mtu}`, or give another \
                 --case"
            );
            case.mtu = here;
        }
        Ok(pair)
    }

    /// Describes the network.
    pub fn network(&self) -> String {
        let (here, there) = (&self.target.interface, &self.initiator.interface);
        if self.namespaces.is_empty() {
            format!("{here} here, {there} on the generator's host ({})", self.initiator.reach.join(" "))
        } else {
            "veth pair between two namespaces, one queue; nothing else on it".to_owned()
        }
    }

    /// Checks that the other host has this program, and that no target answers at an address that
    /// will be written to.
    fn check(&self, cases: &[Case]) -> Result<()> {
        let own = concat!("xblade-bench ", env!("CARGO_PKG_VERSION"));
        let there = self.initiator.run(&[BENCH, "--version"])?;
        let (there, interface) = (there.trim(), &self.initiator.interface);
        ensure!(own == there, "this is {own}, and there it is {there}: install the same");
        // Fails if no one answers.
        let text = self.initiator.run(&[BENCH, "discover", "--json", "--interface", interface]);
        let exports: Vec<Value> = text.map_or(Ok(vec![]), |text| serde_json::from_str(&text))?;
        let ours: Vec<String> = cases.iter().flat_map(Case::addresses).collect();
        let taken = ours.iter().find(|ours| exports.iter().any(|export| export["export"] == ours.as_str()));
        ensure!(
            taken.is_none(),
            "a target answers at {} on {interface} already, and would be overwritten: stop it, or measure on another \
             network",
            taken.map_or("", String::as_str)
        );
        Ok(())
    }

    /// Sets the MTU of a veth pair; two hosts have that of the case already.
    pub fn set_mtu(&self, mtu: usize) -> Result<()> {
        if self.namespaces.is_empty() { Ok(()) } else { self.set(&["mtu", &mtu.to_string()]) }
    }

    /// Changes both ends of a veth pair.
    fn set(&self, words: &[&str]) -> Result<()> {
        let set = |end: &End| end.run(&[&["ip", "link", "set", &end.interface], words].concat()).map(drop);
        [&self.target, &self.initiator].into_iter().try_for_each(set)
    }

    /// Frames dropped by the target's end and by the generator's.
    pub fn drops(&self) -> Result<[u64; 2]> {
        Ok([self.target.drops()?, self.initiator.drops()?])
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.namespaces.iter().for_each(|namespace| remove(namespace));
    }
}

/// Removes a namespace with all that runs in it. It may never have been made.
fn remove(namespace: &str) {
    let script = "ip netns pids $0 | xargs -r kill -KILL; ip netns del $0";
    let _ = shell::run(&["sh", "-c", script, namespace]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_two_hosts() -> Pair {
        let end = |reach: &str, interface: &str| End {
            reach: reach.split_whitespace().map(str::to_owned).collect(),
            interface: interface.to_owned(),
        };
        Pair { target: end("", "eth1"), initiator: end("ssh root@host2", "eth2"), namespaces: vec![] }
    }

    #[test]
    fn a_command_is_run_where_its_end_is() {
        let pair = on_two_hosts();
        let words = |end: &End, core| format!("{:?}", end.command(core, Path::new("x"))).replace('"', "");
        assert_eq!(words(&pair.target, 1), "taskset -c 1 x");
        assert_eq!(words(&pair.initiator, 0), "ssh root@host2 taskset -c 0 x");
        let said =
            End { reach: vec!["false".to_owned()], ..pair.target.clone() }.drops().unwrap_err().to_string();
        assert_eq!(said, "`false ip -s -j link show dev eth1` failed: ");
    }

    #[test]
    fn two_hosts_are_described_and_not_changed() {
        let pair = on_two_hosts();
        assert_eq!(pair.network(), "eth1 here, eth2 on the generator's host (ssh root@host2)");
        // There are no such interfaces: a change would fail.
        pair.set_mtu(9000).unwrap();
    }
}
