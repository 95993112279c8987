//! How results look: one exporter a file.

mod bars;
mod document;
pub mod result;
mod table;
mod text;

pub use bars::bars;
pub use document::{Document, Section};
pub use table::Table;
pub use text::text;
