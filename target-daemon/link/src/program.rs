//! The XDP program on one interface: load, configure, attach, count, detach.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, AsRawFd, BorrowedFd};

use aya::maps::{Array, HashMap, Map, MapData, PerCpuArray, XskMap};
use aya::programs::links::FdLink;
use aya::programs::xdp::XdpLinkId;
use aya::programs::{ProgramError, Xdp, XdpError, XdpMode as AyaMode};
use aya::{Ebpf, EbpfError, EbpfLoader, Pod};
use xblade_ebpf::{
    ACL, ACL_MAX, ADMITTED, COUNTERS, Counter, HOST_INDICES, HOST_SEED, HOSTS_MAP, LANES, LIMITS, OBJECT,
    OWNERS, OWNERS_MAX, PROGRAM, SETTINGS, Settings, first_lane, lanes,
};

use super::attach_error::AttachError;
use super::facts::{Facts, XdpMode, attached};
use super::limits::missing_capabilities;
use super::occupant::Occupant;
use super::{netlink, sys};

const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

/// The XDP mode requested by the operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Native, or generic if the driver refuses.
    #[default]
    Auto,
    /// In the driver or not at all.
    Native,
    /// In the network stack, whatever the driver supports.
    Generic,
}

/// A map of the running program could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// The access list is longer than its map.
    #[error("the access list has {0} addresses, the most is {ACL_MAX}: shorten it")]
    AclTooLong(usize),
    /// The object lacks the map, or it has the wrong type: a build error.
    #[error("the XDP program has no usable map `{0}`: rebuild xblade")]
    Missing(&'static str),
    /// The kernel refused.
    #[error("cannot access the map `{map}` of the XDP program")]
    Kernel {
        /// The map.
        map: &'static str,
        /// The kernel's error.
        source: Box<aya::maps::MapError>,
    },
}

/// An export, and the worker that owns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owned {
    /// Its shelf.
    pub shelf: u16,
    /// Its slot.
    pub slot: u8,
    /// The index of its worker.
    pub worker: u16,
}

/// The program on an interface. Dropping it detaches the program. So does the end of the
/// process for any reason, because the kernel then closes the link.
pub struct Program {
    // Dropped first, so that no frame meets a map that is being closed.
    link: Option<FdLink>,
    ebpf: Ebpf,
    lanes: XskMap<MapData>,
    owners: HashMap<MapData, u32, u32>,
    counters: PerCpuArray<MapData, u64>,
    access: AccessControl,
    hosts: [MapData; 3],
    lane_count: u32,
    seed: u64,
    /// The mode in which it runs, once attached: native or generic.
    pub mode: XdpMode,
    /// With [`Mode::Auto`] in generic mode: why the kernel refused native mode.
    pub native_refusal: Option<String>,
}

/// The maps that decide which frames are admitted.
struct AccessControl {
    acl: HashMap<MapData, [u8; 6], u8>,
    map: Array<MapData, [u8; 8]>,
    settings: Settings,
}

impl Program {
    /// Loads the program for the interface of `facts`, but does not attach it. An empty
    /// `acl` admits every source. Each of `workers` workers may have its own socket on a
    /// queue. `seed` is an odd number that hosts do not know.
    ///
    /// # Errors
    ///
    /// Those of [`AttachError`].
    pub fn load(facts: &Facts, acl: &[[u8; 6]], workers: u8, seed: u64) -> Result<Self, AttachError> {
        if facts.loopback {
            return Err(AttachError::Loopback { name: facts.name.clone() });
        }
        refuse_if_occupied(facts)?;
        let lane_count = lanes(facts.queues_max, workers);
        let mut ebpf = load(lane_count, seed)?;
        let settings = Settings { own: facts.mac, acl_on: false, workers };
        let mut access =
            AccessControl { acl: take(&mut ebpf, ACL)?, map: take(&mut ebpf, SETTINGS)?, settings };
        access.set(settings)?;
        access.set_acl(acl)?;
        Ok(Self {
            link: None,
            lanes: take(&mut ebpf, LANES)?,
            owners: take(&mut ebpf, OWNERS)?,
            counters: take(&mut ebpf, COUNTERS)?,
            hosts: [data(&mut ebpf, HOSTS_MAP)?, data(&mut ebpf, ADMITTED)?, data(&mut ebpf, LIMITS)?],
            lane_count,
            seed,
            ebpf,
            access,
            mode: XdpMode::Generic,
            native_refusal: None,
        })
    }

