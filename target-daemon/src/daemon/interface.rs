//! The served interfaces: looks them up, attaches the XDP program, and opens the lanes of
//! each queue.

use log::{info, warn};

use super::failure::{Context, Failure};
use super::plan;
use crate::config::{self, Serve};
use crate::control;
use crate::link::{self, AttachError, Facts, Mode, Named, Owned, Program, XdpMode};
use crate::ring::{self, Lane, SocketConfig, XskRings, ZeroCopy};
use crate::shelf;
use crate::store::Problem;

/// A served interface.
#[derive(Debug)]
pub struct Interface {
    /// Its properties as last reported by the kernel.
    pub facts: Facts,
    /// The program on it; dropping it detaches.
    pub program: Option<Program>,
    /// Whether it still exists.
    pub presence: Presence,
}

impl Interface {
    /// What clients can read of it.
    pub fn snapshot(&self) -> control::snapshot::Interface {
        let program = self.program.as_ref();
        let native = program.is_some_and(|program| program.mode() == XdpMode::Native);
        let counters = program.and_then(|program| program.counters().ok()).unwrap_or_default();
        let (present, mode) = (self.presence == Presence::Here, if native { "native" } else { "generic" });
        control::snapshot::Interface::new(&self.facts, present, mode, counters)
    }
}

/// The state of an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Presence {
    /// It still has the program that was attached at the start.
    Here,
    /// It was removed.
    Gone,
    /// It was removed, and another one has its name.
    Replaced,
}

/// A lane, with its interface and worker.
pub struct PlacedLane {
    /// The lane.
    pub lane: Lane<XskRings>,
    /// Index of its interface.
    pub interface: usize,
    /// Index of the worker that polls it.
    pub worker: usize,
}

/// Reads the facts of every configured interface, and refuses those that cannot carry AoE.
pub fn look_up(options: &Serve) -> Result<Vec<Interface>, Failure> {
    let mut interfaces: Vec<Interface> = Vec::new();
    for name in names(&options.interfaces)? {
        let facts = usable(&name)?;
        if !facts.up {
            warn!("{name} is down: bring it up with `ip link set {name} up`");
        }
        interfaces.push(Interface { facts, program: None, presence: Presence::Here });
    }
    Ok(interfaces)
}

pub fn names_of(interfaces: &[Interface]) -> Vec<String> {
    interfaces.iter().map(|interface| interface.facts.name.clone()).collect()
}

