//! Where samples come from.

use std::path::PathBuf;

use crate::control::samples::{PATH, Sample};
use crate::control::{CallError, Client};

/// Gives a sample each time that it is asked.
pub trait Samples {
    /// How things are now.
    ///
    /// # Errors
    ///
    /// When the daemon does not tell.
    fn sample(&mut self) -> Result<Sample, CallError>;
}

/// The control socket of a daemon.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
}

impl Socket {
    /// The socket at this path; it is connected to for each sample.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }
}

impl Samples for Socket {
    fn sample(&mut self) -> Result<Sample, CallError> {
        let answer = Client::new(&self.path).call("GET", PATH, Vec::new())?;
        serde_json::from_slice(&answer)
            .map_err(|error| CallError::Odd { path: self.path.clone(), what: error.to_string() })
    }
}
