//! `xblade-bench load`: a closed loop against one export.

mod engine;
mod flight;
mod guard;
mod measure;
mod plan;
mod stamp;
mod tally;
mod verify;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use xblade::link::Facts;

use crate::aoe::{self, Mac, Route};
use crate::args::{LoadArgs, Op};
use crate::export::{self, Export};
use crate::outcome::{Latencies, Outcome, Setup, Side, Trouble, Verified};
use crate::port::{self, Port};
use crate::report;
use crate::signals;
use crate::watch::Watch;

use engine::Engine;
use flight::{Flight, WINDOW_MAX};
use measure::{Limits, Measured};
use plan::Plan;
use tally::Tally;
use verify::Verifier;

/// Most sectors in a request, unless told otherwise: 8 KiB.
const SECTORS_USUAL: u8 = 16;
/// Requests in flight, unless told otherwise: as Linux has.
const WINDOW_USUAL: u16 = 64;
/// Sectors that a checked run uses, unless told otherwise.
const VERIFY_SPAN: u64 = 1 << 18;
/// How long, unless told otherwise.
const SECONDS_USUAL: f64 = 5.0;
/// How long a request is sent again and again.
const GIVE_UP: Duration = Duration::from_secs(10);

/// Loads the export, and prints what came of it. `false` if some request was
/// not served as it should be.
pub fn run(args: &LoadArgs) -> Result<bool> {
    let stop = signals::on_interrupt()?;
    crate::cores::pin(args.cpu)?;
    let interface = Facts::read(&args.interface)?;
    let mut port = port::open_best(&interface, args.port, args.window.unwrap_or(WINDOW_USUAL))?;
    let export = export::find(port.as_mut(), Mac(interface.mac), args.export)?;
    let shape = Shape::new(args, port.as_mut(), &interface, &export)?;
    if args.op != Op::Read && !args.destroy_data {
        refuse_data(port.as_mut(), &shape)?;
    }
    let (measured, engine) = load(args, &shape, port.as_mut(), &stop)?;
    let dropped = port.dropped().context("cannot read the port's counters")?;
    let setup = shape.setup(args, port.name(), &export);
    let outcome = outcome(setup, &measured, &engine, dropped);
    print!("{}", report::text(&outcome));
    if let Some(file) = &args.json {
        let text = report::result::json(std::slice::from_ref(&outcome))?.to_string();
        std::fs::write(file, text + "\n").with_context(|| format!("cannot write {}", file.display()))?;
    }
    let good = outcome.is_good();
    if let Some(directory) = &args.report {
        report::write_all(&report::Document::of(vec![outcome]), directory)?;
    }
    Ok(good)
}

/// The timed part, and after it, if writes are checked, one read of everything.
fn load(
    args: &LoadArgs,
    shape: &Shape,
    port: &mut dyn Port,
    stop: &Arc<AtomicBool>,
) -> Result<(Measured, Engine)> {
    let mut plan = Plan::new(args.op, args.sequential, shape.sectors, shape.blocks(), shape.seed);
    if let Some(count) = args.count {
        plan = plan.ending_after(count);
    }
    let timeout_ns = args.timeout_ms.saturating_mul(1_000_000);
    let flight = Flight::new(shape.window, timeout_ns, GIVE_UP.as_nanos() as u64);
    let mut engine = Engine::new(shape.route, shape.sectors, plan, flight, Tally::default());
    engine.verifier = args.verify.then(|| Verifier::new(shape.seed, shape.span));
    let duration = Duration::try_from_secs_f64(args.seconds.unwrap_or(SECONDS_USUAL)).context("--seconds")?;
    let duration = args.count.is_none().then_some(duration);
    let spin = args.cpu.is_some();
    let watch = args.watch_pid.map(|pid| Watch { pid, core: args.watch_core });
    let measured = measure::run(&mut engine, port, &Limits { duration, spin, watch, stop })?;
    if args.verify && args.op != Op::Read {
        engine.plan = Plan::sweep(shape.sectors, shape.blocks());
        measure::run(&mut engine, port, &Limits { duration: None, spin, watch: None, stop })?;
    }
    Ok((measured, engine))
}

