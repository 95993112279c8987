//! Migration from vblade: its arguments, and a configuration made from calls of it.

mod args;
mod import;

pub use args::Vblade;
pub use import::{Imported, import, import_texts};
