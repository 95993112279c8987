//! The control thread: handles signals, control requests, and changes of interfaces and
//! stores.

use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Instant;

use log::{error, info, warn};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};

use super::exports::Refused;
use super::failure::Failure;
use super::handlers::{self, Awaited};
use super::interface::{Interface, Presence};
use super::late_interfaces::LateInterfaces;
use super::notify::{self, ServiceNotifier};
use super::sizes::Sizes;
use super::too_long::TooLong;
use super::worker_pool::WorkerPool;
use crate::config::Serve;
use crate::control::{Request, RequestQueue};
use crate::link::{self, Changes, Facts, LinkEvents};
use crate::logging;
use crate::wire::aoe::Address;
use crate::wire::ether::Mac;

/// The longest time between two checks of the workers.
const ROUND: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// The state of the running daemon.
pub struct Served<'a> {
    /// The workers.
    pub pool: &'a mut WorkerPool,
    /// The interfaces.
    pub interfaces: &'a mut [Interface],
    /// The active configuration.
    pub options: &'a mut Serve,
    /// The file that it was loaded from.
    pub config: Option<&'a Path>,
    /// The start time.
    pub since: Instant,
    /// Exports that are configured but not served.
    pub refused: Vec<Refused>,
    /// Callers that wait for an export to be closed.
    pub awaited: Vec<Awaited>,
}

impl Served<'_> {
    /// One line that describes what is served.
    fn status(&self, late: &LateInterfaces) -> String {
        notify::status(self.options, self.interfaces, &late.names())
    }
}

