//! The control thread: handles signals, control requests, and changes of interfaces and
//! stores.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use log::{error, info, warn};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;

use super::exports::Refused;
use super::failure::{Context, Failure};
use super::handlers::{self, Awaited};
use super::interface::{Interface, Presence};
use super::late_interfaces::LateInterfaces;
use super::notify::{self, ServiceNotifier};
use super::rates::HostRates;
use super::segments;
use super::sizes::Sizes;
use super::too_long::TooLong;
use super::worker_pool::WorkerPool;
use crate::config::Serve;
use crate::control::{RequestQueue, stats};
use crate::link::{self, Changes, Facts, LinkEvents};
use crate::logging;
use crate::wire::aoe::Address;
use crate::wire::ether::Mac;

/// Maximum time between two checks of the workers.
const ROUND: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// Time between two reviews of the interfaces.
const REVIEW: Duration = Duration::from_millis(900);

/// The state of the running daemon.
pub struct Served<'a> {
    /// The workers.
    pub pool: WorkerPool,
    /// The interfaces.
    pub interfaces: Vec<Interface>,
    /// The active configuration.
    pub options: Serve,
    /// Its limits of certain hosts.
    pub host_rates: HostRates,
    /// The file that it was loaded from.
    pub config: Option<&'a Path>,
    /// The start time.
    pub since: Instant,
    /// Exports that are configured but not served.
    pub refused: Vec<Refused>,
    /// Callers that wait for an export to be closed.
    pub awaited: Vec<Awaited>,
    /// The service manager.
    pub notifier: ServiceNotifier,
    /// Exports that grow or shrink.
    pub sizes: Sizes,
    /// Interfaces that appeared after the start.
    pub late: LateInterfaces,
    /// Reads whose replies are too long.
    pub too_long: TooLong,
    /// When the interfaces were last reviewed.
    pub reviewed: Instant,
    /// Exports that refuse writes after an error, as logged.
    pub degraded: Vec<Address>,
    /// Exports whose stores do not answer, as logged.
    pub stuck: Vec<Address>,
}

/// Runs until SIGTERM or SIGINT.
pub fn run(
    served: &mut Served<'_>,
    signals: &mut Signals,
    events: &LinkEvents,
    queue: &RequestQueue,
) -> Result<(), Failure> {
    loop {
        let mut fds = [
            PollFd::new(signals.get_read(), PollFlags::IN),
            PollFd::from_borrowed_fd(events.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(queue.as_fd(), PollFlags::IN),
        ];
        // An error (a signal) counts as a wake-up like any other.
        let _ = poll(&mut fds, Some(&ROUND));
        served.notifier.follow(&served.pool);
        for signal in signals.pending() {
            match signal {
                SIGUSR1 => logging::say(&stats(&handlers::snapshot(served))),
                SIGHUP => served.look_again(),
                _ => {
                    served.pool.log_host_changes(true);
                    info!("stopping: finishing what is under way");
                    return Ok(());
                }
            }
        }
        while let Some(request) = queue.next() {
            handlers::handle(request, served);
        }
        served.follow_exports();
        served.follow_interfaces(&events.drain().unwrap_or(Changes { any: true, removed: Vec::new() }));
        if served.notifier.restarts() && served.interfaces.iter().any(|i| i.presence == Presence::Replaced) {
            // Attaching to it needs privileges that were dropped.
            info!("ending, so that the service manager restarts xblade, with all interfaces");
            return Ok(());
        }
        if served.pool.has_lost_a_worker() {
            return Err(Failure::run("a worker ended unexpectedly: see the message above"));
        }
    }
}

impl Served<'_> {
    /// One line that describes what is served.
    pub fn status(&self) -> String {
        notify::status(&self.options, &self.interfaces, &self.late.names())
    }

    /// Handles SIGHUP: reloads the configuration and measures the stores.
    fn look_again(&mut self) {
        self.notifier.reloading();
        // The reload has logged its errors.
        let well = self.config.is_none() || handlers::reload(self, false).is_ok();
        info!("looking at the sizes of all exports");
        self.sizes.look_now();
        self.notifier.reloaded(self.status(), well);
    }

    /// Handles what workers and stores have done since the last call.
    fn follow_exports(&mut self) {
        let closed = self.pool.reap_detached();
        handlers::answer_awaited(self, &closed);
        self.pool.note_used();
        self.pool.watch_files();
        self.sizes.follow(&self.pool, &self.options);
        self.pool.log_host_changes(false);
        self.too_long.warn(&self.pool, &self.interfaces);
        let now = self.pool.degraded();
        for address in now.iter().filter(|address| !self.degraded.contains(address)) {
            self.pool.note_failed(*address);
            error!(
                "{address}: a sync failed, so the contents of the disk are unknown: reads go on, and no \
                 more writes are taken until xblade is restarted, or `xblade export recover {address} --reason TEXT` is \
                 given. Check the disk and what is on it first; no signal brings the writes back, and no reload"
            );
        }
        self.degraded = now;
        let stuck = self.pool.stuck();
        tell_stuck(&self.stuck, &stuck);
        self.stuck = stuck;
    }

    /// Handles changes of the served interfaces, and of others that could be served.
    fn follow_interfaces(&mut self, changes: &Changes) {
        if changes.any {
            for (index, interface) in self.interfaces.iter_mut().enumerate() {
                follow(&self.pool, index, interface, changes, &self.options);
            }
            self.late.look(&self.options.interfaces, &self.interfaces);
        }
        if self.reviewed.elapsed() >= REVIEW {
            self.reviewed = Instant::now();
            let all = link::all().unwrap_or_default();
            self.interfaces.iter_mut().for_each(|interface| interface.review(&all, &self.options));
        }
        self.late.tell();
        self.notifier.remark(self.status());
    }
}

