//! The XDP program on one interface: load, attach, steer, count, detach.

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

/// Where the operator wants the program to run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Native, or generic where the driver refuses.
    #[default]
    Auto,
    /// In the driver or not at all.
    Native,
    /// In the network stack, whatever the driver can.
    Generic,
}

/// The program on an interface. Dropping it detaches; so does the end of the
/// process, however it comes, because the kernel then closes the link.
pub struct Program {
    // First, so that no frame meets a map that is going away.
    _link: FdLink,
    maps: Maps,
    settings: Settings,
    mode: XdpMode,
    native_refusal: Option<String>,
}

impl Program {
    /// Loads the program for the interface of `facts` and attaches it. An empty
    /// `acl` admits every source. Frames go to the stack until
    /// [`Self::register`] names a socket for their queue.
    ///
    /// Never replaces a program that is there.
    ///
    /// # Errors
    ///
    /// Those of [`AttachError`].
    pub fn attach(facts: &Facts, mode: Mode, acl: &[[u8; 6]]) -> Result<Self, AttachError> {
        Self::attach_for(facts, mode, acl, 0)
    }

    /// As [`Self::attach`], for queues on which each of so many workers may have
    /// a socket of its own: [`Self::register_for`] and [`Self::set_owners`].
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

    /// Frames of `queue` go to `socket` from now on: an AF_XDP socket that is
    /// bound to that queue of this interface. The kernel takes it out again
    /// when the socket closes.
    pub fn register(&mut self, queue: u32, socket: &impl AsRawFd) -> Result<(), MapError> {
        self.maps.register(queue, socket.as_raw_fd())
    }

    /// As [`Self::register`], but only frames for exports of this worker go to
    /// `socket`; the others go to the one that was registered for all.
    pub fn register_for(&mut self, worker: u8, queue: u32, socket: &impl AsRawFd) -> Result<(), MapError> {
        self.maps.register_for(worker, queue, socket.as_raw_fd())
    }

    /// Says which worker owns which export; of more than fit the map, the first.
    /// One that is not named is nobody's.
    pub fn set_owners(&mut self, owners: impl Iterator<Item = Owned>) -> Result<(), MapError> {
        self.maps.set_owners(owners)
    }

    /// Frames of `queue` go to the stack from now on.
    pub fn unregister(&mut self, queue: u32) -> Result<(), MapError> {
        self.maps.unregister(queue)
    }

    /// The interface has a new MAC address.
    pub fn set_mac(&mut self, mac: [u8; 6]) -> Result<(), MapError> {
        let settings = Settings { own: mac, ..self.settings };
        self.maps.set(&settings)?;
        self.settings = settings;
        Ok(())
    }

    /// Replaces the access list; an empty one admits every source. At no
    /// moment, and not after an error either, is a source admitted that is on
    /// neither the old nor the new list.
    pub fn set_acl(&mut self, acl: &[[u8; 6]]) -> Result<(), MapError> {
        self.maps.set_acl(&mut self.settings, acl)
    }

    /// What the program counted since it was attached, indexed by [`Counter`],
    /// summed over CPUs.
    pub fn counters(&self) -> Result<[u64; Counter::COUNT], MapError> {
        self.maps.counters()
    }

    /// Where it runs: native or generic.
    pub fn mode(&self) -> XdpMode {
        self.mode
    }

    /// With [`Mode::Auto`] in generic mode: what the kernel said to native mode.
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
    // Asked again: the facts may be old.
    let xdp = sys::xdp_query(facts.index)
        .map_err(|source| AttachError::Query { name: facts.name.clone(), source })?;
    match attached(xdp.programs).first() {
        None => Ok(()),
        Some((mode, id)) => Err(AttachError::Occupied(Box::new(Occupant::of(&facts.name, *mode, *id)))),
    }
}

/// Loads the object into the kernel, with room for so many lanes.
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

/// In the mode asked for; the third value is why it is not native though
/// native was tried.
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

/// The inner error is the kernel's refusal of this mode, in words.
fn attach_in(ebpf: &mut Ebpf, facts: &Facts, mode: XdpMode) -> Result<Result<FdLink, String>, AttachError> {
    let aya_mode = if mode == XdpMode::Native { AyaMode::Driver } else { AyaMode::Skb };
    let attempt = program(ebpf).and_then(|program| {
        let link = program.attach_to_if_index(facts.index, aya_mode)?;
        Ok((program, link))
    });
    match attempt {
        Ok((program, link)) => keep_link(program, link, facts, mode).map(Ok),
        Err(error) => {
            // Somebody may have come first since we looked.
            refuse_if_occupied(facts)?;
            // There is none on it, so it is on one that lies on it.
            if exists(&error) {
                let above = super::above(facts.index).unwrap_or_default().into_iter().next();
                return Err(AttachError::Below { name: facts.name.clone(), above: above.map(Box::new) });
            }
            Ok(Err(reason(&error)))
        }
    }
}

/// Where bpf_link does not work, aya attaches through netlink, and a crash
/// would leave the program behind without anybody to fill its rings: undo that.
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

/// Whether the kernel says EEXIST.
fn exists(error: &ProgramError) -> bool {
    let ProgramError::SyscallError(error) = error else { return false };
    error.io_error.raw_os_error() == Some(libc::EEXIST)
}

/// The kernel's own words, without the name of the system call.
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