    /// Attaches the program. Frames go to the stack unless [`Self::register`] has set a
    /// socket for their queue. Call it after zero-copy sockets are bound and their fill
    /// rings are full: drivers set their receive rings up at this point, and some never
    /// look again at a fill ring that was empty then (igb in Linux 6.18).
    ///
    /// Never replaces an attached program.
    ///
    /// # Errors
    ///
    /// Those of [`AttachError`].
    pub fn attach(&mut self, facts: &Facts, mode: Mode) -> Result<(), AttachError> {
        let (link, mode, native_refusal) = attach(&mut self.ebpf, facts, mode)?;
        (self.link, self.mode, self.native_refusal) = (Some(link), mode, native_refusal);
        Ok(())
    }

    /// Sends the frames of `queue` to `socket` from now on: an AF_XDP socket bound to that
    /// queue of this interface. With a worker, only frames for the exports of that worker;
    /// the others go to the socket that is registered without. The kernel removes a socket
    /// when it is closed. Returns the index of the lane.
    pub fn register(
        &mut self,
        queue: u32,
        worker: Option<u8>,
        socket: &impl AsRawFd,
    ) -> Result<u32, MapError> {
        let position = worker.map_or(0, |worker| 1 + u32::from(worker));
        let lane = first_lane(queue, self.access.settings.workers) + position;
        self.lanes.set(lane, socket.as_raw_fd(), 0).map_err(kernel(LANES))?;
        Ok(lane)
    }

    /// The maps `hosts`, `admitted` and `limits`, the number of lanes, and the seed.
    pub fn hosts(&self) -> ([BorrowedFd<'_>; 3], u32, u64) {
        (self.hosts.each_ref().map(|map| map.fd().as_fd()), self.lane_count, self.seed)
    }

    /// Sets the owner of each export; if they exceed the map, only the first ones. An
    /// export that is not listed has no owner.
    pub fn set_owners(&mut self, owners: impl Iterator<Item = Owned>) -> Result<(), MapError> {
        let row = |owned: Owned| (u32::from(owned.shelf) << 8 | u32::from(owned.slot), owned.worker.into());
        replace(&mut self.owners, OWNERS, &owners.map(row).take(OWNERS_MAX).collect())
    }

    /// Sets the new MAC address of the interface.
    pub fn set_mac(&mut self, mac: [u8; 6]) -> Result<(), MapError> {
        self.access.set(Settings { own: mac, ..self.access.settings })
    }

    /// Replaces the access list; an empty one admits every source. At no time, not even
    /// after an error, is a source admitted that is on neither the old nor the new list.
    pub fn set_acl(&mut self, acl: &[[u8; 6]]) -> Result<(), MapError> {
        self.access.set_acl(acl)
    }

    /// The counters since the program was attached, indexed by [`Counter`], summed over
    /// CPUs.
    pub fn counters(&self) -> Result<[u64; Counter::COUNT], MapError> {
        let mut sums = [0_u64; Counter::COUNT];
        for (sum, counter) in sums.iter_mut().zip(Counter::ALL) {
            let cpus = self.counters.get(&(counter as u32), 0).map_err(kernel(COUNTERS))?;
            *sum = cpus.iter().fold(0, |sum, value| sum.wrapping_add(*value));
        }
        Ok(sums)
    }
}

impl AccessControl {
    fn set(&mut self, settings: Settings) -> Result<(), MapError> {
        self.map.set(0, settings.to_bytes(), 0).map_err(kernel(SETTINGS))?;
        self.settings = settings;
        Ok(())
    }

