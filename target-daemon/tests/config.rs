//! The configuration file as an operator meets it: what is said of every kind
//! of mistake, word by word; that it means what the command line means; and
//! that its document leaves nothing out.
//!
//! `UPDATE_GOLDENS=1` writes what is said now as what is expected. Read it then.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "config/documents.rs"]
mod documents;
#[allow(dead_code, reason = "shared with other tests")]
#[path = "common/golden.rs"]
mod golden;
#[path = "config/imports.rs"]
mod imports;
#[path = "config/messages.rs"]
mod messages;
#[path = "config/one_meaning.rs"]
mod one_meaning;
#[path = "config/round_trip.rs"]
mod round_trip;
