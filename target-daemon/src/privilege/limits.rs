//! Resource limits of the process.

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

use crate::plant;

/// An export has four descriptors at most.
const FILES_MAX: u64 = 1 << 16;

/// Sets them. What cannot be set is no reason not to serve.
pub(super) fn set() {
    if plant::left_out("limits") {
        return;
    }
    // A core file would hold the contents of disks. The limit alone does not
    // keep it from a program that collects them.
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let (limit, dumpable) =
        (setrlimit(Resource::Core, none), set_dumpable_behavior(DumpableBehavior::NotDumpable));
    let files = getrlimit(Resource::Nofile).maximum.map_or(FILES_MAX, |most| most.min(FILES_MAX));
    let files = setrlimit(Resource::Nofile, Rlimit { current: Some(files), maximum: Some(files) });
    for (what, outcome) in [("RLIMIT_CORE", limit), ("PR_SET_DUMPABLE", dumpable), ("RLIMIT_NOFILE", files)] {
        if let Err(error) = outcome {
            log::debug!("{what}: {error}");
        }
    }
}
