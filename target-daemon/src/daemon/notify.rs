//! The service manager: it is told when xblade is ready, and fed as long as
//! every worker moves (`sd_notify(3)`). Without one, all of this does nothing.

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

/// The service manager, or nobody.
///
/// Its socket is opened once, at the start: later the process may have no right
/// to open another one. That is why this is no crate, which would open it for
/// each message.
#[derive(Debug)]
pub struct Manager {
    socket: Option<UnixDatagram>,
    /// It ends us when it hears nothing for so long.
    watchdog: Option<Duration>,
}

impl Manager {
    /// The one that started us, as the environment says.
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

    /// Everything is served; `status` is what `systemctl status` shows.
    pub fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={status}"));
    }

    /// `status` is what `systemctl status` shows from now on.
    fn status(&self, status: &str) {
        self.tell(&format!("STATUS={status}"));
    }

    /// Another configuration is being taken over. [`Self::ready`] has to follow,
    /// also when it is not taken.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=reloading"));
    }

    /// What is under way is finished, and then the process ends.
    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=finishing what is under way");
    }

    /// Pings the watchdog of the service manager.
    fn ping(&self) {
        self.tell("WATCHDOG=1");
    }

    fn tell(&self, what: &str) {
        let Some(socket) = &self.socket else { return };
        // Not blocking: a manager that is gone, or busy, is not waited for.
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

/// The time within which it wants to hear from this process.
fn watchdog() -> Option<Duration> {
    let number = |name: &str| env::var(name).ok()?.parse::<u64>().ok();
    let ours =
        env::var_os("WATCHDOG_PID").is_none() || number("WATCHDOG_PID") == Some(std::process::id().into());
    number("WATCHDOG_USEC").filter(|usec| ours && *usec > 0).map(Duration::from_micros)
}

/// What is served, and on what it is not, in a line.
pub fn status(options: &Serve, interfaces: &[Interface], late: &[&str]) -> String {
    let count = options.exports.len();
    let names: Vec<String> = interfaces.iter().map(named).collect();
    let served = format!("{count} export{} on {}", if count == 1 { "" } else { "s" }, names.join(", "));
    if late.is_empty() {
        return served;
    }
    format!("{served}; not served until a restart: {}", late.join(", "))
}

/// Its name, and why no host can be reached over it.
fn named(interface: &Interface) -> String {
    let name = &interface.facts.name;
    match interface.presence {
        Presence::Here if interface.facts.is_live() => name.clone(),
        Presence::Here => format!("{name} (down)"),
        Presence::Gone | Presence::Replaced => format!("{name} (gone)"),
    }
}

/// What the control thread does for the service manager: tells it when all is
/// ready, and feeds its watchdog.
#[derive(Debug)]
pub struct ServiceNotifier {
    manager: Manager,
    watchdog: Watchdog,
    status: String,
    /// Whether the last reload was taken.
    well: bool,
    ready: bool,
}

impl ServiceNotifier {
    /// `status` is told when all is ready.
    pub fn new(manager: Manager, pool: &WorkerPool, status: String) -> Self {
        Self { manager, watchdog: Watchdog::new(pool.heartbeats()), status, well: true, ready: false }
    }

    /// One round. All is ready when the first announcement has gone out.
    pub fn follow(&mut self, pool: &WorkerPool) {
        if !self.ready && pool.has_settled() {
            self.ready = true;
            info!("ready: {}", self.status);
            self.manager.ready(&self.status);
        }
        self.watchdog.follow(&self.manager, pool.heartbeats());
    }

    /// A reload begins; [`Self::reloaded`] has to follow.
    pub fn reloading(&self) {
        self.manager.reloading();
    }

    /// A reload has ended, well or not: what is served now is ready.
    pub fn reloaded(&mut self, status: String, well: bool) {
        (self.status, self.well) = (status, well);
        self.manager.ready(&self.line());
    }

    /// What is served is as before, and what is to be said of it is not.
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

    /// Whether somebody starts the process again when it ends.
    pub fn restarts(&self) -> bool {
        self.manager.is_there()
    }

    /// What is under way is finished, and then the process ends.
    pub fn stopping(&self) {
        self.manager.stopping();
    }
}

/// A worker that has not moved for this long is told of in the log.
const STILL: Duration = Duration::from_secs(10);

/// Whether the workers move, by the beats that each of them counts.
#[derive(Debug)]
pub struct Watchdog {
    /// The heartbeats of each at the last ping, and when one of them first stood
    /// still there.
    then: Vec<u64>,
    since: Instant,
    told: bool,
}

impl Watchdog {
    /// From these beats on.
    pub fn new(beats: Vec<u64>) -> Self {
        Self { then: beats, since: Instant::now(), told: false }
    }

    /// Feeds the watchdog when every worker has moved since the last time that
    /// it was fed; says once which worker does not. To be called again and
    /// again, a few times within the watchdog's time.
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
                let limit = manager.watchdog.map(|time| format!(", and after {time:?} we are restarted"));
                warn!(
                    "worker {worker} has not moved for 10 s: it waits in a store, its exports with it{}",
                    limit.unwrap_or_default()
                );
            }
        }
    }

    /// The workers that have not moved.
    fn still(&self, beats: &[u64]) -> Vec<usize> {
        let pairs = beats.iter().zip(&self.then).enumerate();
        pairs.filter(|(_, (now, then))| now == then).map(|(worker, _)| worker).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
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
    fn the_watchdog_is_fed_while_every_worker_moves() {
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
    fn nobody_is_told_nothing() {
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
