//! The source of snapshots.

use std::path::PathBuf;

use crate::control::{CallError, Client, Snapshot};

/// A source of snapshots.
pub trait Samples {
    /// Takes a snapshot.
    ///
    /// # Errors
    ///
    /// If the daemon cannot be reached.
    fn sample(&mut self) -> Result<Snapshot, CallError>;
}

/// The control socket of a daemon.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
}

impl Socket {
    /// The socket at this path. Each snapshot uses a new connection.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }
}

impl Samples for Socket {
    fn sample(&mut self) -> Result<Snapshot, CallError> {
        let answer = Client::new(&self.path).call("GET", "/v1/samples", Vec::new())?;
        serde_json::from_slice(&answer)
            .map_err(|error| CallError::Odd { path: self.path.clone(), what: error.to_string() })
    }
}
