//! Why frames cannot be steered.

use std::io;
use std::path::PathBuf;

use crate::link::{FactsError, FlowRule};

/// What remains when a NIC cannot steer.
pub const STILL: &str = "xblade serves all the same: it takes requests on whatever queue they come in, and its XDP program takes them to the worker that owns the export";

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum SteerError {
    /// The interface is not there, or not Ethernet.
    #[error(transparent)]
    Interface(#[from] FactsError),
    /// A queue that is not there.
    #[error(
        "{interface} has no receive queue {queue}: give 0 to {last}, or make more with `ethtool -L {interface} combined N`"
    )]
    NoQueue {
        /// The interface.
        interface: String,
        /// What was asked for.
        queue: u32,
        /// The last one.
        last: u32,
    },
    /// Several queues, and nothing to tell the frames apart by.
    #[error(
        "--queues names several queues, and nothing says which frames go to which: name the hosts with --from, or give one --queue"
    )]
    NoHosts,
    /// The driver has no rules.
    #[error(
        "{interface}: driver `{driver}` has no rules for receive queues (ntuple filters), so nothing was changed. {STILL}"
    )]
    NoFilters {
        /// The interface.
        interface: String,
        /// Its driver.
        driver: String,
    },
    /// The driver has rules, and none of them is for such frames.
    #[error(
        "{interface}: driver `{driver}` takes no rule by EtherType and none by MAC address, so nothing was changed. {STILL}"
    )]
    Refused {
        /// The interface.
        interface: String,
        /// Its driver.
        driver: String,
    },
    /// A rule of somebody else catches the same frames.
    #[error(
        "{interface}: rule {location} ({matches}, {goes}) is not xblade's and catches frames of AoE; it was left alone, \
         and nothing was changed: take it away with `ethtool -N {interface} delete {location}`, then run this again",
        location = rule.location, matches = rule.matches, goes = goes(rule)
    )]
    InTheWay {
        /// The interface.
        interface: String,
        /// The rule.
        rule: FlowRule,
    },
    /// No room in the NIC.
    #[error(
        "{interface}: the NIC has no room for another rule; those of before are as they were: see `ethtool -n {interface}` \
         for what may go, or name fewer hosts with --from"
    )]
    Full {
        /// The interface.
        interface: String,
    },
    /// Not allowed.
    #[error(
        "{interface}: the kernel does not let this process change the rules of a NIC: run as root (CAP_NET_ADMIN)"
    )]
    NotAllowed {
        /// The interface.
        interface: String,
    },
    /// The kernel's answer to anything else.
    #[error("{interface}: cannot {what}: {source}; if the link is down, try when it is up")]
    Kernel {
        /// The interface.
        interface: String,
        /// What was done.
        what: String,
        /// The answer.
        source: io::Error,
    },
    /// What was begun could not be finished, nor undone.
    #[error(
        "{fault}; some rules are not as they were before: `xblade steer -i {interface} --revert` takes back all that is \
         xblade's"
    )]
    HalfWay {
        /// The interface.
        interface: String,
        /// Why it could not be undone.
        fault: Box<SteerError>,
    },
    /// The record of what was done.
    #[error("cannot {what} {}: {source}; nothing is changed without a record", path.display())]
    Journal {
        /// Read, write, remove.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn goes(rule: &FlowRule) -> String {
    rule.queue.map_or("not to a queue".to_owned(), |queue| format!("to queue {queue}"))
}

impl SteerError {
    /// As `xblade serve` has them: 2, what was asked for is not possible; 3,
    /// this machine has to change; 1, anything else.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Interface(FactsError::Kernel { .. }) | Self::Kernel { .. } | Self::HalfWay { .. } => 1,
            Self::NoHosts => 2,
            _ => 3,
        }
    }

    /// From an error of the kernel.
    pub fn kernel(interface: &str, what: impl Into<String>, source: io::Error) -> Self {
        let interface = interface.to_owned();
        match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Self::NotAllowed { interface },
            _ => Self::Kernel { interface, what: what.into(), source },
        }
    }
}
