//! The NIC: what it can do, the XDP program on it, and what changes.
//!
//! ```text
//! Facts::read ──► Program::attach ──► register(queue, socket) ──► frames flow
//!      ▲                │ refused: Occupant names who is there
//!      │                ▼
//! LinkEvents       AttachError         drop or crash ──► detached
//! ```
//!
//! Everything here is about the **network namespace of the calling thread**.
//! Nothing here runs on the data path. Two system files hold what std lacks:
//! `sys` (all of the `unsafe`) and `netlink` (the list of interfaces).

mod attach_error;
mod events;
mod facts;
mod flow;
mod limits;
mod listeners;
mod maps;
mod netlink;
mod nic;
mod occupant;
mod packet;
mod processes;
mod program;
mod sys;

pub use attach_error::AttachError;
pub use events::{Changes, LinkEvents};
pub use facts::{Facts, FactsError, XdpMode};
pub use flow::{FlowMatch, FlowRoom, FlowRule, FlowTable, mac_text};
pub use limits::{MemlockError, kernel, missing_capabilities, raise_memlock};
pub use listeners::{listeners, unix_listeners};
pub use maps::{MapError, Owned};
pub use nic::Nic;
pub use occupant::Occupant;
pub use packet::PacketSocket;
pub use program::{Mode, Program};
pub use xblade_ebpf::{ACL_MAX, Counter};

/// The name that the interface with this index has now; `None` if there is no
/// such interface in this network namespace.
///
/// # Errors
///
/// Those of the netlink socket.
pub fn name_of(index: u32) -> std::io::Result<Option<String>> {
    Ok(netlink::interfaces()?.into_iter().find(|i| i.index == index).map(|i| i.name))
}

/// Index and name of every interface in this network namespace.
///
/// # Errors
///
/// Those of the netlink socket.
pub fn all() -> std::io::Result<Vec<(u32, String)>> {
    Ok(netlink::interfaces()?.into_iter().map(|interface| (interface.index, interface.name)).collect())
}

/// Names of the interfaces in this network namespace.
///
/// # Errors
///
/// Those of the netlink socket.
pub fn names() -> std::io::Result<Vec<String>> {
    Ok(netlink::interfaces()?.into_iter().map(|interface| interface.name).collect())
}
