//! The network interface: its properties, the XDP program on it, and its changes.
//!
//! ```text
//! Facts::read ──► Program::attach ──► register(queue, socket) ──► frames flow
//!      ▲                │ refused: Occupant names the program in the way
//!      │                ▼
//! LinkEvents       AttachError         drop or crash ──► detached
//! ```
//!
//! Everything here applies to the **network namespace of the calling thread**. Nothing here
//! runs on the data path. Two modules hold the system interfaces that std lacks: `sys` (all
//! of the `unsafe`) and `netlink` (the list of interfaces).
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod attach_error;
mod events;
mod facts;
mod flow;
mod limits;
mod listeners;
mod netlink;
mod nic;
mod occupant;
mod packet;
mod processes;
mod program;
mod stack;
mod sys;

pub use attach_error::AttachError;
pub use events::{Changes, LinkEvents};
pub use facts::{Facts, FactsError, XdpMode};
pub use flow::{FlowMatch, FlowRule, FlowRules, FlowTable, mac_text};
pub use limits::{MemlockError, kernel, missing_capabilities, raise_memlock};
pub use listeners::{listeners, unix_listeners};
pub use netlink::{Interface as Named, interfaces as all};
pub use nic::NicSetting;
pub use occupant::Occupant;
pub use packet::PacketSocket;
pub use program::{MapError, Mode, Owned, Program};
pub use stack::{above, lowest_first, pairs};
pub use xblade_ebpf::{ACL_MAX, Counter, OWNERS_MAX};

/// The current name of the interface with this index; `None` if there is none in this
/// network namespace.
///
/// # Errors
///
/// Those of the netlink socket.
pub fn name_of(index: u32) -> std::io::Result<Option<String>> {
    Ok(all()?.into_iter().find(|one| one.index == index).map(|one| one.name))
}
