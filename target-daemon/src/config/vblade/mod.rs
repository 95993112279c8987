//! What vblade is told, and what xblade makes of it: its arguments, the files
//! of its service, and a configuration from them.

mod args;
mod files;
mod import;

pub use args::{Vblade, VbladeError};
pub use import::{Imported, import};
