//! The source of samples.

use std::path::PathBuf;

use crate::control::samples::{PATH, Sample};
use crate::control::{CallError, Client};

/// A source of samples.
pub trait Samples {
    /// Takes a sample.
    ///
    /// # Errors
    ///
    /// If the daemon cannot be reached.
    fn sample(&mut self) -> Result<Sample, CallError>;
}

/// The control socket of a daemon.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
}

impl Socket {
    /// The socket at this path. Each sample uses a new connection.
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
