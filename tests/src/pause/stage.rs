//! One daemon, its links and files, and its pauses.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use xblade::wire::ether::Mac;
use xblade_kit::join;

use super::Options;
use super::case::{Case, Durability, Row, Setup, Store, Who, lower};
use super::cores::{Ahead, Cores};
use super::host::{Extent, Hosts, SECTORS, SHELF, background, target};
use super::race::{self, Outcome, Subject};
use super::report::Report;
use super::stop::{Freezer, remove_left_groups, workers};
use super::wire::{Lane, Way, Wire};
use crate::crash::random::Random;
use crate::crash::{in_memory, remove_left_folders};
use crate::{Daemon, Scratch, Space, serve};

/// The prefix of the directories of runs.
const PREFIX: &str = "xblade-pause";

const MTU: u32 = 9000;

/// The longest time until a lane is open.
const OPEN_MAX: Duration = Duration::from_secs(30);

/// The writes of each host to each export before the first pause: a target may first have
/// to learn how a host makes its tags. (Reads instead, to test a target that has not.)
const WARM_UP: usize = 48;

/// Removes what runs whose process is gone have left behind, and prints the names.
pub fn remove_leftovers(options: &Options) {
    let parents = [options.folder.clone(), Some(std::env::temp_dir()), Some(in_memory())];
    remove_left_folders(PREFIX, parents.into_iter().flatten());
    remove_left_groups();
}

/// Everything that belongs to a daemon. Dropped in this order.
struct Stage {
    hosts: Hosts,
    daemon: Daemon,
    freezer: Option<Freezer>,
    owners: Vec<usize>,
    spreads: bool,
    _spaces: [Space; 2],
    _folders: [Scratch; 2],
}

/// Runs the pauses of one daemon.
pub fn run(
    options: &Options,
    setup: Setup,
    rows: impl Iterator<Item = Row>,
    random: &mut Random,
    report: &mut Report,
) {
    let mut stage = Stage::new(options, setup, random);
    if options.who.contains(&Who::Cgroup) && stage.freezer.is_none() {
        report.skip("frozen control groups: this machine has none that this process may make".to_owned());
    }
    let pid = stage.daemon.pid();
    let threads = workers(pid);
    assert_eq!(threads.len(), setup.workers, "xblade has another number of workers");
    let cores: io::Result<Vec<_>> = threads.iter().map(|tid| Cores::of(*tid)).collect();
    let subject = Subject {
        pid,
        workers: &threads,
        others: &[],
        cores: &cores.expect("threads of the daemon"),
        freezer: stage.freezer.as_ref(),
        vm: None,
        owners: &stage.owners,
        spreads: stage.spreads,
    };
    go_through(options, setup, rows, &subject, &mut stage.hosts, random, report);
    assert!(stage.daemon.is_running(), "xblade has ended");
}

/// Runs these pauses on a target. Finally explains the contents of its sectors.
pub fn go_through(
    options: &Options,
    setup: Setup,
    rows: impl Iterator<Item = Row>,
    subject: &Subject<'_>,
    hosts: &mut Hosts,
    random: &mut Random,
    report: &mut Report,
) {
    // If workers never sleep, this thread would wait for its turn as well.
    let ahead = Ahead::of_all();
    if let Err(error) = &ahead {
        report.skip(format!("workers that wake late: no SCHED_FIFO ({error})"));
    }
    warm_up(hosts, setup, subject.owners.len(), options.cold);
    for row in rows {
        if options.stop.load(Ordering::Relaxed) {
            break;
        }
        let mut case = Case::draw(&row, setup, options.hold_ms, random);
        if case.who == Who::Cgroup && subject.freezer.is_none() {
            continue;
        }
        case.wakes_late &= ahead.is_ok();
        let outcome = race::run(&case, subject, hosts, random);
        report.add(&case, &outcome);
        if let Outcome::Stale(what) = &outcome
            && options.verbose
            && options.plant.is_none()
        {
            eprintln!("\rSTALE: {case}: {what}");
        }
        if options.verbose && report.all.pauses.is_multiple_of(10) {
            eprint!("\r{} ", report.line());
        }
    }
    let unexplained = hosts.explain();
    report.add_unexplained(&format!("{setup:?}"), unexplained);
    report.resends += hosts.resends;
}

