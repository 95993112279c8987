//! Drops all capabilities.
//!
//! Nothing that happens later needs one. Closing its link detaches the XDP program; rings,
//! sockets and maps are used through descriptors; locked memory is already unlimited; a
//! thread may choose its own cores.

use std::sync::atomic::{AtomicBool, Ordering};

use log::warn;
use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, remove_capability_from_bounding_set,
    set_capabilities, set_no_new_privs,
};

use crate::{link, plant};

/// Before this kernel, using the maps of a program needed CAP_BPF even with a descriptor,
/// if `kernel.unprivileged_bpf_disabled` is set, which is the default.
const MAPS_NEED_NOTHING: (u32, u32) = (5, 19);

/// The control thread has kept a capability, which the threads that it starts must drop.
static KEPT: AtomicBool = AtomicBool::new(false);

/// Makes sure that no program that this process starts has capabilities.
pub(super) fn gain_none() {
    if plant::left_out("no_new_privs") {
        warn!("left out: no_new_privs");
    } else if let Err(error) = set_no_new_privs(true) {
        warn!("no_new_privs: {error}");
    }
    if !plant::left_out("bounding") {
        drop_bounding();
    }
    // Before Linux 4.3 there is no ambient set.
    if !plant::left_out("capabilities") {
        let _ = clear_ambient_capability_set();
    }
}

/// Whether the control thread needs a capability for the maps of the XDP program.
pub(super) fn maps_need_one() -> bool {
    link::kernel() < MAPS_NEED_NOTHING
}

/// Drops all capabilities of this thread. Returns a description of the result.
pub(super) fn drop_all() -> &'static str {
    if plant::left_out("capabilities") {
        return "capabilities left out";
    }
    let maps = maps_need_one();
    KEPT.store(maps, Ordering::Relaxed);
    let kept = if maps { CapabilitySet::BPF } else { CapabilitySet::empty() };
    match (leave(kept), maps) {
        (Ok(()), false) => "no capabilities",
        (Ok(()), true) => "CAP_BPF only, for this kernel",
        (Err(error), _) => {
            warn!("capabilities: {error}");
            "capabilities kept"
        }
    }
}

/// Drops what the control thread kept.
pub(super) fn leave_none() {
    if KEPT.load(Ordering::Relaxed)
        && let Err(error) = leave(CapabilitySet::empty())
    {
        warn!("capabilities: {error}");
    }
}

fn leave(kept: CapabilitySet) -> Result<(), Errno> {
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets)
}

/// Needs CAP_SETPCAP. Without it the set stays, but is harmless: with no_new_privs no
/// program gains anything from it.
fn drop_bounding() {
    for number in 0..u64::BITS {
        match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number)) {
            Ok(()) => {}
            // There are no more.
            Err(Errno::INVAL) => return,
            Err(error) => {
                log::debug!("bounding set: {error}");
                return;
            }
        }
    }
}