/// Logs which stores have stopped answering, and which answer again.
fn tell_stuck(before: &[Address], now: &[Address]) {
    for address in now.iter().filter(|address| !before.contains(address)) {
        error!("{address}: the store has not answered for 10 s; its requests wait, the other exports go on");
    }
    for address in before.iter().filter(|address| !now.contains(address)) {
        info!("{address}: the store answers again");
    }
}

/// Reads the facts of an interface again and applies the changes. The index identifies the
/// interface, because its name may change.
fn follow(pool: &WorkerPool, index: usize, interface: &mut Interface, changes: &Changes, options: &Serve) {
    // An interface that was moved to another network namespace has lost its sockets, even
    // if it is back with the same index.
    if interface.presence != Presence::Here || changes.removed.contains(&interface.facts.index) {
        return lose(interface);
    }
    let Ok(name) = link::name_of(interface.facts.index) else { return };
    let Some(name) = name else { return lose(interface) };
    let Ok(now) = Facts::read(&name) else { return };
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
    if now.strips_tags != before.strips_tags {
        pool.set_strips_tags(index, now.strips_tags);
        tell_of_tags(pool, index, now);
    }
    if now.is_live() != before.is_live() {
        info!("{name}: link is {}", if now.is_live() { "up" } else { "down" });
    }
    let may_serve_more = before.strips_tags && !now.strips_tags;
    if now.is_live() && (changed || may_serve_more || !before.is_live()) {
        info!("{name}: MTU {}, announcing the exports", now.mtu);
        pool.announce(index, options, &options.exports);
    }
}

/// Logs that an interface has begun to remove VLAN tags, or that it leaves them in now.
fn tell_of_tags(pool: &WorkerPool, index: usize, facts: &Facts) {
    let name = &facts.name;
    let unserved = pool.hidden_on(index);
    match (facts.strips_tags, unserved.is_empty()) {
        (true, false) => error!(
            "{name}: frames arrive without their VLAN tags now, so exports with a vlan are not served there ({}) until \
             this is changed back: {}",
            unserved.join(", "),
            segments::remedy(facts)
        ),
        (true, true) => pool.tell_of_segments(index, facts),
        (false, _) => info!("{name}: frames arrive with their VLAN tags now"),
    }
}

/// Logs once that an interface is gone, and once that another one has taken its name.
fn lose(interface: &mut Interface) {
    let name = &interface.facts.name;
    let presence = if Facts::read(name).is_ok() { Presence::Replaced } else { Presence::Gone };
    match presence {
        _ if presence == interface.presence => {}
        Presence::Replaced => {
            warn!("{name} is back, but not served: restart xblade to serve it (systemctl restart xblade)");
        }
        _ => warn!("{name} is gone, and not served any more: restart xblade when it is back"),
    }
    interface.presence = presence;
    interface.warning = None;
}

/// Signals, delivered through a pipe.
pub type Signals = SignalDelivery<UnixStream, SignalOnly>;

/// Catches the signals that the daemon handles: they no longer terminate the process.
/// Must be called before the process is visible to others, so that every signal reaches
/// the daemon.
pub fn signals() -> Result<Signals, Failure> {
    let pipe = UnixStream::pair().and_then(|(read, write)| {
        write.set_nonblocking(true)?;
        Signals::with_pipe(read, write, SignalOnly, [SIGTERM, SIGINT, SIGUSR1, SIGHUP])
    });
    pipe.context("cannot listen for signals")
}
