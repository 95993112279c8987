//! The job: the arguments, fitted to the exports and interfaces.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, anyhow, ensure};
use xblade_link::Facts;

use crate::aoe::{self, Address, Mac, Route};
use crate::args::{LoadArgs, word};
use crate::export::{self, Export};
use crate::outcome::Setup;
use crate::port::{self, PacketPort, Port, THREADS_MAX, Tags};
use crate::{report, signals};

use super::assign::{self, Share};
use super::flight::WINDOW_MAX;
use super::guard;
use super::plan::Area;
use super::schedule::NEVER;
use super::worker::Times;

/// Default maximum number of sectors in a request: 8 KiB.
const SECTORS_USUAL: u8 = 16;
/// Default maximum number of requests in flight on an export.
const WINDOW_USUAL: u16 = 256;
/// Default number of sectors of a checked run.
const VERIFY_SPAN: u64 = 1 << 18;
/// Default duration.
const SECONDS_USUAL: f64 = 5.0;
/// Maximum duration: a year, in seconds.
const SECONDS_MAX: f64 = 365.0 * 86400.0;

/// How long a request is resent.
const GIVE_UP_NS: u64 = 10_000_000_000;

/// A load, ready to run.
pub struct Job<'a> {
    /// The arguments.
    pub args: &'a LoadArgs,
    /// What each thread loads.
    pub shares: Vec<Share>,
    /// A port for each thread.
    pub ports: Vec<Box<dyn Port>>,
    /// When to send and when to end.
    pub times: Times,
    /// Becomes true when the user interrupts.
    pub stop: Arc<AtomicBool>,
    /// The description of the load in results.
    pub setup: Setup,
}

/// An export, as it answered.
struct Found {
    address: Address,
    /// Its size in sectors.
    size: u64,
    /// The route from each interface on which it answered.
    routes: Vec<Option<Route>>,
    /// The minimum of what it advertises.
    buffer_count: u16,
    /// The sectors that it accepts in a frame everywhere.
    sectors: u8,
}

/// The MAC address of each interface, and a port on it.
type Lines = [(Mac, PacketPort)];

impl<'a> Job<'a> {
    /// Finds the exports, fits the load to them, and opens the ports. Writes nothing.
    pub fn new(args: &'a LoadArgs) -> Result<Self> {
        let rate = args.rate.unwrap_or(1.0);
        ensure!((0.001..=1e9).contains(&rate), "--rate {rate}: give 0.001 to 1e9 a second");
        args.report.as_deref().map_or(Ok(()), report::check)?;
        let interfaces =
            args.interface.iter().map(|name| Facts::read(name)).collect::<Result<Vec<_>, _>>()?;
        let threads = threads(args)?;
        let exports = find(args, &interfaces)?;
        let sectors = sectors(args, &interfaces, &exports)?;
        let window = window(args, &exports)?;
        let areas = exports.iter().map(|found| area(args, found, sectors)).collect::<Result<Vec<_>>>()?;
        // Thread t uses the interface at `t % len`.
        let route = |thread: usize, export: usize| exports[export].routes[thread % interfaces.len()];
        let shares = assign::assign(&areas, window, threads, route)?;
        let length_ns = seconds("--seconds", args.seconds.unwrap_or(SECONDS_USUAL), 0.001)?;
        let from_ns = seconds("--warm-up", args.warm_up, 0.0)?;
        let times = Times {
            from_ns,
            end_ns: if args.count.is_some() { NEVER } else { from_ns + length_ns },
            give_up_ns: GIVE_UP_NS,
            interval_ns: seconds("--interval", args.interval, 0.01)?,
            spin: !args.cpu.is_empty(),
            sweep: args.verify && args.reads() < 100,
        };
        let ports = open_ports(args, &interfaces, threads, &shares)?;
        Ok(Self {
            args,
            times,
            stop: signals::on_interrupt()?,
            setup: Setup {
                exports: exports.iter().map(|found| found.address.to_string()).collect(),
                port: ports.first().map_or("", |port| port.name()).to_owned(),
                op: match args.reads() {
                    100 => "read".to_owned(),
                    0 => "write".to_owned(),
                    percent => format!("{percent} % read"),
                },
                pattern: word(&args.pattern),
                sectors,
                window,
                rate: args.rate,
                warm_up_s: args.warm_up,
                threads,
                buffer_count: exports.iter().map(|found| found.buffer_count).min().unwrap_or(0),
                // Differs in each run, so that stamps of earlier runs are recognized.
                seed: args.seed.unwrap_or_else(|| jiff::Timestamp::now().as_millisecond() as u32 | 1),
            },
            shares,
            ports,
        })
    }
}

/// Finds the exports. Refuses to overwrite data.
fn find(args: &LoadArgs, interfaces: &[Facts]) -> Result<Vec<Found>> {
    let open = |interface: &Facts| Ok((Mac(interface.mac), PacketPort::open(interface, Tags::ALL)?));
    let mut lines = interfaces.iter().map(open).collect::<Result<Vec<_>>>()?;
    let mut exports: Vec<Found> = Vec::new();
    for &address in &args.export {
        let twice = exports.iter().any(|found| found.address == address);
        ensure!(!twice, "--export {address} is given twice");
        exports.push(Found::ask(address, &mut lines)?);
    }
    if args.reads() < 100 && !args.destroy_data {
        exports.iter().try_for_each(|found| found.refuse_data(&mut lines))?;
    }
    Ok(exports)
}

