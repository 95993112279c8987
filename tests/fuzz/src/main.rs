//! libFuzzer with one of the targets: `XBLADE_FUZZ=wire xblade-fuzz CORPUS`. tests/fuzz/run
//! builds it with coverage and calls it.
#![no_main]
#![allow(clippy::panic, reason = "without a target there is nothing to run")]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use xblade_fuzz::{TARGETS, Target};

static TARGET: OnceLock<Target> = OnceLock::new();

fuzz_target!(init: choose(), |data: &[u8]| {
    if let Some((_, run)) = TARGET.get() {
        run(data);
    }
});

fn choose() {
    let wanted = std::env::var("XBLADE_FUZZ").unwrap_or_default();
    let Some(target) = TARGETS.iter().find(|(name, _)| *name == wanted) else {
        panic!("XBLADE_FUZZ={wanted} is not a target: {:?}", TARGETS.iter().map(|(name, _)| name));
    };
    TARGET.get_or_init(|| *target);
}
