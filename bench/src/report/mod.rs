//! How results look: tables, bars, JSON.

mod bars;
mod table;

pub use bars::bars;
pub use table::Table;
