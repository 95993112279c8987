//! The job: the arguments, fitted to the exports and interfaces.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use xblade_link::Facts;

use crate::aoe::{self, Address, Mac, Route};
use crate::args::{ArrivalKind, LoadArgs, PortKind};
use crate::export::{self, Export};
use crate::outcome::Setup;
use crate::port::{self, PacketPort, Port, THREADS_MAX, Tags};

use super::assign::{self, Share};
use super::flight::WINDOW_MAX;
use super::guard;
use super::plan::Area;

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

/// What all runs have in common.
pub struct Job {
    /// The interfaces; thread t uses the one at `t % len`.
    pub interfaces: Vec<Facts>,
    /// The exports.
    pub exports: Vec<Found>,
    /// What each thread loads.
    pub shares: Vec<Vec<Share>>,
    /// Sectors in a request.
    pub sectors: u8,
    /// Requests in flight on each export.
    pub window: u16,
    /// Seed of the first run.
    pub seed: u32,
    /// How long to send, unless a number of requests is given.
    pub duration: Option<Duration>,
    /// How long to send before that without counting.
    pub warm_up: Duration,
    /// Length of an interval.
    pub interval: Duration,
}

/// An export, and where it was found.
pub struct Found {
    /// The export as it answered on each interface.
    pub on: Vec<Option<Export>>,
    /// Its address.
    pub address: Address,
    /// Its size in sectors.
    pub size: u64,
}

impl Job {
    /// Finds the exports, and fits the load to them. Writes nothing.
    pub fn new(args: &LoadArgs) -> Result<Self> {
        let interfaces =
            args.interface.iter().map(|name| Facts::read(name)).collect::<Result<Vec<_>, _>>()?;
        let threads = threads(args)?;
        let mut ports = Vec::new();
        for interface in &interfaces {
            ports.push(PacketPort::open(interface, Tags::ALL)?);
        }
        let mut exports: Vec<Found> = Vec::new();
        for &address in &args.export {
            if exports.iter().any(|found| found.address == address) {
                bail!("--export {address} is given twice");
            }
            exports.push(Found::ask(address, &interfaces, &mut ports)?);
        }
        if args.reads() < 100 && !args.destroy_data {
            for found in &exports {
                found.refuse_data(&interfaces, &mut ports)?;
            }
        }
        let sectors = sectors(args, &interfaces, &exports)?;
        let window = window(args, &exports)?;
        let areas = exports.iter().map(|found| area(args, found, sectors)).collect::<Result<Vec<_>>>()?;
        let reached: Vec<Vec<bool>> =
            exports.iter().map(|found| found.on.iter().map(Option::is_some).collect()).collect();
        let hands = assign::assign(&reached, interfaces.len(), threads)?;
        let length = seconds("--seconds", args.seconds.unwrap_or(SECONDS_USUAL), 0.001)?;
        Ok(Self {
            shares: assign::divide(&hands, &areas, window)?,
            interfaces,
            exports,
            sectors,
            window,
            seed: args.seed.unwrap_or_else(seed_from_clock),
            duration: args.count.is_none().then_some(length),
            warm_up: seconds("--warm-up", args.warm_up, 0.0)?,
            interval: seconds("--interval", args.interval, 0.01)?,
        })
    }

    /// Opens a port for each thread.
    pub fn open_ports(&self, kind: Option<PortKind>) -> Result<Vec<Box<dyn Port>>> {
        let on: Vec<&Facts> = (0..self.shares.len()).filter_map(|thread| self.interface(thread)).collect();
        let windows: Vec<u16> = self.shares.iter().map(|own| own.iter().map(|s| s.window).sum()).collect();
        let probe = |thread: usize, port: &mut dyn Port| {
            let Some(route) = self.shares.get(thread).and_then(|own| self.route(thread, own.first()?.export))
            else {
                return Ok(());
            };
            export::find(port, route.from, route.address).map(|_| ())
        };
        port::open_all(&on, &windows, kind, &probe)
    }

    /// The route from a thread to an export.
    pub fn route(&self, thread: usize, export: usize) -> Option<Route> {
        let at = thread % self.interfaces.len();
        let (interface, found) = (self.interfaces.get(at)?, self.exports.get(export)?);
        found.on.get(at)?.as_ref().map(|export| export.route(Mac(interface.mac)))
    }

    fn interface(&self, thread: usize) -> Option<&Facts> {
        self.interfaces.get(thread % self.interfaces.len())
    }

    /// The description of the load in results.
    pub fn setup(&self, args: &LoadArgs, rate: Option<f64>, port: &str, seed: u32) -> Setup {
        let arrivals = match args.arrivals {
            ArrivalKind::Constant => "constant",
            ArrivalKind::Poisson => "poisson",
        };
        Setup {
            exports: self.exports.iter().map(|found| found.address.to_string()).collect(),
            port: port.to_owned(),
            op: match args.reads() {
                100 => "read".to_owned(),
                0 => "write".to_owned(),
                percent => format!("{percent} % read"),
            },
            pattern: args.pattern().to_string(),
            sectors: self.sectors,
            window: self.window,
            rate,
            arrivals: rate.map(|_| arrivals.to_owned()),
            warm_up_s: self.warm_up.as_secs_f64(),
            threads: self.shares.len(),
            buffer_count: self.exports.iter().map(Found::buffer_count).min().unwrap_or(0),
            seed,
        }
    }
}