    /// To disable the list, the flag is cleared first. To enable it, the flag is set last,
    /// after old addresses were removed to make room for new ones.
    fn set_acl(&mut self, acl: &[[u8; 6]]) -> Result<(), MapError> {
        if acl.len() > ACL_MAX {
            return Err(MapError::AclTooLong(acl.len()));
        }
        let wanted = Settings { acl_on: !acl.is_empty(), ..self.settings };
        if !wanted.acl_on {
            self.set(wanted)?;
        }
        replace(&mut self.acl, ACL, &acl.iter().map(|mac| (*mac, 1)).collect())?;
        self.set(wanted)
    }
}

/// Makes `wanted` the entries of a map: first removes others, so that there is room.
fn replace<K: Pod + Ord, V: Pod + PartialEq>(
    map: &mut HashMap<MapData, K, V>,
    name: &'static str,
    wanted: &BTreeMap<K, V>,
) -> Result<(), MapError> {
    let there: Result<Vec<K>, _> = map.keys().collect();
    for gone in there.map_err(kernel(name))?.iter().filter(|key| !wanted.contains_key(key)) {
        map.remove(gone).map_err(kernel(name))?;
    }
    for (key, value) in wanted {
        if map.get(key, 0).ok().as_ref() != Some(value) {
            map.insert(key, value, 0).map_err(kernel(name))?;
        }
    }
    Ok(())
}

fn take<M: TryFrom<Map>>(ebpf: &mut Ebpf, name: &'static str) -> Result<M, MapError> {
    let map = ebpf.take_map(name).ok_or(MapError::Missing(name))?;
    M::try_from(map).map_err(|_| MapError::Missing(name))
}

fn data(ebpf: &mut Ebpf, name: &'static str) -> Result<MapData, MapError> {
    match ebpf.take_map(name) {
        Some(Map::Array(data)) => Ok(data),
        _ => Err(MapError::Missing(name)),
    }
}

fn kernel(map: &'static str) -> impl FnOnce(aya::maps::MapError) -> MapError {
    move |source| MapError::Kernel { map, source: Box::new(source) }
}

fn refuse_if_occupied(facts: &Facts) -> Result<(), AttachError> {
    // Queried again: the facts may be old.
    let xdp = sys::xdp_query(facts.index)
        .map_err(|source| AttachError::Query { name: facts.name.clone(), source })?;
    match attached(&xdp).first() {
        None => Ok(()),
        Some((mode, id)) => Err(AttachError::Occupied(Box::new(Occupant::of(&facts.name, *mode, *id)))),
    }
}

/// Loads the object into the kernel, with room for this number of lanes.
fn load(lanes: u32, seed: u64) -> Result<Ebpf, AttachError> {
    let load = || -> Result<Ebpf, EbpfError> {
        let shares = lanes * HOST_INDICES as u32;
        let mut ebpf = EbpfLoader::new()
            .map_max_entries(LANES, lanes)
            .map_max_entries(ADMITTED, shares)
            .map_max_entries(LIMITS, shares)
            .override_global(HOST_SEED, &seed, true)
            .load(OBJECT)?;
        program(&mut ebpf)?.load()?;
        Ok(ebpf)
    };
    load().map_err(|source| AttachError::Load {
        missing: missing_capabilities().unwrap_or_default(),
        source: Box::new(source),
    })
}

fn program(ebpf: &mut Ebpf) -> Result<&mut Xdp, ProgramError> {
    let program = ebpf.program_mut(PROGRAM).ok_or(ProgramError::NotLoaded)?;
    program.try_into()
}

/// Attaches in the requested mode. The third value is the reason if native mode was tried
/// and refused.
fn attach(
    ebpf: &mut Ebpf,
    facts: &Facts,
    mode: Mode,
) -> Result<(FdLink, XdpMode, Option<String>), AttachError> {
    let refused = |mode, reason| AttachError::Refused { name: facts.name.clone(), mode, reason };
    let first = if mode == Mode::Generic { XdpMode::Generic } else { XdpMode::Native };
    let native = match attach_in(ebpf, facts, first)? {
        Ok(link) => return Ok((link, first, None)),
        Err(reason) if mode == Mode::Auto => reason,
        Err(reason) => return Err(refused(first, reason)),
    };
    match attach_in(ebpf, facts, XdpMode::Generic)? {
        Ok(link) => Ok((link, XdpMode::Generic, Some(native))),
        Err(generic) => Err(AttachError::RefusedBoth { name: facts.name.clone(), native, generic }),
    }
}

/// The inner error is the kernel's refusal of this mode, as text.
fn attach_in(ebpf: &mut Ebpf, facts: &Facts, mode: XdpMode) -> Result<Result<FdLink, String>, AttachError> {
    let aya_mode = if mode == XdpMode::Native { AyaMode::Driver } else { AyaMode::Skb };
    let attempt = program(ebpf).and_then(|program| {
        let link = program.attach_to_if_index(facts.index, aya_mode)?;
        Ok((program, link))
    });
    match attempt {
        Ok((program, link)) => keep_link(program, link, facts, mode).map(Ok),
        Err(error) => {
            // Another program may have been attached since the check.
            refuse_if_occupied(facts)?;
            // There is none on this interface, so there is one on an interface above it.
            if exists(&error) {
                let above = super::above(facts.index).unwrap_or_default().into_iter().next();
                return Err(AttachError::Below { name: facts.name.clone(), above: above.map(Box::new) });
            }
            Ok(Err(in_words(ebpf, facts, mode).unwrap_or_else(|| reason(&error))))
        }
    }
}

/// The driver's reason for a refusal, for instance its MTU limit; `None` if it gives none.
fn in_words(ebpf: &mut Ebpf, facts: &Facts, mode: XdpMode) -> Option<String> {
    const XDP_FLAGS_UPDATE_IF_NOEXIST: u32 = 1 << 0;
    let flags = flags(mode);
    let program = program(ebpf).ok()?.fd().ok()?.as_fd();
    if let Ok(Some(words)) = netlink::attach(facts.index, program, flags | XDP_FLAGS_UPDATE_IF_NOEXIST) {
        return Some(words).filter(|words| !words.is_empty());
    }
    // Accepted after all, maybe, but a crash would leave this program behind.
    let _ = sys::xdp_detach(facts.index, flags, program);
    None
}

fn flags(mode: XdpMode) -> u32 {
    match mode {
        XdpMode::Native => XDP_FLAGS_DRV_MODE,
        XdpMode::Generic | XdpMode::Offload => XDP_FLAGS_SKB_MODE,
    }
}

/// Without bpf_link support, aya attaches through netlink, and a crash would leave the
/// program behind with no process to serve its rings. Undo that.
fn keep_link(
    program: &mut Xdp,
    link: XdpLinkId,
    facts: &Facts,
    mode: XdpMode,
) -> Result<FdLink, AttachError> {
    let no_link = || AttachError::NoLink { name: facts.name.clone() };
    let link = program.take_link(link).map_err(|_| no_link())?;
    FdLink::try_from(link).map_err(|_| {
        // Best effort: the error to report is the missing link.
        let _ = program.fd().map(|fd| sys::xdp_detach(facts.index, flags(mode), fd.as_fd()));
        no_link()
    })
}

/// Whether the kernel returned EEXIST.
fn exists(error: &ProgramError) -> bool {
    let ProgramError::SyscallError(error) = error else { return false };
    error.io_error.raw_os_error() == Some(libc::EEXIST)
}

/// The kernel's error text, without the name of the system call.
fn reason(error: &ProgramError) -> String {
    match error {
        ProgramError::SyscallError(error) => error.io_error.to_string(),
        ProgramError::XdpError(XdpError::NetlinkError(error)) => error.to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_may_move_between_threads() {
        fn sendable<T: Send + Sync>() {}
        sendable::<Program>();
    }
}
