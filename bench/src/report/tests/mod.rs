//! Reports of made-up measurements.

pub mod fixture;
mod golden;
