//! Why the daemon does not run, in one line, with an exit code.

use std::error::Error;
use std::fmt;

use crate::wire::aoe::Address;
use crate::wire::ether::Mac;

/// Why the daemon ended or did not start.
#[derive(Debug)]
pub enum Failure {
    /// What was asked for is not possible as asked, whatever the machine.
    Request(Box<dyn Error + Send + Sync>),
    /// Something on this machine has to change first, or is not there, so that it may
    /// be the name of it that is wrong: as `xblade check` has it.
    Machine(Box<dyn Error + Send + Sync>),
    /// The process may not do what it needs to.
    Privilege {
        /// Capabilities that it lacks.
        missing: Vec<&'static str>,
    },
    /// Somebody else answers at an address.
    AddressTaken {
        /// The address.
        address: Address,
        /// Who answers.
        by: Mac,
        /// On which interface.
        interface: String,
    },
    /// It ran, and failed.
    Run(Box<dyn Error + Send + Sync>),
}

impl Failure {
    /// A condition of this machine, with the system's error.
    pub fn machine(what: &str, source: impl fmt::Display) -> Self {
        Self::Machine(format!("{what}: {source}").into())
    }

    /// A request that cannot be fulfilled.
    pub fn request(what: impl fmt::Display) -> Self {
        Self::Request(what.to_string().into())
    }

    /// The exit code of the process.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Run(_) => 1,
            Self::Request(_) => 2,
            Self::Machine(_) | Self::Privilege { .. } => 3,
            Self::AddressTaken { .. } => 4,
        }
    }
}

/// An error and all its causes, on one line.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(e) | Self::Machine(e) | Self::Run(e) => f.write_str(&chain(e.as_ref())),
            Self::Privilege { missing } => {
                write!(f, "this process lacks {}: run xblade as root (sudo xblade ...)", missing.join(", "))
            }
            Self::AddressTaken { address, by, interface } => write!(
                f,
                "{by} on {interface} serves {address} already: initiators would mix the two disks. Stop it, \
                 or give this export another address (--no-probe if it is the same data on purpose)"
            ),
        }
    }
}

impl Error for Failure {}
