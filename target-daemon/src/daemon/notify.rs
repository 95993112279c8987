//! The service manager interface (`sd_notify(3)`): reports readiness, and pings the
//! watchdog as long as every worker makes progress. Without a service manager, all of this
//! does nothing.

use std::env;
use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use log::{info, warn};
use rustix::time::{ClockId, clock_gettime};

use super::interface::{Interface, Presence};
use super::worker_pool::WorkerPool;
use crate::config::Serve;

/// The connection to the service manager, if there is one.
///
/// Its socket is opened once, at the start, because later the process may not be allowed to
/// open another one. A crate would open it for each message, so none is used.
#[derive(Debug)]
pub struct Manager {
    socket: Option<UnixDatagram>,
    /// It kills this process if there is no ping for this long.
    watchdog: Option<Duration>,
}

impl Manager {
    /// The one that started this process, according to the environment.
    pub fn find() -> Self {
        let Some(name) = env::var_os("NOTIFY_SOCKET") else { return Self::nobody() };
        match connect(&name) {
            Ok(socket) => Self { socket: Some(socket), watchdog: watchdog() },
            Err(e) => {
                warn!("the service manager's socket {} cannot be used: {e}", name.display());
                Self::nobody()
            }
        }
    }

    fn nobody() -> Self {
        Self { socket: None, watchdog: None }
    }

    /// Whether there is one.
    pub fn is_there(&self) -> bool {
        self.socket.is_some()
    }

    /// Reports that everything is served; `status` is the line in `systemctl status`.
    pub fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={status}"));
    }

    /// Changes the line in `systemctl status`.
    fn status(&self, status: &str) {
        self.tell(&format!("STATUS={status}"));
    }

    /// Reports a reload. [`Self::ready`] must follow, even if the reload is refused.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=reloading"));
    }

    /// Reports that requests in flight are being finished before the process exits.
    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=finishing what is under way");
    }

    /// Pings the watchdog of the service manager.
    fn ping(&self) {
        self.tell("WATCHDOG=1");
    }

    fn tell(&self, what: &str) {
        let Some(socket) = &self.socket else { return };
        // Non-blocking: never wait for a manager that is gone or busy.
        if let Err(e) = socket.send(what.as_bytes()) {
            log::debug!("the service manager was not told {what:?}: {e}");
        }
    }
}

fn connect(name: &OsStr) -> std::io::Result<UnixDatagram> {
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

/// Reports to the service manager on behalf of the control thread: readiness, reloads,
/// status, and watchdog pings.
#[derive(Debug)]
pub struct ServiceNotifier {
    manager: Manager,
    watchdog: Watchdog,
    status: String,
    /// Whether the last reload was accepted.
    well: bool,
    ready: bool,
}

impl ServiceNotifier {
    /// `status` is sent when everything is ready.
    pub fn new(manager: Manager, pool: &WorkerPool, status: String) -> Self {
        Self { manager, watchdog: Watchdog::new(pool.heartbeats()), status, well: true, ready: false }
    }

    /// Called once per pass of the control thread. Everything is ready when the first
    /// announcement has been sent.
    pub fn follow(&mut self, pool: &WorkerPool) {
        if !self.ready && pool.has_settled() {
            self.ready = true;
            info!("ready: {}", self.status);
            self.manager.ready(&self.status);
        }
        self.watchdog.follow(&self.manager, pool.heartbeats());
    }

    /// A reload begins; [`Self::reloaded`] must follow.
    pub fn reloading(&self) {
        self.manager.reloading();
    }

    /// A reload has ended, successful or not: what is served now is ready.
    pub fn reloaded(&mut self, status: String, well: bool) {
        (self.status, self.well) = (status, well);
        self.manager.ready(&self.line());
    }

    /// Updates the status while what is served stays the same.
    pub fn remark(&mut self, status: String) {
        self.status = status;
        if self.ready {
            self.manager.status(&self.line());
        }
    }

    fn line(&self) -> String {
        let remark = if self.well { "" } else { "; the last reload was refused, see the log" };
        format!("{}{remark}", self.status)
    }

    /// Whether a service manager restarts the process when it exits.
    pub fn restarts(&self) -> bool {
        self.manager.is_there()
    }

    /// Reports that requests in flight are being finished before the process exits.
    pub fn stopping(&self) {
        self.manager.stopping();
    }
}

/// A worker without progress for this long is logged.
const STILL: Duration = Duration::from_secs(10);

/// Detects workers that make no progress, by their heartbeat counters.
#[derive(Debug)]
pub struct Watchdog {
    /// The counters at the last ping, and the time of that ping.
    then: Vec<u64>,
    since: Instant,
    told: bool,
}

impl Watchdog {
    /// Starts from these counters.
    pub fn new(beats: Vec<u64>) -> Self {
        Self { then: beats, since: Instant::now(), told: false }
    }

    /// Pings the service manager if every worker has made progress since the last ping;
    /// otherwise logs once which worker has not. Must be called a few times within the
    /// watchdog timeout.
    pub fn follow(&mut self, manager: &Manager, beats: Vec<u64>) {
        let still = self.still(&beats);
        if still.is_empty() {
            self.then = beats;
            self.since = Instant::now();
            self.told = false;
            if manager.watchdog.is_some() {
                manager.ping();
            }
        } else if !self.told && self.since.elapsed() > STILL {
            self.told = true;
            for worker in still {
                let limit = manager.watchdog.map(|time| format!(", and xblade is restarted after {time:?}"));
                warn!(
                    "worker {worker} has not moved for 10 s: it is blocked in a store, and so are its exports{}",
                    limit.unwrap_or_default()
                );
            }
        }
    }

    /// The workers without progress.
    fn still(&self, beats: &[u64]) -> Vec<usize> {
        let pairs = beats.iter().zip(&self.then).enumerate();
        pairs.filter(|(_, (now, then))| now == then).map(|(worker, _)| worker).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Manager, UnixDatagram) {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        (Manager { socket: Some(ours), watchdog: Some(Duration::from_secs(1)) }, theirs)
    }

    fn heard(by: &UnixDatagram) -> Option<String> {
        let mut bytes = [0; 256];
        let len = by.recv(&mut bytes).ok()?;
        Some(String::from_utf8(bytes[..len].to_vec()).unwrap())
    }

    #[test]
    fn the_watchdog_is_pinged_while_every_worker_moves() {
        let (manager, ear) = pair();
        let mut watchdog = Watchdog::new(vec![0, 0]);
        for (beats, fed) in [
            (vec![0, 0], false),
            (vec![1, 0], false),
            (vec![9, 0], false),
            (vec![9, 1], true),
            (vec![9, 2], false),
            (vec![10, 2], true),
        ] {
            watchdog.follow(&manager, beats.clone());
            assert_eq!(heard(&ear).is_some(), fed, "{beats:?}");
        }
    }

    #[test]
    fn without_a_manager_nothing_is_sent() {
        let manager = Manager::nobody();
        manager.ready("x");
        Watchdog::new(vec![0]).follow(&manager, vec![1]);
    }

    #[test]
    fn a_reload_says_when_it_began() {
        let (manager, ear) = pair();
        let before = clock_gettime(ClockId::Monotonic).tv_sec * 1_000_000;
        manager.reloading();
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
