//! Why frames cannot be steered.

use std::io;

use crate::link::FactsError;
use crate::tune::JournalError;

/// What the messages add for a NIC that cannot steer.
pub const STILL: &str = "xblade serves all the same: it takes requests on whatever queue they come in, and its XDP program takes them to the worker that owns the export";

/// Why steering failed.
#[derive(Debug, thiserror::Error)]
pub enum SteerError {
    /// The interface does not exist, or is not Ethernet.
    #[error(transparent)]
    Interface(#[from] FactsError),
    /// The command line asks for what is not possible.
    #[error("{0}")]
    Request(&'static str),
    /// This machine has to change first: nothing was changed.
    #[error("{0}")]
    Machine(String),
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

impl SteerError {
    /// The exit codes of `xblade serve`: 2 if the request is impossible, 3 if this machine
    /// must change, 1 for anything else.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Interface(FactsError::Kernel { .. }) | Self::Kernel { .. } | Self::HalfWay { .. } => 1,
            Self::Request(_) => 2,
            _ => 3,
        }
    }

    /// From a kernel error.
    pub fn kernel(interface: &str, what: impl Into<String>, source: io::Error) -> Self {
        match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Self::Machine(format!(
                "{interface}: the kernel does not let this process change the rules of a NIC: run as root (CAP_NET_ADMIN)"
            )),
            _ => Self::Kernel { interface: interface.to_owned(), what: what.into(), source },
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
