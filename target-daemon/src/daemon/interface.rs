//! The served interfaces: looks them up, attaches the XDP program, and opens the lanes of
//! each queue.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use log::{info, warn};

use super::failure::{Context, Failure};
use super::plan::{self, Reception};
use super::segments;
use crate::config::{self, Serve};
use crate::control;
use crate::link::{self, AttachError, Facts, Named, Owned, Program, XdpMode};
use crate::ring::{self, HostMaps, HostTable, Lane, SocketConfig, XskRings};
use crate::shelf;
use crate::store::Problem;

/// A served interface.
pub struct Interface {
    /// Its properties as last reported by the kernel.
    pub facts: Facts,
    /// The program on it; dropping it detaches.
    pub program: Option<Program>,
    /// Whether it still exists.
    pub presence: Presence,
    /// Its sockets.
    pub rings: Rings,
    /// What only a restart or another remedy can change, as logged.
    pub warning: Option<String>,
    /// Its counters at the last review.
    arrivals: Option<Arrivals>,
}

/// Frames of an interface since its creation.
#[derive(Clone, Copy)]
struct Arrivals {
    /// By the driver's count, and by that of the XDP program. Some drivers leave out frames
    /// that the program takes.
    received: u64,
    lost: u64,
    /// Reviews that found more lost ones, since the last that found more received ones.
    deaf: u8,
}

impl Arrivals {
    fn next(self, received: u64, lost: u64) -> Self {
        let deaf =
            if received == self.received { self.deaf.saturating_add((lost > self.lost).into()) } else { 0 };
        Self { received, lost, deaf }
    }
}

/// Reviews that find only lost frames before this is reported. Drivers count lost frames some
/// seconds late, when those received are long counted.
const DEAF: u8 = 4;

/// The sockets of an interface, as the kernel granted them at the start. The sandbox allows
/// no new ones, so changes of the interface may call for a restart.
#[derive(Default)]
pub struct Rings {
    /// Number of queues that have one.
    pub queues: u32,
    /// Whether they take frames longer than a chunk.
    pub multi_fragment: bool,
    /// Whether the NIC accesses their UMEM.
    pub zero_copy: bool,
}

impl Rings {
    fn of(queues: &[Vec<(usize, u32, Lane<XskRings>)>]) -> Self {
        let mut rings = queues.iter().filter_map(|lanes| Some(lanes.first()?.2.rings()));
        Self {
            queues: queues.len() as u32,
            multi_fragment: rings.clone().all(XskRings::multi_fragment),
            zero_copy: rings.any(XskRings::zero_copy),
        }
    }
}

impl Interface {
    /// What clients can read of it.
    pub fn snapshot(&self) -> control::snapshot::Interface {
        let program = self.program.as_ref();
        let native = program.is_some_and(|program| program.mode == XdpMode::Native);
        let counters = program.and_then(|program| program.counters().ok()).unwrap_or_default();
        let (present, mode) = (self.presence == Presence::Here, if native { "native" } else { "generic" });
        control::snapshot::Interface {
            zero_copy: self.rings.zero_copy,
            warning: self.warning.clone(),
            ..control::snapshot::Interface::new(&self.facts, present, mode, counters)
        }
    }

    /// Logs what only a restart or another remedy can change. Call it once a second, with all
    /// interfaces.
    pub fn review(&mut self, all: &[Named], options: &Serve) {
        let now = all.iter().find(|one| one.index == self.facts.index);
        let (Some(now), Presence::Here) = (now, self.presence) else { return };
        self.facts.queues = self.facts.queues_again();
        let taken = self.program.as_ref().and_then(|program| program.counters().ok()).unwrap_or_default();
        let received = taken.iter().fold(now.received, |sum, n| sum.wrapping_add(*n));
        let first = Arrivals { received, lost: now.lost, deaf: 0 };
        let arrivals = self.arrivals.unwrap_or(first).next(received, now.lost);
        self.arrivals = Some(arrivals);
        let warning = self.judge(options, arrivals.deaf >= DEAF);
        match &warning {
            Some(text) if warning != self.warning => warn!("{}: {text}", self.facts.name),
            _ => {}
        }
        // Logged when it began.
        self.warning = warning.or_else(|| self.hides_tags(all, options));
    }

    /// Exports that are not served because their VLANs cannot be told apart.
    fn hides_tags(&self, all: &[Named], options: &Serve) -> Option<String> {
        let facts = Some(&self.facts).filter(|facts| facts.strips_tags)?;
        let is_unserved =
            |export: &&config::Export| export.vlans.names_some() && segments::is_on(export, facts, all);
        let unserved = options.exports.iter().filter(is_unserved);
        let unserved: Vec<String> = unserved.map(|export| export.address.to_string()).collect();
        (!unserved.is_empty()).then(|| {
            let remedy = segments::remedy(facts);
            format!("VLAN tags do not arrive, so {} is not served: {remedy}", unserved.join(", "))
        })
    }