/// Makes every export answer every host over every lane, in turn, as Linux sends over
/// several interfaces.
fn warm_up(hosts: &mut Hosts, setup: Setup, exports: usize, cold: bool) {
    let end = Instant::now() + OPEN_MAX;
    let lanes: Vec<_> = (0..setup.queues())
        .flat_map(|queue| (0..setup.interfaces).map(move |interface| Lane { interface, queue }))
        .collect();
    for lane in lanes.iter().cycle().take(WARM_UP.next_multiple_of(lanes.len())) {
        hosts.wire.aim(*lane, *lane).expect("masks of queues");
        let mut ops = Vec::new();
        for export in 0..exports {
            for host in hosts.senders().to_vec() {
                let extent = Extent { host, export, lba: background(host), count: 1 };
                ops.push(if cold { hosts.read(Way::New, extent) } else { hosts.write(Way::New, extent) });
            }
        }
        for op in ops {
            while !hosts.until_done(Way::New, op) {
                assert!(Instant::now() < end, "the target does not answer over {lane:?}");
            }
        }
    }
}

impl Stage {
    fn new(options: &Options, setup: Setup, random: &mut Random) -> Self {
        let disk = options.folder.clone().unwrap_or_else(std::env::temp_dir);
        let folders = [in_memory(), disk].map(|parent| Scratch::within(&parent, PREFIX));
        let spaces = [Space::with_mounts(), Space::new()];
        let names = link(&spaces, setup);
        let exports = options.exports();
        let spreads = random.within(0..2) == 0;
        // If the first queue spreads, the last worker has the other one. Then, with two
        // queues, an export of its own would have no lane of another worker.
        let last = setup.workers - usize::from(spreads && setup.workers == 2);
        let owners: Vec<_> = exports.iter().map(|_| random.within(0..last as u64) as usize).collect();
        let mut arguments: Vec<String> = (0..)
            .zip(exports.iter().zip(&owners))
            .map(|(slot, (kind, owner))| export(slot, *kind, *owner, &folders))
            .collect();
        for (target, _) in &names {
            arguments.extend(["--interface".to_owned(), target.clone()]);
        }
        arguments.extend(["--no-probe", "--idle", &lower(&setup.idle)].map(str::to_owned));
        arguments.extend(["--spread", if spreads { "auto" } else { "off" }].map(str::to_owned));
        if setup.workers < setup.queues() {
            arguments.extend(["--cores", "0"].map(str::to_owned));
        }
        let environment: Vec<_> = options.plant.iter().map(|bug| ("XBLADE_PLANT", &**bug)).collect();
        let daemon = serve(&spaces[1], &arguments, &environment);
        daemon.wait_for("ready:");
        if let Some(bug) = &options.plant {
            // Only a build with planted bugs can have one.
            daemon.wait_for(&format!("planted: {bug}"));
        }
        let freezer = options.who.contains(&Who::Cgroup).then(|| Freezer::new(daemon.pid())).flatten();
        let hosts: Vec<_> = names.into_iter().map(|(_, host)| host).collect();
        let wire = Wire::open(&spaces[0], &hosts, setup.queues()).expect("sockets on all interfaces");
        let hosts = Hosts::new(wire, &options.tags, exports.len(), setup.sectors_max, random.draw());
        Self { hosts, daemon, freezer, owners, spreads, _spaces: spaces, _folders: folders }
    }
}

/// One export: creates its file and returns its argument.
fn export(
    slot: u8,
    (store, durability): (Store, Durability),
    owner: usize,
    folders: &[Scratch; 2],
) -> String {
    let bytes = vec![0; SECTORS as usize * 512];
    let file: PathBuf = folders[usize::from(store == Store::Direct)].file(&format!("{slot}.img"), &bytes);
    let (store, durability) = (lower(&store), lower(&durability));
    format!("{SHELF}.{slot}={},store={store},durability={durability},worker={owner}", file.display())
}

/// Links host and target. Returns the names of both ends of each link.
fn link([host, daemon]: &[Space; 2], setup: Setup) -> Vec<(String, String)> {
    let queues = setup.queues();
    let options = format!("mtu {MTU} numtxqueues {queues} numrxqueues {queues}");
    let pair = |interface| {
        let (near, far) = (format!("xbt{interface}"), format!("xbh{interface}"));
        join((daemon, &near), (host, &far), &options);
        daemon.set_mac(&near, Mac(target(interface)));
        (near, far)
    };
    (0..setup.interfaces).map(pair).collect()
}