/// Puts together the timed part and what went wrong in the whole run, reading
/// back included.
fn outcome(setup: Setup, measured: &Measured, engine: &Engine, dropped: u64) -> Outcome {
    let (timed, whole) = (&measured.tally, &engine.tally);
    let side = |response: &Latencies| Side { response: response.clone(), service: None };
    let mut outcome = Outcome {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        seconds: measured.elapsed.as_secs_f64(),
        reads: side(&timed.reads),
        writes: side(&timed.writes),
        trouble: Trouble { dropped, ..whole.trouble.clone() },
        verify: engine.verifier.as_ref().map(Verified::from),
        cost: measured.cost,
        idle: measured.idle,
        setup,
        ..Outcome::default()
    };
    outcome.warnings = outcome.suspicions();
    outcome
}

/// The arguments, after the export and the interface had their say.
struct Shape {
    route: Route,
    sectors: u8,
    window: u16,
    /// Sectors of the export.
    size: u64,
    /// Of those, how many are used, from the first.
    span: u64,
    seed: u32,
}

impl Shape {
    fn new(args: &LoadArgs, port: &mut dyn Port, interface: &Facts, export: &Export) -> Result<Self> {
        let route = export.route(Mac(interface.mac));
        let size = export::identify(port, &route)?.sectors;
        let sectors = sectors(args, interface, export)?;
        let most = if args.verify { VERIFY_SPAN } else { u64::MAX };
        let span = args.span.unwrap_or(most).min(size);
        if span < u64::from(sectors) {
            bail!("export {} has {span} sectors to use: not enough for requests of {sectors}", args.export);
        }
        let window = args.window.unwrap_or(export.advert.buffer_count.clamp(1, WINDOW_USUAL));
        if window == 0 || window > WINDOW_MAX {
            bail!("--window {window}: give 1 to {WINDOW_MAX}");
        }
        Ok(Self { route, sectors, window, size, span, seed: args.seed.unwrap_or_else(seed_from_clock) })
    }

    fn blocks(&self) -> u64 {
        self.span / u64::from(self.sectors)
    }

    fn setup(&self, args: &LoadArgs, port: &str, export: &Export) -> Setup {
        Setup {
            exports: vec![export.address.to_string()],
            port: port.to_owned(),
            op: format!("{:?}", args.op).to_lowercase(),
            pattern: if args.sequential { "sequential" } else { "random" }.to_owned(),
            sectors: self.sectors,
            window: self.window,
            rate: None,
            threads: 1,
            buffer_count: export.advert.buffer_count,
            seed: self.seed,
        }
    }
}

/// Sectors in a request: what was asked for, if frames of it fit.
fn sectors(args: &LoadArgs, interface: &Facts, export: &Export) -> Result<u8> {
    // Here the Ethernet header does not count.
    let fit = (interface.mtu as usize + 14).saturating_sub(aoe::DATA_AT) / aoe::SECTOR;
    let advertised = if export.advert.sectors_per_frame == 0 { 2 } else { export.advert.sectors_per_frame };
    let most = advertised.min(u8::try_from(fit).unwrap_or(u8::MAX));
    match args.sectors {
        Some(n) if n == 0 || n > most => bail!(
            "--sectors {n}: give 1 to {most} (export {} takes {advertised}, the MTU of {} fits {fit})",
            args.export,
            interface.name
        ),
        Some(n) => Ok(n),
        None if most == 0 => {
            bail!("the MTU {} of {} is too small for one sector", interface.mtu, interface.name)
        }
        None => Ok(most.min(SECTORS_USUAL)),
    }
}

/// Refuses an export that seems to hold somebody's data.
fn refuse_data(port: &mut dyn Port, shape: &Shape) -> Result<()> {
    let wanted = guard::LOOKED_AT.div_ceil(aoe::SECTOR) as u64;
    let mut start = Vec::with_capacity(guard::LOOKED_AT);
    for lba in 0..wanted.min(shape.size) {
        start.extend(export::read(port, &shape.route, lba, 1)?);
    }
    match guard::find_data(&start) {
        Some(what) => bail!(
            "export {} holds {what}, and writing would destroy it: give --destroy-data if that is meant",
            shape.route.address
        ),
        None => Ok(()),
    }
}

/// Different in each run, so that stamps of an earlier one are told apart.
fn seed_from_clock() -> u32 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    now.as_millis() as u32 | 1
}
