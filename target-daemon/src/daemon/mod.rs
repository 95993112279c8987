//! The daemon: builds running workers from a configuration, controls them, and shuts them
//! down.
//!
//! ```text
//! start     interface, plan, exports, segments, conflict_probe, sandbox   in the order of [`serve`]
//! run       control ──► handlers, reload, rates                 control requests, reloads
//!              └──────► notify, sizes, watch, late_interfaces   changes without a request
//! state     worker_pool, registry, removal                      workers, exports, closed stores
//!           state_writer, quarantine                            what is saved, which data is protected
//! commands  check, preflight                                    `xblade check`
//! ```

mod handlers;
mod check;
mod conflict_probe;
mod control;
mod exports;
mod failure;
mod host_settings;
mod preflight;
mod interface;
mod state_writer;
mod notify;
mod removal;
mod segments;
mod plan;
mod quarantine;
mod rates;
mod reload;
mod registry;
mod sandbox;
mod sizes;
mod worker_pool;
mod too_long;
mod late_interfaces;
mod watch;

pub use check::{check, check_for};
use failure::Context as _;
pub use failure::Failure;
pub use preflight::problems;

use std::path::Path;
use std::time::{Duration, Instant};

use crate::config::{Serve, ServiceOptions};
use crate::control::{Listener, Snapshot, bind, channel, metrics, start, stats};
use crate::{link, logging, plant, privilege, worker};

/// Serves until a signal arrives, then drains and detaches.
///
/// The order matters. Nothing is sent before every store is open and locked. No export is
/// announced before the rings are full. The network is probed before the XDP program is
/// attached, which would intercept the answers. Privileges are dropped after the last
/// step that needs them, and before a second thread exists.
///
/// `config` is the file from which the options were loaded: `xblade reload` reads it again.
///
/// # Errors
///
/// One [`Failure`], printed as one line. Everything that was set up is torn down again.
pub fn serve(options: &Serve, config: Option<&Path>) -> Result<(), Failure> {
    privilege::ignore_signals_of_io();
    if let Some(bug) = plant::planted_everywhere() {
        log::warn!("planted: {bug:?}");
    }
    prepare()?;
    let account = sandbox::account(&options.service)?;
    let mut notifier = notify::ServiceNotifier::find();
    let mut signals = control::signals()?;
    let events = link::LinkEvents::open().context("cannot listen for link changes")?;
    let mut interfaces = interface::look_up(options)?;
    for interface in &interfaces {
        plan::check(options, &interface.facts)?;
    }
    plan::cores(options)?;
    let socket = control_socket(&options.service)?;
    let metrics = options.service.metrics.map(metrics::bind).transpose();
    let metrics = metrics.map_err(|e| Failure::machine(format!("{}. {}", e.what, e.remedy)))?;
    rates::remarks(options).iter().for_each(|line| log::warn!("{line}"));
    let host_rates = rates::HostRates::default().next(&options.host_limits);
    let (exports, refused) = exports::open(options, &host_rates, &interfaces)?;
    let mut options = options.clone();
    options.exports.retain(|export| !refused.iter().any(|refused| refused.wanted.address == export.address));
    let options = &options;
    let placed: Vec<_> =
        exports.iter().map(|one| (&one.wanted, &one.export.state.settings.segments)).collect();
    for (index, interface) in (0..).zip(&interfaces) {
        segments::warn(index, &interface.facts, placed.iter().map(|(_, segments)| *segments));
    }
    if !options.no_probe {
        conflict_probe::probe(&interfaces, &placed)?;
    }
    let lanes = interface::attach(&mut interfaces, options)?;
    let rings = worker_pool::rings(&lanes, &interfaces, options)?;
    sandbox::enter(options, config, account.as_ref(), socket.as_ref(), &exports)?;
    logging::start().context("cannot start a thread")?;
    let mut pool = worker_pool::WorkerPool::start(lanes, rings, exports, &interfaces, options)?;
    pool.load_all_used();
    pool.announce_all(options, &options.exports);
    notifier.remark(notify::status(options, &interfaces, &[]));
    notifier.follow(&pool);
    let (sender, queue) = channel().context("cannot make an eventfd")?;
    let server = socket
        .map(|socket| start(socket, sender.clone()))
        .transpose()
        .context("cannot serve the control socket")?;
    let metrics = metrics
        .map(|listener| metrics::start(listener, options.service.metrics_names.clone(), sender.clone()))
        .transpose()
        .context("cannot give metrics")?;
    let mut served = control::Served {
        sizes: sizes::Sizes::new(&pool),
        pool,
        interfaces,
        options: options.clone(),
        host_rates,
        config,
        since: Instant::now(),
        refused,
        awaited: Vec::new(),
        notifier,
        late: late_interfaces::LateInterfaces::default(),
        too_long: too_long::TooLong::default(),
        reviewed: Instant::now(),
        degraded: Vec::new(),
        stuck: Vec::new(),
    };
    let outcome = control::run(&mut served, &mut signals, &events, &queue);
    // Waiting callers get an answer, and no further requests arrive.
    drop(queue);
    drop((server, metrics));
    let control::Served { pool, interfaces, notifier, since, .. } = served;
    notifier.stopping();
    pool.tell_of_nameless();
    let (ended, left) = pool.stop();
    logging::say(&last_report(since.elapsed(), &interfaces, ended));
    outcome?;
    all_finished(left)
}

/// Fails if requests or workers are unfinished because a store does not answer.
fn all_finished(left: worker_pool::Left) -> Result<(), Failure> {
    let what = match left {
        worker_pool::Left { workers: 0, requests: 0 } => return Ok(()),
        worker_pool::Left { workers: 0, requests } => format!("{requests} request(s) were not finished"),
        // Their threads end with the process; the XDP program has been detached by then.
        worker_pool::Left { workers, .. } => format!("{workers} worker(s) did not end"),
    };
    Err(Failure::run(format!("{what}: a store does not answer")))
}

/// The final counters of all workers.
fn last_report(up: Duration, interfaces: &[interface::Interface], ended: Vec<worker::Snapshot>) -> String {
    let mut exports: Vec<_> = ended.iter().flat_map(|worker| &worker.exports).collect();
    exports.sort_by_key(|export| export.address);
    let exports = exports.into_iter().map(Into::into).collect();
    let interfaces = interfaces.iter().map(interface::Interface::snapshot).collect();
    stats(&Snapshot::new(up, interfaces, ended, exports))
}

/// Binds the control socket, if one is configured. Clients wait there until the daemon is
/// ready.
fn control_socket(service: &ServiceOptions) -> Result<Option<Listener>, Failure> {
    let Some(path) = &service.control else { return Ok(None) };
    // Absolute, because it is shown in the log and in the kernel's list of sockets.
    let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
    let listener = bind(&path, service.control_group.as_deref(), service.admin_group.as_deref())?;
    log::info!("control socket {}", path.display());
    Ok(Some(listener))
}

/// Checks the privileges, and raises the limits, that everything else needs.
fn prepare() -> Result<(), Failure> {
    let missing = link::missing_capabilities().context("cannot read own capabilities")?;
    if !missing.is_empty() {
        return Err(Failure::machine(preflight::lacking(&missing)));
    }
    // Newer kernels account UMEM to memory cgroups and need no limit. If it cannot be
    // raised, opening the rings shows whether that matters.
    if let Err(e) = link::raise_memlock() {
        log::debug!("{e}");
    }
    privilege::raise_files();
    for limit in privilege::unwanted_limits() {
        log::warn!("{limit}");
    }
    Ok(())
}
