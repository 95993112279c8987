//! The command line and the configuration file, and the typed model that both produce.
//! Every error is reported here, with value and remedy, before anything is opened.

mod bounds;
mod cli;
mod client;
mod export;
mod file;
mod limit;
mod service;
mod show;
mod suggest;
mod top;
mod tune;
mod vblade;

pub use crate::store::in_largest_unit;
pub use bounds::{EXPORTS_MAX, HOSTS_MAX, ring};
pub use cli::{
    AutoOff, Check, Cli, Command, HostSettings, Idle, Import, RingOptions, Serve, ServeArgs, Show, Spread,
    XdpMode,
};
pub use client::{AskCommand, ExportCommand, Listed, One, Reach, Trace};
pub use export::{EVERYBODY, Export, options};
pub use file::{
    Diagnostic, Diagnostics, ExportSpans, KEYS, Loaded, Span, export_from, host_name, load, parse,
};
pub use limit::{ExportLimits, HostLimit, Limit};
pub use service::{CONTROL, OnOff, STATE, ServiceOptions};
pub use show::{to_json, to_table, to_toml};
pub use top::Top;
pub use tune::{CoreList, Demands, Mode, Steer, Tune};
pub use vblade::{Imported, Vblade, import, import_texts};
