//! Resource limits of the process.

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

use crate::plant;

/// An export has at most four descriptors.
const FILES_MAX: u64 = 1 << 16;

/// Limits that interfere with serving: resource, name, `ulimit` option, and effect.
const UNWANTED: [(Resource, &str, &str, &str); 4] = [
    (Resource::Fsize, "FSIZE", "-f", "bytes: what hosts write to a file beyond that fails"),
    (Resource::As, "AS", "-v", "bytes: rings and mappings may not fit"),
    (Resource::Data, "DATA", "-d", "bytes: rings may not fit"),
    (Resource::Cpu, "CPU", "-t", "seconds: after so much work the kernel ends the process"),
];

/// One line for each limit that is set and interferes with serving, with its value and the
/// remedy.
pub fn unwanted_limits() -> Vec<String> {
    let one = |(resource, name, option, effect): (Resource, &str, &str, &str)| {
        let limit = getrlimit(resource).current?;
        Some(format!(
            "RLIMIT_{name} is {limit} {effect}: ulimit {option} unlimited, or Limit{name}=infinity for the service"
        ))
    };
    UNWANTED.into_iter().filter_map(one).collect()
}

/// How many files this process may have open at most.
fn files_max() -> u64 {
    getrlimit(Resource::Nofile).maximum.map_or(FILES_MAX, |most| most.min(FILES_MAX))
}

/// Raises the limit for open files to the hard limit. Must be called before any store is
/// opened. Returns the resulting limit.
pub fn raise_files() -> u64 {
    let (limit, most) = (getrlimit(Resource::Nofile), files_max());
    let now = limit.current.unwrap_or(FILES_MAX);
    if most <= now {
        return now;
    }
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: limit.maximum });
    raised.map_or(now, |()| most)
}

/// Sets the limits. A limit that cannot be set does not prevent serving.
pub(super) fn set() {
    if plant::left_out("limits") {
        return;
    }
    // A core file would contain data from the disks. The limit alone does not stop a
    // program that collects core dumps.
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let (limit, dumpable) =
        (setrlimit(Resource::Core, none), set_dumpable_behavior(DumpableBehavior::NotDumpable));
    let most = Some(files_max());
    let files = setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most });
    for (what, outcome) in [("RLIMIT_CORE", limit), ("PR_SET_DUMPABLE", dumpable), ("RLIMIT_NOFILE", files)] {
        if let Err(error) = outcome {
            log::debug!("{what}: {error}");
        }
    }
}
