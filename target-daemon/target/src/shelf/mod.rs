//! An export and its state.
//!
//! ```text
//! Export ─┬─ store   (bytes at rest)
//!         └─ State ─┬─ Settings  address, read-only, names, Segments, Acl, Rates
//!                   ├─ Geometry  size, as the store last reported
//!                   └─ config string, mask list, reservation:
//!                      what initiators change over the wire
//! ```
//!
//! An export belongs to one worker; nothing here takes a lock. Every list has a fixed
//! size, so no request from an initiator causes an allocation.

mod acl;
mod export;
mod host_setting;
mod limits;
mod mac_list;
mod rate;
mod saved;
mod segments;
mod state;

pub use acl::Acl;
pub use export::Export;
pub use host_setting::{HostSetting, HostSettings};
pub use limits::{
    BUFFER_COUNT_DEFAULT, LimitError, MTU_MIN, ReplyLimit, SECTORS_PER_FRAME_MAX, buffer_count, check_mtu,
    sectors_per_frame,
};
pub use mac_list::{ListFull, MacList};
pub use rate::{HostRate, Meter, Rate, Rates};
pub use saved::{Belongs, Saved, SavedError};
pub use segments::{Ingress, Segments};
pub use state::{Settings, State};
