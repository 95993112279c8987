//! The metrics: their text, their documentation, the listener, and how Prometheus and its
//! `promtool` handle them.
//!
//! Tests that need root or `prometheus` report the skip and pass without it; with
//! `XBLADE_TESTS_STRICT=1` in the environment they fail.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg(target_os = "linux")]

#[path = "common/overview.rs"]
mod overview;

#[allow(dead_code, reason = "shared with the tests of the process")]
#[path = "process/daemon.rs"]
mod daemon;
#[allow(dead_code, reason = "shared with the tests of the process")]
#[path = "process/image.rs"]
mod image;
#[path = "metrics/document.rs"]
mod document;
#[path = "metrics/exposition.rs"]
mod exposition;
#[path = "metrics/http.rs"]
mod http;
#[path = "metrics/queries.rs"]
mod queries;
#[path = "metrics/scrape.rs"]
mod scrape;
#[path = "metrics/tools.rs"]
mod tools;
#[path = "metrics/top.rs"]
mod top;
