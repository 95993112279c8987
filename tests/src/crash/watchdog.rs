//! Ends the process if a cycle takes too long.

use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

/// The longest time of a cycle.
const CYCLE_MAX: Duration = Duration::from_secs(30);

/// Returns the log of a daemon.
type Log = Box<dyn Fn() -> String + Send>;

enum Event {
    Beat,
    Follow(Log),
}

/// Active until it is dropped.
pub struct Watchdog(Sender<Event>);

impl Watchdog {
    /// If it must end the process, it prints the newest log and removes `folder`.
    pub fn new(title: String, folder: PathBuf) -> Self {
        let (sender, events) = channel();
        thread::spawn(move || {
            let mut log: Log = Box::new(String::new);
            loop {
                match events.recv_timeout(CYCLE_MAX) {
                    Ok(Event::Beat) => {}
                    Ok(Event::Follow(newer)) => log = newer,
                    Err(RecvTimeoutError::Disconnected) => return,
                    Err(RecvTimeoutError::Timeout) => {
                        let said = log();
                        eprintln!("{title}: a cycle took longer than {CYCLE_MAX:?}; xblade said:\n{said}");
                        let _ = std::fs::remove_dir_all(&folder);
                        std::process::exit(1);
                    }
                }
            }
        });
        Self(sender)
    }

    /// Records the start of a cycle.
    pub fn beat(&self) {
        let _ = self.0.send(Event::Beat);
    }

    /// A new daemon has started.
    pub fn follow(&self, log: impl Fn() -> String + Send + 'static) {
        let _ = self.0.send(Event::Follow(Box::new(log)));
    }
}
