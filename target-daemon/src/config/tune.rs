//! The command lines of `xblade tune` and `xblade steer`, which change this machine.

use std::fmt;
use std::str::FromStr;

use clap::{ArgGroup, Args};
use smart_default::SmartDefault;

use crate::wire::ether::Mac;

/// Printed below the options of `xblade steer`.
const STEER_EXAMPLES: &str = "\
Examples:
  What could be done, and what for:
      xblade steer -i eth1 --plan --queue 2
  All AoE to queue 2:
      xblade steer -i eth1 --apply --queue 2
  The hosts in turn over queues 2 and 3:
      xblade steer -i eth1 --apply --queues 2,3 --from 52:54:00:00:00:01,52:54:00:00:00:02
  Take back what --apply did:
      xblade steer -i eth1 --revert

Needs a driver with rules for Ethernet frames (ethtool -N); docs/TUNING.md says
which have them. What was done is in /run/xblade-machine/steer-IF.json.

Exit codes: 0 done, or nothing to do; 1 the kernel failed; 2 wrong command line;
3 there is no such interface or queue, or the driver cannot, is full, or has a rule
of another program for the same frames: nothing was changed.";

/// Printed below the options of `xblade tune`.
const TUNE_EXAMPLES: &str = "\
Examples:
  What is, what should be, and why:
      xblade tune -i eth1 --cores 2,3
  Change what can be changed while the machine runs, before xblade starts
  (new ring sizes lose frames):
      xblade tune -i eth1 --cores 2,3 --apply
  Take back what --apply did:
      xblade tune -i eth1 --revert

docs/TUNING.md explains each setting. A setting that this machine does not have
is skipped. The old values are in /run/xblade-machine/tune-IF.json.

Exit codes: 0 done, or nothing to do; 1 a setting could not be changed;
2 wrong command line; 3 there is no such interface or core, or the old values
cannot be noted: nothing was changed.";

/// What a command does to this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Print what would be done, and change nothing.
    Plan,
    /// Do it.
    Apply,
    /// Revert what was done.
    Revert,
}

/// The options that select the mode.
#[derive(Args, Clone, Debug)]
pub struct ModeOptions {
    /// Say what would be done and why; change nothing.
    #[arg(long, group = "mode")]
    pub plan: bool,

    /// Do it. A second time changes nothing more.
    #[arg(long, group = "mode")]
    pub apply: bool,

    /// Take back exactly what was done.
    #[arg(long, group = "mode")]
    pub revert: bool,
}

impl ModeOptions {
    /// The selected mode.
    pub fn mode(&self) -> Mode {
        match (self.apply, self.revert) {
            (true, _) => Mode::Apply,
            (_, true) => Mode::Revert,
            _ => Mode::Plan,
        }
    }
}

/// `xblade steer`.
#[derive(Args, Clone, Debug)]
#[command(after_help = STEER_EXAMPLES, group(ArgGroup::new("mode").required(true)))]
pub struct Steer {
    /// The interface.
    #[arg(short, long, value_name = "IF")]
    pub interface: String,

    /// What to do.
    #[command(flatten)]
    pub mode: ModeOptions,

    /// The receive queue for all AoE. Without it: queue 0.
    #[arg(long, value_name = "N", conflicts_with_all = ["queues", "revert"])]
    pub queue: Option<u32>,

    /// Receive queues for the hosts of --from, in turn; all other AoE comes in on
    /// the first. Without it: all queues.
    #[arg(long, value_name = "LIST", value_delimiter = ',', conflicts_with = "revert")]
    pub queues: Vec<u32>,

    /// MAC addresses of hosts to tell apart.
    #[arg(long, value_name = "MAC", value_delimiter = ',', conflicts_with = "revert")]
    pub from: Vec<Mac>,
}

/// `xblade tune`.
#[derive(Args, Clone, Debug)]
#[command(after_help = TUNE_EXAMPLES, group(ArgGroup::new("mode")))]
pub struct Tune {
    /// Interface that xblade serves on; repeat it for more.
    #[arg(short, long = "interface", value_name = "IF", required = true)]
    pub interfaces: Vec<String>,

    /// What to do. Without any: as with --plan.
    #[command(flatten)]
    pub mode: ModeOptions,

    /// What the workers need.
    #[command(flatten)]
    pub demands: Demands,
}

/// The demands on a machine, from which the wanted settings follow.
#[derive(Args, SmartDefault, Clone, Debug)]
pub struct Demands {
    /// The workers' cores, for example 2,3 or 2-5.
    #[arg(long, value_name = "LIST", default_value = "", hide_default_value = true)]
    pub cores: CoreList,

    /// The workers spin (--idle spin): keep interrupts off their cores.
    /// Without it they go to the worker of their queue.
    #[arg(long)]
    pub spin: bool,

    /// The workers poll the NIC (--busy-poll): put its interrupts off.
    #[arg(long)]
    pub busy_poll: bool,

    /// Entries of the NIC's rings, at least; or its maximum.
    #[arg(long, value_name = "N", default_value_t = Self::default().ring)]
    #[default = 4096]
    pub ring: u32,

    /// Microseconds to delay an interrupt, at most.
    #[arg(long, value_name = "MICROS", default_value_t = Self::default().coalesce)]
    #[default = 8]
    pub coalesce: u32,

    /// The MTU; only if all switches and hosts have it.
    #[arg(long, value_name = "BYTES")]
    pub mtu: Option<u32>,

    /// Huge pages to reserve, for --huge-pages and store=mmap.
    #[arg(long, value_name = "N")]
    pub huge_pages: Option<u64>,

    /// Exports have a vlan: open the VLAN filter of the NIC.
    #[arg(long)]
    pub vlans: bool,
}

/// Cores, in order of the workers; as text in the kernel's format: `0-2,5`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CoreList(pub Vec<usize>);

impl CoreList {
    /// The cores of this list that are not in the other one.
    #[must_use]
    pub fn without(&self, others: &Self) -> Self {
        Self(self.0.iter().copied().filter(|core| !others.0.contains(core)).collect())
    }

    /// Whether each core is in the other list.
    pub fn is_within(&self, others: &Self) -> bool {
        self.without(others).0.is_empty()
    }
}

impl FromStr for CoreList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let range = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
            // The kernel's lists are short, so a longer one is malformed.
            (first <= last && last - first <= 1 << 16).then_some(first..=last)
        };
        let parts = text.split(',').filter(|_| !text.is_empty());
        let ranges: Option<Vec<_>> = parts.map(range).collect();
        let ranges = ranges.ok_or("give numbers and ranges, as in 2,3 or 2-5")?;
        Ok(Self(ranges.into_iter().flatten().collect()))
    }
}

impl fmt::Display for CoreList {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ranges = self.0.chunk_by(|core, next| core + 1 == *next).filter_map(|range| {
            let (first, last) = (range.first()?, range.last()?);
            Some(if first == last { first.to_string() } else { format!("{first}-{last}") })
        });
        to.write_str(&ranges.collect::<Vec<_>>().join(","))
    }
}
