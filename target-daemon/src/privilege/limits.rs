//! Resource limits of the process.

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

use crate::plant;

/// An export has four descriptors at most.
const FILES_MAX: u64 = 1 << 16;

/// Limits that get in the way of serving: what each is, its option of `ulimit`, its line in
/// a unit, and what it does.
const UNWANTED: [(Resource, &str, &str, &str, &str); 4] = [
    (
        Resource::Fsize,
        "RLIMIT_FSIZE",
        "-f",
        "LimitFSIZE",
        "bytes: what hosts write to a file beyond that fails",
    ),
    (Resource::As, "RLIMIT_AS", "-v", "LimitAS", "bytes: rings and mappings may not fit"),
    (Resource::Data, "RLIMIT_DATA", "-d", "LimitDATA", "bytes: rings may not fit"),
    (
        Resource::Cpu,
        "RLIMIT_CPU",
        "-t",
        "LimitCPU",
        "seconds: after so much work the kernel ends the process",
    ),
];

/// The limits that are set and get in the way of serving, each with its value and the remedy.
pub fn unwanted_limits() -> Vec<String> {
    let one = |(resource, name, option, line, effect): (Resource, &str, &str, &str, &str)| {
        let limit = getrlimit(resource).current?;
        Some(format!(
            "{name} is {limit} {effect}: ulimit {option} unlimited, or {line}=infinity for the service"
        ))
    };
    UNWANTED.into_iter().filter_map(one).collect()
}

/// As many files may be open as the hard limit lets: before any store is opened. Returns
/// the limit that holds then.
pub fn raise_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.map_or(FILES_MAX, |most| most.min(FILES_MAX));
    let now = limit.current.unwrap_or(FILES_MAX);
    if most <= now {
        return now;
    }
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: limit.maximum });
    raised.map_or(now, |()| most)
}

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
