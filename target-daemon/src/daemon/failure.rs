//! Why the daemon cannot run, as one line and an exit code.

use std::error::Error;
use std::fmt;
use std::io;

use rustix::process::{Resource, getrlimit};

use crate::link::FactsError;
use crate::store::{OpenError, Problem};
use crate::wire::aoe::Address;
use crate::wire::ether::Mac;

/// Why the daemon exited or did not start.
#[derive(Debug)]
pub enum Failure {
    /// The request is impossible on any machine.
    Request(Box<dyn Error + Send + Sync>),
    /// Something on this machine must change first, or is missing, perhaps because its name
    /// is wrong. `xblade check` makes the same distinction.
    Machine(Box<dyn Error + Send + Sync>),
    /// The process lacks privileges.
    Privilege {
        /// The missing capabilities.
        missing: Vec<&'static str>,
    },
    /// Another target answers at an address.
    AddressTaken {
        /// The address.
        address: Address,
        /// The MAC address of that target.
        by: Mac,
        /// The interface on which it answered.
        interface: String,
    },
    /// It failed while running.
    Run(Box<dyn Error + Send + Sync>),
}

impl Failure {
    /// A condition of this machine, with the system's error.
    pub fn machine(what: &str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Machine(Box::new(Caused { what: what.to_owned(), source: source.into() }))
    }

    /// A request that cannot be fulfilled.
    pub fn request(what: impl fmt::Display) -> Self {
        Self::Request(what.to_string().into())
    }

    /// The problem and its remedy, with the system's error behind the problem. The remedy is
    /// empty where it is part of the text.
    pub fn problem(&self) -> Problem {
        let (Self::Request(error) | Self::Machine(error) | Self::Run(error)) = self else {
            return Problem::new(self.to_string(), "");
        };
        let of_a_store = |error: &OpenError| {
            let Problem { what, remedy } = error.problem.clone();
            match error.source() {
                Some(cause) => Problem::new(format!("{what} ({cause})"), remedy),
                None => Problem::new(what, remedy),
            }
        };
        match (error.downcast_ref::<Problem>(), error.downcast_ref(), error.downcast_ref()) {
            (Some(problem), ..) => problem.clone(),
            (_, Some(error), _) => of_a_store(error),
            (.., Some(FactsError::Missing { name, there })) => {
                let remedy = format!("give one of those there are ({})", there.join(", "));
                Problem::new(format!("interface `{name}` does not exist"), remedy)
            }
            _ => Problem::new(self.to_string(), ""),
        }
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

/// What failed, and why.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {source}")]
struct Caused {
    what: String,
    source: Box<dyn Error + Send + Sync>,
}

/// Whether one of the causes is that too many files are open, in this process or on the
/// machine.
pub fn is_out_of_files(error: &(dyn Error + 'static)) -> bool {
    let code = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
    matches!(code, Some(libc::EMFILE | libc::ENFILE)) || error.source().is_some_and(is_out_of_files)
}

/// An error and all its causes, on one line.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let text = with_causes(error);
    if !is_out_of_files(error) {
        return text;
    }
    let limit =
        getrlimit(Resource::Nofile).current.map_or("any number of".to_owned(), |limit| limit.to_string());
    format!(
        "{text}: this process may have {limit} files open: raise the hard limit (ulimit -Hn, LimitNOFILE= of the \
         service; sysctl fs.file-max for the machine), or serve fewer exports"
    )
}

fn with_causes(error: &dyn Error) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_files_run_out_the_limit_is_named_with_the_remedy() {
        let error = |code| Failure::machine("cannot do it", io::Error::from_raw_os_error(code)).to_string();
        for code in [libc::EMFILE, libc::ENFILE] {
            let text = error(code);
            assert!(text.starts_with("cannot do it: Too many open files"), "{text}");
            assert!(text.contains("files open: raise the hard limit (ulimit -Hn, LimitNOFILE="), "{text}");
        }
        assert_eq!(error(libc::EIO), "cannot do it: Input/output error (os error 5)");
    }
}