    /// `deaf`: frames arrive, and the NIC loses all of them.
    fn judge(&self, options: &Serve, deaf: bool) -> Option<String> {
        let (facts, rings) = (&self.facts, &self.rings);
        let sectors = |multi_fragment| plan::sectors(facts.mtu, multi_fragment);
        let may = options.multi_fragment == config::AutoOff::Auto && link::kernel() >= plan::KERNEL_FRAGMENTS;
        let (now, possible) = (sectors(rings.multi_fragment), sectors(rings.multi_fragment || may));
        if deaf {
            return Some(format!(
                "the NIC loses all frames: if this lasts, run `ethtool -r {}`, and if that does not help, restart xblade{}",
                facts.name,
                if rings.zero_copy { " with `--zero-copy off`" } else { "" }
            ));
        }
        if facts.queues > rings.queues {
            return Some(format!(
                "{} queues, and xblade serves {} of them: requests that arrive on the others get no reply: restart \
                 xblade, or run `ethtool -L {} combined {}`",
                facts.queues, rings.queues, facts.name, rings.queues
            ));
        }
        (now < possible).then(|| {
            format!(
                "MTU {} allows {possible} sectors a frame, and the rings {now}: restart xblade",
                facts.mtu
            )
        })
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
    /// Its index in the XDP program.
    pub at: u32,
}

/// Reads the facts of every configured interface, and refuses those that cannot carry AoE.
pub fn look_up(options: &Serve) -> Result<Vec<Interface>, Failure> {
    let mut interfaces: Vec<Interface> = Vec::new();
    for name in names(&options.interfaces)? {
        let facts = usable(&name)?;
        if !facts.up {
            warn!("{name} is down: bring it up with `ip link set {name} up`");
        }
        interfaces.push(Interface {
            facts,
            program: None,
            presence: Presence::Here,
            rings: Rings::default(),
            warning: None,
            arrivals: None,
        });
    }
    Ok(interfaces)
}

/// The facts of each.
pub fn facts_of(interfaces: &[Interface]) -> Vec<&Facts> {
    interfaces.iter().map(|interface| &interface.facts).collect()
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
///
/// The order is that in which drivers set up zero-copy: sockets, fill rings, program
/// ([`Program::attach`]).
pub fn attach(interfaces: &mut [Interface], options: &Serve) -> Result<Vec<PlacedLane>, Failure> {
    let workers = plan::workers(options, interfaces.iter().map(|interface| interface.facts.queues));
    let mut lanes = Vec::new();
    for index in in_order(interfaces)? {
        let Some(interface) = interfaces.get_mut(index) else { continue };
        let facts = &interface.facts;
        let mut reception = plan::reception(options, facts);
        let mut program = load_program(facts, options, workers)?;
        // Before the first frame, so that all frames of an export take the same route.
        direct_one(&mut program, &facts.name, &plan::owners(options, workers));
        let open = |program: &mut _, reception: &_, queue| {
            open_queue(options, facts, reception, program, queue, workers)
        };
        let open_all = |program: &mut _, reception: &_| {
            (0..facts.queues).map(|queue| open(program, reception, queue)).collect::<Result<Vec<_>, _>>()
        };
        let mut queues = open_all(&mut program, &reception)?;
        program.attach(facts, reception.mode).map_err(|e| Failure::machine(advised(e)))?;
        if program.mode == XdpMode::Generic && Rings::of(&queues).zero_copy {
            // A zero-copy socket receives nothing in generic mode.
            reception.zero_copy = Err("native mode was refused".to_owned());
            // Before others are bound to the same queues.
            drop(queues);
            queues = open_all(&mut program, &reception)?;
        }
        let rings = Rings::of(&queues);
        // The driver may have added queues for the program (virtio_net). They end with the
        // program, and a zero-copy socket there would leave the kernel (6.18) with a stale
        // pointer.
        let copy = Reception { zero_copy: Err(String::new()), ..reception };
        for queue in facts.queues..facts.queues_now() {
            match open(&mut program, &copy, queue) {
                Ok(lanes) => queues.push(lanes),
                Err(e) => {
                    warn!("{}: requests on queue {queue} and above get no reply: {e}", facts.name);
                    break;
                }
            }
        }
        interface.rings = Rings { queues: queues.len() as u32, ..rings };
        describe(options, facts, &program, &reception, &interface.rings);
        let placed = queues.into_iter().flatten();
        lanes.extend(placed.map(|(worker, at, lane)| PlacedLane { lane, interface: index, worker, at }));
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
    reception: &Reception,
    program: &mut Program,
    queue: u32,
    workers: usize,
) -> Result<Vec<(usize, u32, Lane<XskRings>)>, Failure> {
    let sockets = plan::sockets(options, queue, workers, link::kernel());
    let wanted = plan::rings(options, facts, reception, queue, sockets)?;
    let lanes = ring::open_several(&wanted, sockets).map_err(Failure::machine)?;
    // The kernel may have granted fewer.
    let sockets = lanes.len();
    let mut placed = Vec::new();
    for (at, lane) in lanes.into_iter().enumerate() {
        let worker = (queue as usize + at) % workers;
        // The socket has its chunks before the first frame can arrive.
        let fd = lane.fd().ok_or_else(|| Failure::system("the rings", "have no socket"))?;
        let only_for = (at > 0).then_some(worker as u8);
        let index = program.register(queue, only_for, &fd).map_err(Failure::machine)?;
        if at == 0 {
            describe_queue(&wanted, lane.rings(), sockets);
        }
        placed.push((worker, index, lane));
    }
    Ok(placed)
}

/// The hosts that send to an interface.
pub fn hosts(interface: &Interface) -> Result<HostTable, Failure> {
    let Some(program) = &interface.program else { return Ok(HostTable::new(seed())) };
    let ([hosts, admitted, limits], lanes, seed) = program.hosts();
    HostTable::of_program(HostMaps { hosts, admitted, limits, lanes, seed })
        .context("cannot map the table of hosts of the XDP program")
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

/// An odd number that hosts do not know.
pub fn seed() -> u64 {
    RandomState::new().build_hasher().finish() | 1
}

// The limits that the configuration knows are those of the XDP program.
const _: () = assert!(config::HOSTS_MAX == link::ACL_MAX && config::EXPORTS_MAX == link::OWNERS_MAX);

fn load_program(facts: &Facts, options: &Serve, workers: usize) -> Result<Program, Failure> {
    let acl: Vec<[u8; 6]> = options.allowed_somewhere().into_iter().map(|mac| mac.0).collect();
    // With one worker there is no choice to make.
    let workers = if plan::sockets(options, 0, workers, link::kernel()) > 1 { workers as u8 } else { 0 };
    Program::load(facts, &acl, workers, seed()).map_err(|e| Failure::machine(advised(e)))
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

/// Logs how frames arrive from this interface, and what prevents a faster way.
fn describe(options: &Serve, facts: &Facts, program: &Program, reception: &Reception, rings: &Rings) {
    let refused = program.native_refusal.as_ref().map(|reason| format!("native mode: {reason}"));
    let copied = || match &reception.zero_copy {
        Ok(()) if rings.zero_copy => None,
        Ok(()) => Some("copy: the driver refused zero-copy".to_owned()),
        Err(reason) => Some(format!("copy: {reason}")),
    };
    let reason = refused.or_else(copied).map(|reason| format!(" ({reason})")).unwrap_or_default();
    let sectors = plan::sectors(facts.mtu, rings.multi_fragment);
    info!(
        "{}: driver {}, MTU {}, {} queue{}, XDP in {} mode{reason}, {sectors} sectors a frame",
        facts.name,
        if facts.driver.is_empty() { "unknown" } else { &facts.driver },
        facts.mtu,
        rings.queues,
        if rings.queues == 1 { "" } else { "s" },
        program.mode,
    );
    let possible = plan::sectors(facts.mtu, options.multi_fragment == config::AutoOff::Auto);
    if sectors < possible && !rings.zero_copy {
        warn!(
            "{}: this kernel gives AF_XDP no frames in several fragments, so a frame carries {sectors} sectors at \
             most: install Linux 6.6 or newer for {possible}",
            facts.name
        );
    }
}

fn describe_queue(wanted: &SocketConfig, rings: &XskRings, sockets: usize) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_a_restart_can_change_is_named() {
        let lo = Facts {
            name: "eth1".into(),
            driver: "nic".into(),
            queues: 2,
            mtu: 1500,
            ..Facts::read("lo").unwrap()
        };
        let judge = |queues, mtu, multi_fragment, deaf, options: &Serve| {
            let interface = Interface {
                facts: Facts { queues, mtu, ..lo.clone() },
                program: None,
                presence: Presence::Here,
                rings: Rings { queues: 2, multi_fragment, ..Rings::default() },
                warning: None,
                arrivals: None,
            };
            interface.judge(options, deaf).unwrap_or_default()
        };
        let (auto, off) =
            (Serve::default(), Serve { multi_fragment: config::AutoOff::Off, ..Serve::default() });
        for (queues, mtu, multi_fragment, deaf, options, expected) in [
            (2, 1500, false, false, &auto, ""),
            (1, 9000, true, false, &auto, ""),
            (2, 9000, false, false, &off, ""),
            (
                2,
                9000,
                false,
                false,
                &auto,
                "MTU 9000 allows 16 sectors a frame, and the rings 4: restart xblade",
            ),
            (3, 1500, false, false, &auto, "3 queues, and xblade serves 2 of them: "),
            (2, 1500, false, true, &auto, "the NIC loses all frames: if this lasts, run `ethtool -r eth1`"),
        ] {
            let text = judge(queues, mtu, multi_fragment, deaf, options);
            assert!(text.starts_with(expected) && text.is_empty() == expected.is_empty(), "{text}");
        }
        let deaf = |counts: &[(u64, u64)]| {
            let first = Arrivals { received: 5, lost: 7, deaf: 0 };
            counts.iter().fold(first, |before, now| before.next(now.0, now.1)).deaf >= DEAF
        };
        assert!(deaf(&[(5, 8), (5, 8), (5, 9), (5, 10), (5, 11)]));
        for counts in [[(5, 7); 5], [(5, 9); 5], [(5, 8), (5, 9), (5, 10), (6, 11), (6, 12)]] {
            assert!(!deaf(&counts), "{counts:?}");
        }
    }
}
