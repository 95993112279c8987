//! The command line and the configuration file, and the typed model that they
//! both become. Whatever is wrong is said here, with the value and the remedy,
//! before anything is opened.

mod bounds;
mod conflicts;
mod cli;
mod client;
mod export;
mod file;
mod hint;
mod service;
mod show;
mod size;
mod steer;
mod suggest;
mod top;
mod vblade;

pub use bounds::{chunk_bytes, ring, umem_chunks};
pub use cli::{
    AutoOff, Check, Cli, Command, Idle, Import, RingOptions, Serve, ServeArgs, Show, Spread, XdpMode,
};
pub use client::{AskCommand, ExportCommand, Listed, One, Reach, Trace};
pub use conflicts::addresses_twice;
pub use export::{Export, ExportError, Image};
pub use file::{Diagnostic, Diagnostics, KEYS, Loaded, Span, Unreadable, export_from, load, parse};
pub use hint::interface as interface_meant;
pub use service::{AddrOrNone, CONTROL, OnOff, PathOrNone, STATE, ServiceOptions};
pub use show::{to_json, to_table, to_toml};
pub use size::{SizeError, in_largest_unit, parse_bytes};
pub use steer::Steer;
pub use top::Top;
pub use vblade::{Imported, Vblade, VbladeError, import};
