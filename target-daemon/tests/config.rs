//! The configuration file from the operator's view: the exact message for every kind of
//! mistake, equivalence with the command line, and completeness of its documentation.
//!
//! `XBLADE_BLESS=1` writes the current messages to the expected files. Review them then.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "config/documents.rs"]
mod documents;
#[allow(dead_code, reason = "shared with other tests")]
#[path = "common/golden.rs"]
mod golden;
#[path = "config/imports.rs"]
mod imports;
#[path = "config/limits.rs"]
mod limits;
#[path = "config/messages.rs"]
mod messages;
#[path = "config/one_meaning.rs"]
mod one_meaning;
#[path = "config/round_trip.rs"]
mod round_trip;
