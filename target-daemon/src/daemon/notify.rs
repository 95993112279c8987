//! The service manager interface (`sd_notify(3)`): reports readiness, and pings the
//! watchdog as long as every worker makes progress. Without a service manager, all of this
//! does nothing.

use std::env;
use std::ffi::OsStr;
use std::io::Error;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use log::{info, warn};
use rustix::time::{ClockId, clock_gettime};

use super::interface::{Interface, Presence};
use super::worker_pool::WorkerPool;
use crate::config::Serve;

/// A worker without progress for this long is logged.
const STILL: Duration = Duration::from_secs(10);

/// Reports to the service manager, if there is one: readiness, reloads, status, and watchdog
/// pings.
///
/// Its socket is opened and connected once, at the start, because later the process may do
/// neither. A crate would open it for each message, so none is used.
#[derive(Debug)]
pub struct ServiceNotifier {
    socket: Option<UnixDatagram>,
    /// The manager kills this process if there is no ping for this long.
    watchdog: Option<Duration>,
    status: String,
    /// Whether the last reload was accepted.
    well: bool,
    ready: bool,
    /// The heartbeats of the workers at the last ping, and the time of that ping.
    beats: Vec<u64>,
    since: Instant,
    told: bool,
}

impl ServiceNotifier {
    /// The manager that started this process, according to the environment.
    pub fn find() -> Self {
        let name = env::var_os("NOTIFY_SOCKET");
        let socket = name.and_then(|name| {
            let warn =
                |e: &Error| warn!("the service manager's socket {} cannot be used: {e}", name.display());
            connect(&name).inspect_err(warn).ok()
        });
        let watchdog = socket.as_ref().and_then(|_| watchdog());
        Self::new(socket, watchdog)
    }

    fn new(socket: Option<UnixDatagram>, watchdog: Option<Duration>) -> Self {
        let (status, beats, since) = (String::new(), Vec::new(), Instant::now());
        Self { socket, watchdog, status, well: true, ready: false, beats, since, told: false }
    }

    /// Called once per pass of the control thread. Everything is ready when the first
    /// announcement has been sent.
    pub fn follow(&mut self, pool: &WorkerPool) {
        if !self.ready && pool.has_settled() {
            self.ready = true;
            info!("ready: {}", self.status);
            self.say_ready();
        }
        self.watch(pool.heartbeats());
    }

    /// Reports a reload. [`Self::reloaded`] must follow.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=reloading"));
    }

    /// A reload has ended, successful or not: what is served now is ready.
    pub fn reloaded(&mut self, status: String, well: bool) {
        (self.status, self.well) = (status, well);
        self.say_ready();
    }

    /// Updates the line in `systemctl status`, which is sent when everything is ready.
    pub fn remark(&mut self, status: String) {
        if status != self.status {
            self.status = status;
            if self.ready {
                self.tell(&self.line());
            }
        }
    }

    fn say_ready(&self) {
        self.tell(&format!("READY=1\n{}", self.line()));
    }

    fn line(&self) -> String {
        let remark = if self.well { "" } else { "; the last reload was refused, see the log" };
        format!("STATUS={}{remark}", self.status)
    }

    /// Whether a service manager restarts the process when it exits.
    pub fn restarts(&self) -> bool {
        self.socket.is_some()
    }

    /// Reports that requests in flight are being finished before the process exits.
    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=finishing what is under way");
    }

    fn tell(&self, what: &str) {
        let Some(socket) = &self.socket else { return };
        // Non-blocking: never wait for a manager that is gone or busy.
        if let Err(e) = socket.send(what.as_bytes()) {
            log::debug!("the service manager was not told {what:?}: {e}");
        }
    }

    /// Pings the service manager if every worker has made progress since the last ping;
    /// otherwise logs once which worker has not. Must be called a few times within the
    /// watchdog timeout.
    fn watch(&mut self, beats: Vec<u64>) {
        let pairs = beats.iter().zip(&self.beats).enumerate();
        let still: Vec<usize> =
            pairs.filter(|(_, (now, then))| now == then).map(|(worker, _)| worker).collect();
        if still.is_empty() {
            (self.beats, self.since, self.told) = (beats, Instant::now(), false);
            if self.watchdog.is_some() {
                self.tell("WATCHDOG=1");
            }
        } else if !self.told && self.since.elapsed() > STILL {
            self.told = true;
            let limit = self
                .watchdog
                .map_or_else(String::new, |time| format!(", and xblade is restarted after {time:?}"));
            for worker in still {
                warn!(
                    "worker {worker} has not moved for 10 s: it is blocked in a store, and so are its exports{limit}"
                );
            }
        }
    }
}