/// Expands names and patterns to interface names. A pattern stands for every interface that
/// matches it.
pub fn names(wanted: &[String]) -> Result<Vec<String>, Failure> {
    let there = link::all().context("cannot list the interfaces")?;
    let mut names: Vec<String> = Vec::new();
    for one in wanted {
        if wanted.iter().filter(|other| *other == one).count() > 1 {
            return Err(Failure::request(format!("interface {one} is given twice: give it once")));
        }
        for name in fitting(one, &there)? {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    Ok(names)
}

/// The interfaces that a name or pattern stands for. Alternative names count as well.
pub fn fitting(wanted: &str, there: &[Named]) -> Result<Vec<String>, Failure> {
    if let Some(one) = there.iter().find(|one| one.is_called(wanted)) {
        return Ok(vec![one.name.clone()]);
    }
    if !wanted.contains(['*', '?', '[']) {
        return Ok(vec![wanted.to_owned()]);
    }
    let pattern = glob::Pattern::new(wanted).map_err(|e| {
        let what = format!("{wanted} is not a pattern: {}", e.msg);
        Failure::request(Problem::new(what, "write eth* or eth[01]"))
    })?;
    // The loopback and tunnels match many patterns, and are never meant.
    let is_ethernet = |one: &&Named| Facts::read(&one.name).is_ok_and(|facts| !facts.loopback);
    let ethernet: Vec<&Named> = there.iter().filter(is_ethernet).collect();
    let fits = |one: &&&Named| one.names().any(|name| pattern.matches(name));
    let mut fitting: Vec<String> = ethernet.iter().filter(fits).map(|one| one.name.clone()).collect();
    fitting.sort();
    if fitting.is_empty() {
        let names: Vec<&str> = ethernet.iter().map(|one| one.name.as_str()).collect();
        let there = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let what = format!("no Ethernet interface fits {wanted}");
        let remedy = format!("correct it, or make one (there are {there})");
        return Err(Failure::machine(Problem::new(what, remedy)));
    }
    Ok(fitting)
}

/// The facts of an interface, if it can carry AoE.
pub fn usable(name: &str) -> Result<Facts, Failure> {
    let facts = Facts::read(name).map_err(Failure::machine)?;
    if facts.loopback {
        let remedy = "AoE is Ethernet, so name the interface that the other hosts are on";
        return Err(Failure::machine(Problem::new(format!("{name} is the loopback"), remedy)));
    }
    if facts.mtu < shelf::MTU_MIN {
        let remedy = format!("set at least {} (1500 is usual, 9000 is fast)", shelf::MTU_MIN);
        let what = format!("{name}: an MTU of {} has no room for a sector", facts.mtu);
        return Err(Failure::machine(Problem::new(what, remedy)));
    }
    Ok(facts)
}

/// Attaches the program to every interface and opens the lanes of each queue: one, or one
/// for each worker.
pub fn attach(interfaces: &mut [Interface], options: &Serve) -> Result<Vec<PlacedLane>, Failure> {
    let workers = plan::workers(options, interfaces.iter().map(|interface| interface.facts.queues));
    let mut lanes = Vec::new();
    for index in in_order(interfaces)? {
        let Some(interface) = interfaces.get_mut(index) else { continue };
        let mut program = attach_program(&interface.facts, options, workers)?;
        // Before the first frame, so that all frames of an export take the same route.
        direct_one(&mut program, &interface.facts.name, &plan::owners(options, workers));
        for queue in 0..interface.facts.queues {
            for (worker, lane) in open_queue(options, &interface.facts, &mut program, queue, workers)? {
                lanes.push(PlacedLane { lane, interface: index, worker });
            }
        }
        interface.program = Some(program);
    }
    lanes.sort_by_key(|placed| placed.interface);
    Ok(lanes)
}

/// The interfaces in the order in which a program can be attached: the kernel refuses an
/// interface below one that has a program.
fn in_order(interfaces: &[Interface]) -> Result<Vec<usize>, Failure> {
    let indexes: Vec<u32> = interfaces.iter().map(|interface| interface.facts.index).collect();
    for (upper, lower) in link::pairs(&indexes).context("cannot list the interfaces")? {
        if let (Some(upper), Some(lower)) = (interfaces.get(upper), interfaces.get(lower)) {
            let (upper, lower) = (&upper.facts.name, &lower.facts.name);
            warn!(
                "{upper} lies on {lower}, and both are to be served: the XDP program on {lower} takes what arrives \
                 there, so no host reaches {upper} that way: leave one of them out"
            );
        }
    }
    link::lowest_first(&indexes).context("cannot list the interfaces")
}

/// The lanes of a queue, each with its worker. The first lane receives every frame of the
/// queue, except those of exports whose owner has a lane of its own.
fn open_queue(
    options: &Serve,
    facts: &Facts,
    program: &mut Program,
    queue: u32,
    workers: usize,
) -> Result<Vec<(usize, Lane<XskRings>)>, Failure> {
    let sockets = plan::sockets(options, queue, workers, link::kernel());
    let wanted = wanted(options, facts, program, queue, sockets)?;
    let lanes = ring::open_several(&wanted, sockets).map_err(Failure::machine)?;
    // The kernel may have granted fewer.
    let sockets = lanes.len();
    let mut placed = Vec::new();
    for (at, lane) in lanes.into_iter().enumerate() {
        let worker = (queue as usize + at) % workers;
        // The socket has its chunks before the first frame can arrive.
        let fd = lane.fd().ok_or_else(|| Failure::system("the rings", "have no socket"))?;
        let registered = match at {
            0 => program.register(queue, &fd),
            _ => program.register_for(worker as u8, queue, &fd),
        };
        registered.map_err(Failure::machine)?;
        if at == 0 {
            describe(&wanted, lane.rings(), sockets);
        }
        placed.push((worker, lane));
    }
    Ok(placed)
}

/// Makes the programs send frames to the workers that own the exports. If this fails,
/// another worker receives the frame and forwards it.
pub fn direct(interfaces: &mut [Interface], owners: &[Owned]) {
    for interface in interfaces {
        if let Some(program) = &mut interface.program {
            direct_one(program, &interface.facts.name, owners);
        }
    }
}

fn direct_one(program: &mut Program, name: &str, owners: &[Owned]) {
    if let Err(e) = program.set_owners(owners.iter().copied()) {
        warn!("{name}: frames for some exports are forwarded between workers: {}", super::failure::chain(&e));
    }
}

fn attach_program(facts: &Facts, options: &Serve, workers: usize) -> Result<Program, Failure> {
    let acl: Vec<[u8; 6]> = options.allowed_somewhere().into_iter().map(|mac| mac.0).collect();
    // With one worker there is no choice to make.
    let workers = if plan::sockets(options, 0, workers, link::kernel()) > 1 { workers as u8 } else { 0 };
    let program = Program::attach_for(facts, mode(facts, options)?, &acl, workers)
        .map_err(|e| Failure::machine(advised(e)))?;
    let reason = program.native_refusal().map(|r| format!(" (native mode: {r})")).unwrap_or_default();
    info!(
        "{}: driver {}, MTU {}, {} queue{}, XDP in {} mode{reason}, {} sectors a frame",
        facts.name,
        if facts.driver.is_empty() { "unknown" } else { &facts.driver },
        facts.mtu,
        facts.queues,
        if facts.queues == 1 { "" } else { "s" },
        program.mode(),
        shelf::sectors_per_frame(facts.mtu),
    );
    Ok(program)
}

/// Adds a remedy to the error if an xblade serves the interface already.
pub(super) fn advised(mut error: AttachError) -> AttachError {
    if let AttachError::Occupied(occupant) | AttachError::Below { above: Some(occupant), .. } = &mut error
        && occupant.is_xblade()
    {
        occupant.advice = Some(instead_of_a_second(&occupant.holders));
    }
    error
}

/// What to do instead of starting a second xblade, if these processes are the first.
pub(super) fn instead_of_a_second(holders: &[(u32, String)]) -> String {
    const ADD: &str = "one xblade serves all exports of an interface, so add yours to it (`xblade export add \
                       SHELF.SLOT=PATH";
    match holders.iter().find_map(|(pid, _)| control::socket_of(*pid)) {
        Some(path) => format!("{ADD} --control {}`)", path.display()),
        None if holders.is_empty() => format!("{ADD}`, with its `--control PATH`)"),
        None => "one xblade serves all exports of an interface, and that one has no control socket to add yours by: \
                 give both to one `xblade serve`"
            .to_owned(),
    }
}

/// Selects the XDP mode. A driver whose XDP supports only single-buffer frames cannot
/// receive jumbo frames in native mode.
fn mode(facts: &Facts, options: &Serve) -> Result<Mode, Failure> {
    let several = plan::descriptors_per_frame(facts.mtu) > 1;
    let lacking = several && facts.rx_sg == Some(false);
    match options.xdp_mode {
        config::XdpMode::Generic => Ok(Mode::Generic),
        config::XdpMode::Native if lacking => Err(Failure::system(
            &facts.name,
            format!(
                "the driver {} has no multi-fragment XDP, so no native mode at MTU {}: lower the MTU to 3500, or \
                 use --xdp-mode generic",
                facts.driver, facts.mtu
            ),
        )),
        config::XdpMode::Native => Ok(Mode::Native),
        config::XdpMode::Auto if lacking => {
            info!(
                "{}: no multi-fragment XDP in the driver, so generic mode at MTU {}",
                facts.name, facts.mtu
            );
            Ok(Mode::Generic)
        }
        config::XdpMode::Auto => Ok(Mode::Auto),
    }
}

fn wanted(
    options: &Serve,
    facts: &Facts,
    program: &Program,
    queue: u32,
    sockets: usize,
) -> Result<SocketConfig, Failure> {
    let mut wanted = plan::rings(options, facts, queue, sockets)?;
    let segments = plan::descriptors_per_frame(facts.mtu);
    let zero_copy = program.mode() == XdpMode::Native
        && facts.zero_copy != Some(false)
        && (segments <= 1 || facts.zero_copy_segments >= segments);
    if !zero_copy {
        wanted.zero_copy = ZeroCopy::Off;
    }
    Ok(wanted)
}

fn describe(wanted: &SocketConfig, rings: &XskRings, sockets: usize) {
    if wanted.multi_fragment && !rings.multi_fragment() {
        warn!(
            "{}: this kernel gives AF_XDP no frames in several fragments, so a frame carries 4 sectors at most: \
             install Linux 6.6 or newer for 16",
            wanted.interface
        );
    }
    info!(
        "{} queue {}: {}{} rings, rx {}, tx {}, UMEM {} chunks of {} bytes",
        wanted.interface,
        wanted.queue,
        if sockets > 1 { format!("{sockets} sockets, ") } else { String::new() },
        if rings.zero_copy() { "zero-copy" } else { "copy-mode" },
        wanted.rx_ring,
        wanted.tx_ring,
        wanted.chunks,
        wanted.chunk_bytes,
    );
}