fn open_ports(
    args: &LoadArgs,
    interfaces: &[Facts],
    threads: usize,
    shares: &[Share],
) -> Result<Vec<Box<dyn Port>>> {
    let of = |thread| shares.iter().filter(move |share| share.thread == thread);
    let windows: Vec<u16> = (0..threads).map(|thread| of(thread).map(|share| share.window).sum()).collect();
    port::open_all(interfaces, &windows, args.port, |thread, port| {
        let mut routes = of(thread).map(|share| share.route);
        routes.next().map_or(Ok(()), |route| export::find(port, route.from, route.address).map(|_| ()))
    })
}

impl Found {
    fn ask(address: Address, lines: &mut Lines) -> Result<Self> {
        let mut found =
            Self { address, size: 0, routes: Vec::new(), buffer_count: u16::MAX, sectors: u8::MAX };
        let mut answer = Err(anyhow!("no interface to look for export {address} on"));
        for (from, port) in &mut *lines {
            answer = export::find(port, *from, address);
            found.routes.push(answer.as_ref().ok().map(|export| export.route(*from)));
            if let Ok(Export { advert, .. }) = &answer {
                found.buffer_count = found.buffer_count.min(advert.buffer_count);
                let sectors = if advert.sectors_per_frame == 0 { 2 } else { advert.sectors_per_frame };
                found.sectors = found.sectors.min(sectors);
            }
        }
        match found.reach(lines) {
            Some((route, port)) => found.size = export::identify(port, &route)?.sectors,
            None => return answer.map(|_| found),
        }
        Ok(found)
    }

    /// A route and its port.
    fn reach<'a>(&self, lines: &'a mut Lines) -> Option<(Route, &'a mut PacketPort)> {
        self.routes.iter().zip(lines).find_map(|(route, (_, port))| Some(((*route)?, port)))
    }

    /// Refuses an export that seems to hold data.
    fn refuse_data(&self, lines: &mut Lines) -> Result<()> {
        let Some((route, port)) = self.reach(lines) else { return Ok(()) };
        let wanted = guard::LOOKED_AT.div_ceil(aoe::SECTOR) as u64;
        let mut start = Vec::with_capacity(guard::LOOKED_AT);
        for lba in 0..wanted.min(self.size) {
            start.extend(export::read(port, &route, lba, 1)?);
        }
        let (what, address) = (guard::find_data(&start), self.address);
        ensure!(
            what.is_none(),
            "export {address} holds {}, and writing would destroy it: give --destroy-data if that is meant",
            what.unwrap_or_default()
        );
        Ok(())
    }
}

fn threads(args: &LoadArgs) -> Result<usize> {
    let (least, given) = (args.interface.len(), args.threads.unwrap_or(args.interface.len()));
    ensure!(
        (least..=THREADS_MAX).contains(&given),
        "--threads {given}: give {least} (one for each interface) to {THREADS_MAX}"
    );
    let cores = args.cpu.len();
    ensure!(cores == 0 || cores == given, "--cpu names {cores} cores for {given} threads: give one for each");
    Ok(given)
}

/// Sectors in a request: the requested number, if its frames fit everywhere.
fn sectors(args: &LoadArgs, interfaces: &[Facts], exports: &[Found]) -> Result<u8> {
    let interface = interfaces.iter().min_by_key(|interface| interface.mtu).context("no interface")?;
    let Found { address, sectors: allowed, .. } =
        exports.iter().min_by_key(|found| found.sectors).context("no export")?;
    // The MTU does not include the Ethernet header.
    let fit = (interface.mtu as usize + 14).saturating_sub(aoe::DATA_AT) / aoe::SECTOR;
    let (most, name) = (usize::from(*allowed).min(fit) as u8, &interface.name);
    ensure!(most > 0, "the MTU {} of {name} is too small for one sector", interface.mtu);
    let sectors = args.sectors.unwrap_or(most.min(SECTORS_USUAL));
    ensure!(
        (1..=most).contains(&sectors),
        "--sectors {sectors}: give 1 to {most} (export {address} takes {allowed}, the MTU of {name} fits {fit})"
    );
    Ok(sectors)
}

fn window(args: &LoadArgs, exports: &[Found]) -> Result<u16> {
    let Found { address, buffer_count: allowed, .. } =
        exports.iter().min_by_key(|found| found.buffer_count).context("no export")?;
    let window = args.window.unwrap_or((*allowed).clamp(1, WINDOW_USUAL));
    ensure!((1..=WINDOW_MAX).contains(&window), "--window {window}: give 1 to {WINDOW_MAX}");
    ensure!(
        window <= (*allowed).max(1) || args.beyond_buffer_count,
        "--window {window}: export {address} takes {allowed} requests at once, and may drop more: \
         give at most that, or --beyond-buffer-count"
    );
    Ok(window)
}

fn area(args: &LoadArgs, found: &Found, sectors: u8) -> Result<Area> {
    let most = if args.verify { VERIFY_SPAN } else { u64::MAX };
    let (span, address) = (args.span.unwrap_or(most).min(found.size), found.address);
    let blocks = span / u64::from(sectors);
    ensure!(blocks > 0, "export {address} has {span} sectors to use: not enough for requests of {sectors}");
    Ok(Area { sectors, first: 0, blocks })
}

/// An option's value in nanoseconds.
fn seconds(name: &str, value: f64, least: f64) -> Result<u64> {
    ensure!((least..=SECONDS_MAX).contains(&value), "{name} {value}: give {least} to {SECONDS_MAX} seconds");
    Ok((value * 1e9) as u64)
}
