//! Bytes ↔ meaning.
pub mod aoe;
pub mod ether;
