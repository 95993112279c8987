//! The XDP program on one interface: load, attach, configure, count, detach.

use std::fmt;
use std::os::fd::AsRawFd;

use aya::programs::links::FdLink;
use aya::programs::xdp::XdpLinkId;
use aya::programs::{ProgramError, Xdp, XdpError, XdpMode as AyaMode};
use aya::{Ebpf, EbpfError, EbpfLoader};
use xblade_ebpf::{Counter, LANES, OBJECT, PROGRAM, Settings, lanes};

use super::attach_error::AttachError;
use super::facts::{Facts, XdpMode, attached};
use super::limits::missing_capabilities;
use super::maps::{MapError, Maps, Owned};
use super::occupant::Occupant;
use super::sys;

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

/// The program on an interface. Dropping it detaches the program. So does the end of the
/// process for any reason, because the kernel then closes the link.
pub struct Program {
    // Dropped first, so that no frame meets a map that is being closed.
    _link: FdLink,
    maps: Maps,
    settings: Settings,
    mode: XdpMode,
    native_refusal: Option<String>,
}

impl Program {
    /// Loads the program for the interface of `facts` and attaches it. An empty `acl`
    /// admits every source. Frames go to the stack until [`Self::register`] sets a socket
    /// for their queue.
    ///
    /// Never replaces an attached program.
    ///
    /// # Errors
    ///
    /// Those of [`AttachError`].
    pub fn attach(facts: &Facts, mode: Mode, acl: &[[u8; 6]]) -> Result<Self, AttachError> {
        Self::attach_for(facts, mode, acl, 0)
    }

    /// As [`Self::attach`], for queues on which each of `workers` workers may have its own
    /// socket: [`Self::register_for`] and [`Self::set_owners`].
    ///
    /// # Errors
    ///
    /// Those of [`AttachError`].
    pub fn attach_for(facts: &Facts, mode: Mode, acl: &[[u8; 6]], workers: u8) -> Result<Self, AttachError> {
        if facts.loopback {
            return Err(AttachError::Loopback { name: facts.name.clone() });
        }
        refuse_if_occupied(facts)?;
        let mut ebpf = load(lanes(facts.queues, workers))?;
        let mut maps = Maps::take(&mut ebpf, workers)?;
        let mut settings = Settings { own: facts.mac, acl_on: false, workers };
        maps.set(&settings)?;
        maps.set_acl(&mut settings, acl)?;
        let (link, mode, native_refusal) = attach(&mut ebpf, facts, mode)?;
        Ok(Self { _link: link, maps, settings, mode, native_refusal })
    }

    /// Sends the frames of `queue` to `socket` from now on: an AF_XDP socket bound to that
    /// queue of this interface. The kernel removes it when the socket is closed.
    pub fn register(&mut self, queue: u32, socket: &impl AsRawFd) -> Result<(), MapError> {
        self.maps.register(queue, socket.as_raw_fd())
    }

    /// As [`Self::register`], but sends only frames for the exports of this worker to
    /// `socket`; the others go to the socket that was registered for all.
    pub fn register_for(&mut self, worker: u8, queue: u32, socket: &impl AsRawFd) -> Result<(), MapError> {
        self.maps.register_for(worker, queue, socket.as_raw_fd())
    }

    /// Sets the owner of each export; if they exceed the map, only the first ones. An
    /// export that is not listed has no owner.
    pub fn set_owners(&mut self, owners: impl Iterator<Item = Owned>) -> Result<(), MapError> {
        self.maps.set_owners(owners)
    }

    /// Sends the frames of `queue` to the stack from now on.
    pub fn unregister(&mut self, queue: u32) -> Result<(), MapError> {
        self.maps.unregister(queue)
    }

    /// Sets the new MAC address of the interface.
    pub fn set_mac(&mut self, mac: [u8; 6]) -> Result<(), MapError> {
        let settings = Settings { own: mac, ..self.settings };
        self.maps.set(&settings)?;
        self.settings = settings;
        Ok(())
    }

    /// Replaces the access list; an empty one admits every source. At no time, not even
    /// after an error, is a source admitted that is on neither the old nor the new list.
    pub fn set_acl(&mut self, acl: &[[u8; 6]]) -> Result<(), MapError> {
        self.maps.set_acl(&mut self.settings, acl)
    }

    /// The counters since the program was attached, indexed by [`Counter`], summed over
    /// CPUs.
    pub fn counters(&self) -> Result<[u64; Counter::COUNT], MapError> {
        self.maps.counters()
    }

    /// The mode in which it runs: native or generic.
    pub fn mode(&self) -> XdpMode {
        self.mode
    }

    /// With [`Mode::Auto`] in generic mode: why the kernel refused native mode.
    pub fn native_refusal(&self) -> Option<&str> {
        self.native_refusal.as_deref()
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { settings, mode, native_refusal, .. } = self;
        to.debug_struct("Program")
            .field("settings", settings)
            .field("mode", mode)
            .field("native_refusal", native_refusal)
            .finish_non_exhaustive()
    }
}

fn refuse_if_occupied(facts: &Facts) -> Result<(), AttachError> {
    // Queried again: the facts may be old.
    let xdp = sys::xdp_query(facts.index)
        .map_err(|source| AttachError::Query { name: facts.name.clone(), source })?;
    match attached(xdp.programs).first() {
        None => Ok(()),
        Some((mode, id)) => Err(AttachError::Occupied(Box::new(Occupant::of(&facts.name, *mode, *id)))),
    }
}

/// Loads the object into the kernel, with room for this number of lanes.
fn load(lanes: u32) -> Result<Ebpf, AttachError> {
    let load = || -> Result<Ebpf, EbpfError> {
        let mut ebpf = EbpfLoader::new().map_max_entries(LANES, lanes).load(OBJECT)?;
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
            Ok(Err(reason(&error)))
        }
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
        let flags = match mode {
            XdpMode::Native => XDP_FLAGS_DRV_MODE,
            XdpMode::Generic | XdpMode::Offload => XDP_FLAGS_SKB_MODE,
        };
        // Best effort: the error to report is the missing link.
        let _ = sys::xdp_detach(facts.index, flags);
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
