//! The program as an operator runs it: its command line, messages, exit codes and signals,
//! and its behaviour while interfaces and files change. Each test has its own network
//! namespaces, which end with it.
//!
//! Needs root. Without it the tests report this and pass; with `XBLADE_TESTS_STRICT=1` in
//! the environment they fail.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg(target_os = "linux")]

#[allow(dead_code, reason = "shared with the tests of the stores")]
#[path = "common/fuse.rs"]
mod fuse;
#[allow(dead_code, reason = "shared with other tests")]
#[path = "common/golden.rs"]
mod golden;
#[allow(dead_code, reason = "shared with the tests of the stores")]
#[path = "common/media.rs"]
mod media;
#[allow(dead_code, reason = "shared with the tests of the stores")]
#[path = "common/mounts.rs"]
mod mounts;

#[macro_use]
#[path = "process/kinds.rs"]
mod kinds;

#[path = "process/address.rs"]
mod address;
#[path = "process/automation.rs"]
mod automation;
#[path = "process/changes.rs"]
mod changes;
#[path = "process/command_line.rs"]
mod command_line;
#[path = "process/configuration.rs"]
mod configuration;
#[path = "process/daemon.rs"]
mod daemon;
#[path = "process/data.rs"]
mod data;
#[path = "process/drop_in.rs"]
mod drop_in;
#[path = "process/faults.rs"]
mod faults;
#[path = "process/foreign.rs"]
mod foreign;
#[path = "process/host_settings.rs"]
mod host_settings;
#[path = "process/image.rs"]
mod image;
#[path = "process/interfaces.rs"]
mod interfaces;
#[path = "process/limits.rs"]
mod limits;
#[path = "process/link_changes.rs"]
mod link_changes;
#[path = "process/load.rs"]
mod load;
#[path = "process/machine.rs"]
mod machine;
#[path = "process/notify.rs"]
mod notify;
#[path = "process/occupied.rs"]
mod occupied;
#[path = "process/options.rs"]
mod options;
#[path = "process/pauses.rs"]
mod pauses;
#[path = "process/queues.rs"]
mod queues;
#[path = "process/rates.rs"]
mod rates;
#[path = "process/rig.rs"]
mod rig;
#[path = "process/signals.rs"]
mod signals;
#[path = "process/stall.rs"]
mod stall;
#[path = "process/steer.rs"]
mod steer;
#[path = "process/state.rs"]
mod state;
#[path = "process/stores.rs"]
mod stores;
#[path = "process/traffic.rs"]
mod traffic;
#[path = "process/tune.rs"]
mod tune;
#[path = "process/vlans.rs"]
mod vlans;