/// Runs until SIGTERM or SIGINT.
pub fn run(
    served: &mut Served<'_>,
    signals: &Signals,
    events: &LinkEvents,
    queue: &RequestQueue,
    notifier: &mut ServiceNotifier,
) -> Result<(), Failure> {
    let (mut degraded, mut stuck) = (Vec::new(), Vec::new());
    let mut sizes = Sizes::new(served.pool, served.options);
    let mut late = LateInterfaces::default();
    let mut too_long = TooLong::default();
    loop {
        let mut fds = [
            PollFd::new(&signals.end, PollFlags::IN),
            PollFd::new(&signals.report, PollFlags::IN),
            PollFd::new(&signals.look, PollFlags::IN),
            PollFd::from_borrowed_fd(events.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(queue.as_fd(), PollFlags::IN),
        ];
        // An error (a signal) counts as a wake-up like any other.
        let _ = poll(&mut fds, Some(&ROUND));
        notifier.follow(served.pool);
        if signals.take(&signals.end) {
            info!("stopping: finishing what is under way");
            return Ok(());
        }
        if signals.take(&signals.report) {
            logging::say(&served.pool.report(served.interfaces));
        }
        if signals.take(&signals.look) {
            notifier.reloading();
            // The reload has logged its errors.
            let well = served.config.is_none() || handlers::reload(served, &mut sizes, false).is_ok();
            info!("looking at the sizes of all exports");
            sizes.look_now();
            notifier.reloaded(served.status(&late), well);
        }
        while let Some(request) = queue.next() {
            // systemd sees it as a reload by signal; the caller gets the result.
            let reloads = matches!(request, Request::Reload { .. });
            if reloads {
                notifier.reloading();
            }
            handlers::handle(request, served, &mut sizes);
            if reloads {
                notifier.reloaded(served.status(&late), true);
            }
        }
        let closed = served.pool.reap_detached();
        handlers::answer_awaited(served, &closed);
        served.pool.note_used();
        served.pool.watch_files();
        sizes.follow(served.pool, served.interfaces.len(), served.options);
        too_long.warn(served.pool, served.interfaces);
        let changes = events.drain().unwrap_or(Changes { any: true, removed: Vec::new() });
        let mut remark = false;
        if changes.any {
            for (index, interface) in served.interfaces.iter_mut().enumerate() {
                remark |= follow(served.pool, index, interface, &changes, served.options);
            }
            remark |= late.look(&served.options.interfaces, served.interfaces);
            if notifier.restarts() && served.interfaces.iter().any(|i| i.presence == Presence::Replaced) {
                // Attaching to it needs privileges that were dropped.
                info!("ending, so that the service manager restarts xblade, with all interfaces");
                return Ok(());
            }
        }
        if late.tell() || remark {
            notifier.remark(served.status(&late));
        }
        let now = served.pool.degraded();
        for address in now.iter().filter(|address| !degraded.contains(*address)) {
            served.pool.note_failed(*address);
            error!(
                "{address}: a sync failed, so the contents of the disk are unknown: reads go on, and no \
                 more writes are taken until xblade is restarted, or `xblade export recover {address} --reason TEXT` is \
                 given. Check the disk and what is on it first; no signal brings the writes back, and no reload"
            );
        }
        degraded = now;
        stuck = tell_stuck(stuck, served.pool.stuck());
        if served.pool.has_lost_a_worker() {
            return Err(Failure::Run("a worker ended unexpectedly: see the message above".into()));
        }
    }
}

/// Logs which stores have stopped answering, and which answer again.
fn tell_stuck(before: Vec<Address>, now: Vec<Address>) -> Vec<Address> {
    for address in now.iter().filter(|address| !before.contains(address)) {
        error!("{address}: the store has not answered for 10 s; its requests wait, the other exports go on");
    }
    for address in before.iter().filter(|address| !now.contains(address)) {
        info!("{address}: the store answers again");
    }
    now
}

/// Reads the facts of an interface again and applies the changes. The index identifies the
/// interface, because its name may change. Returns whether its status line has changed.
fn follow(
    pool: &WorkerPool,
    index: usize,
    interface: &mut Interface,
    changes: &Changes,
    options: &Serve,
) -> bool {
    // An interface that was moved to another network namespace has lost its sockets, even
    // if it is back with the same index.
    if interface.presence != Presence::Here || changes.removed.contains(&interface.facts.index) {
        return lose(interface);
    }
    let Ok(name) = link::name_of(interface.facts.index) else { return false };
    let Some(name) = name else { return lose(interface) };
    let Ok(now) = Facts::read(&name) else { return false };
    if name != interface.facts.name {
        info!("{} is called {name} now", interface.facts.name);
    }
    let before = std::mem::replace(&mut interface.facts, now);
    let now = &interface.facts;
    if now.mac != before.mac
        && let Some(program) = &mut interface.program
    {
        info!("{name}: address is now {}", Mac(now.mac));
        if let Err(e) = program.set_mac(now.mac) {
            warn!("{name}: the XDP program still has the old address: {e}");
        }
    }
    let changed = now.mtu != before.mtu || now.mac != before.mac;
    if changed {
        pool.update(index, Mac(now.mac), now.mtu);
    }
    if now.is_live() != before.is_live() {
        info!("{name}: link is {}", if now.is_live() { "up" } else { "down" });
    }
    if now.is_live() && (changed || !before.is_live()) {
        info!("{name}: MTU {}, announcing the exports", now.mtu);
        pool.announce(index, options);
    }
    now.is_live() != before.is_live() || now.name != before.name
}

/// Logs once that an interface is gone, and once that another one has taken its name.
/// Returns whether it logged.
fn lose(interface: &mut Interface) -> bool {
    let name = &interface.facts.name;
    let presence = if Facts::read(name).is_ok() { Presence::Replaced } else { Presence::Gone };
    if std::mem::replace(&mut interface.presence, presence) == presence {
        return false;
    }
    match presence {
        Presence::Here => {}
        Presence::Gone => warn!("{name} is gone, and not served any more: restart xblade when it is back"),
        Presence::Replaced => {
            warn!("{name} is back, but not served: restart xblade to serve it (systemctl restart xblade)");
        }
    }
    true
}

/// Signals, delivered through pipes: no code runs in a signal handler.
pub struct Signals {
    end: UnixStream,
    report: UnixStream,
    look: UnixStream,
}

impl Signals {
    /// From now on these signals no longer end the process. Must be called before the
    /// process is visible to others, so that every signal reaches the daemon.
    pub fn listen() -> Result<Self, Failure> {
        let listen = |signals: &[i32]| {
            let (read, write) = UnixStream::pair()?;
            read.set_nonblocking(true)?;
            for signal in signals {
                signal_hook::low_level::pipe::register(*signal, write.try_clone()?)?;
            }
            Ok(read)
        };
        let failed = |e: std::io::Error| Failure::machine("cannot listen for signals", e);
        Ok(Self {
            end: listen(&[SIGTERM, SIGINT]).map_err(failed)?,
            report: listen(&[SIGUSR1]).map_err(failed)?,
            look: listen(&[SIGHUP]).map_err(failed)?,
        })
    }

    /// Whether a signal has arrived since the last call.
    fn take(&self, mut from: &UnixStream) -> bool {
        let mut bytes = [0; 64];
        match from.read(&mut bytes) {
            Ok(n) => n > 0,
            Err(e) => e.kind() != ErrorKind::WouldBlock && e.kind() != ErrorKind::Interrupted,
        }
    }
}