impl Found {
    fn ask(address: Address, interfaces: &[Facts], ports: &mut [PacketPort]) -> Result<Self> {
        let mut on = Vec::new();
        let (mut size, mut silence) = (None, None);
        for (interface, port) in interfaces.iter().zip(ports) {
            let from = Mac(interface.mac);
            match export::find(port, from, address) {
                Ok(export) => {
                    if size.is_none() {
                        size = Some(export::identify(port, &export.route(from))?.sectors);
                    }
                    on.push(Some(export));
                }
                Err(e) => {
                    silence = Some(e);
                    on.push(None);
                }
            }
        }
        match (size, silence) {
            (Some(size), _) => Ok(Self { on, address, size }),
            (None, Some(e)) => Err(e),
            (None, None) => bail!("no interface to look for export {address} on"),
        }
    }

    fn any(&self) -> impl Iterator<Item = &Export> {
        self.on.iter().flatten()
    }

    /// The buffer count that it advertises.
    fn buffer_count(&self) -> u16 {
        self.any().map(|export| export.advert.buffer_count).min().unwrap_or(0)
    }

    /// The sectors that it accepts in a frame.
    fn frame(&self) -> u8 {
        let told = self.any().map(|export| export.advert.sectors_per_frame).min().unwrap_or(0);
        if told == 0 { 2 } else { told }
    }

    /// Refuses an export that seems to hold data.
    fn refuse_data(&self, interfaces: &[Facts], ports: &mut [PacketPort]) -> Result<()> {
        let mut all = self.on.iter().zip(interfaces).zip(ports);
        let Some((route, port)) = all.find_map(|((export, interface), port)| {
            export.as_ref().map(|export| (export.route(Mac(interface.mac)), port))
        }) else {
            return Ok(());
        };
        let wanted = guard::LOOKED_AT.div_ceil(aoe::SECTOR) as u64;
        let mut start = Vec::with_capacity(guard::LOOKED_AT);
        for lba in 0..wanted.min(self.size) {
            start.extend(export::read(port, &route, lba, 1)?);
        }
        match guard::find_data(&start) {
            Some(what) => bail!(
                "export {} holds {what}, and writing would destroy it: give --destroy-data if that is meant",
                self.address
            ),
            None => Ok(()),
        }
    }
}

fn threads(args: &LoadArgs) -> Result<usize> {
    let (least, given) = (args.interface.len(), args.threads.unwrap_or(args.interface.len()));
    if given < least || given > THREADS_MAX {
        bail!("--threads {given}: give {least} (one for each interface) to {THREADS_MAX}");
    }
    if !args.cpu.is_empty() && args.cpu.len() != given {
        bail!("--cpu names {} cores for {given} threads: give one for each", args.cpu.len());
    }
    Ok(given)
}

/// Sectors in a request: the requested number, if its frames fit everywhere.
fn sectors(args: &LoadArgs, interfaces: &[Facts], exports: &[Found]) -> Result<u8> {
    let Some(interface) = interfaces.iter().min_by_key(|interface| interface.mtu) else {
        bail!("no interface");
    };
    let Some(export) = exports.iter().min_by_key(|found| found.frame()) else { bail!("no export") };
    // The MTU does not include the Ethernet header.
    let fit = (interface.mtu as usize + 14).saturating_sub(aoe::DATA_AT) / aoe::SECTOR;
    let most = export.frame().min(u8::try_from(fit).unwrap_or(u8::MAX));
    match args.sectors {
        Some(n) if n == 0 || n > most => bail!(
            "--sectors {n}: give 1 to {most} (export {} takes {}, the MTU of {} fits {fit})",
            export.address,
            export.frame(),
            interface.name
        ),
        Some(n) => Ok(n),
        None if most == 0 => {
            bail!("the MTU {} of {} is too small for one sector", interface.mtu, interface.name)
        }
        None => Ok(most.min(SECTORS_USUAL)),
    }
}

fn window(args: &LoadArgs, exports: &[Found]) -> Result<u16> {
    let Some(least) = exports.iter().min_by_key(|found| found.buffer_count()) else { bail!("no export") };
    let allowed = least.buffer_count();
    let window = args.window.unwrap_or(allowed.clamp(1, WINDOW_USUAL));
    if window == 0 || window > WINDOW_MAX {
        bail!("--window {window}: give 1 to {WINDOW_MAX}");
    }
    if window > allowed.max(1) && !args.beyond_buffer_count {
        bail!(
            "--window {window}: export {} takes {allowed} requests at once, and may drop more: \
             give at most that, or --beyond-buffer-count",
            least.address
        );
    }
    Ok(window)
}

fn area(args: &LoadArgs, found: &Found, sectors: u8) -> Result<Area> {
    let most = if args.verify { VERIFY_SPAN } else { u64::MAX };
    let span = args.span.unwrap_or(most).min(found.size);
    if span < u64::from(sectors) {
        bail!("export {} has {span} sectors to use: not enough for requests of {sectors}", found.address);
    }
    Ok(Area { sectors, first: 0, blocks: span / u64::from(sectors) })
}

fn seconds(name: &str, value: f64, least: f64) -> Result<Duration> {
    if !(least..=SECONDS_MAX).contains(&value) {
        bail!("{name} {value}: give {least} to {SECONDS_MAX} seconds");
    }
    Duration::try_from_secs_f64(value).with_context(|| name.to_owned())
}

/// Differs in each run, so that stamps of earlier runs are recognized.
fn seed_from_clock() -> u32 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    now.as_millis() as u32 | 1
}
