//! The command line, and the typed model that it becomes. Whatever is wrong is
//! said here, in one line that names the value and the remedy, before anything
//! is opened.

mod cli;
mod export;
mod size;

pub use cli::{AutoOff, Check, Cli, Command, Idle, RingOptions, Serve, XdpMode};
pub use export::{Export, ExportError, Image};
pub use size::{SizeError, parse_bytes};
