//! The store over an asynchronous system: io_uring on files and block devices.

pub mod fake;
mod kernel;

pub use kernel::{Call, Kernel, Outcome, Piece, QueueFull};
