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
mod maps;
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
pub use flow::{FlowMatch, FlowRoom, FlowRule, FlowRules, FlowTable, mac_text};
pub use limits::{MemlockError, kernel, missing_capabilities, raise_memlock};
pub use listeners::{listeners, unix_listeners};
pub use maps::{MapError, Owned};
pub use nic::NicSetting;
pub use occupant::Occupant;
pub use packet::PacketSocket;
pub use program::{Mode, Program};
pub use stack::{above, lowest_first, pairs};
pub use xblade_ebpf::{ACL_MAX, Counter};

/// The current name of the interface with this index; `None` if there is none in this
/// network namespace.
///
/// # Errors
///
/// Those of the netlink socket.
pub fn name_of(index: u32) -> std::io::Result<Option<String>> {
    Ok(netlink::interfaces()?.into_iter().find(|i| i.index == index).map(|i| i.name))
}

/// Every interface in this network namespace.
///
/// # Errors
///
/// Those of the netlink socket.
pub fn all() -> std::io::Result<Vec<Named>> {
    let named = |interface: netlink::Interface| Named {
        index: interface.index,
        name: interface.name,
        alt_names: interface.alt_names,
    };
    Ok(netlink::interfaces()?.into_iter().map(named).collect())
}

/// An interface and all of its names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// Index in this network namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its alternative names.
    pub alt_names: Vec<String>,
}

impl Named {
    /// All its names.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.name).chain(&self.alt_names)
    }

    /// Whether this is one of its names.
    pub fn is_called(&self, name: &str) -> bool {
        self.names().any(|own| own == name)
    }
}
