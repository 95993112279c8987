//! Why frames cannot be steered.

use std::io;

use crate::link::{FactsError, FlowMatch, FlowRule};
use crate::tune::JournalError;

/// What the messages add for a NIC that cannot steer.
pub const STILL: &str = "xblade serves all the same: it takes requests on whatever queue they come in, and its XDP program takes them to the worker that owns the export";

/// Why steering failed.
#[derive(Debug, thiserror::Error)]
pub enum SteerError {
    /// The interface does not exist, or is not Ethernet.
    #[error(transparent)]
    Interface(#[from] FactsError),
    /// A nonexistent queue.
    #[error(
        "{interface} has no receive queue {queue}: give 0 to {last}, or make more with `ethtool -L {interface} combined N`"
    )]
    NoQueue {
        /// The interface.
        interface: String,
        /// The requested queue.
        queue: u32,
        /// The last one.
        last: u32,
    },
    /// Several queues, and no hosts by which to distribute the frames.
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
    /// The driver has rules, but none for such frames.
    #[error(
        "{interface}: driver `{driver}` takes no rule by EtherType and none by MAC address, so nothing was changed. {STILL}"
    )]
    Refused {
        /// The interface.
        interface: String,
        /// Its driver.
        driver: String,
    },
    /// A foreign rule catches the same frames.
    #[error(
        "{interface}: rule {location} ({matches}, {goes}) is not xblade's and catches frames of AoE; it was left alone, \
         and nothing was changed: take it away with `ethtool -N {interface} delete {location}`, then run this again",
        location = rule.location, goes = goes(rule)
    )]
    InTheWay {
        /// The interface.
        interface: String,
        /// The rule.
        rule: FlowRule,
        /// The frames that it matches.
        matches: FlowMatch,
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
    /// No permission.
    #[error(
        "{interface}: the kernel does not let this process change the rules of a NIC: run as root (CAP_NET_ADMIN)"
    )]
    NotAllowed {
        /// The interface.
        interface: String,
    },
    /// Any other kernel error.
    #[error("{interface}: cannot {what}: {source}; if the link is down, try when it is up")]
    Kernel {
        /// The interface.
        interface: String,
        /// What was attempted.
        what: String,
        /// The error.
        source: io::Error,
    },
    /// A change could neither be completed nor undone.
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
    /// An error with the journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

fn goes(rule: &FlowRule) -> String {
    rule.queue.map_or("not to a queue".to_owned(), |queue| format!("to queue {queue}"))
}

impl SteerError {
    /// The exit codes of `xblade serve`: 2 if the request is impossible, 3 if this machine
    /// must change, 1 for anything else.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Interface(FactsError::Kernel { .. }) | Self::Kernel { .. } | Self::HalfWay { .. } => 1,
            Self::NoHosts => 2,
            _ => 3,
        }
    }

    /// From a kernel error.
    pub fn kernel(interface: &str, what: impl Into<String>, source: io::Error) -> Self {
        let interface = interface.to_owned();
        match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Self::NotAllowed { interface },
            _ => Self::Kernel { interface, what: what.into(), source },
        }
    }
}

/// The kernel's internal "not supported", which some drivers return by mistake.
const ENOTSUPP: i32 = 524;

/// Whether the driver does not support the operation.
pub fn refuses(error: &io::Error) -> bool {
    let refusals = [libc::EOPNOTSUPP, libc::EINVAL, libc::EPROTONOSUPPORT, libc::ENOSYS, ENOTSUPP];
    error.raw_os_error().is_some_and(|code| refusals.contains(&code))
}

/// Whether the driver has no room left.
pub fn is_full(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|code| [libc::ENOSPC, libc::ENOMEM, libc::E2BIG].contains(&code))
}
