//! The command line of `xblade steer`.

use clap::{ArgGroup, Args};

use crate::wire::ether::Mac;

/// Printed below the options.
pub const STEER_EXAMPLES: &str = "\
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

/// `xblade steer`.
#[derive(Args, Clone, Debug)]
#[command(after_help = STEER_EXAMPLES, group(ArgGroup::new("mode").required(true)))]
pub struct Steer {
    /// The interface.
    #[arg(short, long, value_name = "IF")]
    pub interface: String,

    /// Say what would be done and why; change nothing.
    #[arg(long, group = "mode")]
    pub plan: bool,

    /// Do it. A second time changes nothing more.
    #[arg(long, group = "mode")]
    pub apply: bool,

    /// Take back exactly what was done.
    #[arg(long, group = "mode", conflicts_with_all = ["queue", "queues", "from"])]
    pub revert: bool,

    /// The receive queue for all AoE. Without it: queue 0.
    #[arg(long, value_name = "N", conflicts_with = "queues")]
    pub queue: Option<u32>,

    /// Receive queues for the hosts of --from, in turn; all other AoE comes in on
    /// the first. Without it: all queues.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub queues: Vec<u32>,

    /// MAC addresses of hosts to tell apart.
    #[arg(long, value_name = "MAC", value_delimiter = ',')]
    pub from: Vec<Mac>,
}