fn connect(name: &OsStr) -> Result<UnixDatagram, Error> {
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(abstract_name) => SocketAddr::from_abstract_name(abstract_name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.connect_addr(&address)?;
    Ok(socket)
}

/// The watchdog timeout, if it applies to this process.
fn watchdog() -> Option<Duration> {
    let number = |name: &str| env::var(name).ok()?.parse::<u64>().ok();
    let ours =
        env::var_os("WATCHDOG_PID").is_none() || number("WATCHDOG_PID") == Some(std::process::id().into());
    number("WATCHDOG_USEC").filter(|usec| ours && *usec > 0).map(Duration::from_micros)
}

/// One line that describes what is served, and which interfaces are not.
pub fn status(options: &Serve, interfaces: &[Interface], late: &[&str]) -> String {
    let count = options.exports.len();
    let names: Vec<String> = interfaces.iter().map(named).collect();
    let served = format!("{count} export{} on {}", if count == 1 { "" } else { "s" }, names.join(", "));
    if late.is_empty() {
        return served;
    }
    format!("{served}; not served until a restart: {}", late.join(", "))
}

/// Its name, and why no host can be reached through it.
fn named(interface: &Interface) -> String {
    let name = &interface.facts.name;
    match interface.presence {
        Presence::Here if interface.facts.is_live() => name.clone(),
        Presence::Here => format!("{name} (down)"),
        Presence::Gone | Presence::Replaced => format!("{name} (gone)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (ServiceNotifier, UnixDatagram) {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        (ServiceNotifier::new(Some(ours), Some(Duration::from_secs(1))), theirs)
    }

    fn heard(by: &UnixDatagram) -> Option<String> {
        let mut bytes = [0; 256];
        let len = by.recv(&mut bytes).ok()?;
        Some(String::from_utf8(bytes[..len].to_vec()).unwrap())
    }

    #[test]
    fn the_watchdog_is_pinged_while_every_worker_moves() {
        let (mut notifier, ear) = pair();
        notifier.beats = vec![0, 0];
        for (beats, fed) in [
            (vec![0, 0], false),
            (vec![1, 0], false),
            (vec![9, 0], false),
            (vec![9, 1], true),
            (vec![9, 2], false),
            (vec![10, 2], true),
        ] {
            notifier.watch(beats.clone());
            assert_eq!(heard(&ear).is_some(), fed, "{beats:?}");
        }
    }

    #[test]
    fn without_a_manager_nothing_is_sent() {
        let mut notifier = ServiceNotifier::new(None, None);
        notifier.reloaded("x".to_owned(), true);
        notifier.watch(vec![1]);
    }

    #[test]
    fn a_reload_says_when_it_began() {
        let (notifier, ear) = pair();
        let before = clock_gettime(ClockId::Monotonic).tv_sec * 1_000_000;
        notifier.reloading();
        let text = heard(&ear).unwrap();
        let micros = text.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
        let micros: i64 = micros.unwrap().parse().unwrap();
        assert!(text.starts_with("RELOADING=1\n") && micros >= before && micros < before + 60_000_000);
    }

    #[test]
    fn abstract_names_and_paths_are_both_names() {
        let name = format!("xblade-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let ear = UnixDatagram::bind_addr(&address).unwrap();
        let socket = connect(OsStr::new(&format!("@{name}"))).unwrap();
        socket.send(b"x").unwrap();
        ear.set_nonblocking(true).unwrap();
        assert_eq!(heard(&ear).as_deref(), Some("x"));
        assert!(connect(OsStr::new("/nonexistent/socket")).is_err());
    }
}
