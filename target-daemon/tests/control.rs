//! The control API: the server on the control socket with a fake control thread, and the
//! commands with the real program.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg(target_os = "linux")]

#[path = "control/api.rs"]
mod api;
#[path = "control/commands.rs"]
mod commands;
#[path = "control/daemon.rs"]
mod daemon;
#[path = "control/document.rs"]
mod document;
#[path = "control/fake.rs"]
mod fake;
#[path = "control/handed.rs"]
mod handed;
#[path = "control/http.rs"]
mod http;
#[allow(dead_code, reason = "shared with the tests of the process")]
#[path = "process/image.rs"]
mod image;
#[path = "control/openapi.rs"]
mod openapi;
#[allow(dead_code, reason = "shared with the tests of the metrics")]
#[path = "common/overview.rs"]
mod overview;
#[path = "control/robust.rs"]
mod robust;
#[path = "control/sample.rs"]
mod sample;
#[path = "control/socket.rs"]
mod socket;
#[path = "control/trace.rs"]
mod trace;
#[path = "control/traced.rs"]
mod traced;

#[allow(dead_code, reason = "shared with the tests of the process")]
#[path = "process/daemon.rs"]
mod process;
