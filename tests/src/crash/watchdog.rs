//! Ends the process if a cycle takes too long.

use std::fs;
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

/// The longest time of a cycle.
const CYCLE_MAX: Duration = Duration::from_secs(30);

/// Active until it is dropped.
pub struct Watchdog(Sender<()>);

impl Watchdog {
    /// If it must end the process, it prints `log` and removes `folder`.
    pub fn new(title: String, log: PathBuf, folder: PathBuf) -> Self {
        let (sender, beats) = channel();
        thread::spawn(move || {
            loop {
                match beats.recv_timeout(CYCLE_MAX) {
                    Ok(()) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                    Err(RecvTimeoutError::Timeout) => {
                        let said = fs::read_to_string(&log).unwrap_or_default();
                        eprintln!("{title}: a cycle took longer than {CYCLE_MAX:?}; xblade said:\n{said}");
                        let _ = fs::remove_dir_all(&folder);
                        std::process::exit(1);
                    }
                }
            }
        });
        Self(sender)
    }

    /// Records the start of a cycle.
    pub fn beat(&self) {
        let _ = self.0.send(());
    }
}
