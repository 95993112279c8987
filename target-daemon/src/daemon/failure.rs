//! Why the daemon cannot run, as one line and an exit code.

use std::error::Error;
use std::fmt;
use std::io;
use std::iter::successors;

use rustix::process::{Resource, getrlimit};

use crate::control::ControlError;
use crate::link::FactsError;
use crate::store::{OpenError, Problem};

type Cause = Box<dyn Error + Send + Sync>;

/// Why the daemon exited or did not start.
#[derive(Debug)]
pub struct Failure {
    /// The exit code of the process.
    pub exit_code: u8,
    error: Cause,
}

impl Failure {
    /// A failure with this exit code.
    pub fn new(exit_code: u8, error: impl Into<Cause>) -> Self {
        Self { exit_code, error: error.into() }
    }

    /// It failed while running.
    pub fn run(error: impl Into<Cause>) -> Self {
        Self::new(1, error)
    }

    /// The request is impossible on any machine.
    pub fn request(error: impl Into<Cause>) -> Self {
        Self::new(2, error)
    }

    /// Something on this machine must change first, or is missing, perhaps because its name
    /// is wrong. `xblade check` makes the same distinction.
    pub fn machine(error: impl Into<Cause>) -> Self {
        Self::new(3, error)
    }

    /// A condition of this machine, with the system's error.
    pub fn system(what: &str, source: impl Into<Cause>) -> Self {
        Self::machine(Caused { what: what.to_owned(), source: source.into() })
    }

    /// The problem and its remedy, with the system's error behind the problem. The remedy is
    /// empty if it is part of the text.
    pub fn problem(&self) -> Problem {
        let of_a_store = |error: &OpenError| {
            let Problem { what, remedy } = error.problem.clone();
            match error.source() {
                Some(cause) => Problem::new(format!("{what} ({cause})"), remedy),
                None => Problem::new(what, remedy),
            }
        };
        let error = &self.error;
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
}

/// Says what failed.
pub trait Context<T> {
    /// The error as a [`Failure::system`].
    fn context(self, what: &str) -> Result<T, Failure>;
}

impl<T, E: Into<Cause>> Context<T> for Result<T, E> {
    fn context(self, what: &str) -> Result<T, Failure> {
        self.map_err(|error| Failure::system(what, error))
    }
}

/// What failed, and why.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {source}")]
struct Caused {
    what: String,
    source: Cause,
}

/// Whether one of the causes is that too many files are open, in this process or on the
/// machine.
pub fn is_out_of_files(error: &(dyn Error + 'static)) -> bool {
    let code = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
    matches!(code, Some(libc::EMFILE | libc::ENFILE)) || error.source().is_some_and(is_out_of_files)
}

/// An error and all its causes, on one line.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = successors(Some(error), |&error| error.source()).map(ToString::to_string);
    let joined =
        |text: String, cause: String| if text.contains(&cause) { text } else { format!("{text}: {cause}") };
    let text = causes.reduce(joined).unwrap_or_default();
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

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&chain(self.error.as_ref()))
    }
}

impl Error for Failure {}

impl From<ControlError> for Failure {
    fn from(error: ControlError) -> Self {
        Self::new(if matches!(error, ControlError::Machine(_)) { 3 } else { 2 }, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_files_run_out_the_limit_is_named_with_the_remedy() {
        let error = |code| Failure::system("cannot do it", io::Error::from_raw_os_error(code)).to_string();
        for code in [libc::EMFILE, libc::ENFILE] {
            let text = error(code);
            assert!(text.starts_with("cannot do it: Too many open files"), "{text}");
            assert!(text.contains("files open: raise the hard limit (ulimit -Hn, LimitNOFILE="), "{text}");
        }
        assert_eq!(error(libc::EIO), "cannot do it: Input/output error (os error 5)");
    }
}
